//! An image whose only layer is very large: one file of a gibibyte, and many small ones.
//!
//! The content is made here, the same every time. Half of it is noise, which does not compress, the rest repeats itself: gzip has
//! about as much to do as with programs.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use bootwright_conformance::images::{
    BlobStore, Content, Entry, EntryKind, LayerSink, OciImage, OciLayoutWriter,
};

use super::say;

/// Part of the folder's name: to be changed with the content.
const RECIPE: &str = "1";
const TAG: &str = "large";
/// Noise and zeros take turns in pieces of this size.
const PIECE: usize = 32 << 10;
/// Bytes of the large file.
const LARGE_FILE: u64 = 1 << 30;
/// Small files: 512 MiB in all.
const FILES: usize = 20_480;
const FILE: usize = 26_214;
const FILES_PER_FOLDER: usize = 256;

/// What makes it bootable, as far as an import can tell.
const FOLDERS: [&str; 11] = [
    "boot",
    "etc",
    "sysroot",
    "usr",
    "usr/bin",
    "usr/lib",
    "usr/lib/modules",
    "usr/lib/modules/6.0-bench",
    "usr/share",
    "usr/share/bench",
    "var",
];

/// Makes the image below `folder`, or finds it made.
///
/// # Errors
/// When there is no room.
pub fn image(folder: &Path) -> Result<OciImage> {
    let layout = folder.join(format!("large-{RECIPE}"));
    if layout.join("index.json").exists() {
        return Ok(OciImage::new(layout, TAG));
    }
    say("making an image with one layer of 1.5 GiB: that takes some minutes, once");
    let blobs = folder.join("blobs");
    let store = BlobStore::open(&blobs)?;
    let mut sink = LayerSink::new(&store)?;
    fill(&mut sink, folder).context("make a large layer")?;
    let writer = OciLayoutWriter::new(&store).layer(sink.finish(&store)?).label("containers.bootc", "1");
    let image = writer.finish(&layout, TAG)?;
    // The layout has hard links of them.
    fs::remove_dir_all(&blobs)?;
    Ok(image)
}

fn fill(sink: &mut LayerSink, folder: &Path) -> Result<()> {
    for path in FOLDERS {
        sink.entry(&Entry::directory(path, 0o755))?;
    }
    let mut noise = Noise::default();
    for name in ["vmlinuz", "initramfs.img"] {
        let path = format!("usr/lib/modules/6.0-bench/{name}");
        sink.entry(&Entry::file(&path, noise.bytes(12 << 20), 0o644))?;
    }
    large_file(sink, folder, &mut noise)?;
    for number in 0..FILES {
        let parent = format!("usr/share/bench/{:03}", number / FILES_PER_FOLDER);
        if number % FILES_PER_FOLDER == 0 {
            sink.entry(&Entry::directory(&parent, 0o755))?;
        }
        sink.entry(&Entry::file(&format!("{parent}/{number}"), small_file(&mut noise, number), 0o644))?;
    }
    Ok(())
}

fn large_file(sink: &mut LayerSink, folder: &Path, noise: &mut Noise) -> Result<()> {
    let file = tempfile::NamedTempFile::new_in(folder)?;
    let mut writer = BufWriter::new(File::create(file.path())?);
    let zeros = vec![0; PIECE];
    for _ in 0..LARGE_FILE / (2 * PIECE as u64) {
        writer.write_all(&noise.bytes(PIECE))?;
        writer.write_all(&zeros)?;
    }
    writer.flush()?;
    let content = EntryKind::File(Content::Host(file.path().to_owned()));
    sink.entry(&Entry::new("usr/lib/large", 0o644, content))
}

/// Half noise, half a line that repeats.
fn small_file(noise: &mut Noise, number: usize) -> Vec<u8> {
    let mut bytes = noise.bytes(FILE / 2);
    let line = format!("file number {number} of many\n");
    bytes.extend(line.bytes().cycle().take(FILE - FILE / 2));
    bytes
}

/// Numbers without a pattern that gzip could find: xorshift64* (Vigna 2016, "An experimental exploration of Marsaglia's
/// xorshift generators, scrambled").
struct Noise(u64);

impl Default for Noise {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_the_same_every_time_and_never_repeats_itself_soon() {
        let (one, two) = (Noise::default().bytes(8000), Noise::default().bytes(8000));
        assert_eq!(one, two);
        let words: std::collections::BTreeSet<_> = one.chunks(8).collect();
        assert_eq!(words.len(), 1000);
    }

    #[test]
    fn every_folder_of_the_image_comes_after_its_parent() {
        for (index, path) in FOLDERS.iter().enumerate() {
            let parent = path.rsplit_once('/').map(|(parent, _)| parent);
            assert!(parent.is_none_or(|parent| FOLDERS[..index].contains(&parent)), "{path}");
        }
    }

    #[test]
    fn small_files_have_their_size_and_differ() {
        let mut noise = Noise::default();
        let (one, two) = (small_file(&mut noise, 1), small_file(&mut noise, 2));
        assert_eq!((one.len(), two.len()), (FILE, FILE));
        assert_ne!(one, two);
    }
}
