//! The state of all disks of a machine as one comparable value, for "nothing was changed".

use std::{collections::BTreeMap, fmt::Write as _};

/// Everything on all disks and in firmware variables: a name for each thing, and a digest or short description of its content.
///
/// Modification times of files that were read, caches, the lock file, and what a journal of a file system holds are no part of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fingerprint(pub BTreeMap<String, String>);

impl Fingerprint {
    /// Records one thing.
    pub fn add(&mut self, name: impl Into<String>, content: impl Into<String>) {
        self.0.insert(name.into(), content.into());
    }

    /// What is different in `later`, one line each, at most `LIMIT`; empty if nothing is.
    pub fn diff(&self, later: &Self) -> String {
        const LIMIT: usize = 40;
        let mut lines = Vec::new();
        for (name, before) in &self.0 {
            match later.0.get(name) {
                None => lines.push(format!("- {name} ({before})")),
                Some(after) if after != before => lines.push(format!("~ {name}: {before} -> {after}")),
                Some(_) => {}
            }
        }
        let added = later.0.iter().filter(|(name, _)| !self.0.contains_key(*name));
        lines.extend(added.map(|(name, content)| format!("+ {name} ({content})")));
        let mut text = lines.iter().take(LIMIT).cloned().collect::<Vec<_>>().join("\n");
        if lines.len() > LIMIT {
            let _ = write!(text, "\n… and {} more", lines.len() - LIMIT);
        }
        text
    }

    /// Fails, with the differences, unless `later` is the same.
    ///
    /// # Errors
    /// The differences.
    pub fn unchanged(&self, later: &Self, what: &str) -> anyhow::Result<()> {
        let diff = self.diff(later);
        anyhow::ensure!(diff.is_empty(), "{what} changed the disk:\n{diff}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Fingerprint {
        let mut all = Fingerprint::default();
        pairs.iter().for_each(|(name, content)| all.add(*name, *content));
        all
    }

    #[test]
    fn a_difference_names_what_came_went_and_changed() {
        let diff = of(&[("a", "1"), ("b", "1"), ("c", "1")]).diff(&of(&[("a", "1"), ("b", "2"), ("d", "1")]));
        assert_eq!(diff, "~ b: 1 -> 2\n- c (1)\n+ d (1)");
    }
}
