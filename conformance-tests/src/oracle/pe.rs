//! Sections of PE images, read by their table (Microsoft, "PE Format").

/// Bytes of the first section of this name.
pub(super) fn section(image: &[u8], wanted: &str) -> Option<Vec<u8>> {
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
    for at in (0..count).map(|index| table + 40 * index) {
        let name = image.get(at..at + 8)?;
        let name = name.split(|byte| *byte == 0).next()?;
        if name == wanted.as_bytes() {
            let (virtual_size, raw_size, offset) = (u32_at(at + 8)?, u32_at(at + 16)?, u32_at(at + 20)?);
            let size = if virtual_size == 0 { raw_size } else { virtual_size.min(raw_size) };
            return image.get(offset..offset + size).map(<[u8]>::to_vec);
        }
    }
    None
}

/// Text of a section, without what ends it.
pub(super) fn text_section(image: &[u8], wanted: &str) -> Option<String> {
    let bytes = section(image, wanted)?;
    Some(String::from_utf8_lossy(&bytes).trim_end_matches('\0').trim().to_owned())
}
