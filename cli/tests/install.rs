//! Whole installs of a tiny image, by the program, on image files: what lands on the disk, and what bad input leaves. Needs root.

#![cfg(all(feature = "composefs", feature = "systemd-boot"))]
#![expect(clippy::disallowed_methods, reason = "tests make and break files, and start programs, on purpose")]

mod support;

use std::{
    fs::OpenOptions,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{KERNEL, TinyImage, complaint, hash, output, program};

const PLUGINS: [&str; 4] = ["--backend", "composefs", "--boot", "systemd-boot"];

struct Disk {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Disk {
    fn new(mib: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk.img");
        std::fs::File::create(&path).unwrap().set_len(mib << 20).unwrap();
        Self { _folder: folder, path }
    }

    fn text(&self) -> &str {
        self.path.to_str().unwrap()
    }

    fn install(&self, image: &TinyImage, extra: &[&str]) -> Output {
        let reference = image.reference();
        let mut args = vec!["install", "to-disk", "--image", &reference, "--esp-size", "64M"];
        args.extend(PLUGINS.iter().chain(extra));
        args.push(self.text());
        program(&args)
    }

    /// Start and length of a partition in bytes.
    fn partition(&self, index: usize) -> (u64, u64) {
        let table: Value = serde_json::from_str(&output("sfdisk", &["--json", self.text()])).unwrap();
        let one = &table["partitiontable"]["partitions"][index];
        (one["start"].as_u64().unwrap() * 512, one["size"].as_u64().unwrap() * 512)
    }

    fn esp(&self) -> String {
        format!("{}@@{}", self.text(), self.partition(0).0)
    }

    /// Copies the root partition into a file of its own.
    fn root(&self) -> tempfile::NamedTempFile {
        use std::io::{Read as _, Seek as _};
        let (start, size) = self.partition(1);
        let mut disk = std::fs::File::open(&self.path).unwrap();
        disk.seek(std::io::SeekFrom::Start(start)).unwrap();
        let mut root = tempfile::NamedTempFile::new().unwrap();
        std::io::copy(&mut disk.take(size), &mut root).unwrap();
        root
    }

    fn assert_released(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !output("losetup", &["-j", self.text()]).is_empty() {
            assert!(Instant::now() < deadline, "a loop device is left: {}", output("losetup", &["-a"]));
            std::thread::sleep(Duration::from_millis(20));
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains("/run/bootwright-"), "a mount is left:\n{mounts}");
    }
}

fn debugfs(root: &Path, command: &str) -> String {
    output("debugfs", &["-R", command, root.to_str().unwrap()])
}

/// spec: BW-312, BW-707
#[test]
fn an_install_boots_by_uuid_is_sealed_and_recorded() {
    let disk = Disk::new(700);
    let installed = disk.install(&TinyImage::new(), &["--karg", "from-the-command-line"]);
    assert!(installed.status.success(), "{}", complaint(&installed));
    disk.assert_released();

    let entries = output("mdir", &["-i", &disk.esp(), "-b", "::/loader/entries"]);
    let entry = entries.lines().find(|line| line.contains("/bootwright-")).unwrap();
    let text = output("mtype", &["-i", &disk.esp(), entry]);
    let (start, size) = disk.partition(1);
    let probed = output(
        "blkid",
        &["-p", "-o", "value", "-s", "UUID", "-O", &start.to_string(), "-S", &size.to_string(), disk.text()],
    );
    let wanted = [format!("root=UUID={}", probed.trim()), "composefs".into(), "Tiny OS 1".into()];
    for part in wanted.iter().map(String::as_str).chain(["from-the-command-line", "from-install-config"]) {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }

    let root = disk.root();
    let checked = Command::new("e2fsck").arg("-fn").arg(root.path()).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let flags = debugfs(root.path(), "stat /composefs/meta.json");
    assert!(flags.contains("0x180000"), "the store is not sealed: {flags}");
    let system: Value = serde_json::from_str(&debugfs(root.path(), "cat /bootwright/system.json")).unwrap();
    assert_eq!((&system["backend"], &system["bootloader"]), (&"composefs".into(), &"systemd-boot".into()));
}

/// spec: BW-805
#[test]
fn progress_is_written_as_json_lines_where_that_is_asked_for() {
    let (disk, image) = (Disk::new(700), TinyImage::new());
    let reference = image.reference();
    let script = format!(
        "exec \"$0\" --progress-fd 3 install to-disk --backend composefs --boot systemd-boot --esp-size 64M --image {reference} {} 3>{}.json",
        disk.text(),
        disk.text()
    );
    let run = Command::new("sh").args(["-c", &script, env!("CARGO_BIN_EXE_bootwright")]).output().unwrap();
    assert!(run.status.success(), "{}", complaint(&run));
    let text = std::fs::read_to_string(format!("{}.json", disk.text())).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["type"], "Start");
    let last = lines.iter().rfind(|line| line["type"] == "ProgressBytes").unwrap();
    assert!(last["bytesTotal"].as_u64().unwrap() >= KERNEL as u64, "{last}");
}

/// spec: BW-702
#[test]
fn a_second_install_needs_wipe() {
    let (disk, image) = (Disk::new(700), TinyImage::new());
    assert!(disk.install(&image, &[]).status.success());
    let before = hash(&disk.path);
    let refused = disk.install(&image, &[]);
    assert!(!refused.status.success());
    assert!(complaint(&refused).contains("hint: --wipe"), "{}", complaint(&refused));
    assert_eq!(hash(&disk.path), before);
    let wiped = disk.install(&image, &["--wipe"]);
    assert!(wiped.status.success() && complaint(&wiped).contains("overwritten"), "{}", complaint(&wiped));
}

/// Bad input that is found out before the disk is touched.
fn assert_refused_untouched(disk: &Disk, image: &TinyImage, extra: &[&str], parts: &[&str]) {
    let before = hash(&disk.path);
    let refused = disk.install(image, extra);
    let text = complaint(&refused);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    for part in parts.iter().chain(&["nothing was changed"]) {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    assert_eq!(hash(&disk.path), before, "the disk was touched");
}

/// spec: BW-504
#[test]
fn an_image_of_another_architecture_is_refused_before_the_disk_is_touched() {
    assert_refused_untouched(&Disk::new(700), &TinyImage::with(KERNEL, "s390x"), &[], &["s390x", "amd64"]);
}

/// spec: BW-704
#[test]
fn a_disk_without_room_is_refused_before_it_is_touched() {
    assert_refused_untouched(&Disk::new(200), &TinyImage::new(), &[], &["200 MiB", "needed"]);
}

/// spec: BW-704
#[test]
fn a_file_system_that_cannot_be_made_is_refused_before_the_disk_is_touched() {
    let parts = ["ntfs", "ext4, btrfs, xfs"];
    assert_refused_untouched(&Disk::new(700), &TinyImage::new(), &["--filesystem", "ntfs"], &parts);
}

/// spec: BW-610
#[test]
fn an_image_that_the_policy_rejects_is_refused_before_the_disk_is_touched() {
    let policy = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(policy.path(), r#"{"default": [{"type": "reject"}]}"#).unwrap();
    let option = ["--signature-policy", policy.path().to_str().unwrap()];
    let parts = ["policy of this host rejects", "containers-policy.json(5)"];
    assert_refused_untouched(&Disk::new(700), &TinyImage::new(), &option, &parts);
}

/// Bad input that shows only while the image is read: the disk is incomplete, and everything is released.
fn assert_failed_released(disk: &Disk, image: &TinyImage, parts: &[&str]) {
    let failed = disk.install(image, &[]);
    let text = complaint(&failed);
    assert_eq!(failed.status.code(), Some(1), "{text}");
    for part in parts.iter().chain(&["will not boot"]) {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    disk.assert_released();
}

/// spec: BW-121
#[test]
fn an_image_without_a_kernel_is_an_error() {
    assert_failed_released(&Disk::new(700), &TinyImage::with(0, "amd64"), &["kernel"]);
}

/// spec: BW-301
#[test]
fn a_layer_that_is_not_what_its_digest_says_is_an_error() {
    let image = TinyImage::new();
    let mut bytes = std::fs::read(image.layer_file()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(image.layer_file(), bytes).unwrap();
    assert_failed_released(&Disk::new(700), &image, &[&image.layer[7..19]]);
}

/// spec: BW-302
#[test]
fn a_truncated_layer_is_an_error() {
    let image = TinyImage::new();
    OpenOptions::new().write(true).open(image.layer_file()).unwrap().set_len(100_000).unwrap();
    assert_failed_released(&Disk::new(700), &image, &[]);
}

/// spec: BW-114
#[test]
fn a_kernel_that_does_not_fit_on_the_esp_is_an_error_with_the_numbers() {
    assert_failed_released(&Disk::new(900), &TinyImage::with(70 << 20, "amd64"), &["MiB"]);
}

/// spec: BW-705
#[test]
fn a_program_that_is_killed_leaves_no_mount_and_no_loop_device() {
    let (disk, image) = (Disk::new(900), TinyImage::with(40 << 20, "amd64"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_bootwright"))
        .args(["install", "to-disk", "--esp-size", "64M", "--image", &image.reference()])
        .args(PLUGINS)
        .arg(&disk.path)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mounts = format!("/proc/{}/mountinfo", child.id());
    let deadline = Instant::now() + Duration::from_secs(30);
    while !std::fs::read_to_string(&mounts).unwrap().contains("/run/bootwright-") {
        assert!(
            Instant::now() < deadline && child.try_wait().unwrap().is_none(),
            "it never mounted anything"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    disk.assert_released();
}

/// A file system that the test made and mounted, and a folder for the ESP.
struct Mounted {
    at: tempfile::TempDir,
    _file: tempfile::NamedTempFile,
}

impl Mounted {
    fn new() -> Self {
        bootwright::machine::namespace::enter().expect("these tests need root");
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(700 << 20).unwrap();
        output("mkfs.ext4", &["-q", "-F", file.path().to_str().unwrap()]);
        let at = tempfile::tempdir().unwrap();
        output("mount", &["-o", "loop", file.path().to_str().unwrap(), at.path().to_str().unwrap()]);
        std::fs::create_dir_all(at.path().join("boot/efi")).unwrap();
        Self { at, _file: file }
    }

    fn install(&self, image: &TinyImage, extra: &[&str]) -> Output {
        let (root, esp, reference) = (self.path(""), self.path("boot/efi"), image.reference());
        let mut args = vec!["install", "to-filesystem", "--image", &reference, "--esp", &esp];
        args.extend(PLUGINS.iter().chain(extra));
        args.push(&root);
        program(&args)
    }

    fn path(&self, below: &str) -> String {
        self.at.path().join(below).to_str().unwrap().to_owned()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        output("umount", &[self.at.path().to_str().unwrap()]);
    }
}

/// spec: BW-808
#[test]
fn a_mounted_file_system_is_installed_to_and_its_status_can_be_asked() {
    let mounted = Mounted::new();
    let installed = mounted.install(&TinyImage::new(), &["--allow-missing-verity", "--stateroot", "mine"]);
    assert!(installed.status.success(), "{}", complaint(&installed));
    let (root, esp) = (mounted.path(""), mounted.path("boot/efi"));
    let status = program(&["--sysroot", &root, "--system-esp", &esp, "status", "--json"]);
    assert!(status.status.success(), "{}", complaint(&status));
    let host: Value = serde_json::from_slice(&status.stdout).unwrap();
    let system = &host["status"]["bootwright"];
    assert_eq!((&system["stateroot"], &system["allowMissingVerity"]), (&"mine".into(), &true.into()));
    assert_eq!(host["status"]["otherDeployments"][0]["bootwright"]["deploymentId"], system["default"]);
    assert_eq!(host["status"]["otherDeployments"][0]["bootwright"]["verified"], false);
}

/// spec: BW-307
#[test]
fn where_the_kernel_cannot_verify_a_mounted_file_system_is_refused_or_verified() {
    let mounted = Mounted::new();
    let output = mounted.install(&TinyImage::new(), &[]);
    // On a kernel with fs-verity, the plain ext4 made here still lacks the feature.
    assert_eq!(output.status.code(), Some(1));
    let text = complaint(&output);
    assert!(text.contains("verity") && text.contains("hint:"), "{text}");
}

/// spec: BW-706
#[test]
fn a_file_system_with_files_on_it_is_refused() {
    let mounted = Mounted::new();
    std::fs::write(mounted.at.path().join("precious"), "data").unwrap();
    let refused = mounted.install(&TinyImage::new(), &["--allow-missing-verity"]);
    let text = complaint(&refused);
    assert!(text.contains("precious") && text.contains("nothing was changed"), "{text}");
}
