//! Records an installation: by a system that runs from another disk, on an empty one.

use std::{fs::File, path::Path, time::Duration};

use anyhow::Result;

use super::{
    images,
    life::{Life, Verb},
    recorder::Recorder,
    root_file_system::RootFileSystem,
};
use crate::{
    images::Cache,
    lifecycle::{self, DISK_SIZE, ORIGIN, Site, install},
    suite::Cell,
    system::{INSTALLER, KernelFormat, Systems},
    vm::Disk,
};

/// Deadline of an installation inside an emulated machine.
const INSTALLATION: Duration = Duration::from_secs(1800);

/// Records how `cell` is installed with such a root file system. Files are put into `folder`.
///
/// # Errors
/// When an image cannot be made, or the installation does not succeed.
pub fn record(systems: &Systems, cell: &Cell, root: RootFileSystem, folder: &Path) -> Result<Life> {
    let (_, site) = images::make_all(systems, cell.format, folder)?;
    let installer = installer(systems, folder)?;
    let base = folder.join("base.img");
    File::create(&base)?.set_len(DISK_SIZE)?;
    let mut recorder = Recorder::new(systems, cell, folder, site, base)?;
    let mut guest = recorder.switch_on(Some(Disk::overlay(&installer)))?;
    let start = recorder.position()?;
    guest.vm().run(&command(cell, root), INSTALLATION)?.success()?;
    let marks = vec![(Verb::Install, start..recorder.position()?)];
    // What nobody has to wait for is there to compare with.
    guest.sh("sync /dev/vda && blockdev --flushbufs /dev/vda")?;
    recorder.switched_off(&mut guest);
    println!("         {cell}: installed by another system");
    recorder.life(root, &[marks], &[])
}

fn command(cell: &Cell, root: RootFileSystem) -> String {
    let (backend, bootloader) = (&cell.backend, &cell.bootloader);
    let (image, options) = (Site::in_guest("v1"), root.install_options().join(" "));
    format!(
        "bootwright install to-disk --backend {backend} --boot {bootloader} --image {image} --target-imgref {ORIGIN} {options} /dev/vda"
    )
}

/// A disk with a system that has all that an installation needs.
fn installer(systems: &Systems, folder: &Path) -> Result<std::path::PathBuf> {
    let own = Systems::with_programs(systems.programs().clone(), Cache::in_target_dir()?)?;
    let image = own.for_fixture(&INSTALLER).image("v1", KernelFormat::Split)?;
    let disk = folder.join("installer.img");
    let cell = lifecycle::Cell::new(INSTALLER.backend, "systemd-boot", KernelFormat::Split);
    install(&systems.programs().bootwright, &cell, &image, &disk, &[], false)?;
    Ok(disk)
}
