//! Sections of PE images, read by their table (Microsoft, "PE Format").

/// A section's name, and its bytes if all of them are there.
type Section<'a> = (String, Option<&'a [u8]>);

/// The sections in the order of the table, up to where that is cut; `None` if it is no PE image.
fn sections(image: &[u8]) -> Option<impl Iterator<Item = Section<'_>>> {
    let u16_at = |at: usize| Some(u16::from_le_bytes(image.get(at..at + 2)?.try_into().ok()?) as usize);
    let u32_at = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?) as usize);
    if image.get(..2)? != b"MZ" {
        return None;
    }
    let header = u32_at(0x3c)?;
    if image.get(header..header + 4)? != b"PE\0\0" {
        return None;
    }
    let (count, optional) = (u16_at(header + 6)?, u16_at(header + 20)?);
    let table = header + 24 + optional;
    let section = move |at: usize| {
        let name = image.get(at..at + 8)?.split(|byte| *byte == 0).next()?;
        let (virtual_size, raw_size, offset) = (u32_at(at + 8)?, u32_at(at + 16)?, u32_at(at + 20)?);
        let size = if virtual_size == 0 { raw_size } else { virtual_size.min(raw_size) };
        Some((String::from_utf8_lossy(name).into_owned(), image.get(offset..offset + size)))
    };
    Some((0..count).map_while(move |index| section(table + 40 * index)))
}

/// Bytes of the first section of this name.
pub(super) fn section(image: &[u8], wanted: &str) -> Option<Vec<u8>> {
    sections(image)?.find(|(name, _)| name == wanted)?.1.map(<[u8]>::to_vec)
}

/// The sections beside the command line of an image that has one: what stays when that is made anew.
pub fn sections_beside_arguments(image: &[u8]) -> Option<Vec<(String, &[u8])>> {
    let whole = sections(image)?.map(|(name, bytes)| Some((name, bytes?)));
    let mut found = whole.collect::<Option<Vec<_>>>()?;
    let all = found.len();
    found.retain(|(name, _)| name != ".cmdline");
    (found.len() < all).then_some(found)
}

/// Text of a section, without what ends it.
pub(super) fn text_section(image: &[u8], wanted: &str) -> Option<String> {
    let bytes = section(image, wanted)?;
    Some(String::from_utf8_lossy(&bytes).trim_end_matches('\0').trim().to_owned())
}
