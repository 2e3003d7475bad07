//! The store on a plain folder, with images of a few files. Needs root, since files get their owners.

#![expect(
    clippy::disallowed_methods,
    reason = "tests break files on purpose, and look at them with other programs"
)]

use std::{collections::BTreeSet, path::Path, sync::Arc};

use bootwright_conformance::images::{BlobStore, Entry, OciImage, OciLayoutWriter};
use bootwright_core::{
    ErrorKind, StorageBackend,
    context::{BackendContext, Sealing},
    fs::{Faults, Root},
    model::{DeploySpec, Deployment, KernelArtifacts, NoProgress, Stateroot},
    registry::{self, Verity},
    transport, wrap,
};
use tidewater_backend_squashfs as _;

struct Disk {
    folder: tempfile::TempDir,
    backend: Arc<dyn StorageBackend>,
}

impl Disk {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("root")).unwrap();
        let backend = open(&folder.path().join("root"), Faults::none());
        backend.initialize().await.unwrap();
        Self { folder, backend }
    }

    fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("root")
    }

    fn image(&self, version: &str) -> OciImage {
        let store = BlobStore::open(self.folder.path().join("blobs")).unwrap();
        let mut entries: Vec<_> = ["usr", "etc", "var", "sysroot", "boot"]
            .map(|name| Entry::directory(name, 0o755))
            .into_iter()
            .chain([Entry::file("usr/lib/modules/6.1/vmlinuz", "kernel", 0o644)])
            .chain([Entry::file("usr/lib/modules/6.1/initramfs.img", "initrd", 0o644)])
            .chain([Entry::file("etc/kept", "default", 0o644), Entry::file("var/seed", "seed", 0o600)])
            .collect();
        entries.push(Entry::file("usr/lib/removed", version, 0o644));
        let lower = OciLayoutWriter::new(&store).entries(entries).unwrap();
        let upper = vec![
            Entry::file("usr/share/version", version, 0o4755),
            Entry::file("etc/version", version, 0o644),
            Entry::whiteout("usr/lib/removed"),
        ];
        let writer = lower.entries(upper).unwrap();
        writer.finish(&self.folder.path().join(format!("image-{version}")), "t").unwrap()
    }

    async fn deploy(&self, version: &str, from: Option<&Deployment>) -> Deployment {
        let reference: bootwright_core::model::ImageReference =
            self.image(version).reference().parse().unwrap();
        let summary = transport::inspect(&reference, None).await.unwrap();
        let image = self.backend.fetch(&summary, &NoProgress).await.unwrap();
        let spec = DeploySpec {
            image,
            origin: reference,
            stateroot: Stateroot::default(),
            merge_from: from.map(|from| from.id.clone()),
        };
        let deployment = self.backend.prepare(&spec).await.unwrap();
        assert_eq!(self.backend.prepare(&spec).await.unwrap(), deployment, "preparing again");
        self.backend.finalize(&deployment.id).await.unwrap();
        deployment
    }

    fn etc(&self, deployment: &Deployment, name: &str) -> String {
        std::fs::read_to_string(self.root().join(format!("tide/deploy/{}/etc/{name}", deployment.id)))
            .unwrap()
    }
}

fn open(root: &Path, faults: Faults) -> Arc<dyn StorageBackend> {
    let context = BackendContext {
        sysroot: Root::open(root, faults).unwrap(),
        running_root: None,
        stateroot: Stateroot::default(),
        verity: Verity::Optional,
        sealing: Sealing::Now,
    };
    wrap::open_backend(registry::backend("squashfs").unwrap(), context).unwrap()
}

#[tokio::test]
async fn the_image_file_is_what_the_layers_make_together() {
    let disk = Disk::new().await;
    let deployment = disk.deploy("v1", None).await;
    let file = disk.root().join(format!("tide/squashfs/{}.squashfs", deployment.id));
    let listed = std::process::Command::new("unsquashfs").args(["-lls", "-n"]).arg(&file).output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(
        listed
            .lines()
            .any(|line| line.starts_with("-rwsr-xr-x root/root") && line.ends_with("/usr/share/version")),
        "{listed}"
    );
    assert!(
        listed
            .lines()
            .any(|line| line.starts_with("drwxr-xr-x root/root") && line.ends_with("squashfs-root")),
        "{listed}"
    );
    assert!(!listed.contains("removed") && !listed.contains(".wh."), "{listed}");
    assert_eq!(std::fs::read(disk.root().join("tide/var/default/seed")).unwrap(), b"seed");
}

#[tokio::test]
async fn the_same_layers_make_the_same_image() {
    let (one, other) = (Disk::new().await, Disk::new().await);
    assert_eq!(one.deploy("v1", None).await.id, other.deploy("v1", None).await.id);
}

