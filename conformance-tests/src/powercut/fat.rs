//! The files of a FAT file system, as firmware finds them: nothing is repaired, and nothing is believed that cannot be followed (Microsoft, "FAT:
//! General Overview of On-Disk Format").

use std::{collections::BTreeMap, ops::Range};

use anyhow::{Context as _, Result, ensure};

/// Reads `buffer.len()` bytes at an offset of the partition.
pub type Read<'a> = dyn Fn(u64, &mut [u8]) -> std::io::Result<()> + 'a;

/// A file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Below the partition, with slashes.
    pub path: String,
    /// In bytes; 0 for folders.
    pub size: u64,
    /// Where its bytes are in the partition. They are fewer than `size` if its chain ends early.
    pub extents: Vec<Range<u64>>,
    /// Whether it is a folder.
    pub folder: bool,
    /// Its first cluster; 0 for an empty file.
    pub first: u32,
    /// What the kernel would stumble over.
    pub damage: Option<Damage>,
}

/// What is wrong with the clusters of a file or folder, although firmware may well read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// Its chain leads to a cluster that is free, or to none: the kernel takes that for an error, and refuses a folder altogether.
    Broken,
    /// It shares clusters with this one, which come free when one of the two is removed.
    Shared(String),
    /// A folder with names behind its end: the kernel refuses any new name that would reach there.
    EndsEarly,
}

const ENTRY: usize = 32;
const MAX_DEPTH: usize = 16;
/// Folders on an ESP are small; a longer one is a loop.
const MAX_FOLDER: u64 = 4 << 20;

struct Volume<'a> {
    read: &'a Read<'a>,
    table: Vec<u8>,
    width: Width,
    cluster: u64,
    /// Where cluster 2 begins.
    data: u64,
    clusters: u32,
    root: Root,
}

#[derive(Clone, Copy, PartialEq)]
enum Width {
    Twelve,
    Sixteen,
    ThirtyTwo,
}

enum Root {
    Fixed(Range<u64>),
    Chain(u32),
}

/// Every file and folder, parents first.
///
/// # Errors
/// When it cannot be read, or is not FAT.
pub fn list(read: &Read<'_>) -> Result<Vec<Item>> {
    let volume = Volume::open(read)?;
    let root = match &volume.root {
        Root::Fixed(range) => vec![range.clone()],
        Root::Chain(first) => volume.chain(*first, MAX_FOLDER),
    };
    let mut items = Vec::new();
    volume.folder("", &root, 0, &mut items)?;
    volume.look_for_damage(&mut items);
    Ok(items)
}

impl<'a> Volume<'a> {
    fn open(read: &'a Read<'a>) -> Result<Self> {
        let mut head = [0; 512];
        read(0, &mut head).context("read the first sector")?;
        let word = |at: usize| u64::from(u16::from_le_bytes([head[at], head[at + 1]]));
        let long = |at: usize| word(at) | word(at + 2) << 16;
        let either = |short: u64, other: u64| if short == 0 { other } else { short };
        ensure!(head[510..] == [0x55, 0xaa], "no FAT file system");
        let (sector, cluster) = (word(11), u64::from(head[13]) * word(11));
        ensure!([512, 1024, 2048, 4096].contains(&sector) && cluster > 0, "sectors of {sector} bytes");
        let table_size = either(word(22), long(36)) * sector;
        let table_at = word(14) * sector;
        let root_at = table_at + u64::from(head[16]) * table_size;
        let data = root_at + (word(17) * ENTRY as u64).next_multiple_of(sector);
        let total = either(word(19), long(32)) * sector;
        let clusters = u32::try_from(total.checked_sub(data).context("no room for data")? / cluster)?;
        let width = match clusters {
            0..4085 => Width::Twelve,
            4085..65525 => Width::Sixteen,
            _ => Width::ThirtyTwo,
        };
        ensure!(table_size <= 64 << 20, "a table of {table_size} bytes");
        let mut table = vec![0; usize::try_from(table_size)?];
        read(table_at, &mut table).context("read the allocation table")?;
        let root = if width == Width::ThirtyTwo {
            Root::Chain(u32::try_from(long(44))?)
        } else {
            Root::Fixed(root_at..data)
        };
        Ok(Self { read, table, width, cluster, data, clusters, root })
    }

    /// The cluster behind `cluster`; `None` at the end, and where the table makes no sense.
    fn next(&self, cluster: u32) -> Option<u32> {
        self.entry(cluster).filter(|next| self.is_cluster(*next))
    }

