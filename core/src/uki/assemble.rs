//! Putting a UKI together: stub, texts, initrds, kernel; streamed, so that memory stays small.

use std::{
    collections::VecDeque,
    fmt,
    io::{Cursor, Read},
};

use super::{
    layout::{Placement, append_headers, clear_nx_compat, is_nx_compat},
    pe::{HEADER_LIMIT, PeHeaders},
};
use crate::{
    error::{Error, IoContext, Result},
    model::KernelCmdline,
};

/// A part of known length that is read once, from start to end.
pub struct Part {
    /// Its length in bytes. A reader that gives more or less makes reading the assembled image fail.
    pub size: u64,
    /// Its content.
    pub content: Box<dyn Read + Send>,
}

impl Part {
    /// A part that is in memory.
    pub fn bytes(content: impl Into<Vec<u8>>) -> Self {
        let content = content.into();
        Self { size: content.len() as u64, content: Box::new(Cursor::new(content)) }
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("size", &self.size).finish_non_exhaustive()
    }
}

/// What a UKI is made of.
#[derive(Debug)]
pub struct UkiParts {
    /// os-release text.
    pub os_release: String,
    /// Command line.
    pub cmdline: KernelCmdline,
    /// Kernel version.
    pub uname: Option<String>,
    /// Initrds, in the order in which the kernel unpacks them.
    pub initrds: Vec<Part>,
    /// Device tree blob.
    pub devicetree: Option<Part>,
    /// The kernel, itself a PE image.
    pub kernel: Part,
}

impl UkiParts {
    /// Puts the parts behind `stub` (systemd's `linux<arch>.efi.stub`), in the layout that it looks for.
    ///
    /// Reads the first bytes of the kernel at once, everything else only when the result is read.
    ///
    /// # Errors
    /// `InvalidInput` if stub or kernel is not a PE image, if they are for different machines, if the stub has no room for
    /// more headers, or if the whole would exceed 4 GiB.
    pub fn assemble(mut self, mut stub: Vec<u8>) -> Result<Assembly> {
        let headers =
            PeHeaders::parse(&stub).map_err(|e| Error::invalid("the EFI stub is damaged").with_source(e))?;
        let head = peek(&mut self.kernel)?;
        let kernel = PeHeaders::parse(&head).map_err(not_a_kernel)?;
        if kernel.machine != headers.machine {
            return Err(Error::invalid(format!(
                "the kernel is for machine {:#06x}, the EFI stub for {:#06x}",
                kernel.machine, headers.machine
            )));
        }
        if !is_nx_compat(&kernel) {
            clear_nx_compat(&mut stub)?;
        }
        let mut sections = vec![
            (".osrel", vec![Part::bytes(self.os_release)]),
            (".cmdline", vec![Part::bytes(self.cmdline.to_string())]),
        ];
        sections.extend(self.uname.map(|uname| (".uname", vec![Part::bytes(uname)])));
        sections.extend(self.devicetree.map(|part| (".dtb", vec![part])));
        if !self.initrds.is_empty() {
            sections.push((".initrd", join_initrds(self.initrds)));
        }
        // Last: in memory, a kernel needs more room than its section has, and nothing may lie behind it then.
        sections.push((".linux", vec![self.kernel]));
        Assembly::new(stub, sections)
    }
}

fn not_a_kernel(source: Error) -> Error {
    Error::invalid("the kernel is not an EFI image")
        .with_source(source)
        .with_hint("a UKI needs a kernel with CONFIG_EFI_STUB, not compressed as a whole (no vmlinuz.gz)")
}

/// Wraps a command line into an addon, from systemd's `addon<arch>.efi.stub`.
///
/// # Errors
/// `InvalidInput` if the stub is not a PE image or has no room for another header.
pub fn addon(stub: Vec<u8>, cmdline: &KernelCmdline) -> Result<Vec<u8>> {
    let mut image = Assembly::new(stub, vec![(".cmdline", vec![Part::bytes(cmdline.to_string())])])?;
    let mut bytes = Vec::new();
    image.read_to_end(&mut bytes).context_io(|| "assemble an addon".to_owned())?;
    Ok(bytes)
}

