//! Where libostree is built with composefs, the kernel verifies what it reads of an `OSTree` deployment too.
//!
//! The kernel of the machine that runs the tests may have no fs-verity, and its libostree no composefs: so the system is installed from a
//! virtual machine that has both, on a second disk.

use std::{fs::File, path::Path, time::Duration};

use anyhow::{Result, ensure};
use bootwright_conformance::{
    images::{Cache, Edits, derive},
    lifecycle::{BOOT, DISK_SIZE, Guest, IMAGES_LABEL, INSTALLATION, ORIGIN, OfflineDisk, Site, installer},
    suite::vm::scripts,
    system::{KernelFormat, OSTREE_VERIFIED, Systems},
    vm::{Disk, Vm},
};

/// Every image has it, and nothing reads it while the system runs.
const PROGRAM: &str = "/usr/bin/dpkg";
const SHUTDOWN: Duration = Duration::from_secs(300);

/// Prints the image of the deployment that does not run.
const OTHER_IMAGE: &str = r#"
    running=$(readlink -f "/sysroot$(sed 's/.*ostree=\([^ ]*\).*/\1/' /proc/cmdline)")
    ls -d /sysroot/ostree/deploy/*/deploy/*/.ostree.cfs | grep -v "^$running/"
"#;

/// Images that insist on verified reads, one that does not, and the system that installs.
struct Stage {
    installer: Guest,
    target: std::path::PathBuf,
    site: Site,
    _scratch: tempfile::TempDir,
}

impl Stage {
    fn set() -> Result<Self> {
        let systems = Systems::new(Cache::in_target_dir()?)?.for_fixture(&OSTREE_VERIFIED);
        let one = systems.image("v1", KernelFormat::Split)?;
        let two = systems.image("v2", KernelFormat::Split)?;
        let careless = Edits::new("v3").write(
            "/usr/lib/ostree/prepare-root.conf",
            "[composefs]\nenabled = maybe\n",
            0o644,
        );
        let careless = derive(&two, &careless, systems.cache())?;
        let scratch = tempfile::tempdir_in("/var/tmp")?;
        let site =
            Site::make(&scratch.path().join("site"), &[("v1", &one), ("v2", &two), ("careless", &careless)])?;
        let (disk, target) = (scratch.path().join("installer.img"), scratch.path().join("target.img"));
        let installation = installer(systems.programs(), &disk)?;
        File::create(&target)?.set_len(DISK_SIZE)?;
        let vm = Vm::builder("installer").disk(Disk::overlay(&installation.disk)).disk(Disk::raw(&target));
        let installer = Guest::attach(vm.folder(IMAGES_LABEL, site.folder()).start()?)?;
        Ok(Self { installer, target, site, _scratch: scratch })
    }

    fn install(&mut self, image: &str) -> Result<()> {
        let command = format!(
            "bootwright install to-disk --wipe --generic-image --backend ostree --boot systemd-boot --require-verity \
             --image {} --target-imgref {ORIGIN} /dev/vdb",
            Site::in_guest(image)
        );
        self.installer.vm().run(&command, INSTALLATION)?.success()?;
        Ok(())
    }

    fn boot(&mut self) -> Result<Guest> {
        self.installer.vm().shutdown(SHUTDOWN)?;
        let vm = Vm::builder("ostree-verified").disk(Disk::raw(&self.target));
        Guest::attach(vm.folder(IMAGES_LABEL, self.site.folder()).start()?)
    }
}

/// spec: BW-604, BW-606
#[test]
#[ignore = "boots a virtual machine; `cargo xtask test` runs it"]
fn an_ostree_system_is_installed_and_upgraded_verified_and_a_changed_byte_is_a_read_error() -> Result<()> {
    let mut stage = Stage::set()?;
    stage.install("v1")?;
    let mut guest = stage.boot()?;
    guest.settle()?;
    is_verified(&mut guest)?;

    guest.offer("careless")?;
    let refused = guest.try_sh("bootwright upgrade")?;
    let said = refused.stderr_text();
    ensure!(refused.status != 0 && said.contains("does not insist"), "an image without verification: {said}");

    guest.sh("echo by-admin > /etc/by-admin")?;
    guest.offer("v2")?;
    guest.sh("bootwright upgrade")?;
    guest.reboot_into("v2")?;
    guest.settle()?;
    is_verified(&mut guest)?;
    ensure!(guest.file("/etc/by-admin")?.as_deref() == Some("by-admin"), "/etc was not merged");
    guest.sh("bootwright fsck")?;
    ensure!(guest.sh("ostree admin status")?.contains(".0"), "libostree's own program sees its deployments");

    let object = scripts::changed_byte_is_a_read_error(&mut guest, PROGRAM)?;
    let other = guest.sh(OTHER_IMAGE)?;
    scripts::flip_byte(&mut guest, &other)?;
    names(&mut guest, &[&object, &other])?;
    guest.vm().shutdown(SHUTDOWN)?;
    drop(guest);
    cannot_be_switched_off(&stage.target)
}

/// `fsck` fails, and says which files are damaged.
fn names(guest: &mut Guest, files: &[&str]) -> Result<()> {
    let fsck = guest.try_sh("bootwright fsck")?;
    let said = fsck.stdout_text();
    for file in files {
        let file = file.trim_start_matches("/sysroot/");
        ensure!(fsck.status != 0 && said.contains(file), "fsck does not name {file}: {said}");
    }
    Ok(())
}

/// The initramfs has the image's orders, and no argument overrides them.
fn cannot_be_switched_off(disk: &Path) -> Result<()> {
    let switch_off = |entry: &str| entry.replace("options ", "options ostree.prepare-root.composefs=no ");
    OfflineDisk::open(disk)?.edit_entries(switch_off)?;
    let mut vm = Vm::builder("ostree-not-verified").disk(Disk::raw(disk)).start()?;
    vm.wait_serial("would do without the verification", BOOT)
}

fn is_verified(guest: &mut Guest) -> Result<()> {
    let options = guest.sh("findmnt -no OPTIONS /")?;
    ensure!(options.contains("verity=require"), "reads of / are not verified: {options}");
    ensure!(guest.try_sh("touch /usr/x")?.status != 0, "/usr can be written");
    let status = guest.status()?;
    let verified = status.get("/status/booted/bootwright/verified").and_then(serde_json::Value::as_bool);
    ensure!(verified == Some(true), "status does not say that the root is verified");
    Ok(())
}
