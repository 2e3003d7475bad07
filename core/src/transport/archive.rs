//! `oci-archive:`: an OCI image layout in a tar file, read in place.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use super::{
    layout::{Files, Layout},
    source,
};
use crate::{
    error::{Error, IoContext, Result},
    model::{ImageReference, ImageSummary},
    tree::Reader,
};

/// Entries in an archive: an image has a few dozen.
const MAX_ENTRIES: usize = 100_000;

pub(super) fn inspect(reference: &ImageReference, architecture: &str) -> Result<ImageSummary> {
    let (path, tag) = reference.path_and_tag();
    if Path::new(path).is_dir() {
        return Err(Error::invalid(format!("{path} is a folder, not an image archive"))
            .with_hint(format!("for the folder of a layout, write oci:{path}")));
    }
    let file = File::open(path).context_io(|| format!("open the archive {path}"))?;
    let archive = Archive::index(file, path)?;
    let layout = Layout { files: &archive, label: path, tag };
    source::inspect(&layout, reference, architecture)
}

/// Where each regular file of a tar file lies.
#[derive(Debug)]
struct Archive {
    file: File,
    /// Offset and length by name; of files with one name the last counts, as for tar(1).
    entries: BTreeMap<String, (u64, u64)>,
}

impl Archive {
    /// Walks the headers; the content between them is seeked over.
    fn index(mut file: File, label: &str) -> Result<Self> {
        refuse_compressed(&mut file, label)?;
        let mut tar = tar::Archive::new(&file);
        let malformed = |error: std::io::Error| {
            Error::invalid(format!("{label} is not a readable tar file")).with_source(error)
        };
        let mut entries = BTreeMap::new();
        for entry in tar.entries_with_seek().map_err(malformed)? {
            let entry = entry.map_err(malformed)?;
            if entry.header().entry_type().is_file() {
                let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
                entries.insert(name, (entry.raw_file_position(), entry.size()));
            }
            if entries.len() > MAX_ENTRIES {
                return Err(Error::invalid(format!("{label} has more than {MAX_ENTRIES} entries")));
            }
        }
        Ok(Self { file, entries })
    }
}

/// Magic numbers of what `docker save | gzip` and its like make. Decompressing gigabytes to find a few documents is not what a look-up is for.
const COMPRESSED: &[(&[u8], &str)] = &[
    (&[0x1f, 0x8b], "gunzip"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "unzstd"),
    (&[0xfd, b'7', b'z', b'X', b'Z'], "unxz"),
    (b"BZh", "bunzip2"),
];

fn refuse_compressed(file: &mut File, label: &str) -> Result<()> {
    let what = || format!("read the archive {label}");
    let mut start = Vec::new();
    Read::by_ref(file).take(8).read_to_end(&mut start).context_io(what)?;
    file.seek(SeekFrom::Start(0)).context_io(what)?;
    match COMPRESSED.iter().find(|(magic, _)| start.starts_with(magic)) {
        Some((_, program)) => Err(Error::unsupported(format!("{label} is compressed as a whole"))
            .with_hint(format!("decompress it first, with {program}"))),
        None => Ok(()),
    }
}

impl Files for Archive {
    fn open(&self, name: &str) -> Result<Option<Reader>> {
        let Some(&(offset, length)) = self.entries.get(name) else { return Ok(None) };
        let what = || format!("read {name} of the archive");
        let mut file = self.file.try_clone().context_io(what)?;
        file.seek(SeekFrom::Start(offset)).context_io(what)?;
        Ok(Some(Box::new(file.take(length))))
    }
}
