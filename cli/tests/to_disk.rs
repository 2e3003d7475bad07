//! Making disks out of image files and block devices, with the real programs and the real kernel. Needs root.

#![expect(clippy::disallowed_methods, reason = "tests make and break files, and start programs, on purpose")]

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use bootwright::{
    disk::{ByteSize, CheckedDisk, DiskRequest, MountedTarget, Wanted, device, filesystem, mount::mounts},
    machine::namespace,
};
use bootwright_core::{ErrorKind, fs::ReplaceStyle, registry::Verity};
use sha2::Digest as _;

const MIB: u64 = 1 << 20;

struct Image {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Image {
    fn new(bytes: u64) -> Self {
        namespace::enter().expect("these tests need root");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk.img");
        device::create_image_file(&path, ByteSize(bytes)).unwrap();
        Self { folder, path }
    }

    fn check(&self, filesystem: &'static str, wipe: bool) -> bootwright_core::Result<CheckedDisk> {
        CheckedDisk::check(&self.path, request(filesystem, wipe))
    }

    fn make(&self, filesystem: &'static str) -> MountedTarget {
        self.check(filesystem, false).unwrap().write().unwrap()
    }

    fn hash(&self) -> String {
        let mut hash = sha2::Sha256::new();
        std::io::copy(&mut File::open(&self.path).unwrap(), &mut hash).unwrap();
        format!("{:x}", hash.finalize())
    }

