//! Where new sections go in a PE image: headers, file offsets and addresses.

use super::pe::PeHeaders;
use crate::error::{Error, Result};

const SECTION_HEADER: usize = 40;
const CODE: u32 = 0x0000_0020;
const INITIALIZED_DATA: u32 = 0x0000_0040;
const READABLE: u32 = 0x4000_0000;
const NX_COMPAT: u16 = 0x0100;

/// A section to be added: what its header needs to know.
#[derive(Debug, Clone)]
pub(super) struct Placement {
    pub name: String,
    pub size: u64,
    pub code: bool,
}

/// Adds headers for `wanted` to `image`, and pads it so that the content of the sections, each padded to the file alignment,
/// can simply follow. Returns the file alignment.
///
/// New sections lie behind the last one in memory, as the loader of a PE image demands (PE format, "Section Table": ascending and
/// adjacent). The checksum becomes 0: firmware does not check it, and a signing tool sets it.
///
/// # Errors
/// `InvalidInput` if the image is not a PE image, is signed (the signature would be void), or has no room for more headers.
pub(super) fn append_headers(image: &mut Vec<u8>, wanted: &[Placement]) -> Result<u64> {
    let headers = PeHeaders::parse(image)?;
    if wanted.iter().any(|section| section.size > u64::from(u32::MAX)) {
        return Err(too_large());
    }
    if headers.signed {
        return Err(Error::invalid("the EFI stub is signed; adding sections would break the signature")
            .with_hint("use the unsigned stub, linux<arch>.efi.stub"));
    }
    let alignment = u64::from(headers.file_alignment.clamp(1, 1 << 16));
    let room = room_for_headers(&headers);
    let table_end = headers.table_offset + SECTION_HEADER * (headers.sections.len() + wanted.len());
    if table_end > room {
        return Err(Error::invalid(format!(
            "the EFI stub has room for headers up to byte {room}, not {table_end}"
        )));
    }
    let padded = (image.len() as u64).next_multiple_of(alignment);
    image.resize(usize::try_from(padded).map_err(|_| too_large())?, 0);
    let mut next = Next { offset: padded, address: end_of_last(&headers) };
    let mut table = Vec::new();
    for section in wanted {
        table.extend_from_slice(&next.place(section, alignment, headers.section_alignment)?);
    }
    put(image, headers.table_offset + SECTION_HEADER * headers.sections.len(), &table)?;
    let count = u16::try_from(headers.sections.len() + wanted.len()).map_err(|_| too_large())?;
    put(image, headers.nt_offset + 6, &count.to_le_bytes())?;
    finish_optional_header(image, &headers, room, next.image_size(headers.section_alignment)?, wanted)?;
    Ok(alignment)
}

/// Offsets are those of the optional header (PE format, "Optional Header Windows-Specific Fields"), equal in PE32 and PE32+.
fn finish_optional_header(
    image: &mut [u8],
    headers: &PeHeaders,
    room: usize,
    image_size: u32,
    wanted: &[Placement],
) -> Result<()> {
    let optional = headers.nt_offset + 24;
    let added: u64 = wanted.iter().map(|section| section.size).sum();
    let old =
        image.get(optional + 8..optional + 12).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
    let data_size = old.saturating_add(u32::try_from(added).unwrap_or(u32::MAX));
    put(image, optional + 8, &data_size.to_le_bytes())?;
    put(image, optional + 56, &image_size.to_le_bytes())?;
    put(image, optional + 60, &u32::try_from(room).map_err(|_| too_large())?.to_le_bytes())?;
    put(image, optional + 64, &0_u32.to_le_bytes())
}

/// Clears "compatible with no-execute memory" in an image, because the kernel in it is not (its flag and the
/// kernel's must agree, or firmware that enforces it stops the kernel).
pub(super) fn clear_nx_compat(image: &mut [u8]) -> Result<()> {
    let headers = PeHeaders::parse(image)?;
    let flags = headers.dll_characteristics & !NX_COMPAT;
    put(image, headers.nt_offset + 24 + 70, &flags.to_le_bytes())
}

/// Whether an image says that it runs with no-execute memory.
pub(super) fn is_nx_compat(headers: &PeHeaders) -> bool {
    headers.dll_characteristics & NX_COMPAT != 0
}

/// Everything before the first section's content, in the file and in memory, may hold headers.
fn room_for_headers(headers: &PeHeaders) -> usize {
    let sections = || headers.sections.iter().filter(|section| section.raw_size > 0);
    let in_file = sections().map(|section| section.offset).min();
    let in_memory = headers.sections.iter().map(|section| u64::from(section.address)).min();
    let room = in_file.into_iter().chain(in_memory).min().unwrap_or(headers.headers_size.into());
    usize::try_from(room).unwrap_or(usize::MAX)
}

fn end_of_last(headers: &PeHeaders) -> u64 {
    let ends = headers.sections.iter().map(|s| u64::from(s.address) + u64::from(s.memory_size.max(1)));
    ends.max().unwrap_or(headers.headers_size.into())
}

struct Next {
    offset: u64,
    address: u64,
}

impl Next {
    fn place(&mut self, section: &Placement, alignment: u64, memory: u32) -> Result<[u8; SECTION_HEADER]> {
        let raw_size = section.size.next_multiple_of(alignment);
        let address = self.address.next_multiple_of(u64::from(memory.max(1)));
        let kind = if section.code { CODE } else { INITIALIZED_DATA };
        let mut header = [0; SECTION_HEADER];
        let name = section.name.as_bytes();
        put(&mut header, 0, name.get(..8).unwrap_or(name))?;
        for (at, value) in [(8, section.size), (12, address), (16, raw_size), (20, self.offset)] {
            put(&mut header, at, &u32::try_from(value).map_err(|_| too_large())?.to_le_bytes())?;
        }
        put(&mut header, 36, &(kind | READABLE).to_le_bytes())?;
        self.offset += raw_size;
        self.address = address + section.size.max(1);
        Ok(header)
    }

    fn image_size(&self, memory: u32) -> Result<u32> {
        u32::try_from(self.address.next_multiple_of(u64::from(memory.max(1)))).map_err(|_| too_large())
    }
}

fn put(bytes: &mut [u8], offset: usize, value: &[u8]) -> Result<()> {
    let place = offset.checked_add(value.len()).and_then(|end| bytes.get_mut(offset..end));
    place.ok_or_else(|| Error::invalid("the headers of the EFI stub are cut short"))?.copy_from_slice(value);
    Ok(())
}

fn too_large() -> Error {
    Error::invalid("kernel and initrd together are too large for a PE image")
        .with_hint("a UKI must stay below 4 GiB; use a smaller initrd")
}
