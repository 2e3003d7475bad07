//! Names of our UKIs.

use bootwright_core::{
    Error, Result,
    boot_files::{decode_id, encode_id},
    fs::Root,
    model::{DeploymentId, Digest, EntryId},
};

/// The folder of UKIs (UAPI.5).
pub const FOLDER: &str = "EFI/Linux";
const PREFIX: &str = "bootwright-";
const SUFFIX: &str = ".efi";
const TAG: usize = 16;

/// One of our UKIs: `bootwright-<deployment>-<tag>`, the tag being the first digits of a digest of the UKI and its addons.
///
/// Unambiguous: the tag has a fixed length and follows the last dash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UkiName {
    /// What it boots.
    pub deployment: DeploymentId,
    tag: String,
}

impl UkiName {
    /// Names the UKI of `deployment` with this content.
    ///
    /// # Errors
    /// `InvalidInput` if the deployment's id is too long for a file name.
    pub fn new(deployment: &DeploymentId, digest: &Digest) -> Result<Self> {
        let tag = digest.hex().get(..TAG).unwrap_or_default().to_owned();
        let name = Self { deployment: deployment.clone(), tag };
        EntryId::new(name.stem())?;
        Ok(name)
    }

    /// The file name without its suffix; also the entry's id.
    pub fn stem(&self) -> String {
        format!("{PREFIX}{}-{}", encode_id(&self.deployment), self.tag)
    }

    /// The entry's id.
    ///
    /// # Errors
    /// `Internal`, never for a name that was read or made here.
    pub fn id(&self) -> Result<EntryId> {
        EntryId::new(self.stem()).map_err(|error| Error::internal("odd file name").with_source(error))
    }

    /// Where it lies on the ESP.
    pub fn path(&self) -> String {
        format!("{FOLDER}/{}{SUFFIX}", self.stem())
    }

    /// The same as firmware writes it.
    pub fn efi_path(&self) -> String {
        format!("\\{}", self.path().replace('/', "\\"))
    }

    /// Whether content with this digest has this tag. Says nothing for a UKI with addons, whose tag covers them too.
    pub fn is_tag_of(&self, digest: &Digest) -> bool {
        digest.hex().starts_with(&self.tag)
    }

    /// Reads a stem; `None` if it is not ours.
    pub fn parse(stem: &str) -> Option<Self> {
        let (id, tag) = stem.strip_prefix(PREFIX)?.rsplit_once('-')?;
        let valid = tag.len() == TAG && tag.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        EntryId::new(stem).ok()?;
        valid.then_some(Self { deployment: decode_id(id)?, tag: tag.to_owned() })
    }

    /// Reads a file name.
    pub fn parse_file(file: &str) -> Option<Self> {
        Self::parse(file.strip_suffix(SUFFIX)?)
    }

    /// Reads a path in a load option; firmware may have changed its case.
    pub fn parse_efi_path(path: &str) -> Option<Self> {
        let path = path.replace('\\', "/").to_ascii_lowercase();
        let folder = FOLDER.to_ascii_lowercase();
        Self::parse_file(path.trim_start_matches('/').strip_prefix(&folder)?.strip_prefix('/')?)
    }
}

/// Our UKIs on the ESP, by name.
pub fn list(esp: &Root) -> Result<Vec<UkiName>> {
    Ok(esp.list(FOLDER)?.iter().filter_map(|file| UkiName::parse_file(file)).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_others_are_not_ours() {
        for file in [
            "linux.efi",
            "bootwright-.efi",
            "bootwright-a.efi",
            "bootwright-a-0123.efi",
            "bootwright-0123456789abcdef.efi",
            "bootwright--0123456789abcdef.efi",
            "bootwright-a-0123456789abcdeF.efi",
            "bootwright-a-0123456789abcdef.EFI",
            "bootwright-A-0123456789abcdef.efi",
            "../bootwright-a-0123456789abcdef.efi",
        ] {
            assert_eq!(UkiName::parse_file(file), None, "{file}");
        }
    }

    proptest! {
        #[test]
        fn every_name_reads_back_also_from_firmware_that_changed_its_case(id in "[A-Za-z0-9_-][A-Za-z0-9._-]{0,40}", byte in any::<u8>()) {
            let name = UkiName::new(&DeploymentId::new(id).unwrap(), &Digest::from_sha256([byte; 32])).unwrap();
            prop_assert_eq!(UkiName::parse(&name.stem()), Some(name.clone()));
            prop_assert_eq!(UkiName::parse_efi_path(&name.efi_path().to_ascii_uppercase()), Some(name));
        }

        #[test]
        fn any_text_parses_without_panic(text in ".{0,60}") {
            let _ = (UkiName::parse_file(&text), UkiName::parse_efi_path(&text));
        }
    }
}