    /// Whether the table says that a chain ends here.
    fn is_end(&self, cluster: u32) -> bool {
        let first = match self.width {
            Width::Twelve => 0xff8,
            Width::Sixteen => 0xfff8,
            Width::ThirtyTwo => 0x0fff_fff8,
        };
        self.entry(cluster).is_some_and(|entry| entry >= first)
    }

    fn entry(&self, cluster: u32) -> Option<u32> {
        let index = cluster as usize;
        let byte = |at: usize| self.table.get(at).copied().map(u32::from);
        Some(match self.width {
            Width::Twelve => {
                let at = index + index / 2;
                let both = byte(at)? | byte(at + 1)? << 8;
                if index.is_multiple_of(2) { both & 0xfff } else { both >> 4 }
            }
            Width::Sixteen => byte(2 * index)? | byte(2 * index + 1)? << 8,
            Width::ThirtyTwo => {
                let at = 4 * index;
                (byte(at)? | byte(at + 1)? << 8 | byte(at + 2)? << 16 | byte(at + 3)? << 24) & 0x0fff_ffff
            }
        })
    }

    fn is_cluster(&self, number: u32) -> bool {
        (2..self.clusters.saturating_add(2)).contains(&number)
    }

    /// Where the bytes of a chain are, at most `limit` of them and the rest of a cluster.
    fn chain(&self, first: u32, limit: u64) -> Vec<Range<u64>> {
        let mut extents: Vec<Range<u64>> = Vec::new();
        let (mut next, mut length) = (self.is_cluster(first).then_some(first), 0);
        while let Some(cluster) = next.filter(|_| length < limit) {
            let start = self.data + u64::from(cluster - 2) * self.cluster;
            match extents.last_mut().filter(|last| last.end == start) {
                Some(last) => last.end += self.cluster,
                None => extents.push(start..start + self.cluster),
            }
            length += self.cluster;
            next = self.next(cluster);
        }
        extents
    }

    /// Follows each chain as the kernel does.
    fn look_for_damage(&self, items: &mut [Item]) {
        let mut owners: BTreeMap<u32, String> = BTreeMap::new();
        for item in items {
            let mut next = self.is_cluster(item.first).then_some(item.first);
            if item.folder && next.is_none() {
                item.damage = Some(Damage::Broken);
            }
            while let Some(cluster) = next {
                if let Some(other) = owners.insert(cluster, item.path.clone()) {
                    item.damage = Some(Damage::Shared(other));
                    break;
                }
                next = self.next(cluster);
                if next.is_none() && !self.is_end(cluster) {
                    item.damage = Some(Damage::Broken);
                }
            }
        }
    }

    /// Adds what is in a folder; returns whether there is something behind its end.
    fn folder(
        &self,
        parent: &str,
        extents: &[Range<u64>],
        depth: usize,
        items: &mut Vec<Item>,
    ) -> Result<bool> {
        ensure!(depth < MAX_DEPTH, "folders in folders without an end: {parent}");
        let mut bytes = Vec::new();
        for extent in extents {
            let start = bytes.len();
            bytes.resize(start + usize::try_from(extent.end - extent.start)?, 0);
            (self.read)(extent.start, bytes.get_mut(start..).unwrap_or_default())?;
        }
        for (name, entry) in entries(&bytes) {
            let path = if parent.is_empty() { name } else { format!("{parent}/{name}") };
            let folder = entry.attributes & 0x10 != 0;
            let limit = if folder { MAX_FOLDER } else { entry.size };
            let extents = clipped(self.chain(entry.first, limit), if folder { u64::MAX } else { entry.size });
            let size = if folder { 0 } else { entry.size };
            let (first, at) = (entry.first, items.len());
            items.push(Item {
                path: path.clone(),
                size,
                extents: extents.clone(),
                folder,
                first,
                damage: None,
            });
            if folder {
                let early = self.folder(&path, &extents, depth + 1, items)?.then_some(Damage::EndsEarly);
                items.get_mut(at).context("the folder that was added")?.damage = early;
            }
        }
        Ok(ends_early(&bytes))
    }
}

/// Whether there are names behind the end of a folder.
fn ends_early(folder: &[u8]) -> bool {
    let mut firsts = folder.chunks_exact(ENTRY).filter_map(|raw| raw.first());
    firsts.any(|first| *first == 0) && firsts.any(|first| !matches!(first, 0 | 0xe5))
}

fn clipped(extents: Vec<Range<u64>>, mut left: u64) -> Vec<Range<u64>> {
    let mut kept = Vec::new();
    for extent in extents {
        let length = (extent.end - extent.start).min(left);
        left -= length;
        if length > 0 {
            kept.push(extent.start..extent.start + length);
        }
    }
    kept
}