/// Reads the first bytes of a part and puts them back.
fn peek(part: &mut Part) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    let limit = (HEADER_LIMIT as u64).min(part.size);
    part.content.by_ref().take(limit).read_to_end(&mut head).context_io(|| "read the kernel".to_owned())?;
    let rest = std::mem::replace(&mut part.content, Box::new(std::io::empty()));
    part.content = Box::new(Cursor::new(head.clone()).chain(rest));
    Ok(head)
}

/// The kernel wants each archive to begin at a multiple of four bytes (kernel, Documentation/driver-api/early-userspace/buffer-format.rst).
fn join_initrds(initrds: Vec<Part>) -> Vec<Part> {
    let mut parts = Vec::new();
    for initrd in initrds {
        let padding = initrd.size.wrapping_neg() % 4;
        parts.push(initrd);
        parts.push(zeros(padding));
    }
    parts
}

fn zeros(size: u64) -> Part {
    Part { size, content: Box::new(std::io::repeat(0).take(size)) }
}

/// An assembled image, to be read once from start to end.
#[derive(Debug)]
pub struct Assembly {
    size: u64,
    parts: VecDeque<Part>,
}

impl Assembly {
    fn new(mut stub: Vec<u8>, sections: Vec<(&str, Vec<Part>)>) -> Result<Self> {
        // Saturating: sizes come from outside, and `append_headers` refuses what exceeds 4 GiB.
        let size_of = |parts: &[Part]| parts.iter().fold(0_u64, |sum, part| sum.saturating_add(part.size));
        let wanted: Vec<_> = sections
            .iter()
            .map(|(name, parts)| Placement {
                name: (*name).to_owned(),
                size: size_of(parts),
                code: *name == ".linux",
            })
            .collect();
        let alignment = append_headers(&mut stub, &wanted)?;
        let mut parts = VecDeque::from([Part::bytes(stub)]);
        for (_, content) in sections {
            let size = size_of(&content);
            parts.extend(content);
            parts.push_back(zeros(size.next_multiple_of(alignment) - size));
        }
        Ok(Self { size: parts.iter().map(|part| part.size).sum(), parts })
    }

    /// Length of the image in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Read for Assembly {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while let Some(part) = self.parts.front_mut() {
            if buffer.is_empty() {
                return Ok(0);
            }
            let limit = usize::try_from(part.size).unwrap_or(usize::MAX).min(buffer.len());
            if limit == 0 {
                ensure_end(part)?;
                self.parts.pop_front();
                continue;
            }
            let n = part.content.read(buffer.get_mut(..limit).unwrap_or_default())?;
            if n == 0 {
                let missing = format!("{} bytes less than announced", part.size);
                return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, missing));
            }
            part.size -= n as u64;
            return Ok(n);
        }
        Ok(0)
    }
}

