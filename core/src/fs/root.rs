//! [`Root`]: a folder that may be changed, durably and atomically, with every change counted.

use std::{
    ffi::OsStr,
    io::{Read, Write},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use cap_std::{
    ambient_authority,
    fs::{Dir, OpenOptions, OpenOptionsExt as _},
};
use sha2::{Digest as _, Sha256};

use super::{Faults, protection};
use crate::{
    error::{Error, IoContext, Result},
    model::Digest,
};

/// Prefix of files that are being written; nothing that boots reads them, and `sweep` may remove them.
pub const TEMPORARY_PREFIX: &str = ".bootwright-tmp.";

/// Files up to this length in bytes, as records and boot entries are, are read without asking for their length first.
const SMALL: usize = 4096;

/// What helps where Linux cannot read a folder of a FAT.
const DAMAGED_FAT: &str = "if the partition is damaged, unmount it and run `fsck.fat -a` on it";

/// How a file is put in the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplaceStyle {
    /// Old content until the very moment of the switch, new content after it; the switch itself is durable on return.
    Durable,
    /// Atomic to other processes, durable whenever the file system gets to it: for files that can be made again.
    Relaxed,
}

/// A folder that one may change. Paths are relative, cannot leave the folder, and symbolic links in them stay inside.
///
/// Clones share the same open folder and the same fault counter.
#[derive(Debug, Clone)]
pub struct Root {
    dir: Arc<Dir>,
    label: PathBuf,
    faults: Faults,
    on_fat: Arc<OnceLock<bool>>,
}

impl Root {
    /// Opens the folder at `path` of the running system.
    ///
    /// # Errors
    /// `NotFound`, `Permission` or `Io` as the system says.
    pub fn open(path: impl AsRef<Path>, faults: Faults) -> Result<Self> {
        let path = path.as_ref();
        let dir = Dir::open_ambient_dir(path, ambient_authority())
            .context_io(|| format!("open folder {}", path.display()))?;
        Ok(Self::new(dir, path.to_owned(), faults))
    }

    /// The folder `path` below this one.
    pub fn sub(&self, path: &str) -> Result<Self> {
        let dir = self.dir.open_dir(path).context_io(|| format!("open folder {}", self.show(path)))?;
        Ok(Self::new(dir, self.label.join(path), self.faults.clone()))
    }

    fn new(dir: Dir, label: PathBuf, faults: Faults) -> Self {
        Self { dir: Arc::new(dir), label, faults, on_fat: Arc::default() }
    }

    /// The folder `path` below this one, made with its parents if need be.
    pub fn make_sub(&self, path: &str) -> Result<Self> {
        self.create_dir_all(path)?;
        self.sub(path)
    }

    /// The open folder, for reading in ways that this type does not offer, and for libraries that want one.
    /// Whoever changes anything through it calls [`Faults::before`] first.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// The fault counter.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// `path` in this folder as people know it, for messages only.
    pub fn show(&self, path: &str) -> String {
        self.label.join(path).display().to_string()
    }

    /// The folder as people know it; a path of the running system only if it was opened by one.
    pub fn label(&self) -> &Path {
        &self.label
    }