    /// Loop devices go away when their last user closes them, which may be a moment after us.
    fn assert_released(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !output("losetup", &["-j", self.path.to_str().unwrap()]).is_empty() {
            assert!(Instant::now() < deadline, "a loop device is left: {}", output("losetup", &["-a"]));
            std::thread::sleep(Duration::from_millis(20));
        }
        let left: Vec<_> = mounts().unwrap().into_iter().filter(|m| is_ours(&m.at)).collect();
        assert!(left.is_empty(), "mounts are left: {left:?}");
        assert!(self.folder.path().exists());
    }
}

fn is_ours(at: &Path) -> bool {
    at.to_string_lossy().contains("/run/bootwright-")
}

fn request(filesystem: &'static str, wipe: bool) -> DiskRequest<'static> {
    let wanted = Wanted {
        esp: ByteSize::mib(64),
        boot: None,
        bios_boot: false,
        root: None,
        root_minimum: ByteSize::mib(100),
        architecture: "amd64",
    };
    DiskRequest { wanted, filesystem, boot_filesystem: "ext4", mkfs_args: Vec::new(), wipe }
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn table(path: &Path) -> Vec<serde_json::Value> {
    let json: serde_json::Value =
        serde_json::from_str(&output("sfdisk", &["--json", path.to_str().unwrap()])).unwrap();
    assert_eq!(json["partitiontable"]["label"], "gpt");
    json["partitiontable"]["partitions"].as_array().unwrap().clone()
}

fn probe(path: &Path, partition: &serde_json::Value) -> String {
    let bytes = |key: &str| partition[key].as_u64().unwrap() * 512;
    let (offset, size) = (format!("--offset={}", bytes("start")), format!("--size={}", bytes("size")));
    output("blkid", &["-p", "-o", "export", &offset, &size, path.to_str().unwrap()])
}

/// Needs root.
///
/// spec: BW-701
#[test]
fn a_boot_partition_of_each_kind_and_a_bios_boot_partition_are_made_on_demand() {
    for filesystem in ["ext4", "xfs", "btrfs", "vfat"] {
        let image = Image::new(900 * MIB);
        let mut request = request("ext4", false);
        request.wanted.boot = Some(ByteSize::mib(330));
        request.wanted.bios_boot = true;
        request.boot_filesystem = filesystem;
        let mounted = CheckedDisk::check(&image.path, request).unwrap().write().unwrap();
        mounted.xbootldr().unwrap().replace("hello", b"boot", ReplaceStyle::Durable).unwrap();
        let disk = mounted.disk();
        mounted.finish().unwrap().close().unwrap();
        image.assert_released();
        let partitions = table(&image.path);
        assert_eq!(partitions[2]["type"], "BC13C2FF-59E6-4262-A352-B275FD6F7172");
        assert_eq!(partitions[3]["type"], "21686148-6449-6E6F-744E-656564454649");
        assert_eq!(partitions[3]["start"], disk.bios_boot.unwrap().start);
        assert!(probe(&image.path, &partitions[2]).contains(&format!("TYPE={filesystem}")));
    }
}

/// spec: BW-701
#[test]
fn every_root_file_system_gets_the_documented_layout() {
    for filesystem in ["ext4", "btrfs", "xfs"] {
        let image = Image::new(700 * MIB);
        let mounted = image.make(filesystem);
        let (uuid, esp) = (mounted.root_uuid(), mounted.esp_partition());
        mounted.root().replace("hello", b"root", ReplaceStyle::Durable).unwrap();
        mounted.finish().unwrap().close().unwrap();
        image.assert_released();

        let partitions = table(&image.path);
        assert_eq!(partitions.len(), 2);
        assert_eq!(partitions[0]["type"], "C12A7328-F81F-11D2-BA4B-00A0C93EC93B");
        assert_eq!(partitions[1]["type"], "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709");
        assert_eq!(
            (partitions[0]["name"].as_str(), partitions[1]["name"].as_str()),
            (Some("EFI-SYSTEM"), Some("root"))
        );
        assert_eq!(partitions[0]["start"], esp.start);
        assert_eq!(partitions[0]["size"], esp.size);
        let (boot, root) = (probe(&image.path, &partitions[0]), probe(&image.path, &partitions[1]));
        assert!(boot.contains("TYPE=vfat") && boot.contains("VERSION=FAT32"), "{boot}");
        assert!(
            root.contains(&format!("TYPE={filesystem}")) && root.contains(&format!("UUID={uuid}")),
            "{root}"
        );
    }
}

#[test]
fn files_on_the_esp_arrive_with_their_long_names() {
    let image = Image::new(400 * MIB);
    let mounted = image.make("ext4");
    let name = "EFI/Linux/a-rather-long-name-with-a-counter+3-1.efi";
    mounted.esp().replace(name, &vec![7; 3 << 20], ReplaceStyle::Durable).unwrap();
    mounted.esp().replace("loader/loader.conf", b"timeout 3\n", ReplaceStyle::Durable).unwrap();
    mounted.finish().unwrap().close().unwrap();

    let offset = table(&image.path)[0]["start"].as_u64().unwrap() * 512;
    let drive = format!("{}@@{offset}", image.path.display());
    let text = output("mtype", &["-i", &drive, "::/loader/loader.conf"]);
    assert_eq!(text, "timeout 3\n");
    let listed = output("mdir", &["-i", &drive, "-b", "::/EFI/Linux"]);
    assert!(listed.contains(name), "{listed}");
}

#[test]
fn an_esp_that_is_full_is_an_error_while_writing() {
    let image = Image::new(400 * MIB);
    let mounted = image.make("ext4");
    let error = mounted.esp().replace("big", &vec![1; 65 << 20], ReplaceStyle::Durable).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    drop(mounted);
    image.assert_released();
}

#[test]
fn the_offline_root_is_a_block_device_that_holds_only_the_file_system() {
    let image = Image::new(400 * MIB);
    let offline = image.make("ext4").finish().unwrap();
    let root = offline.root(Verity::Required);
    assert_eq!(root.filesystem, "ext4");
    let checked = Command::new("e2fsck").arg("-fn").arg(&root.device).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    assert!(root.scratch.is_dir());
    offline.close().unwrap();
    image.assert_released();
}

/// spec: BW-702
#[test]
fn a_disk_that_holds_data_is_refused_and_unchanged_byte_for_byte() {
    let image = Image::new(400 * MIB);
    image.make("ext4").finish().unwrap().close().unwrap();
    let before = image.hash();
    let error = image.check("ext4", false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    for part in ["gpt", "vfat", "ext4", "EFI-SYSTEM", "64 MiB"] {
        assert!(error.message().contains(part), "{part} is not in {error}");
    }
    assert_eq!(image.hash(), before);
    image.assert_released();
}

#[test]
fn wipe_overwrites_what_was_there() {
    let image = Image::new(400 * MIB);
    image.make("ext4").finish().unwrap().close().unwrap();
    let before = table(&image.path)[1]["uuid"].clone();
    let checked = image.check("btrfs", true).unwrap();
    assert!(checked.contents().to_string().contains("ext4"));
    checked.write().unwrap().finish().unwrap().close().unwrap();
    assert_ne!(table(&image.path)[1]["uuid"], before);
    assert!(probe(&image.path, &table(&image.path)[1]).contains("TYPE=btrfs"));
}

/// spec: BW-704
#[test]
fn a_disk_that_is_too_small_is_refused_and_unchanged() {
    let image = Image::new(120 * MIB);
    let before = image.hash();
    let error = image.check("ext4", true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert!(error.message().contains("120 MiB"), "{error}");
    assert_eq!(image.hash(), before);
}

/// spec: BW-704
#[test]
fn an_unknown_file_system_is_refused_by_name() {
    let error = Image::new(400 * MIB).check("ntfs", true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.hint().unwrap().contains("ext4, btrfs, xfs"), "{error:?}");
}

/// spec: BW-703
#[test]
fn an_image_file_behind_a_loop_device_is_never_touched() {
    let image = Image::new(400 * MIB);
    let before = image.hash();
    let node = output("losetup", &["--find", "--show", image.path.to_str().unwrap()]);
    let error = image.check("ext4", true).unwrap_err();
    output("losetup", &["-d", node.trim()]);
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.message().contains(node.trim()), "{error}");
    assert_eq!(image.hash(), before);
}

#[test]
fn two_installs_to_one_image_exclude_each_other() {
    let image = Image::new(400 * MIB);
    let _first = image.check("ext4", false).unwrap();
    assert_eq!(image.check("ext4", false).unwrap_err().kind(), ErrorKind::Busy);
}

/// spec: BW-705
#[test]
fn a_failure_after_the_first_write_releases_everything() {
    let image = Image::new(400 * MIB);
    let mut request = request("ext4", false);
    request.mkfs_args = vec!["--no-such-option".into()];
    let error = CheckedDisk::check(&image.path, request).unwrap().write().unwrap_err();
    assert_eq!(error.effect(), bootwright_core::Effect::Partial);
    assert!(error.message().contains("mkfs.ext4"), "{error}");
    image.assert_released();
}

/// spec: BW-705
#[test]
fn a_panic_while_mounted_releases_everything() {
    let image = Image::new(400 * MIB);
    let mounted = image.make("ext4");
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _mounted = mounted;
        panic!("on purpose");
    }))
    .unwrap_err();
    image.assert_released();
}

#[test]
fn a_file_left_open_is_an_error_and_still_releases_everything() {
    let image = Image::new(400 * MIB);
    let mounted = image.make("ext4");
    let root = mounted.root().clone();
    let error = mounted.finish().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    drop(root);
    image.assert_released();
}

/// A whole disk as the kernel shows it: a loop device with partitions.
struct Disk(String, Image);

impl Disk {
    fn new(bytes: u64) -> Self {
        let image = Image::new(bytes);
        let node = output("losetup", &["--partscan", "--find", "--show", image.path.to_str().unwrap()]);
        Self(node.trim().to_owned(), image)
    }

