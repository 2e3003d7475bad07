//! `/etc` and `/var` of fake deployments: texts by path.

use std::collections::{BTreeMap, BTreeSet};

use super::FakeImage;
use crate::etc_merge::MergeReport;

type Files = BTreeMap<String, String>;

/// What the image has in `/etc`.
pub(super) fn default_etc(image: &FakeImage) -> Files {
    below(image, "etc/")
}

/// What the image has in `/var`.
pub(super) fn default_var(image: &FakeImage) -> Files {
    below(image, "var/")
}

fn below(image: &FakeImage, folder: &str) -> Files {
    let inside =
        |(path, text): (&String, &String)| Some((path.strip_prefix(folder)?.to_owned(), text.clone()));
    image.files.iter().filter_map(inside).collect()
}

/// The three-way merge, for files alone: what changed locally stays, all else becomes the new default.
pub(super) fn merge(base: &Files, local: &Files, new: &Files) -> (Files, MergeReport) {
    let (mut merged, mut report) = (new.clone(), MergeReport::default());
    let paths: BTreeSet<_> = base.keys().chain(local.keys()).collect();
    for path in paths {
        let (old, mine, theirs) = (base.get(path), local.get(path), new.get(path));
        if mine == old {
            continue;
        }
        if theirs != old && theirs != mine {
            report.conflicts.push(path.clone());
        }
        match mine {
            Some(text) => {
                report.kept += 1;
                merged.insert(path.clone(), text.clone());
            }
            None => {
                report.deleted += 1;
                merged.remove(path);
            }
        }
    }
    (merged, report)
}
