//! The whole life of a system, on each combination: installed, booted, upgraded, rolled back, cleaned up.
//!
//! One test per combination: a boot takes long, and each step builds on the one before, as it does on a real machine.

use anyhow::{Result, ensure};
use bootwright_conformance::{
    images::Cache,
    lifecycle::{Cell, Guest, Site, install},
    system::{KernelFormat, Systems},
};

fn check(condition: bool, what: &str) -> Result<()> {
    ensure!(condition, "{what}");
    println!("ok: {what}");
    Ok(())
}

/// Runs every step of the life of a system on one combination.
fn life(bootloader: &str, format: KernelFormat) -> Result<()> {
    let cell = Cell::new("composefs", bootloader, format);
    let systems = Systems::new(Cache::in_target_dir()?)?;
    let images = ["v1", "v2", "v3"].map(|version| systems.image(version, format));
    let [one, two, three] = images;
    let (one, two, three) = (one?, two?, three?);
    let scratch = tempfile::tempdir_in("/var/tmp")?;
    let site = Site::make(&scratch.path().join("site"), &[("v1", &one), ("v2", &two), ("v3", &three)])?;
    let disk = scratch.path().join("disk.img");
    let installation = install(&systems.programs().bootwright, &cell, &one, &disk, &[], false)?;
    println!("ok: installed in {:.1} s", installation.took.as_secs_f32());
    let mut guest = Guest::start(&cell.to_string(), &installation, &site)?;

    first_boot(&mut guest)?;
    local_changes(&mut guest)?;
    upgrade_is_staged(&mut guest)?;
    guest.reboot_into("v2")?;
    guest.settle()?;
    merged(&mut guest)?;
    rollback_and_forward(&mut guest)?;
    second_upgrade(&mut guest)?;
    a_changed_byte_is_a_read_error(&mut guest)
}

fn first_boot(guest: &mut Guest) -> Result<()> {
    guest.settle()?;
    let status = guest.status()?;
    check(status.version("booted") == Some("v1"), "status says that v1 runs")?;
    check(guest.version()? == "v1", "v1 runs")?;
    check(guest.try_sh("touch /usr/x")?.status != 0, "/usr is read-only")?;
    check(guest.try_sh("touch /sysroot/x")?.status != 0, "/sysroot is read-only")?;
    check(guest.sh("findmnt -no OPTIONS /")?.contains("verity=require"), "every read of / is verified")?;
    let units = guest.sh("systemctl is-active bootwright-finalize bootwright-confirm")?;
    check(units.lines().all(|line| line == "active"), "both units are active")
}

fn local_changes(guest: &mut Guest) -> Result<()> {
    guest.sh("echo local > /etc/marker/changed-by-both; echo local > /etc/marker/added-locally")?;
    guest.sh("rm /etc/marker/removed-locally; chmod 600 /etc/marker/changed-by-image")?;
    guest.sh("echo kept > /var/kept; setfattr -n user.note -v kept /etc/marker/added-locally || true")?;
    Ok(())
}

fn upgrade_is_staged(guest: &mut Guest) -> Result<()> {
    guest.offer("v2")?;
    let available = guest.sh("bootwright upgrade --check")?;
    check(guest.status()?.get("/status/staged").is_none(), "upgrade --check stages nothing")?;
    check(available.contains("v2"), "upgrade --check tells the version")?;
    guest.sh("bootwright upgrade")?;
    let status = guest.status()?;
    check(status.version("staged") == Some("v2"), "v2 is staged")?;
    check(status.version("booted") == Some("v1"), "v1 still runs")?;
    guest.sh("echo late > /etc/marker/added-after-staging")?;
    Ok(())
}

fn merged(guest: &mut Guest) -> Result<()> {
    let status = guest.status()?;
    check(status.version("booted") == Some("v2"), "status says that v2 runs")?;
    check(status.version("rollback") == Some("v1"), "v1 is the way back")?;
    for (file, text, why) in [
        ("changed-by-both", Some("local"), "a local change wins over the image's"),
        ("added-locally", Some("local"), "a local addition is kept"),
        ("added-after-staging", Some("late"), "a change made after staging is kept"),
        ("added-in-v2", Some("v2"), "a new default arrives"),
        ("removed-later", None, "a default that the image removed is gone"),
        ("removed-locally", None, "a local removal is kept"),
    ] {
        let found = guest.file(&format!("/etc/marker/{file}"))?;
        check(found.as_deref() == text, &format!("/etc: {why} (found {found:?})"))?;
    }
    check(guest.sh("stat -c %a /etc/marker/changed-by-image")? == "600", "/etc: a local mode is kept")?;
    check(guest.file("/var/kept")?.as_deref() == Some("kept"), "/var is shared")?;
    check(
        guest.file("/usr/share/marker/removed-later")?.is_none(),
        "a file that v2 removes from /usr is gone",
    )?;
    let again = guest.sh("bootwright upgrade")?;
    check(
        guest.status()?.get("/status/staged").is_none(),
        &format!("an unchanged image is not staged again: {again}"),
    )
}