    /// One with partitions and file systems.
    fn made(bytes: u64) -> Self {
        let disk = Self::new(bytes);
        let mounted =
            CheckedDisk::check(Path::new(&disk.0), request("ext4", false)).unwrap().write().unwrap();
        mounted.finish().unwrap().close().unwrap();
        disk
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        output("losetup", &["-d", &self.0]);
    }
}

#[test]
fn a_block_device_is_used_through_the_kernels_partitions() {
    let disk = Disk::new(400 * MIB);
    let mounted = CheckedDisk::check(Path::new(&disk.0), request("ext4", false)).unwrap().write().unwrap();
    let offline = mounted.finish().unwrap();
    assert_eq!(offline.root(Verity::Required).device, PathBuf::from(format!("{}p2", disk.0)));
    offline.close().unwrap();
    assert_eq!(table(&disk.1.path).len(), 2);
}

/// `losetup -d` leaves the kernel's partitions of a device that was attached without `--partscan`; the next file gets the device with them.
#[test]
fn every_file_system_is_made_on_a_device_that_still_has_partitions_of_an_earlier_use() {
    let disk = Disk::made(400 * MIB);
    let node = Path::new(&disk.0);
    assert!(Path::new(&format!("{}p2", disk.0)).exists(), "there are no partitions");
    for kind in ["vfat", "ext4", "btrfs", "xfs"] {
        filesystem::make_boot(node, kind, "AGAIN").unwrap();
    }
}

/// spec: BW-703
#[test]
fn a_mounted_disk_is_never_touched_even_with_wipe() {
    let disk = Disk::made(400 * MIB);
    let node = Path::new(&disk.0);
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_str().unwrap();
    output("mount", &["-o", "ro", &format!("{}p2", disk.0), at]);
    let before = disk.1.hash();
    let error = CheckedDisk::check(node, request("ext4", true)).unwrap_err();
    assert_eq!((error.kind(), disk.1.hash()), (ErrorKind::Busy, before));
    assert!(error.message().contains(at), "{error}");
    output("umount", &[at]);
}

#[test]
fn a_partition_is_not_taken_for_a_disk() {
    let disk = Disk::new(400 * MIB);
    let mounted = CheckedDisk::check(Path::new(&disk.0), request("ext4", false)).unwrap().write().unwrap();
    mounted.finish().unwrap().close().unwrap();
    let partition = format!("{}p2", disk.0);
    let error = CheckedDisk::check(Path::new(&partition), request("ext4", true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.hint().unwrap().contains("to-filesystem"));
}