struct Entry {
    attributes: u8,
    first: u32,
    size: u64,
}

/// Names and places in a folder. Volume labels and the folder itself are left out.
fn entries(folder: &[u8]) -> Vec<(String, Entry)> {
    let mut found = Vec::new();
    let mut long = LongName::default();
    for raw in folder.chunks_exact(ENTRY) {
        match (raw[0], raw[11]) {
            (0, _) => break,
            (0xe5, _) => long = LongName::default(),
            (_, 0x0f) => long.add(raw),
            (_, attributes) => {
                let name = std::mem::take(&mut long).name_for(raw).unwrap_or_else(|| short_name(raw));
                if attributes & 0x08 == 0 && name != "." && name != ".." && !name.contains('/') {
                    let word = |at: usize| u32::from(u16::from_le_bytes([raw[at], raw[at + 1]]));
                    let (first, size) = (word(26) | word(20) << 16, u64::from(word(28) | word(30) << 16));
                    found.push((name, Entry { attributes, first, size }));
                }
            }
        }
    }
    found
}

/// `NAME    EXT`, with bits that say which half is shown in small letters.
fn short_name(raw: &[u8]) -> String {
    let part = |bytes: &[u8], small: bool| {
        let text = String::from_utf8_lossy(bytes).trim_end().to_owned();
        if small { text.to_ascii_lowercase() } else { text }
    };
    let name = part(&raw[..8], raw[12] & 0x08 != 0);
    let extension = part(&raw[8..11], raw[12] & 0x10 != 0);
    if extension.is_empty() { name } else { format!("{name}.{extension}") }
}

/// A name in pieces, the last piece first; it counts only if it is complete and belongs to the entry behind it.
#[derive(Default)]
struct LongName {
    pieces: Vec<[u16; 13]>,
    checksum: u8,
    expected: u8,
}

impl LongName {
    fn add(&mut self, raw: &[u8]) {
        let number = raw[0] & 0x3f;
        if raw[0] & 0x40 != 0 {
            *self = Self { pieces: Vec::new(), checksum: raw[13], expected: number };
        }
        if number != self.expected || number == 0 || raw[13] != self.checksum {
            *self = Self::default();
            return;
        }
        let mut piece = [0; 13];
        for (unit, at) in piece.iter_mut().zip((1..11).step_by(2).chain((14..26).step_by(2)).chain([28, 30]))
        {
            *unit = u16::from_le_bytes([raw[at], raw[at + 1]]);
        }
        self.pieces.push(piece);
        self.expected -= 1;
    }

    fn name_for(self, raw: &[u8]) -> Option<String> {
        let sum = raw[..11].iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        if self.pieces.is_empty() || self.expected != 0 || sum != self.checksum {
            return None;
        }
        let units =
            self.pieces.iter().rev().flatten().copied().take_while(|unit| *unit != 0 && *unit != 0xffff);
        Some(String::from_utf16_lossy(&units.collect::<Vec<_>>()))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::FileExt as _, path::Path};

    use super::*;
    use crate::host;

    fn image(folder: &Path, size: u64, options: &[&str]) -> fs::File {
        let (file, source) = (folder.join("fat.img"), folder.join("EFI"));
        fs::File::create(&file).unwrap().set_len(size).unwrap();
        host::run(host::command("mkfs.vfat").args(options).arg(&file)).unwrap();
        fs::create_dir_all(source.join("Linux")).unwrap();
        fs::write(source.join("Linux/a rather long name, for FAT.efi"), vec![7; 5000]).unwrap();
        fs::write(source.join("short.txt"), "text").unwrap();
        fs::write(source.join("empty"), "").unwrap();
        let mut copy = host::command("mcopy");
        host::run(copy.args(["-s", "-i"]).arg(&file).arg(&source).arg("::")).unwrap();
        fs::File::open(file).unwrap()
    }

    fn content(file: &fs::File, item: &Item) -> Vec<u8> {
        let mut all = Vec::new();
        for extent in &item.extents {
            let mut bytes = vec![0; usize::try_from(extent.end - extent.start).unwrap()];
            file.read_exact_at(&mut bytes, extent.start).unwrap();
            all.extend(bytes);
        }
        all
    }

