//! Records an installation: by a system that runs from another disk, on an empty one.

use std::{fs::File, path::Path};

use anyhow::Result;

use super::{
    images,
    life::{Life, Verb},
    recorder::Recorder,
    root_file_system::RootFileSystem,
};
use crate::{
    lifecycle::{DISK_SIZE, INSTALLATION, ORIGIN, Site, installer},
    suite::Cell,
    system::Systems,
    vm::Disk,
};

/// Records how `cell` is installed with such a root file system. Files are put into `folder`.
///
/// # Errors
/// When an image cannot be made, or the installation does not succeed.
pub fn record(systems: &Systems, cell: &Cell, root: RootFileSystem, folder: &Path) -> Result<Life> {
    let (_, site) = images::make_all(systems, cell.format, folder)?;
    let installer = installer(systems.programs(), &folder.join("installer.img"))?;
    let base = folder.join("base.img");
    File::create(&base)?.set_len(DISK_SIZE)?;
    let mut recorder = Recorder::new(systems, cell, folder, site, base)?;
    let mut guest = recorder.switch_on(Some(Disk::overlay(&installer.disk)))?;
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
