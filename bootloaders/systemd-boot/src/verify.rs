//! Comparing everything that our entries need with its digest.
//!
//! An entry file ends with comments: the digest of each file that it needs, then that of the entry file up to there. They are written with the
//! entry, so no crash can leave one without the other; counting tries changes the name of an entry file and not its content.

use bootwright_core::{
    Result,
    boot_files::{FileCheck, addon_folder, file_lines, unseal},
    fs::Root,
    model::VerifyReport,
};

use crate::menu::{Found, Menu, relative};

/// Checks our entries, and each file that they name, once.
pub fn verify(root: &Root, place: &str) -> Result<VerifyReport> {
    let mut check = FileCheck::new(root, place);
    for found in &Menu::load(root)?.ours {
        verify_entry(root, &mut check, found)?;
    }
    Ok(check.report())
}

fn verify_entry(root: &Root, check: &mut FileCheck<'_>, found: &Found) -> Result<()> {
    let deployment = found.deployment();
    let content = check.content(&found.path()).unwrap_or_default();
    let Some(text) = unseal(&content) else {
        // What it names cannot be believed either.
        check.wrong(&found.path(), "was changed since it was published", Some(deployment));
        return Ok(());
    };
    let files = file_lines(text);
    for (path, digest) in &files {
        check.need(&relative(path), digest, deployment);
    }
    for program in found.item.entry.program.iter().map(|program| relative(program.path())) {
        let folder = addon_folder(&program);
        for name in root.list(&folder)? {
            let path = format!("{folder}/{name}");
            if !files.iter().any(|(known, _)| relative(known) == path) {
                check.wrong(
                    &path,
                    "does not belong to its UKI, and would be loaded with it",
                    Some(deployment),
                );
            }
        }
    }
    Ok(())
}