fn rollback_and_forward(guest: &mut Guest) -> Result<()> {
    let before = guest.sh("find /sysroot/composefs /sysroot/state | sort | sha256sum")?;
    guest.sh("bootwright rollback")?;
    check(guest.status()?.rollback_queued(), "a rollback is queued")?;
    let after = guest.sh("find /sysroot/composefs /sysroot/state | sort | sha256sum")?;
    check(before == after, "a rollback writes nothing to the store")?;
    guest.reboot_into("v1")?;
    guest.settle()?;
    check(guest.file("/etc/marker/changed-by-image")?.as_deref() == Some("v1"), "v1 has its own /etc back")?;
    check(guest.file("/var/kept")?.as_deref() == Some("kept"), "/var is shared backwards, too")?;
    guest.sh("bootwright rollback")?;
    guest.reboot_into("v2")?;
    guest.settle()
}

fn second_upgrade(guest: &mut Guest) -> Result<()> {
    guest.offer("v3")?;
    guest.sh("bootwright upgrade")?;
    guest.reboot_into("v3")?;
    guest.settle()?;
    let status = guest.status()?;
    check(status.version("rollback") == Some("v2"), "v2 is the way back from v3")?;
    check(
        guest.file("/etc/marker/added-locally")?.as_deref() == Some("local"),
        "local /etc survives two upgrades",
    )?;
    let trees = guest.sh("ls /sysroot/state/deploy | wc -l")?;
    check(trees == "2", &format!("v1 was removed after the good boot ({trees} trees)"))?;
    guest.sh("bootwright gc")?;
    check(guest.status()?.version("rollback") == Some("v2"), "gc keeps the way back")?;
    let fsck = guest.sh("bootwright fsck")?;
    println!("ok: fsck says {fsck}");
    Ok(())
}

/// Overwrites one block of a file in `/usr` on the raw disk, behind the file system's back.
fn a_changed_byte_is_a_read_error(guest: &mut Guest) -> Result<()> {
    let script = r#"
        set -eu
        device=$(findmnt -no SOURCE /sysroot | sed 's/\[.*//')
        sum=$(sha256sum < /usr/bin/dpkg)
        size=$(stat -c %s /usr/bin/dpkg)
        object=$(find /sysroot/composefs/objects -type f -size "${size}c" | head -n 1)
        block=$(debugfs -R "bmap ${object#/sysroot} 2" "$device" 2>/dev/null)
        sync
        printf 'X' | dd of="$device" bs=1 seek=$((block * 4096 + 17)) conv=notrunc 2>/dev/null
        sync
        echo 3 > /proc/sys/vm/drop_caches
    "#;
    guest.sh(script)?;
    let read = guest.try_sh("cat /usr/bin/dpkg > /dev/null")?;
    let said = read.stderr_text();
    check(
        read.status != 0 && said.contains("Input/output error"),
        &format!("a changed byte is a read error: {said}"),
    )?;
    let fsck = guest.try_sh("bootwright fsck")?;
    check(fsck.status != 0, "fsck finds the damaged object")
}

macro_rules! cells {
    ($($name:ident: $bootloader:literal, $format:ident;)+) => {$(
        /// spec: BW-101, BW-102, BW-103, BW-105, BW-107, BW-202, BW-203, BW-310, BW-604, BW-606
        #[test]
        #[ignore = "boots a virtual machine; `cargo xtask test` runs it"]
        fn $name() -> Result<()> {
            life($bootloader, KernelFormat::$format)
        }
    )+};
}

cells! {
    composefs_systemd_boot_split: "systemd-boot", Split;
    composefs_systemd_boot_unified: "systemd-boot", Unified;
    composefs_uki_split: "uki", Split;
    composefs_uki_unified: "uki", Unified;
}
