//! The folder in which a GRUB program looks for its configuration: written into it when it was made, and signed with it.
//!
//! Layout of the section `mods`: GRUB, include/grub/kernel.h (`grub_module_info`, `grub_module_header`).

use bootwright_core::{Error, Result, uki::PeHeaders};

/// Headers are looked for in this many bytes from the start.
const HEADER_LIMIT: usize = 64 << 10;
/// `GRUB_MODULE_MAGIC`.
const MAGIC: u32 = 0x676d_696d;
/// `OBJ_TYPE_PREFIX`.
const PREFIX: u32 = 3;
/// `IMAGE_FILE_MACHINE_I386`: programs for it count in 32 bits.
const I386: u16 = 0x014c;

/// The folder on the partition from which an EFI program of GRUB was started, without a slash in front (`EFI/debian`).
///
/// # Errors
/// `InvalidInput` for what is no such program, or looks on another device, or in a folder with an odd name.
pub fn folder(program: &[u8]) -> Result<String> {
    let headers = PeHeaders::parse(program.get(..HEADER_LIMIT).unwrap_or(program))?;
    let section = headers.section("mods").ok_or_else(|| no_grub("it has no section mods"))?;
    let span = usize::try_from(section.offset).ok().zip(usize::try_from(section.size).ok());
    let bytes = span.and_then(|(start, size)| program.get(start..start.checked_add(size)?));
    let bytes = bytes.ok_or_else(|| no_grub("its section mods ends behind the file"))?;
    let text = find(bytes, headers.machine == I386).ok_or_else(|| no_grub("it names no folder"))?;
    plain(text).ok_or_else(|| {
        let text = String::from_utf8_lossy(text).into_owned();
        Error::invalid(format!("the signed GRUB looks for its configuration in {text:?}"))
            .with_hint("only a folder below /EFI, on the partition that it is started from, can be served")
    })
}

fn no_grub(why: &str) -> Error {
    Error::invalid(format!("the signed GRUB is no program of GRUB's: {why}"))
}

/// The text of the module that is the prefix.
fn find(bytes: &[u8], small: bool) -> Option<&[u8]> {
    let (start, size) = if small {
        (u32_at(bytes, 4)?.into(), u32_at(bytes, 8)?.into())
    } else {
        (u64_at(bytes, 8)?, u64_at(bytes, 16)?)
    };
    let mut at = usize::try_from(start).ok().filter(|_| u32_at(bytes, 0) == Some(MAGIC))?;
    let end = usize::try_from(size).ok()?.min(bytes.len());
    while at < end {
        let (kind, length) = (u32_at(bytes, at)?, usize::try_from(u32_at(bytes, at + 4)?).ok()?);
        let content = bytes.get(at + 8..at.checked_add(length)?)?;
        if kind == PREFIX {
            return content.split(|byte| *byte == 0).next();
        }
        at += length;
    }
    None
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

/// `/EFI/<name>`, as the path of a folder on the ESP.
fn plain(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?.strip_prefix('/')?;
    let (efi, name) = text.split_once('/')?;
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (efi.eq_ignore_ascii_case("EFI") && !name.is_empty() && name.bytes().all(good)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(kinds: &[(u32, &[u8])]) -> Vec<u8> {
        let mut bytes = MAGIC.to_le_bytes().to_vec();
        bytes.extend([0; 4]);
        bytes.extend(24_u64.to_le_bytes());
        let size: usize = kinds.iter().map(|(_, content)| 8 + content.len()).sum();
        bytes.extend((24 + size as u64).to_le_bytes());
        for (kind, content) in kinds {
            bytes.extend(kind.to_le_bytes());
            bytes.extend(u32::try_from(8 + content.len()).unwrap().to_le_bytes());
            bytes.extend_from_slice(content);
        }
        bytes
    }

    #[test]
    fn the_prefix_is_found_among_other_modules() {
        let bytes = modules(&[(0, b"an ELF"), (PREFIX, b"/EFI/debian\0\0")]);
        assert_eq!(find(&bytes, false), Some(b"/EFI/debian".as_slice()));
        assert_eq!(find(&modules(&[(0, b"an ELF")]), false), None);
    }

    #[test]
    fn the_folder_of_a_program_is_read_and_a_device_is_refused() {
        let debian = include_bytes!("../../../fuzz/corpus/grub_program/debian");
        assert_eq!(folder(debian).unwrap(), "EFI/debian");
        let error = folder(include_bytes!("../../../fuzz/corpus/grub_program/device")).unwrap_err();
        assert!(error.to_string().contains("(hd0,gpt1)/boot/grub"), "{error}");
        assert!(folder(b"MZ").is_err());
    }

    #[test]
    fn a_length_that_leads_nowhere_ends_the_search() {
        let mut bytes = modules(&[(0, b""), (PREFIX, b"/EFI/debian\0")]);
        for length in [0_u32, 7, u32::MAX] {
            bytes[28..32].copy_from_slice(&length.to_le_bytes());
            assert_eq!(find(&bytes, false), None, "{length}");
        }
    }

    #[test]
    fn only_plain_folders_below_efi_are_served() {
        assert_eq!(plain(b"/EFI/debian").as_deref(), Some("EFI/debian"));
        for text in
            ["/boot/grub", "(hd0,gpt1)/EFI/debian", "/EFI/", "/EFI/a/b", "/EFI/..", "EFI/debian", "/EFI/ä"]
        {
            assert_eq!(plain(text.as_bytes()), None, "{text}");
        }
    }
}
