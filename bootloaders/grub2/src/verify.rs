//! Comparing everything that our entries need with its digest.
//!
//! The folder of a kernel, initrd or UKI is named by the digest of what is in it. The configuration carries a digest of itself in the comment
//! before its last line.

use bootwright_core::{
    Result,
    boot_files::{FileCheck, unseal},
    context::BootContext,
    model::{Digest, VerifyReport},
};

use crate::{
    entry::EntryRecord,
    menu::{CONFIG, Menu},
    places::Place,
    script::END_LINE,
};

const CHANGED: &str = "was changed since it was published";

/// Checks the configuration, and each file that its entries name, once.
pub fn verify(context: &BootContext) -> Result<VerifyReport> {
    let menu = Menu::load(&context.esp)?;
    let mut report = VerifyReport::default();
    for place in Place::ALL {
        let Some(root) = place.root(context) else { continue };
        let mut check = FileCheck::new(root, place.name());
        if place == Place::Esp {
            configuration(&mut check, &menu);
        }
        menu.entries.iter().filter(|entry| entry.place == place).for_each(|entry| files(&mut check, entry));
        report.add(check.report());
    }
    Ok(report)
}

fn configuration(check: &mut FileCheck<'_>, menu: &Menu) {
    let Some(content) = check.content(CONFIG).filter(|content| !content.is_empty()) else { return };
    let end = format!("{END_LINE}\n");
    if content.strip_suffix(end.as_bytes()).and_then(unseal).is_none() {
        check.wrong(CONFIG, CHANGED, None);
        for entry in &menu.entries {
            check.wrong(CONFIG, CHANGED, Some(&entry.deployment));
        }
    }
}

fn files(check: &mut FileCheck<'_>, entry: &EntryRecord) {
    for path in entry.program.paths() {
        let path = path.trim_start_matches('/');
        match digest_in(path) {
            Some(digest) => check.need(path, &digest, &entry.deployment),
            None => check.wrong(path, "has a name that no publication gives", Some(&entry.deployment)),
        }
    }
}

/// The digest in `…/<SHA-256 in hex>/<name>`.
fn digest_in(path: &str) -> Option<Digest> {
    let (folder, _) = path.rsplit_once('/')?;
    let name = folder.rsplit('/').next()?;
    Digest::new(format!("sha256:{name}")).ok()
}
