//! PE headers, as far as UKIs need them.

use object::{
    LittleEndian as LE, pe,
    read::pe::{ImageNtHeaders, ImageOptionalHeader, optional_header_magic},
};

use crate::error::{Error, Result};

/// Headers are looked for in this many bytes from the start: the stub's are below 2 KiB, the kernel's too.
pub(super) const HEADER_LIMIT: usize = 64 << 10;

/// Where a section lies in the file and in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionSpan {
    /// Name, up to eight bytes.
    pub name: String,
    /// First byte in the file.
    pub offset: u64,
    /// Bytes of content: the smaller of its size in the file (padded to the file alignment) and in memory (systemd,
    /// src/boot/pe.c, does the same).
    pub size: u64,
    /// Address in memory, from the image's base.
    pub address: u32,
    /// Size in memory.
    pub memory_size: u32,
    /// Size in the file, padding included.
    pub raw_size: u32,
}

/// What the headers of a PE image say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeHeaders {
    /// Machine type (`IMAGE_FILE_MACHINE_…`).
    pub machine: u16,
    /// Sections in the order of the table.
    pub sections: Vec<SectionSpan>,
    /// Offset of the PE signature.
    pub nt_offset: usize,
    /// Offset of the section table.
    pub table_offset: usize,
    /// Alignment of sections in the file.
    pub file_alignment: u32,
    /// Alignment of sections in memory.
    pub section_alignment: u32,
    /// Bytes reserved for headers at the start of the file.
    pub headers_size: u32,
    /// DLL characteristics (`IMAGE_DLLCHARACTERISTICS_…`).
    pub dll_characteristics: u16,
    /// Whether the image carries a signature.
    pub signed: bool,
}

impl PeHeaders {
    /// Reads the headers from the first bytes of an image. Any bytes are safe to pass.
    ///
    /// # Errors
    /// `InvalidInput` if this is not a PE image, or if its headers do not lie within `head`.
    pub fn parse(head: &[u8]) -> Result<Self> {
        match optional_header_magic(head).map_err(bad)? {
            pe::IMAGE_NT_OPTIONAL_HDR64_MAGIC => Self::parse_as::<pe::ImageNtHeaders64>(head),
            pe::IMAGE_NT_OPTIONAL_HDR32_MAGIC => Self::parse_as::<pe::ImageNtHeaders32>(head),
            other => Err(Error::invalid(format!("PE image with unknown optional header {other:#x}"))),
        }
    }

    fn parse_as<Nt: ImageNtHeaders>(head: &[u8]) -> Result<Self> {
        let dos = pe::ImageDosHeader::parse(head).map_err(bad)?;
        let nt_offset = u64::from(dos.nt_headers_offset());
        let mut offset = nt_offset;
        let (nt, directories) = Nt::parse(head, &mut offset).map_err(bad)?;
        let sections = nt.sections(head, offset).map_err(bad)?;
        let header = nt.optional_header();
        Ok(Self {
            machine: nt.file_header().machine.get(LE).0,
            sections: sections.iter().map(span).collect(),
            nt_offset: to_usize(nt_offset)?,
            table_offset: to_usize(offset)?,
            file_alignment: header.file_alignment(),
            section_alignment: header.section_alignment(),
            headers_size: header.size_of_headers(),
            dll_characteristics: header.dll_characteristics().0,
            signed: directories
                .get(pe::IMAGE_DIRECTORY_ENTRY_SECURITY)
                .is_some_and(|directory| directory.virtual_address.get(LE) != 0),
        })
    }

    /// The first section with this name.
    pub fn section(&self, name: &str) -> Option<&SectionSpan> {
        self.sections.iter().find(|section| section.name == name)
    }
}

fn span(section: &pe::ImageSectionHeader) -> SectionSpan {
    let name = section.name.split(|&byte| byte == 0).next().unwrap_or_default();
    let (memory_size, raw_size) = (section.virtual_size.get(LE), section.size_of_raw_data.get(LE));
    SectionSpan {
        name: String::from_utf8_lossy(name).into_owned(),
        offset: section.pointer_to_raw_data.get(LE).into(),
        size: memory_size.min(raw_size).into(),
        address: section.virtual_address.get(LE),
        memory_size,
        raw_size,
    }
}

fn to_usize(value: u64) -> Result<usize> {
    usize::try_from(value).map_err(|_| Error::invalid("PE header lies too far into the file"))
}

fn bad(source: object::read::Error) -> Error {
    Error::invalid(format!("not a PE image: {source}"))
}
