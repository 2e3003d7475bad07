//! An ext4 disk that is made on a host with or without fs-verity, and enforced either way. Needs root.

use std::process::Command;

use bootwright_core::{
    context::{BackendContext, OfflineRoot, Sealing},
    error::ErrorKind,
    fs::{Faults, Root},
    model::Stateroot,
    registry::{self, Verity},
};

use crate::loop_disk::LoopDisk;

use super::{
    image::Image,
    support::{Host, Recorder, spec},
};

/// A file system in a file, mounted while it is used.
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
    fn make(mkfs: &[&str]) -> Self {
        Self(LoopDisk::make(mkfs, 300 << 20))
    }

    /// As an install makes it, and mounted.
    fn ext4() -> Self {
        let mkfs = (plugin().mkfs_args)("ext4", Verity::Required);
        let command: Vec<&str> =
            ["mkfs.ext4", "-q"].into_iter().chain(mkfs.iter().map(String::as_str)).collect();
        let mut disk = Self::make(&command);
        disk.mount();
        disk
    }

    fn context(&self) -> BackendContext {
        BackendContext {
            sysroot: Root::open(self.mount_point(), Faults::none()).unwrap(),
            running_root: None,
            stateroot: Stateroot::default(),
            verity: Verity::Required,
            sealing: Sealing::Offline,
        }
    }

    fn debugfs(&self, request: &str) -> String {
        let output = Command::new("debugfs").args(["-R", request]).arg(self.image()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

fn plugin() -> &'static registry::BackendPlugin {
    registry::backend("composefs").unwrap()
}

/// spec: BW-312
#[tokio::test]
async fn an_install_on_ext4_ends_with_every_object_sealed() {
    let mut disk = Disk::ext4();
    let host = Host::new();
    let notes = tempfile::tempdir().unwrap();
    let deployment = {
        let backend = Host::open(disk.context());
        backend.initialize().await.unwrap();
        let pinned =
            backend.fetch(&host.image("v1", &Image::bootable("1")), &Recorder::default()).await.unwrap();
        let deployment = backend.prepare(&spec(&pinned, None)).await.unwrap();
        backend.finalize(&deployment.id).await.unwrap();
        let args = backend.boot_artifacts(&deployment.id).await.unwrap().root_args;
        assert_eq!(args.to_string(), format!("composefs.digest=v1-sha256-12:{}", deployment.id));
        backend.seal(notes.path()).await.unwrap();
        deployment
    };
    assert!(deployment.verified);
    disk.unmount();
    let root = OfflineRoot {
        device: disk.image(),
        filesystem: "ext4".to_owned(),
        verity: Verity::Required,
        scratch: notes.path().to_owned(),
    };
    (plugin().seal_offline)(&root).unwrap();
    let first = &deployment.id.as_str()[..2];
    let rest = &deployment.id.as_str()[2..];
    for path in [format!("/composefs/objects/{first}/{rest}"), "/composefs/meta.json".to_owned()] {
        let stat = disk.debugfs(&format!("stat {path}"));
        assert!(stat.contains("Flags: 0x180000"), "{path}: {stat}");
    }
}

/// spec: BW-006, BW-307
#[tokio::test]
async fn file_systems_that_cannot_be_sealed_are_refused_before_anything_is_written() {
    for mkfs in [&["mkfs.ext4", "-q", "-O", "^verity"][..], &["mkfs.xfs", "-q"][..]] {
        let mut disk = Disk::make(mkfs);
        disk.mount();
        let before = std::fs::read_dir(disk.mount_point()).unwrap().count();
        let error = Host::open(disk.context()).initialize().await.unwrap_err();
        assert!(error.kind() == ErrorKind::Unsupported && error.hint().is_some(), "{mkfs:?}: {error:?}");
        assert_eq!(std::fs::read_dir(disk.mount_point()).unwrap().count(), before, "{mkfs:?}");
        disk.unmount();
    }
}

/// spec: BW-315
#[tokio::test]
async fn a_full_disk_is_no_space_and_leaves_no_deployment() {
    let disk = Disk::ext4();
    let host = Host::new();
    let backend = Host::open(disk.context());
    backend.initialize().await.unwrap();
    let filler = disk.mount_point().join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut file, &vec![0; 1 << 16]).is_ok() {}
    let big: Vec<u8> = (0..4_u32 << 20).flat_map(u32::to_le_bytes).collect();
    let image = Image::bootable("1").layer(vec![super::image::Entry::File("usr/big", big)]);
    let error = backend.fetch(&host.image("v1", &image), &Recorder::default()).await.unwrap_err();
    // What is left, and what to do, is said by the engine.
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error:?}");
    assert!(backend.deployments().await.unwrap().is_empty());
    drop(file);
    std::fs::remove_file(filler).unwrap();
    backend.fetch(&host.image("v1", &image), &Recorder::default()).await.unwrap();
}