    /// The content of a file, or `None` if there is none.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let what = || format!("read {}", self.show(path));
        none_if_missing(self.faults.read(what, || read_all(self.dir.open(path)?.into_std())), what)
    }

    /// The content of a text file, or `None` if there is none. Bytes that are not UTF-8 become U+FFFD.
    pub fn read_text(&self, path: &str) -> Result<Option<String>> {
        Ok(self.read(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Opens a file for reading, or `None` if there is none.
    pub fn open_file(&self, path: &str) -> Result<Option<std::fs::File>> {
        let what = || format!("open {}", self.show(path));
        let file = none_if_missing(self.faults.read(what, || self.dir.open(path)), what)?;
        Ok(file.map(cap_std::fs::File::into_std))
    }

    /// Names in a folder, sorted; empty if there is no such folder. Names that are not UTF-8 belong to somebody else and are passed over.
    pub fn list(&self, path: &str) -> Result<Vec<String>> {
        let what = || format!("list {}", self.show(path));
        let names = self.faults.read(what, || names_in(self.open_folder(path)?));
        let names = none_if_missing(names, what)?.unwrap_or_default();
        let mut names: Vec<_> = names.into_iter().filter_map(|name| name.into_string().ok()).collect();
        names.retain(|name| name != "." && name != "..");
        names.sort();
        Ok(names)
    }

    /// Not with `O_PATH`, as cap-std's own folders are: neither reading nor `fsync` works on those.
    fn open_folder(&self, path: &str) -> std::io::Result<OwnedFd> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(rustix::fs::OFlags::DIRECTORY.bits().cast_signed());
        Ok(self.dir.open_with(path, &options)?.into_std().into())
    }

    /// Whether something is at `path`, links followed.
    pub fn exists(&self, path: &str) -> bool {
        self.faults.read(|| self.looking_at(path), || self.dir.try_exists(path)).unwrap_or(false)
    }

    /// Whether something is at `path`, links not followed.
    fn has(&self, path: &str) -> bool {
        self.faults.read(|| self.looking_at(path), || self.dir.symlink_metadata(path)).is_ok()
    }

    fn looking_at(&self, path: &str) -> String {
        format!("look at {}", self.show(path))
    }

    /// Length of a file in bytes, or `None` if there is none.
    pub fn size_of(&self, path: &str) -> Result<Option<u64>> {
        let what = || self.looking_at(path);
        let found = none_if_missing(self.faults.read(what, || self.dir.metadata(path)), what)?;
        Ok(found.map(|metadata| metadata.len()))
    }

    /// SHA-256 of a file, or `None` if there is none.
    pub fn sha256_of(&self, path: &str) -> Result<Option<Digest>> {
        let what = || format!("read {}", self.show(path));
        let hash = || hash_into(&mut self.dir.open(path)?, &mut std::io::sink());
        Ok(none_if_missing(self.faults.read(what, hash), what)?.map(|(digest, _)| digest))
    }

    /// Makes a folder and its parents (mode 0755), durably: a file that is synced in it would be lost with its folder.
    ///
    /// That takes an fsync of each folder in which one was made. On FAT, a power cut showed two things more: a folder whose cluster was free,
    /// because its name was there before the table was, and which Linux refuses to open or remove; and one without its long name. So a
    /// folder gets its name there only when it is durable itself.
    pub fn create_dir_all(&self, path: &str) -> Result<()> {
        if path.is_empty() || self.dir.is_dir(path) {
            return Ok(());
        }
        self.faults.before(&format!("create folder {}", self.show(path)))?;
        if self.is_on_fat() {
            return self.create_on_fat(path).map_err(|error| error.with_hint(DAMAGED_FAT));
        }
        let ancestors = Path::new(path).ancestors().skip(1);
        let parents: Vec<_> = ancestors.map(|parent| (parent, self.dir.is_dir(parent))).collect();
        self.faults
            .again(|| self.dir.create_dir_all(path))
            .context_io(|| format!("create folder {}", self.show(path)))?;
        for (parent, existed) in parents {
            self.sync_folder(parent.to_str().filter(|name| !name.is_empty()).unwrap_or("."))?;
            if existed {
                break;
            }
        }
        Ok(())
    }

    fn create_on_fat(&self, path: &str) -> Result<()> {
        let missing: Vec<_> = Path::new(path).ancestors().filter_map(Path::to_str).collect();
        for path in missing.into_iter().rev().filter(|path| !path.is_empty() && !self.dir.is_dir(path)) {
            let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
            // One that is there is damaged, perhaps, or another name of the folder that was renamed last.
            let taken = self.list(parent)?;
            let mut number = 0;
            while taken.contains(&format!("{TEMPORARY_PREFIX}{number}.{name}")) {
                number += 1;
            }
            let temporary = join(parent, &format!("{TEMPORARY_PREFIX}{number}.{name}"));
            let what = || format!("create folder {}", self.show(path));
            self.faults.again(|| self.dir.create_dir(&temporary)).context_io(what)?;
            self.sync_folder(&temporary)?;
            self.sync_folder(parent)?;
            self.faults.again(|| self.dir.rename(&temporary, &self.dir, path)).context_io(what)?;
            // The folder first: Linux writes a new name without a cluster, which comes with the folder itself.
            self.sync_folder(path)?;
            self.sync_folder(parent)?;
        }
        Ok(())
    }

    /// Replaces a file wholly or not at all, making its folder if need be.
    ///
    /// # Crash
    /// Before the rename: the old content, and perhaps a temporary file beside it. After it: the new content. With
    /// [`ReplaceStyle::Durable`] the new content survives a power cut once this returns; on FAT that takes an fsync of the file after the
    /// rename (its folder alone is not enough: a cut showed an empty file).
    pub fn replace(&self, path: &str, content: &[u8], style: ReplaceStyle) -> Result<()> {
        let temporary = self.write_temporary(path, content)?;
        let moved = self.move_into_place(&temporary, path, style);
        if moved.as_ref().is_err_and(|error| error.kind() != crate::ErrorKind::Interrupted) {
            let _ = self.unlink(&temporary);
        }
        moved
    }

    /// Writes `content` to a temporary file beside `path` and syncs it; returns its path.
    pub fn write_temporary(&self, path: &str, content: &[u8]) -> Result<String> {
        let (temporary, ()) = self.make_temporary(path, &mut |file| file.write_all(content))?;
        Ok(temporary)
    }

    /// Copies all of `reader` to a temporary file beside `path` and syncs it. Returns its path, and the digest of what was copied.
    ///
    /// # Errors
    /// As the system says; the temporary file is removed again then.
    pub fn copy_to_temporary(&self, path: &str, reader: &mut dyn Read) -> Result<(String, Digest)> {
        let (temporary, (digest, _)) = self.make_temporary(path, &mut |file| hash_into(reader, file))?;
        Ok((temporary, digest))
    }

    /// Removes the files in this very folder that were being written when a command was stopped; nothing if there is no such folder.
    ///
    /// Not for FAT, where a power cut leaves more than such files: see [`remove_temporaries`](crate::boot_files::remove_temporaries).
    ///
    /// # Errors
    /// As the system says.
    pub fn remove_half_written(&self, folder: &str) -> Result<()> {
        for name in self.list(folder)?.iter().filter(|name| name.starts_with(TEMPORARY_PREFIX)) {
            self.remove_file(&join(folder, name))?;
        }
        Ok(())
    }

    /// Makes a temporary file beside `path`, filled by `fill`, and syncs it; removes it again if that fails.
    fn make_temporary<T>(
        &self,
        path: &str,
        fill: &mut dyn FnMut(&mut cap_std::fs::File) -> std::io::Result<T>,
    ) -> Result<(String, T)> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.create_dir_all(folder)?;
        let temporary = join(folder, &format!("{TEMPORARY_PREFIX}{name}"));
        self.faults.before(&format!("write {}", self.show(&temporary)))?;
        let made = self.fill_and_sync(&temporary, fill);
        if made.is_err() {
            let _ = self.unlink(&temporary);
        }
        Ok((temporary, made.context_io(|| format!("write {}", self.show(path)))?))
    }

    fn fill_and_sync<T>(
        &self,
        path: &str,
        write: &mut dyn FnMut(&mut cap_std::fs::File) -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let mut file = self.faults.again(|| self.dir.open_with(path, &options))?;
        let written = write(&mut file)?;
        self.faults.sync(|| format!("sync {}", self.show(path)), || file.sync_all())?;
        Ok(written)
    }

    /// Renames `from` over `to`: the switch.
    ///
    /// A rename over a file on FAT gives its clusters back in the same breath, and a power cut showed the old name with a chain of clusters that was
    /// free already: a file cut short. So, where it must be durable, the two change their names there, and the old one is removed only then.
    ///
    /// # Errors
    /// As the system says. The effect is `Committed` if only what comes after the switch failed on FAT.
    pub fn move_into_place(&self, from: &str, to: &str, style: ReplaceStyle) -> Result<()> {
        let what = || format!("rename {} to {}", self.show(from), self.show(to));
        self.faults.before(&what())?;
        if style == ReplaceStyle::Durable && self.swapped_on_fat(from, to) {
            let durable = self.sync_path(to);
            durable.map_err(|error| error.with_effect(crate::error::Effect::Committed))?;
            // What cannot be removed is a temporary file, which the next command finds.
            let _ = self.unlink(from);
            return Ok(());
        }
        self.faults.again(|| self.dir.rename(from, &self.dir, to)).context_io(what)?;
        if style == ReplaceStyle::Durable {
            self.sync_path(to)?;
        }
        Ok(())
    }

    /// Swaps two files on FAT. False if it is another file system, if there is nothing to swap with, or if the kernel cannot (before Linux 6.0).
    fn swapped_on_fat(&self, from: &str, to: &str) -> bool {
        let folder = |path: &str| path.rsplit_once('/').map(|(folder, _)| folder.to_owned());
        self.is_on_fat()
            && folder(from) == folder(to)
            && self.dir.symlink_metadata(to).is_ok_and(|found| found.is_file())
            && self.swap(from, to).is_ok()
    }

    /// Whether this is a FAT file system.
    pub(crate) fn is_on_fat(&self) -> bool {
        const FAT: u64 = 0x4d44;
        let ask =
            || rustix::fs::fstatfs(&*self.dir).is_ok_and(|found| u64::try_from(found.f_type) == Ok(FAT));
        *self.on_fat.get_or_init(ask)
    }

    /// Makes a file and its entry in its folder durable.
    pub fn sync_path(&self, path: &str) -> Result<()> {
        let what = || format!("sync {}", self.show(path));
        let file = self.dir.open(path).context_io(what)?;
        self.faults.sync(what, || file.sync_all()).context_io(what)?;
        self.sync_parent(path)
    }

    /// Makes the entries of a folder durable: names made, renamed and removed in it.
    pub fn sync_folder(&self, path: &str) -> Result<()> {
        let what = || format!("sync folder {}", self.show(path));
        let folder = self.open_folder(path).context_io(what)?;
        self.faults.sync(what, || Ok(rustix::fs::fsync(&folder)?)).context_io(what)
    }

    /// Swaps two names in one step (`renameat2` with `RENAME_EXCHANGE`; on FAT since Linux 6.0).
    pub fn exchange(&self, a: &str, b: &str) -> Result<()> {
        let what = || format!("exchange {} and {}", self.show(a), self.show(b));
        self.faults.before(&what())?;
        self.swap(a, b).context_io(what)
    }

    fn swap(&self, a: &str, b: &str) -> std::io::Result<()> {
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        self.faults.again(|| Ok(rustix::fs::renameat_with(&*self.dir, a, &*self.dir, b, flags)?))
    }

    /// Removes a file; it is no error if there is none. Returns whether there was one.
    ///
    /// # Crash
    /// On FAT, its clusters come free only when its name is gone durably: a name that is left would claim clusters that the next file gets.
    pub fn remove_file(&self, path: &str) -> Result<bool> {
        if !self.has(path) {
            return Ok(false);
        }
        self.faults.before(&format!("remove {}", self.show(path)))?;
        self.unlink(path)
    }

    fn unlink(&self, path: &str) -> Result<bool> {
        // Linux gives clusters back when the last user of the file is gone.
        let held = if self.is_on_fat() { self.dir.open(path).ok() } else { None };
        let removed = self.faults.again(|| self.dir.remove_file(path));
        let removed = none_if_missing(removed, || format!("remove {}", self.show(path)))?.is_some();
        if held.is_some() {
            self.sync_parent(path)?;
        }
        Ok(removed)
    }

    fn sync_parent(&self, path: &str) -> Result<()> {
        self.sync_folder(path.rsplit_once('/').map_or(".", |(folder, _)| folder))
    }

    /// Lets anybody change and remove what is in a folder; it is no error if there is none. See [`Protection`](super::Protection).
    pub fn lift_protection(&self, path: &str) -> Result<()> {
        let what = || format!("lift the protection of what is in {}", self.show(path));
        if !self.has(path) {
            return Ok(());
        }
        self.faults.before(&what())?;
        protection::lift(&self.dir, OsStr::new(path)).map(drop).context_io(what)
    }

    /// Removes a folder with all that is in it, protected files too; it is no error if there is none. Returns whether there was one.
    pub fn remove_dir_all(&self, path: &str) -> Result<bool> {
        if !self.has(path) {
            return Ok(false);
        }
        self.faults.before(&format!("remove folder {}", self.show(path)))?;
        if self.is_on_fat() {
            return self.remove_tree_on_fat(path).map(|()| true);
        }
        let what = || format!("remove folder {}", self.show(path));
        let mut removed = self.faults.again(|| self.dir.remove_dir_all(path));
        if removed.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
            && protection::lift(&self.dir, OsStr::new(path)).context_io(what)?
        {
            removed = self.faults.again(|| self.dir.remove_dir_all(path));
        }
        Ok(none_if_missing(removed, what)?.is_some())
    }

    /// Each file and folder as [`Root::remove_file`] does it.
    fn remove_tree_on_fat(&self, path: &str) -> Result<()> {
        for name in self.list(path)? {
            let below = join(path, &name);
            if self.dir.is_dir(&below) {
                self.remove_tree_on_fat(&below)?;
            } else {
                self.unlink(&below)?;
            }
        }
        let what = || format!("remove folder {}", self.show(path));
        let held = self.dir.open_dir(path).context_io(what)?;
        self.faults.again(|| self.dir.remove_dir(path)).context_io(what)?;
        self.sync_parent(path)?;
        drop(held);
        Ok(())
    }

    /// Makes a symbolic link, replacing another.
    pub fn symlink(&self, target: &str, path: &str) -> Result<()> {
        let what = || format!("link {} to {target}", self.show(path));
        self.faults.before(&what())?;
        none_if_missing(self.dir.remove_file(path), what)?;
        // `symlink_contents` also allows targets that lead out of this folder: they are data here, not followed.
        self.faults.again(|| self.dir.symlink_contents(target, path)).context_io(what)
    }

    /// Makes everything written to this file system durable, journal included (`syncfs`).
    pub fn sync_filesystem(&self) -> Result<()> {
        let what = || format!("sync the file system of {}", self.label.display());
        let handle = self.open_folder(".").context_io(what)?;
        self.faults.sync(what, || Ok(rustix::fs::syncfs(&handle)?)).context_io(what)
    }

    /// Bytes that may still be written on this file system.
    pub fn free_bytes(&self) -> Result<u64> {
        let stats = self.stats()?;
        Ok(stats.f_bavail.saturating_mul(stats.f_frsize))
    }

    /// How many files may still be made on this file system; `None` if it sets no number (btrfs, FAT).
    pub fn free_inodes(&self) -> Result<Option<u64>> {
        let stats = self.stats()?;
        Ok((stats.f_files > 0).then_some(stats.f_favail))
    }

    fn stats(&self) -> Result<rustix::fs::StatVfs> {
        rustix::fs::fstatvfs(&*self.dir)
            .context_io(|| format!("ask what is free on {}", self.label.display()))
    }

    /// A path of the running system that leads to this very folder, for programs and libraries that take nothing else.
    /// Valid in this process and its children as long as the value lives.
    pub fn proc_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.dir.as_fd().as_raw_fd()))
    }
}

