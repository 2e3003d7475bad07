//! What a UKI says about itself.

use std::io::{Cursor, Read, Seek, SeekFrom};

use super::pe::{HEADER_LIMIT, PeHeaders, SectionSpan};
use crate::{
    error::{Error, IoContext, Result},
    model::KernelCmdline,
};

/// Text sections are a few hundred bytes; a larger one than this is not read.
const TEXT_LIMIT: u64 = 1 << 20;

/// The sections of a UKI that say what it is. Kernel and initrd are located, not read.
///
/// Of a multi-profile image, this is the profile that boots by itself: the sections of the first `.profile` win over
/// those in front of it (UAPI.5, "Multi-Profile UKIs").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UkiInfo {
    /// Machine type (`IMAGE_FILE_MACHINE_…`).
    pub machine: u16,
    /// `.cmdline`, up to its first NUL.
    pub cmdline: Option<String>,
    /// `.osrel`: an os-release text.
    pub os_release: Option<String>,
    /// `.uname`: the kernel's version.
    pub uname: Option<String>,
    /// `.sbat`: what revocation lists compare with.
    pub sbat: Option<String>,
    /// Where the kernel lies.
    pub linux: Option<SectionSpan>,
    /// Where the initrd lies.
    pub initrd: Option<SectionSpan>,
    /// Whether the image carries a signature.
    pub signed: bool,
}

impl UkiInfo {
    /// Reads an image that is in memory.
    ///
    /// # Errors
    /// As [`UkiInfo::from_reader`].
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        Self::from_reader(&mut Cursor::new(bytes))
    }

    /// Reads headers and text sections, at most a few MiB however large the image is. Any bytes are safe to pass.
    ///
    /// # Errors
    /// `InvalidInput` if this is not a PE image, if a section that is read or located lies outside the file, or if a text
    /// section is larger than 1 MiB; `Io` as the reader says.
    pub fn from_reader(reader: &mut (impl Read + Seek)) -> Result<Self> {
        let end = reader.seek(SeekFrom::End(0)).context_io(reading)?;
        reader.rewind().context_io(reading)?;
        let mut head = Vec::new();
        reader.by_ref().take(HEADER_LIMIT as u64).read_to_end(&mut head).context_io(reading)?;
        let headers = PeHeaders::parse(&head)?;
        let find = |name: &str| located(&headers, name, end);
        let mut text = |name: &str| match find(name)? {
            Some(span) => read_text(reader, &span).map(Some),
            None => Ok(None),
        };
        Ok(Self {
            machine: headers.machine,
            cmdline: text(".cmdline")?,
            os_release: text(".osrel")?,
            uname: text(".uname")?.map(|uname| uname.trim().to_owned()),
            sbat: text(".sbat")?,
            linux: find(".linux")?,
            initrd: find(".initrd")?,
            signed: headers.signed,
        })
    }

    /// The embedded command line; empty if there is none.
    pub fn cmdline(&self) -> KernelCmdline {
        KernelCmdline::parse_lossy(self.cmdline.as_deref().unwrap_or_default())
    }

    /// The value of a key in the embedded os-release text (os-release(5)), quotes removed.
    pub fn os_release_value(&self, key: &str) -> Option<String> {
        let lines = self.os_release.as_deref()?.lines();
        let value = lines.filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix('=')).next_back()?;
        let unquoted = ['"', '\''].iter().find_map(|&q| value.strip_prefix(q)?.strip_suffix(q));
        Some(unquoted.unwrap_or(value).to_owned()).filter(|value| !value.is_empty())
    }
}

fn reading() -> String {
    "read a UKI".to_owned()
}

/// The section that takes effect by default: first profile, then base.
fn located(headers: &PeHeaders, name: &str, end: u64) -> Result<Option<SectionSpan>> {
    let mut parts = headers.sections.split(|section| section.name == ".profile");
    let (base, first) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let find = |part: &[SectionSpan]| part.iter().find(|section| section.name == name).cloned();
    let found = find(first).or_else(|| find(base));
    match found {
        Some(span) if span.offset.saturating_add(span.size) > end => Err(Error::invalid(format!(
            "section {name} lies outside the file, which is truncated or damaged"
        ))),
        found => Ok(found),
    }
}

fn read_text(reader: &mut (impl Read + Seek), span: &SectionSpan) -> Result<String> {
    if span.size > TEXT_LIMIT {
        return Err(Error::invalid(format!("section {} is larger than 1 MiB", span.name)));
    }
    reader.seek(SeekFrom::Start(span.offset)).context_io(reading)?;
    let mut bytes = Vec::new();
    reader.by_ref().take(span.size).read_to_end(&mut bytes).context_io(reading)?;
    // The stub reads a C string: what follows a NUL does not take effect.
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    Ok(String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::synthetic, *};

    fn image(sections: &[(&str, &[u8])]) -> Vec<u8> {
        synthetic::image(sections)
    }

    #[test]
    fn the_text_sections_are_read_and_the_big_ones_located() {
        let uki = image(&[
            (".osrel", b"ID=x\nPRETTY_NAME=\"A B\"\n"),
            (".cmdline", b"a b=1"),
            (".linux", b"kernel"),
        ]);
        let info = UkiInfo::parse(&uki).unwrap();
        assert_eq!(info.cmdline().to_string(), "a b=1");
        assert_eq!(info.os_release_value("PRETTY_NAME").as_deref(), Some("A B"));
        assert_eq!(info.linux.map(|span| span.size), Some(6));
        assert_eq!(info.initrd, None);
    }

    #[test]
    fn arguments_behind_a_nul_do_not_count_because_the_stub_does_not_see_them() {
        assert_eq!(UkiInfo::parse(&image(&[(".cmdline", b"a\0root=x")])).unwrap().cmdline().to_string(), "a");
    }

    #[test]
    fn the_first_of_two_sections_with_one_name_counts() {
        let uki = image(&[(".cmdline", b"first"), (".cmdline", b"second")]);
        assert_eq!(UkiInfo::parse(&uki).unwrap().cmdline.as_deref(), Some("first"));
    }

    #[test]
    fn the_first_profile_overrides_the_base_and_other_profiles_do_not() {
        let uki = image(&[
            (".cmdline", b"base"),
            (".osrel", b"ID=base"),
            (".profile", b"ID=one"),
            (".cmdline", b"one"),
            (".profile", b"ID=two"),
            (".cmdline", b"two"),
            (".uname", b"two"),
        ]);
        let info = UkiInfo::parse(&uki).unwrap();
        assert_eq!((info.cmdline.as_deref(), info.uname.as_deref()), (Some("one"), None));
        assert_eq!(info.os_release_value("ID").as_deref(), Some("base"));
    }

    #[test]
    fn a_truncated_image_is_refused() {
        let uki = image(&[(".cmdline", b"a"), (".linux", &[7; 5000])]);
        assert!(UkiInfo::parse(&uki[..uki.len() - 4000]).is_err());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = UkiInfo::parse(&bytes);
        }

        #[test]
        fn a_damaged_image_never_panics(at in 0_usize..1024, value in any::<u32>()) {
            let mut uki = image(&[(".osrel", b"ID=x"), (".cmdline", b"a b=1"), (".linux", b"kernel")]);
            uki[at..at + 4].copy_from_slice(&value.to_le_bytes());
            let _ = UkiInfo::parse(&uki);
        }
    }
}
