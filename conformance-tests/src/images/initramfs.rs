//! Builds an initramfs with dracut inside the composed tree, so that it has the tree's programs and modules.

use std::fs;

use anyhow::{Context as _, Result};

use super::{
    base::Base,
    cache::{Cache, Key},
    entry::Entry,
    layer::{Layer, write_layer},
};
use crate::host;

const SCRIPT: &str = include_str!("scripts/initramfs.sh");

/// dracut modules of a small, systemd-based initramfs; the caller's come on top.
const MODULES: &str = "base systemd systemd-initrd rootfs-block fs-lib udev-rules shutdown";
/// Drivers that dracut would not find by itself, since it does not run on the machine that boots.
const DRIVERS: &str = "virtio_blk virtio_pci ext4 btrfs xfs erofs overlay vfat";

/// What goes into the initramfs besides the base system.
#[derive(Debug)]
pub(super) struct Inputs<'a> {
    /// Further dracut modules.
    pub modules: &'a [String],
    /// Further kernel modules.
    pub drivers: &'a [String],
    /// The caller's files, which dracut may need to see.
    pub files: Vec<Entry>,
}

/// The layer that holds the initramfs, from the cache or built.
pub(super) fn initramfs(base: &Base, inputs: Inputs<'_>, cache: &Cache) -> Result<Layer> {
    let files = write_layer(inputs.files, cache.blobs())?;
    let arguments = arguments(inputs.modules, inputs.drivers);
    let key = arguments.iter().fold(Key::default(), Key::add);
    let key = key.add(&base.key).add(&files.diff_id).add(SCRIPT).short();
    let complete = |layer: &Layer| cache.blobs().holds(&layer.blob);
    cache.remembered(&format!("initramfs-{key}"), complete, || build(base, &files, &arguments, cache))
}

fn arguments(modules: &[String], drivers: &[String]) -> Vec<String> {
    let join = |known: &str, more: &[String]| {
        let more = more.iter().map(String::as_str);
        known.split(' ').chain(more).collect::<Vec<_>>().join(" ")
    };
    let fixed =
        ["--no-hostonly", "--no-hostonly-cmdline", "--no-early-microcode", "--reproducible", "--zstd"];
    let mut arguments: Vec<String> = fixed.map(str::to_owned).to_vec();
    arguments.extend(["--quiet".to_owned(), "--modules".to_owned(), join(MODULES, modules)]);
    arguments.extend(["--add-drivers".to_owned(), join(DRIVERS, drivers)]);
    arguments
}

fn build(base: &Base, files: &Layer, arguments: &[String], cache: &Cache) -> Result<Layer> {
    cache.say("building the initramfs with dracut");
    let folder = tempfile::Builder::new().prefix(".initramfs-").tempdir_in(cache.dir())?;
    let root = folder.path().join("root");
    let output = folder.path().join("initramfs.img");
    let script = folder.path().join("initramfs.sh");
    fs::write(&script, SCRIPT)?;
    fs::create_dir(&root)?;
    let mut command = host::privileged("unshare");
    command.args(["--mount", "--propagation", "private", "sh"]).arg(&script);
    command.args([&root, &output]).arg(&base.kernel);
    command.args([&base.layer, files].map(|layer| cache.blobs().path(&layer.blob.sha256)));
    command.arg("--").args(arguments);
    host::run(&mut command).context("dracut did not build an initramfs")?;
    let path = format!("usr/lib/modules/{}/initramfs.img", base.kernel);
    write_layer(vec![Entry::file(&path, fs::read(&output)?, 0o644)], cache.blobs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_modules_and_drivers_come_after_the_usual_ones() {
        let arguments = arguments(&["ours".to_owned()], &["dm_mod".to_owned()]);
        assert!(arguments.contains(&format!("{MODULES} ours")));
        assert!(arguments.contains(&format!("{DRIVERS} dm_mod")));
    }
}
