//! Sealing against the composefs crate's digests, and on real ext4 images. Tests that mount need root.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bootwright_core::error::ErrorKind;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use composefs::fsverity::{FsVerityHashValue, Sha256HashValue, Sha512HashValue, compute_verity};

use super::*;
use crate::loop_disk::{LoopDisk, run};

const SIZES: [usize; 13] = [
    0,
    1,
    4095,
    4096,
    4097,
    64 * 4096,
    64 * 4096 + 1,
    128 * 4096 - 1,
    128 * 4096,
    128 * 4096 + 1,
    128 * 128 * 4096,
    5_000_000,
    128 * 128 * 4096 + 1,
];

fn data(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn digest(algorithm: Algorithm, data: &[u8]) -> Vec<u8> {
    let mut hasher = merkle::Hasher::new(algorithm, data.len() as u64);
    hasher.update(data);
    descriptor::Metadata::new(algorithm, hasher, data.len() as u64).digest
}

fn composefs_digest<H: FsVerityHashValue>(data: &[u8]) -> Vec<u8> {
    hex::decode(compute_verity::<H>(data).to_hex()).expect("hex")
}

/// spec: BW-312
#[test]
fn digests_equal_those_of_the_composefs_crate() {
    for size in SIZES {
        let data = data(size);
        assert_eq!(
            digest(Algorithm::Sha256, &data),
            composefs_digest::<Sha256HashValue>(&data),
            "sha256, {size}"
        );
        assert_eq!(
            digest(Algorithm::Sha512, &data),
            composefs_digest::<Sha512HashValue>(&data),
            "sha512, {size}"
        );
    }
}

/// An ext4 image file, mounted while it is used.
struct Disk(LoopDisk);

impl std::ops::Deref for Disk {
    type Target = LoopDisk;
    fn deref(&self) -> &LoopDisk {
        &self.0
    }
}

impl std::ops::DerefMut for Disk {
    fn deref_mut(&mut self) -> &mut LoopDisk {
        &mut self.0
    }
}

impl Disk {
    fn make(features: &str) -> Self {
        Self(LoopDisk::make(&["mkfs.ext4", "-q", "-b", "4096", "-O", features], 256 << 20))
    }

    fn repository(&self) -> Dir {
        let path = self.mount_point().join("composefs");
        fs::create_dir_all(&path).expect("repository");
        Dir::open_ambient_dir(path, ambient_authority()).expect("repository")
    }

    /// One on which only the second half of sealing is left to be done.
    fn appended() -> (Self, Sealing) {
        let mut disk = Self::make("verity");
        disk.mount();
        disk.fill();
        let sealing = append_repository(&disk.repository(), Algorithm::Sha256).expect("append");
        disk.unmount();
        (disk, sealing)
    }

    /// Stores `data` as composefs does: a read-only file named by its digest.
    fn store(&self, data: &[u8]) -> PathBuf {
        let name = Sha256HashValue::to_object_pathname(&compute_verity(data));
        let path = self.mount_point().join("composefs/objects").join(name);
        fs::create_dir_all(path.parent().expect("folder")).expect("object folder");
        write_read_only(&path, data);
        path
    }

    fn fill(&self) {
        fs::create_dir_all(self.mount_point().join("composefs")).expect("repository");
        write_read_only(&self.mount_point().join("composefs/meta.json"), b"{\"version\":1}\n");
        for size in SIZES {
            self.store(&data(size));
        }
    }
}

fn write_read_only(path: &Path, data: &[u8]) {
    let mut file = File::create(path).expect("object");
    file.write_all(data).expect("object");
    let mut permissions = file.metadata().expect("object").permissions();
    permissions.set_readonly(true);
    file.set_permissions(permissions).expect("object");
}

/// Needs root.
/// spec: BW-312
#[test]
fn a_sealed_disk_is_clean_and_every_object_has_the_flag_and_its_size() {
    let (disk, sealing) = Disk::appended();
    let summary = sealing.finish(&disk.image()).expect("finish");
    assert_eq!(summary.files, SIZES.len() + 1);
    assert_eq!(summary.bytes, SIZES.iter().sum::<usize>() as u64 + 14);
    run(Command::new("e2fsck").arg("-fn").arg(disk.image()));
    let stat = run(Command::new("debugfs").args(["-R", "stat /composefs/meta.json"]).arg(disk.image()));
    assert!(stat.contains("Flags: 0x180000") && stat.contains("Size: 14"), "{stat}");
}

/// Needs root.
#[test]
fn files_that_take_several_runs_of_debugfs_are_all_sealed_and_all_looked_at() {
    let (mut disk, sealing) = Disk::appended();
    sealing.seal(&disk.image(), 5).expect("sealed");
    disk.mount();
    assert!(
        append_repository(&disk.repository(), Algorithm::Sha256).expect("append again").files().is_empty()
    );
    disk.unmount();
    let no_inode = SealedFile { inode: 1 << 31, ..sealing.files()[0] };
    let with_one_more = Sealing::new([sealing.files(), &[no_inode]].concat());
    let error = with_one_more.seal(&disk.image(), 5).expect_err("there is no such inode");
    assert!(error.message().starts_with(&format!("1 of {} files", sealing.files().len() + 1)), "{error}");
}

/// Needs root.
#[test]
fn a_second_run_over_a_sealed_repository_has_nothing_to_do() {
    let (mut disk, sealing) = Disk::appended();
    sealing.finish(&disk.image()).expect("finish");
    disk.mount();
    let again = append_repository(&disk.repository(), Algorithm::Sha256).expect("append again");
    assert!(again.files().is_empty());
    disk.unmount();
    assert_eq!(again.finish(&disk.image()).expect("nothing to do").files, 0);
}

/// Needs root.
#[test]
fn an_interrupted_append_is_taken_up_again_with_the_true_sizes() {
    let mut disk = Disk::make("verity");
    disk.mount();
    disk.fill();
    let first = append_repository(&disk.repository(), Algorithm::Sha256).expect("append");
    disk.store(b"an object that came later");
    let second = append_repository(&disk.repository(), Algorithm::Sha256).expect("append again");
    let sizes = |s: &Sealing| s.files().iter().map(|f| (f.inode, f.size)).collect::<Vec<_>>();
    assert!(sizes(&first).iter().all(|file| sizes(&second).contains(file)));
    assert_eq!(second.files().len(), first.files().len() + 1);
    disk.unmount();
    second.finish(&disk.image()).expect("finish");
}

/// Needs root.
#[test]
fn an_object_with_another_content_is_refused_before_anything_is_written_to_it() {
    let mut disk = Disk::make("verity");
    disk.mount();
    disk.fill();
    let path = disk.store(b"good");
    fs::write(&path, b"evil").expect("root may write");
    let error = append_repository(&disk.repository(), Algorithm::Sha256).expect_err("altered");
    assert_eq!(error.kind(), ErrorKind::Integrity);
    assert!(error.context().iter().any(|(key, value)| *key == "file" && value.starts_with("objects/")));
    assert_eq!(fs::metadata(&path).expect("object").len(), 4);
}

/// A file whose content looks like metadata of fs-verity must be sealed as what it is. Needs root.
#[test]
fn an_object_that_imitates_sealed_metadata_is_sealed_whole() {
    let mut disk = Disk::make("verity");
    disk.mount();
    disk.fill();
    let mut hasher = merkle::Hasher::new(Algorithm::Sha256, 5);
    hasher.update(b"inner");
    let inner = descriptor::Metadata::new(Algorithm::Sha256, hasher, 5);
    let mut imitation = b"inner".to_vec();
    imitation.resize(usize::try_from(inner.position).expect("small"), 0);
    imitation.extend_from_slice(&inner.bytes);
    disk.store(&imitation);
    let sealing = append_repository(&disk.repository(), Algorithm::Sha256).expect("append");
    assert!(sealing.files().iter().any(|file| file.size == imitation.len() as u64));
    disk.unmount();
    sealing.finish(&disk.image()).expect("finish");
}

/// Needs root.
/// spec: BW-703
#[test]
fn a_mounted_file_system_is_not_touched() {
    let mut disk = Disk::make("verity");
    disk.mount();
    disk.fill();
    let sealing = append_repository(&disk.repository(), Algorithm::Sha256).expect("append");
    let error = sealing.finish_within(&disk.image(), Duration::ZERO).expect_err("mounted");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Busy, bootwright_core::error::Effect::None));
}

/// Needs root.
#[test]
fn file_systems_that_cannot_be_sealed_are_named() {
    let plain = Disk::make("^verity");
    let error = check_device(&plain.image()).expect_err("no verity feature");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let empty = tempfile::NamedTempFile::new().expect("file");
    let error = check_device(empty.path()).expect_err("no file system");
    assert!(error.message().contains("does not hold an ext4"), "{error}");
    assert!(check_device(&Disk::make("verity").image()).is_ok());
}

/// Needs root.
#[test]
fn a_repository_without_its_metadata_file_is_refused() {
    let mut disk = Disk::make("verity");
    disk.mount();
    let error = append_repository(&disk.repository(), Algorithm::Sha256).expect_err("no meta.json");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