#[tokio::test]
async fn a_new_version_takes_over_local_changes_and_new_defaults() {
    let disk = Disk::new().await;
    let first = disk.deploy("v1", None).await;
    std::fs::write(disk.root().join(format!("tide/deploy/{}/etc/kept", first.id)), "changed").unwrap();
    let second = disk.deploy("v2", Some(&first)).await;
    assert_eq!((disk.etc(&second, "kept"), disk.etc(&second, "version")), ("changed".into(), "v2".into()));
    assert_eq!(disk.etc(&first, "version"), "v1");
}

#[tokio::test]
async fn a_kernel_is_given_out_byte_by_byte_with_the_root_argument_of_its_tree() {
    let disk = Disk::new().await;
    let deployment = disk.deploy("v1", None).await;
    let artifacts = disk.backend.boot_artifacts(&deployment.id).await.unwrap();
    assert_eq!(artifacts.root_args.to_string(), format!("tide.image={}", deployment.id));
    let KernelArtifacts::Split { kernel, .. } = &artifacts.kernel else { panic!("no split kernel") };
    let mut bytes = Vec::new();
    let mut reader = disk.backend.open_blob(kernel).await.unwrap();
    std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
    assert_eq!(bytes, b"kernel");
    let booted = disk.backend.booted(&"quiet tide.image=0".parse().unwrap()).await.unwrap();
    assert_eq!(booted, None);
    assert_eq!(disk.backend.booted(&artifacts.root_args).await.unwrap(), Some(deployment.id));
}

#[tokio::test]
async fn a_clean_up_deletes_what_only_the_other_needed() {
    let disk = Disk::new().await;
    let first = disk.deploy("v1", None).await;
    let second = disk.deploy("v2", Some(&first)).await;
    let removed = disk.backend.retain(&BTreeSet::from([second.id.clone()])).await.unwrap();
    assert!(removed.bytes > 0 && removed.items.len() == 1, "{removed:?}");
    assert_eq!(disk.backend.deployments().await.unwrap().len(), 1);
    let count = |path: &str| std::fs::read_dir(disk.root().join(path)).unwrap().count();
    assert_eq!((count("tide/squashfs"), count("tide/images"), count("tide/deploy")), (1, 1, 1));
    let report = disk.backend.verify(&NoProgress).await.unwrap();
    assert!(report.problems.is_empty() && report.checked == 3, "{report:?}");
}

#[tokio::test]
async fn a_damaged_image_and_a_missing_layer_are_found_with_whom_they_hurt() {
    let disk = Disk::new().await;
    let deployment = disk.deploy("v1", None).await;
    let image = disk.root().join(format!("tide/squashfs/{}.squashfs", deployment.id));
    let mut bytes = std::fs::read(&image).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&image, bytes).unwrap();
    let layer = std::fs::read_dir(disk.root().join("tide/layers")).unwrap().next().unwrap().unwrap();
    std::fs::remove_file(layer.path()).unwrap();
    let report = disk.backend.verify(&NoProgress).await.unwrap();
    assert_eq!(report.problems.len(), 2, "{report:?}");
    assert!(report.problems.iter().all(|problem| problem.deployments == [deployment.id.clone()]));
}

#[tokio::test]
async fn stopped_before_any_change_it_goes_on_where_it_was() {
    let whole = Disk::new().await;
    let expected = whole.deploy("v1", None).await.id;
    for n in 0..100 {
        let mut disk = Disk::new().await;
        let faults = Faults::stop_before(n);
        let reference = disk.image("v1").reference().parse().unwrap();
        let summary = transport::inspect(&reference, None).await.unwrap();
        let stopped = open(&disk.root(), faults.clone());
        let run = async {
            let image = stopped.fetch(&summary, &NoProgress).await?;
            let stateroot = Stateroot::default();
            let spec = DeploySpec { image, origin: reference.clone(), stateroot, merge_from: None };
            let deployment = stopped.prepare(&spec).await?;
            stopped.finalize(&deployment.id).await
        };
        let result = run.await;
        if !faults.stopped() {
            result.unwrap();
            assert!(n > 10, "only {n} changes were seen");
            return;
        }
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Interrupted, "stopped before {n}");
        disk.backend = open(&disk.root(), Faults::none());
        assert_eq!(disk.deploy("v1", None).await.id, expected, "after a stop before {n}");
        let report = disk.backend.verify(&NoProgress).await.unwrap();
        assert!(report.problems.is_empty(), "after a stop before {n}: {report:?}");
    }
    panic!("it never came to an end");
}
