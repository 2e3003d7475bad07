//! Images derived from another: the same layers, and one more that changes, adds and removes files.

use anyhow::Result;
use sha2::{Digest as _, Sha256};

use super::{
    cache::{Cache, Key},
    compose::UNIT_FOLDER,
    entry::{Content, Entry, EntryKind},
    oci::OciImage,
    writer::{OciLayoutWriter, layout_path},
};

/// What a derived image changes.
#[derive(Debug, Clone)]
pub struct Edits {
    version: String,
    entries: Vec<Entry>,
    labels: Vec<(String, String)>,
}

impl Edits {
    /// No change but the version: the tag inside the layout, and the version label.
    pub fn new(version: &str) -> Self {
        Self { version: version.to_owned(), entries: Vec::new(), labels: Vec::new() }
    }

    /// Adds or replaces a regular file.
    #[must_use]
    pub fn write(self, path: &str, bytes: impl Into<Vec<u8>>, mode: u32) -> Self {
        self.entry(Entry::file(path, bytes, mode))
    }

    /// Adds or replaces a symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(Entry::symlink(path, target))
    }

    /// Adds or replaces a systemd unit, for which a link in the folder `wanted` of another ("multi-user.target.wants") asks.
    #[must_use]
    pub fn unit(self, name: &str, text: impl Into<Vec<u8>>, wanted: &str) -> Self {
        let edits = self.write(&format!("{UNIT_FOLDER}/{name}"), text, 0o644);
        edits.symlink(&format!("{UNIT_FOLDER}/{wanted}/{name}"), &format!("../{name}"))
    }

    /// Removes a file or a folder with all that is in it.
    #[must_use]
    pub fn remove(self, path: &str) -> Self {
        self.entry(Entry::whiteout(path))
    }

    /// Adds any entry.
    #[must_use]
    pub fn entry(mut self, entry: Entry) -> Self {
        self.entries.push(entry);
        self
    }

    /// Sets a label.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Puts a unified kernel image at `/boot/EFI/Linux/<kernel version>.efi`.
    #[must_use]
    pub fn unified(self, kernel_version: &str, uki: impl Into<Vec<u8>>) -> Self {
        self.write(&format!("/boot/EFI/Linux/{kernel_version}.efi"), uki, 0o644)
    }

    /// Removes the kernel and the initramfs beside its modules, as an image with only a unified kernel has it.
    #[must_use]
    pub fn without_split_kernel(self, kernel_version: &str) -> Self {
        let folder = format!("/usr/lib/modules/{kernel_version}");
        self.remove(&format!("{folder}/vmlinuz")).remove(&format!("{folder}/initramfs.img"))
    }
}

/// Makes the image that `edits` turn `base` into, or takes it from the cache. It shares all blobs with `base`.
pub fn derive(base: &OciImage, edits: &Edits, cache: &Cache) -> Result<OciImage> {
    let key = edits_key(base, edits)?;
    let dir = layout_path(cache.dir(), "derived", &key);
    let _lock = cache.lock(&format!("derived-{key}"))?;
    if dir.join("index.json").exists() {
        return Ok(OciImage::new(dir, &edits.version));
    }
    let mut writer = OciLayoutWriter::from_image(base, cache.blobs())?;
    if !edits.entries.is_empty() {
        writer = writer.entries(edits.entries.clone())?;
    }
    writer = writer.label("org.opencontainers.image.version", &edits.version);
    writer = edits.labels.iter().fold(writer, |writer, (name, value)| writer.label(name, value));
    writer.finish(&dir, &edits.version)
}

fn edits_key(base: &OciImage, edits: &Edits) -> Result<String> {
    let mut key = Key::default().add(base.manifest_digest()?).add(&edits.version);
    key = edits.labels.iter().fold(key, |key, (name, value)| key.add("label").add(name).add(value));
    for entry in &edits.entries {
        key = key.add("entry").add(entry.path()).add(entry.mode().to_le_bytes());
        key = match entry.kind() {
            EntryKind::File(Content::Bytes(bytes)) => key.add("bytes").add(Sha256::digest(bytes)),
            EntryKind::File(Content::Host(path)) => {
                key.add("bytes").add(Sha256::digest(std::fs::read(path)?))
            }
            other => key.add(format!("{other:?}")),
        };
    }
    Ok(key.short())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn base(cache: &Cache, folder: &std::path::Path) -> OciImage {
        let entries = vec![Entry::file("usr/lib/a", "1", 0o644), Entry::file("etc/b", "1", 0o644)];
        let writer = OciLayoutWriter::new(cache.blobs()).label("keep", "me").entries(entries).unwrap();
        writer.finish(&folder.join("base"), "v1").unwrap()
    }

    #[test]
    fn a_derived_image_changes_adds_and_removes() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().join("cache")).unwrap();
        let edits =
            Edits::new("v2").write("/usr/lib/a", "2", 0o644).remove("/etc/b").write("/etc/c", "3", 0o600);
        let image = derive(&base(&cache, folder.path()), &edits, &cache).unwrap();
        assert_eq!(image.read_file("/usr/lib/a").unwrap().as_deref(), Some(b"2".as_slice()));
        assert_eq!(image.read_file("/etc/b").unwrap(), None);
        assert_eq!(image.read_file("/etc/c").unwrap().as_deref(), Some(b"3".as_slice()));
        assert_eq!(image.labels().unwrap().get("keep").map(String::as_str), Some("me"));
        assert!(image.reference().ends_with(":v2"));
    }

    #[test]
    fn a_derived_image_shares_its_blobs_with_the_base() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().join("cache")).unwrap();
        let base = base(&cache, folder.path());
        let image = derive(&base, &Edits::new("v2"), &cache).unwrap();
        let layer = &base.layers().unwrap()[0].blob.sha256;
        let inode = |image: &OciImage| std::fs::metadata(image.blob_path(layer)).unwrap().ino();
        assert_eq!(inode(&image), inode(&base));
    }

    #[test]
    fn a_unified_image_may_lose_its_split_kernel() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().join("cache")).unwrap();
        let edits = Edits::new("uki").unified("6.1", "MZ").without_split_kernel("6.1");
        let image = derive(&base(&cache, folder.path()), &edits, &cache).unwrap();
        assert!(image.read_file("/boot/EFI/Linux/6.1.efi").unwrap().is_some());
        assert!(image.kernel_version().is_err());
    }

    #[test]
    fn other_edits_give_another_image() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().join("cache")).unwrap();
        let base = base(&cache, folder.path());
        let one = derive(&base, &Edits::new("v2").write("/a", "1", 0o644), &cache).unwrap();
        let two = derive(&base, &Edits::new("v2").write("/a", "2", 0o644), &cache).unwrap();
        assert_ne!(one.layout(), two.layout());
    }
}
