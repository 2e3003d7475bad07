//! Comparing our UKIs, their addons and the copy on the removable-media path with their digests.
//!
//! A UKI's name carries a digest of it and its addons, so whether they are whole needs no notes. Which of them is not is told by the
//! notes on what was published.

use std::collections::BTreeSet;

use bootwright_core::{
    Result,
    boot_files::{FileCheck, addon_folder, removable_path, set_digest, unseal},
    context::BootContext,
    fs::Root,
    model::{DeploymentId, Digest, VerifyReport},
};

use crate::{
    names::{UkiName, list},
    plans::{FILE, Line},
    removable::Removable,
    seen::Seen,
};

/// Checks whatever of ours could be started.
pub fn verify(context: &BootContext) -> Result<VerifyReport> {
    let esp = &context.esp;
    let seen = Seen::load(context)?;
    let mut check = FileCheck::new(esp, "the ESP");
    let names: BTreeSet<_> = seen.entries().into_iter().map(|listed| listed.name).chain(list(esp)?).collect();
    for name in &names {
        verify_uki(esp, &mut check, &seen, name)?;
    }
    verify_removable(esp, &mut check, &seen, &names)?;
    if esp.exists(FILE) && check.content(FILE).is_none_or(|content| unseal(&content).is_none()) {
        check.wrong(FILE, "was changed since it was published", None);
    }
    Ok(check.report())
}

fn verify_uki(esp: &Root, check: &mut FileCheck<'_>, seen: &Seen, name: &UkiName) -> Result<()> {
    let (path, deployment) = (name.path(), &name.deployment);
    let found = check.digest(&path).and_then(|found| found.ok_or_else(|| "is missing".to_owned()));
    let uki = match found {
        Ok(digest) => digest,
        Err(problem) => {
            check.wrong(&path, &problem, Some(deployment));
            return Ok(());
        }
    };
    verify_set(esp, check, seen, name, &path, &uki)
}

/// A UKI with this content, or a copy of it, together with what lies beside it.
fn verify_set(
    esp: &Root,
    check: &mut FileCheck<'_>,
    seen: &Seen,
    name: &UkiName,
    path: &str,
    uki: &Digest,
) -> Result<()> {
    let deployment = &name.deployment;
    let addons = addons_beside(esp, check, path, deployment)?;
    if UkiName::new(deployment, &set_digest(uki, &addons))? == *name {
        return Ok(());
    }
    let known = seen.notes.line(name);
    let told = known.is_some_and(|note| explain(check, note, path, uki, &addons, deployment));
    if !told {
        check.wrong(path, "it or an addon of it is not what its name says", Some(deployment));
    }
    Ok(())
}

/// Addons beside a UKI that can be read; of the others, the problem is noted.
fn addons_beside(
    esp: &Root,
    check: &mut FileCheck<'_>,
    uki: &str,
    deployment: &DeploymentId,
) -> Result<Vec<(String, Digest)>> {
    let folder = addon_folder(uki);
    let mut found = Vec::new();
    for name in esp.list(&folder)? {
        let path = format!("{folder}/{name}");
        match check.digest(&path) {
            Ok(Some(digest)) => found.push((name, digest)),
            Ok(None) => {}
            Err(error) => check.wrong(&path, &error, Some(deployment)),
        }
    }
    Ok(found)
}

/// Names the files that are not as noted. Returns whether there are any.
fn explain(
    check: &mut FileCheck<'_>,
    note: &Line,
    path: &str,
    uki: &Digest,
    addons: &[(String, Digest)],
    deployment: &DeploymentId,
) -> bool {
    let damaged = uki != &note.sha256;
    if damaged {
        check.need(path, &note.sha256, deployment);
    }
    damaged | verify_addons(check, note, path, addons, deployment)
}

/// Names addons that are not as noted, missing, or more than noted. Returns whether there are any.
fn verify_addons(
    check: &mut FileCheck<'_>,
    note: &Line,
    uki: &str,
    addons: &[(String, Digest)],
    deployment: &DeploymentId,
) -> bool {
    let folder = addon_folder(uki);
    let mut told = false;
    for (name, digest) in note.addons.iter().filter(|noted| !addons.contains(noted)) {
        check.need(&format!("{folder}/{name}"), digest, deployment);
        told = true;
    }
    for (name, _) in addons.iter().filter(|(name, _)| !note.addons.iter().any(|(noted, _)| noted == name)) {
        let path = format!("{folder}/{name}");
        check.wrong(&path, "does not belong to its UKI, and would be loaded with it", Some(deployment));
        told = true;
    }
    told
}

/// The copy has no name of its own: it is ours as long as its content is. A damaged one still has the size of one of our UKIs.
fn verify_removable(
    esp: &Root,
    check: &mut FileCheck<'_>,
    seen: &Seen,
    names: &BTreeSet<UkiName>,
) -> Result<()> {
    let path = removable_path();
    match &seen.removable {
        Removable::Absent => {}
        Removable::Ours { name, digest } => {
            check.need(&path, digest, &name.deployment);
            verify_set(esp, check, seen, name, &path, digest)?;
        }
        Removable::Foreign => {
            let size = esp.size_of(&path)?;
            for name in names {
                if esp.size_of(&name.path())? == size {
                    let problem = "is neither a UKI of ours nor a known loader, but has the size of one: a damaged copy";
                    check.wrong(&path, problem, Some(&name.deployment));
                }
            }
        }
    }
    Ok(())
}
