//! The program in a mount namespace of its own, on a real ext4 disk image with a real composefs repository.
//!
//! Needs root, loop devices, and a kernel with EROFS and overlayfs. The kernel need not have fs-verity: the image is named with `?`,
//! and without it the mount must be refused.

#![expect(clippy::disallowed_methods, reason = "tests make and break files, and start programs, on purpose")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use composefs::fsverity::{FsVerityHashValue, Sha256HashValue};
use composefs::generic_tree::{Directory, Inode, LeafContent, Stat};
use composefs::repository::{Repository, RepositoryConfig};
use composefs::tree::{FileSystem, RegularFile};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bootwright-composefs-root");

fn stat(mode: u32) -> Stat {
    Stat { st_mode: mode, ..Stat::uninitialized() }
}

/// A tree with the mount points, `/usr/data` (too large to be stored in the image), and `/etc/default`.
fn commit_tree(repository: &Repository<Sha256HashValue>) -> Sha256HashValue {
    let data = b"vendor data\n".repeat(1000);
    let object = repository.ensure_object(&data).expect("store an object");
    let mut tree = FileSystem::<Sha256HashValue>::new(stat(0o755));
    let regular = |tree: &mut FileSystem<Sha256HashValue>, file| {
        Inode::leaf(tree.push_leaf(stat(0o644), LeafContent::Regular(file)))
    };
    let usr_data = regular(&mut tree, RegularFile::External(object, data.len() as u64));
    let default = regular(&mut tree, RegularFile::Inline(b"from the image\n".as_slice().into()));
    for name in ["usr", "etc", "var", "sysroot"] {
        tree.root.insert(OsStr::new(name), Inode::Directory(Box::new(Directory::new(stat(0o755)))));
    }
    let mut add = |folder: &str, name: &str, inode| {
        tree.root.get_directory_mut(OsStr::new(folder)).expect("folder").insert(OsStr::new(name), inode);
    };
    add("usr", "data", usr_data);
    add("etc", "default", default);
    tree.commit_image(repository, None).expect("commit the image")
}

struct Disk {
    folder: tempfile::TempDir,
    digest: String,
}