/// Reading to the very end also lets a reader that checks a digest do so.
fn ensure_end(part: &mut Part) -> std::io::Result<()> {
    match part.content.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "more bytes than announced")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{UkiInfo, synthetic},
        *,
    };

    fn parts(kernel: Vec<u8>, initrds: &[&[u8]]) -> UkiParts {
        UkiParts {
            os_release: "ID=x\n".into(),
            cmdline: "root=a b".parse().unwrap(),
            uname: Some("6.12".into()),
            initrds: initrds.iter().map(|bytes| Part::bytes(*bytes)).collect(),
            devicetree: None,
            kernel: Part::bytes(kernel),
        }
    }

    fn built(parts: UkiParts) -> Vec<u8> {
        let mut assembly = parts.assemble(synthetic::stub()).unwrap();
        let (size, mut bytes) = (assembly.size(), Vec::new());
        assembly.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, size);
        bytes
    }

    fn content<'a>(uki: &'a [u8], span: &super::super::SectionSpan) -> &'a [u8] {
        let start = usize::try_from(span.offset).unwrap();
        &uki[start..start + usize::try_from(span.size).unwrap()]
    }

    #[test]
    fn every_part_reads_back_and_initrds_are_padded_to_four_bytes() {
        let kernel = synthetic::image(&[(".setup", &[9; 700])]);
        let uki = built(parts(kernel.clone(), &[b"first", b"2nd"]));
        let info = UkiInfo::parse(&uki).unwrap();
        assert_eq!((info.cmdline.as_deref(), info.uname.as_deref()), (Some("root=a b"), Some("6.12")));
        assert_eq!(content(&uki, &info.linux.unwrap()), kernel);
        assert_eq!(content(&uki, &info.initrd.unwrap()), b"first\0\0\x002nd\0");
    }

    #[test]
    fn sections_ascend_without_overlap_and_the_image_size_covers_them() {
        let uki = built(parts(synthetic::stub(), &[&[1; 9000]]));
        let headers = PeHeaders::parse(&uki).unwrap();
        for pair in headers.sections.windows(2) {
            assert!(pair[0].address + pair[0].memory_size <= pair[1].address, "{pair:?}");
            assert!(pair[0].offset + u64::from(pair[0].raw_size) <= pair[1].offset, "{pair:?}");
            assert_eq!((pair[1].address % 0x1000, pair[1].offset % 0x200), (0, 0));
        }
        let last = headers.sections.last().unwrap();
        assert_eq!(last.name, ".linux");
        let size_of_image = u32::from_le_bytes(uki[0x80 + 24 + 56..][..4].try_into().unwrap());
        assert!(size_of_image >= last.address + last.memory_size && size_of_image % 0x1000 == 0);
    }

    #[test]
    fn a_part_that_is_shorter_or_longer_than_announced_makes_reading_fail() {
        for announced in [3, 5] {
            let mut wrong = parts(synthetic::stub(), &[]);
            wrong.initrds = vec![Part { size: announced, content: Box::new(&b"four"[..]) }];
            let mut assembly = wrong.assemble(synthetic::stub()).unwrap();
            assert!(assembly.read_to_end(&mut Vec::new()).is_err(), "announced {announced}");
        }
    }

    #[test]
    fn a_kernel_that_is_no_efi_image_or_for_another_machine_is_refused() {
        assert!(parts(b"\x1f\x8b gzip".to_vec(), &[]).assemble(synthetic::stub()).is_err());
        let mut other = synthetic::stub();
        other[0x84..0x86].copy_from_slice(&0xaa64_u16.to_le_bytes());
        assert!(parts(other, &[]).assemble(synthetic::stub()).is_err());
    }

    #[test]
    fn a_kernel_that_needs_executable_data_takes_the_flag_from_the_image() {
        let flags = |uki: &[u8]| PeHeaders::parse(uki).unwrap().dll_characteristics;
        let mut kernel = synthetic::stub();
        assert_eq!(flags(&built(parts(kernel.clone(), &[]))), 0x160);
        kernel[0x80 + 24 + 70..][..2].copy_from_slice(&0x60_u16.to_le_bytes());
        assert_eq!(flags(&built(parts(kernel, &[]))), 0x60);
    }

    #[test]
    fn a_stub_without_room_for_headers_is_refused() {
        let mut stub = synthetic::stub();
        let optional = 0x80 + 24;
        // First section's content right behind its header.
        stub[optional + 240 + 20..][..4].copy_from_slice(&0x1b0_u32.to_le_bytes());
        assert!(addon(stub, &KernelCmdline::new()).is_err());
    }

    proptest! {
        #[test]
        fn a_damaged_stub_never_panics(at in 0_usize..0x400, value in any::<u32>()) {
            let mut stub = synthetic::stub();
            stub[at..at + 4].copy_from_slice(&value.to_le_bytes());
            if let Ok(mut assembly) = parts(synthetic::stub(), &[b"x"]).assemble(stub) {
                let _ = assembly.read_to_end(&mut Vec::new());
            }
        }
    }
}