fn read_all(mut file: std::fs::File) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(SMALL);
    (&file).take(SMALL as u64).read_to_end(&mut content)?;
    if content.len() == SMALL {
        file.read_to_end(&mut content)?;
    }
    Ok(content)
}

fn names_in(folder: OwnedFd) -> std::io::Result<Vec<std::ffi::CString>> {
    rustix::fs::Dir::new(folder)?.map(|entry| Ok(entry?.file_name().to_owned())).collect()
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn none_if_missing<T>(result: std::io::Result<T>, what: impl Fn() -> String) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(what(), error)),
    }
}

/// Copies and hashes in one pass. Returns the SHA-256 and the number of bytes.
///
/// # Errors
/// The reader's or the writer's.
pub fn hash_into(reader: &mut dyn Read, writer: &mut dyn Write) -> std::io::Result<(Digest, u64)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    let mut total = 0;
    loop {
        let n = match reader.read(&mut buffer) {
            Ok(0) => return Ok((Digest::from_sha256(hash.finalize().into()), total)),
            Ok(n) => n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let chunk = buffer.get(..n).unwrap_or_default();
        hash.update(chunk);
        writer.write_all(chunk)?;
        total += n as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Fault;

    fn root(faults: Faults) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path(), faults).unwrap();
        (folder, root)
    }

    /// spec: BW-901
    #[test]
    fn a_replacement_that_is_stopped_leaves_the_old_content() {
        let (folder, setup) = root(Faults::none());
        setup.replace("a/b", b"old", ReplaceStyle::Durable).unwrap();
        for n in 0..2 {
            let root = Root::open(folder.path(), Faults::stop_before(n)).unwrap();
            root.replace("a/b", b"new", ReplaceStyle::Durable).unwrap_err();
            assert_eq!(setup.read("a/b").unwrap().unwrap(), b"old", "stopped before mutation {n}");
        }
    }

    /// spec: BW-903
    #[test]
    fn an_error_is_reported_and_leaves_the_old_content_and_a_signal_is_none() {
        let (folder, setup) = root(Faults::none());
        setup.replace("a/b", b"old", ReplaceStyle::Durable).unwrap();
        for (fault, kind) in [(Fault::NoSpace, crate::ErrorKind::NoSpace), (Fault::Io, crate::ErrorKind::Io)]
        {
            for n in 0..2 {
                let root = Root::open(folder.path(), Faults::fail_once(n, fault)).unwrap();
                let error = root.replace("a/b", b"new", ReplaceStyle::Durable).unwrap_err();
                assert_eq!(error.kind(), kind, "{error}");
                assert_eq!(setup.read("a/b").unwrap().unwrap(), b"old", "mutation {n} failed");
                assert_eq!(setup.list("a").unwrap(), ["b"], "something is left");
            }
        }
        for n in 0..2 {
            let root = Root::open(folder.path(), Faults::fail_once(n, Fault::Signal)).unwrap();
            root.replace("a/b", b"new", ReplaceStyle::Durable).unwrap();
        }
    }

    #[test]
    fn a_failed_copy_leaves_no_temporary_file() {
        #[derive(Debug)]
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("broken"))
            }
        }
        let (_folder, root) = root(Faults::none());
        root.copy_to_temporary("x", &mut Broken).unwrap_err();
        assert!(root.list("").unwrap().is_empty() && root.list(".").unwrap().is_empty());
    }

    /// spec: BW-902
    #[test]
    fn paths_cannot_leave_the_folder() {
        let (_folder, root) = root(Faults::none());
        root.replace("../escaped", b"", ReplaceStyle::Relaxed).unwrap_err();
        root.read("/etc/hostname").unwrap_err();
    }

    #[test]
    fn missing_files_and_folders_are_no_error() {
        let (_folder, root) = root(Faults::none());
        assert!(root.read("none").unwrap().is_none());
        assert!(root.list("none").unwrap().is_empty());
        assert!(!root.remove_file("none").unwrap());
    }

    #[test]
    fn exchange_swaps_two_files() {
        let (_folder, root) = root(Faults::none());
        root.replace("a", b"1", ReplaceStyle::Relaxed).unwrap();
        root.replace("b", b"2", ReplaceStyle::Relaxed).unwrap();
        root.exchange("a", "b").unwrap();
        assert_eq!(root.read("a").unwrap().unwrap(), b"2");
    }

    #[test]
    fn the_proc_path_leads_to_the_folder() {
        let (_folder, root) = root(Faults::none());
        root.replace("here", b"", ReplaceStyle::Relaxed).unwrap();
        assert!(root.proc_path().join("here").exists());
        root.sync_filesystem().unwrap();
    }
}