    #[test]
    fn what_another_program_wrote_is_read_in_each_width() {
        for (size, options) in [(2 << 20, ["-F", "12"]), (24 << 20, ["-F", "16"]), (64 << 20, ["-F", "32"])] {
            let folder = tempfile::tempdir().unwrap();
            let file = image(folder.path(), size, &[options.as_slice(), &["-s", "1"]].concat());
            let read = |offset, buffer: &mut [u8]| file.read_exact_at(buffer, offset);
            let mut items = list(&read).unwrap();
            items.sort_by(|a, b| a.path.cmp(&b.path));
            let shown: Vec<_> =
                items.iter().map(|item| (item.path.as_str(), item.size, item.folder)).collect();
            let expected = [
                ("EFI", 0, true),
                ("EFI/Linux", 0, true),
                ("EFI/Linux/a rather long name, for FAT.efi", 5000, false),
                ("EFI/empty", 0, false),
                ("EFI/short.txt", 4, false),
            ];
            assert_eq!(shown, expected);
            assert_eq!(
                (content(&file, &items[2]), content(&file, &items[4])),
                (vec![7; 5000], b"text".to_vec())
            );
        }
    }

    #[test]
    fn what_the_kernel_would_stumble_over_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = image(folder.path(), 24 << 20, &["-F", "16", "-s", "1"]);
        let table = |read: &Read<'_>| list(read).unwrap();
        let mut bytes = fs::read(folder.path().join("fat.img")).unwrap();
        let whole = table(&|offset, buffer| file.read_exact_at(buffer, offset));
        assert!(whole.iter().all(|item| item.damage.is_none()), "{whole:?}");
        let cluster = |name: &str| whole.iter().find(|item| item.path == name).unwrap().first as usize;
        // The table begins behind the reserved sectors.
        let start = usize::from(u16::from_le_bytes([bytes[14], bytes[15]])) * 512;
        let mut link = |from: usize, to: usize| {
            let entry = u16::try_from(to).unwrap().to_le_bytes();
            bytes[start + 2 * from..start + 2 * from + 2].copy_from_slice(&entry);
        };
        link(cluster("EFI/Linux"), 0);
        link(cluster("EFI/short.txt"), cluster("EFI/Linux/a rather long name, for FAT.efi"));
        let damaged = table(&|offset, buffer| {
            let at = usize::try_from(offset).unwrap();
            buffer.copy_from_slice(&bytes[at..at + buffer.len()]);
            Ok(())
        });
        let of = |name: &str| damaged.iter().find(|item| item.path == name).unwrap().damage.clone();
        assert_eq!(of("EFI/Linux"), Some(Damage::Broken));
        assert_eq!(of("EFI"), None);
        let shared: Vec<_> =
            damaged.iter().filter(|item| matches!(item.damage, Some(Damage::Shared(_)))).collect();
        assert_eq!(shared.len(), 1, "{damaged:?}");
    }

    #[test]
    fn a_folder_with_names_behind_its_end_is_named() {
        let folder = tempfile::tempdir().unwrap();
        image(folder.path(), 24 << 20, &["-F", "16", "-s", "1"]);
        let mut bytes = fs::read(folder.path().join("fat.img")).unwrap();
        // The first part of the long name is the last of its entries.
        let name: Vec<_> = "a rat".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let short = bytes.chunks(ENTRY).position(|raw| raw[1..].starts_with(&name)).unwrap() + 1;
        let start = (short - 3) * ENTRY;
        bytes[start..start + 2 * ENTRY].fill(0);
        let items = list(&|offset, buffer: &mut [u8]| {
            let at = usize::try_from(offset).unwrap();
            buffer.copy_from_slice(&bytes[at..at + buffer.len()]);
            Ok(())
        });
        let damaged: Vec<_> =
            items.unwrap().into_iter().filter_map(|item| Some((item.path, item.damage?))).collect();
        assert_eq!(damaged, [("EFI/Linux".to_owned(), Damage::EndsEarly)]);
    }

    #[test]
    fn a_damaged_file_system_ends_in_fewer_files_or_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = fs::read({
            image(folder.path(), 2 << 20, &["-F", "12"]);
            folder.path().join("fat.img")
        })
        .unwrap();
        let mut random = super::super::random::Random::new(1);
        for _ in 0..2000 {
            let at = random.below(40_000);
            bytes[at] = u8::try_from(random.below(256)).unwrap();
            let read = |offset: u64, buffer: &mut [u8]| {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let part = bytes.get(start..start.saturating_add(buffer.len()));
                buffer.copy_from_slice(part.ok_or(std::io::ErrorKind::UnexpectedEof)?);
                Ok(())
            };
            let _ = list(&read);
        }
    }
}
