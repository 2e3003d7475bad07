//! Records an installation: by a system that runs from another disk, on an empty one.

use std::{fs::File, path::Path, time::Duration};

use anyhow::{Context as _, Result};

use super::{
    images,
    life::{Life, Verb, append_variables, partitions, windows},
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
    let variables_size = append_variables(&base, DISK_SIZE, cell.firmware)?;
    let mut recorder = Recorder::new(folder, &site, &base, DISK_SIZE, variables_size)?;
    // Whatever starts the new system later: what installs it is started by UEFI.
    let mut guest = recorder.switch_on(|machine| machine.disk(Disk::overlay(&installer)))?;
    let start = recorder.position()?;
    guest.vm().run(&command(cell, root), INSTALLATION)?.success()?;
    let marks = vec![(Verb::Install, start..recorder.position()?)];
    // What nobody has to wait for is there to compare with.
    guest.sh("sync /dev/vda && blockdev --flushbufs /dev/vda")?;
    recorder.switched_off(&mut guest);
    println!("         {cell}: installed by another system");
    let (layout, esp_guid) = partitions(recorder.file(), DISK_SIZE, root).context("the installed disk")?;
    let (timeline, consoles) = recorder.end(&layout)?;
    let windows = windows(&timeline, &[marks]);
    let (cell, markers) = (cell.clone(), [].as_slice());
    let (bootwright, install_options) = (systems.programs().bootwright.clone(), root.install_options());
    Ok(Life {
        cell,
        base,
        layout,
        variables_size,
        esp_guid,
        timeline,
        windows,
        markers,
        consoles,
        site,
        bootwright,
        install_options,
    })
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