impl Disk {
    fn make(overlay_etc: bool) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path().join("root");
        fs::create_dir(&root).expect("root folder");
        let config = RepositoryConfig::default().set_insecure();
        let root_fd = File::open(&root).expect("root folder");
        let (repository, _) = Repository::init_path(&root_fd, "composefs", config).expect("repository");
        let digest = commit_tree(&repository).to_hex();
        drop(repository);
        let disk = Self { folder, digest };
        disk.write_state(&root, overlay_etc);
        File::create(disk.image()).and_then(|f| f.set_len(64 << 20)).expect("disk image");
        run(Command::new("mkfs.ext4").arg("-q").arg("-d").arg(&root).arg(disk.image()));
        for mount_point in ["sysroot", "target"] {
            fs::create_dir(disk.folder.path().join(mount_point)).expect("mount point");
        }
        disk
    }

    fn write_state(&self, root: &Path, overlay_etc: bool) {
        let state = root.join("state/deploy").join(&self.digest);
        let etc = state.join("etc");
        for path in [&etc, &root.join("state/os/default/var")] {
            fs::create_dir_all(path).expect("state folder");
        }
        if overlay_etc {
            fs::create_dir(etc.join("upper")).expect("upper");
            fs::create_dir(etc.join("work")).expect("work");
        } else {
            fs::write(etc.join("hostname"), "here\n").expect("a file in /etc");
        }
        symlink("../../os/default/var", state.join("var")).expect("var link");
        // What must never be taken for a root.
        fs::create_dir_all(root.join("sbin")).expect("sbin");
        fs::write(root.join("sbin/init"), "planted\n").expect("planted init");
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("disk.img")
    }

    /// Runs `script` with the disk mounted at `$S` (read-only, as sysroot.mount does); `$T` is the target, `boot ARGS` the program,
    /// `fails …` a command that must fail (a plain `!` would not stop the script).
    fn script(&self, script: &str) -> Output {
        let prelude = "LOOP=$(losetup -f --show \"$DISK\")\nmount -o ro \"$LOOP\" \"$S\"\nlosetup -d \"$LOOP\"\n\
            boot() { \"$PROGRAM\" --sysroot \"$S\" --target \"$T\" --scratch \"$DIR/scratch\" --cmdline \"$1\"; }\n\
            fails() { if \"$@\"; then echo \"should have failed: $*\"; exit 1; fi; }\n";
        let folder = self.folder.path();
        Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-euc"])
            .arg(format!("{prelude}{script}"))
            .envs([("PROGRAM", Path::new(PROGRAM)), ("DIR", folder), ("DISK", &self.image())])
            .envs([("S", folder.join("sysroot")), ("T", folder.join("target"))])
            .env("D", &self.digest)
            .output()
            .expect("unshare (util-linux) as root")
    }

    fn succeeds(&self, script: &str) -> String {
        let output = self.script(script);
        let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
        assert!(output.status.success(), "{script}\n{text}");
        text
    }

    /// The program fails, says `message`, and leaves nothing mounted.
    fn refuses(&self, cmdline: &str, message: &str) {
        let text = self.succeeds(&format!(
            "fails boot \"{cmdline}\"\n\
             fails mountpoint -q \"$T\"\nfails mountpoint -q \"$DIR/scratch\"\nfails grep -q bootwright-test /proc/mounts\n\
             test -z \"$(ls -A \"$T\")\"\nfindmnt -no OPTIONS \"$S\" | grep -q '^ro'"
        ));
        assert!(text.contains(message), "{text}");
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Needs root.
/// spec: BW-601
#[test]
fn the_image_is_the_root_and_cannot_be_written() {
    let disk = Disk::make(false);
    disk.succeeds(
        "boot \"composefs=?$D\"\n\
         head -c 12 \"$T/usr/data\" | grep -qx 'vendor data'\n\
         test \"$(wc -c < \"$T/usr/data\")\" = 12000\n\
         fails touch \"$T/usr/new\"\nfails touch \"$T/new\"\nfails sh -c ': >> \"$T/usr/data\"'\n\
         test ! -e \"$T/sbin/init\"\n\
         findmnt -no SOURCE,FSTYPE \"$T\" | grep -q \"composefs:$D *overlay\"",
    );
}

/// Needs root.
/// spec: BW-604
#[test]
fn etc_is_the_deployments_own_and_writable_though_the_disk_was_mounted_read_only() {
    let disk = Disk::make(false);
    disk.succeeds(
        "boot \"composefs=?$D\"\n\
         test ! -e \"$T/etc/default\"\ngrep -qx here \"$T/etc/hostname\"\n\
         echo changed > \"$T/etc/hostname\"\n\
         grep -qx changed \"$T/sysroot/state/deploy/$D/etc/hostname\"",
    );
}

/// Needs root.
#[test]
fn etc_with_upper_and_work_is_an_overlay_over_the_images_own() {
    let disk = Disk::make(true);
    disk.succeeds(
        "boot \"composefs=?$D\"\n\
         grep -qx 'from the image' \"$T/etc/default\"\n\
         echo mine > \"$T/etc/default\"\n\
         grep -qx mine \"$T/sysroot/state/deploy/$D/etc/upper/default\"",
    );
}

/// Needs root.
/// spec: BW-604
#[test]
fn var_is_the_stateroots_and_writable() {
    let disk = Disk::make(false);
    disk.succeeds(
        "boot \"composefs=?$D\"\n\
         echo kept > \"$T/var/log\"\n\
         grep -qx kept \"$T/sysroot/state/os/default/var/log\"",
    );
}

/// Needs root.
/// spec: BW-607
#[test]
fn var_is_left_to_etc_fstab_if_that_mounts_something_there() {
    for overlay_etc in [false, true] {
        let disk = Disk::make(overlay_etc);
        disk.succeeds(
            "mount -o remount,rw \"$S\"\nE=\"$S/state/deploy/$D/etc\"\nif test -d \"$E/upper\"; then E=\"$E/upper\"; fi\n\
             echo 'LABEL=var /var ext4 defaults 0 2' > \"$E/fstab\"\n\
             boot \"composefs=?$D\"\n\
             mountpoint -q \"$T/etc\"\nfails mountpoint -q \"$T/var\"\ntest -d \"$T/var\"",
        );
    }
}

/// Needs root.
/// spec: BW-604
#[test]
fn the_physical_root_is_read_only_until_someone_remounts_it() {
    let disk = Disk::make(false);
    disk.succeeds(
        "boot \"composefs=?$D\"\n\
         fails touch \"$T/sysroot/new\"\nfails rm \"$T/sysroot/composefs/meta.json\"\n\
         mount -o remount,bind,rw \"$T/sysroot\"\ntouch \"$T/sysroot/new\"",
    );
}

/// Needs root.
#[test]
fn both_spellings_of_the_argument_mount_the_same_root() {
    let disk = Disk::make(false);
    disk.succeeds("boot \"quiet composefs.digest=?v1-sha256-12:$D rw\"\ntest -e \"$T/usr/data\"");
}

/// Needs root.
/// spec: BW-008, BW-602
#[test]
fn without_fs_verity_a_strict_argument_mounts_nothing() {
    let disk = Disk::make(false);
    disk.refuses("composefs=$D", "verify the image");
}

/// Needs root.
/// spec: BW-009, BW-603
#[test]
fn a_wrong_or_missing_argument_mounts_nothing() {
    let disk = Disk::make(false);
    let wrong = "0".repeat(64);
    disk.refuses(&format!("composefs=?{wrong}"), "open the image");
    disk.refuses("root=LABEL=x quiet", "names no root");
    disk.refuses(&format!("composefs=?$D composefs=?{wrong}"), "different roots");
}

/// Needs root.
/// spec: BW-605
#[test]
fn a_missing_state_folder_takes_everything_down_again() {
    let disk = Disk::make(false);
    let text = disk.succeeds(
        "mount -o remount,rw \"$S\"\nmv \"$S/state/deploy/$D/var\" \"$S/elsewhere\"\n\
         fails boot \"composefs=?$D\"\nfails mountpoint -q \"$T\"\nfails mountpoint -q \"$DIR/scratch\"",
    );
    assert!(text.contains("/var"), "{text}");
}

/// Needs root.
/// spec: BW-605
#[test]
fn a_var_link_cannot_lead_out_of_the_physical_root() {
    let disk = Disk::make(false);
    disk.succeeds(
        "mount -o remount,rw \"$S\"\nmkdir -p \"$S/escape\" \"$DIR/escape\"\n\
         ln -sfn ../../../../../../../../../escape \"$S/state/deploy/$D/var\"\n\
         boot \"composefs=?$D\"\ntouch \"$T/var/here\"\ntest -e \"$T/sysroot/escape/here\"",
    );
}

/// Needs root.
#[test]
fn a_folder_where_nothing_is_mounted_is_not_a_physical_root() {
    let disk = Disk::make(false);
    let text = disk.succeeds("umount \"$S\"\nfails boot \"composefs=?$D\"");
    assert!(text.contains("no file system is mounted"), "{text}");
}

/// As in a boot: the new root takes the place of the physical one. Needs root.
#[test]
fn in_a_boot_the_new_root_replaces_the_physical_one() {
    let disk = Disk::make(false);
    disk.succeeds(
        "mount --make-rshared /\n\
         \"$PROGRAM\" --sysroot \"$S\" --scratch \"$DIR/scratch\" --cmdline \"composefs=?$D\"\n\
         test -e \"$S/usr/data\"\ntest ! -e \"$S/sbin/init\"\ntest -e \"$S/sysroot/sbin/init\"\n\
         umount -R \"$S\"\nfails mountpoint -q \"$S\"",
    );
}

/// As in a boot that must not go on: the raw root is gone too. Needs root.
/// spec: BW-009
#[test]
fn in_a_boot_that_is_refused_the_raw_root_is_taken_away() {
    let disk = Disk::make(false);
    disk.succeeds(
        "fails \"$PROGRAM\" --sysroot \"$S\" --scratch \"$DIR/scratch\" --cmdline \"composefs=$D\"\n\
         fails mountpoint -q \"$S\"\ntest -z \"$(ls -A \"$S\")\"",
    );
}
