//! The copy on the removable-media path.

use bootwright_core::{
    Result,
    boot_files::{Room, addon_digests, addon_folder, copy_addons, read_back, removable_path},
    fs::{ReplaceStyle, Root},
    model::Digest,
};

use crate::{
    names::{UkiName, list},
    plans::Notes,
};

/// What lies on the removable-media path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removable {
    /// Nothing.
    Absent,
    /// A loader that is not one of our UKIs.
    Foreign,
    /// A copy of this UKI.
    Ours {
        /// Which one.
        name: UkiName,
        /// Its digest.
        digest: Digest,
    },
}

impl Removable {
    /// Looks at the file; its content decides, whatever notes say.
    pub fn look(esp: &Root, notes: &Notes) -> Result<Self> {
        let path = removable_path();
        let Some(size) = esp.size_of(&path)? else { return Ok(Self::Absent) };
        let Some(digest) = esp.sha256_of(&path)? else { return Ok(Self::Absent) };
        // A UKI may be there several times, with other addons beside it: arguments that change.
        let beside = addon_digests(esp, &path)?;
        if let Some(name) = notes.with_content(&digest, &beside) {
            return Ok(Self::Ours { name, digest });
        }
        let published = notes.with_default(&digest).and_then(|note| note.entries.first()?.name());
        if let Some(name) = published.or_else(|| notes.with_digest(&digest)?.name()) {
            return Ok(Self::Ours { name, digest });
        }
        for name in list(esp)? {
            let same_size = esp.size_of(&name.path())? == Some(size);
            if same_size && esp.sha256_of(&name.path())?.as_ref() == Some(&digest) {
                return Ok(Self::Ours { name, digest });
            }
        }
        Ok(Self::Foreign)
    }
}

/// A copy that waits beside the path; `None` if the content is there already.
pub fn stage_copy(esp: &Root, name: &UkiName, present: &Removable) -> Result<Option<String>> {
    let path = removable_path();
    let digest = esp.sha256_of(&name.path())?;
    if matches!(present, Removable::Ours { digest: there, .. } if Some(there) == digest.as_ref()) {
        return Ok(None);
    }
    let mut source = crate::build::open(esp, name)?;
    let (temporary, copied) = esp.copy_to_temporary(&path, &mut source)?;
    if let Err(error) = read_back(esp, &temporary, digest.as_ref().unwrap_or(&copied)) {
        let _ = esp.remove_file(&temporary);
        return Err(error);
    }
    Ok(Some(temporary))
}

/// Whether the copy can be replaced by `name` in one step. The stub looks for addons beside the file that was started, and a
/// folder and a file cannot be switched together: so it can only if both are loaded with the same addons, or if nothing boots from there yet.
pub fn can_switch(esp: &Root, name: &UkiName, present: &Removable) -> Result<bool> {
    match present {
        Removable::Absent => Ok(true),
        Removable::Foreign => Ok(false),
        Removable::Ours { .. } => {
            Ok(addon_digests(esp, &removable_path())? == addon_digests(esp, &name.path())?)
        }
    }
}

/// Puts the addons of `name` beside the path, where nothing lies on it yet.
pub fn prepare_addons(esp: &Root, name: &UkiName, present: &Removable) -> Result<()> {
    if *present == Removable::Absent {
        esp.remove_dir_all(&addon_folder(&removable_path()))?;
        copy_addons(esp, &name.path(), &removable_path())?;
    }
    Ok(())
}

/// Makes the path boot `name`, if it may, can, and there is room: it is the last resort, not what boots normally.
///
/// # Crash
/// The old copy or the new one; none, where the new one has other addons. The firmware's order boots the same in any case.
pub fn refresh(esp: &Root, notes: &Notes, name: &UkiName) -> Result<()> {
    let mut present = Removable::look(esp, notes)?;
    if present == Removable::Foreign {
        return Ok(());
    }
    if !can_switch(esp, name, &present)? {
        esp.remove_file(&removable_path())?;
        present = Removable::Absent;
    }
    let mut needed = Room::on(esp, "the ESP")?;
    needed.add(esp.size_of(&name.path())?.unwrap_or(0));
    if needed.total().is_short() {
        return Ok(());
    }
    prepare_addons(esp, name, &present)?;
    match stage_copy(esp, name, &present)? {
        Some(temporary) => esp.move_into_place(&temporary, &removable_path(), ReplaceStyle::Durable),
        None => Ok(()),
    }
}
