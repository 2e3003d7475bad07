//! A sysroot in a temporary folder, images as commits in it, and short ways through the backend.

use std::{
    collections::BTreeSet,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use bootwright_core::{
    StorageBackend,
    context::{BackendContext, Sealing},
    fs::{Faults, Root},
    model::{DeploySpec, Deployment, DeploymentId, Digest, KernelCmdline, PinnedImage, Stateroot},
    registry::{self, Verity},
};
use ostree_ext::{gio::Cancellable, ostree};
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use crate::{deploy::booted, repo::Store};

/// A sysroot and a place for images.
#[derive(Debug)]
pub struct Host {
    folder: tempfile::TempDir,
}

/// Files of an image, by path.
pub type Files = Vec<(String, Vec<u8>)>;

impl Host {
    /// A sysroot with nothing in it.
    pub fn blank() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sysroot")).unwrap();
        Self { folder }
    }

    /// A sysroot with an empty store.
    pub async fn initialized() -> Self {
        let host = Self::blank();
        host.backend().initialize().await.unwrap();
        host
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("sysroot").join(path)
    }

    pub fn read(&self, path: &str) -> String {
        let path = self.path(path);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn context(&self) -> BackendContext {
        self.context_with(Faults::none())
    }

    pub fn context_with(&self, faults: Faults) -> BackendContext {
        BackendContext {
            sysroot: Root::open(self.path(""), faults).unwrap(),
            running_root: None,
            stateroot: Stateroot::default(),
            verity: Verity::Optional,
            sealing: Sealing::Now,
        }
    }

    /// As if the system had been started with this command line.
    pub fn running(&self, cmdline: &KernelCmdline) -> BackendContext {
        let root = self.folder.path().join("running");
        std::fs::create_dir_all(root.join("proc")).unwrap();
        std::fs::write(root.join("proc/cmdline"), cmdline.to_string()).unwrap();
        BackendContext { running_root: Some(Root::open(root, Faults::none()).unwrap()), ..self.context() }
    }

    /// The backend as a binary finds it.
    pub fn backend(&self) -> Arc<dyn StorageBackend> {
        Self::open(self.context())
    }

    pub fn open(context: BackendContext) -> Arc<dyn StorageBackend> {
        (registry::backend("ostree").unwrap().open)(context).unwrap()
    }

    /// Commits an image, as a fetch leaves it.
    pub fn image(&self, files: &Files) -> PinnedImage {
        let tree = tempfile::tempdir_in(self.folder.path()).unwrap();
        for folder in ["usr/etc", "var/lib", "sysroot", "boot"] {
            std::fs::create_dir_all(tree.path().join(folder)).unwrap();
        }
        for (path, content) in files {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let repo = Store::new(self.context().sysroot.clone()).open().unwrap();
        let commit = commit(&repo, tree.path());
        let hex: [u8; 32] = hex::decode(&commit).unwrap().try_into().unwrap();
        let digest = Digest::from_sha256(hex);
        let name = format!("bootwright/image/{}", digest.as_str().replace(':', "_"));
        repo.set_ref_immediate(None, &name, Some(&commit), Cancellable::NONE).unwrap();
        PinnedImage {
            reference: "oci:/images/os:1".parse().unwrap(),
            manifest_digest: digest,
            version: None,
            created: None,
            architecture: "amd64".to_owned(),
        }
    }

    pub async fn prepare(&self, image: &PinnedImage, from: Option<&DeploymentId>) -> Deployment {
        self.backend().prepare(&spec(image, from)).await.unwrap()
    }

    /// From an image to a finalised deployment that is not published.
    pub async fn finalize(&self, image: &PinnedImage, from: Option<&DeploymentId>) -> Deployment {
        let deployment = self.prepare(image, from).await;
        self.backend().finalize(&deployment.id).await.unwrap();
        deployment
    }

    /// From an image to a published deployment.
    pub async fn deploy(&self, image: &PinnedImage, from: Option<&DeploymentId>) -> Deployment {
        let deployment = self.finalize(image, from).await;
        self.backend().published().await.unwrap();
        deployment
    }

    /// The command line that an entry published now would have.
    pub async fn cmdline(&self, id: &DeploymentId) -> KernelCmdline {
        self.backend().boot_artifacts(id).await.unwrap().root_args
    }

    /// The folder that early boot would find with this command line: an oracle that asks nobody but the disk.
    pub fn boots(&self, cmdline: &KernelCmdline) -> Option<PathBuf> {
        let link = cmdline.values("ostree").next()?.to_owned();
        std::fs::canonicalize(self.path(link.trim_start_matches('/'))).ok()
    }

    /// The text of `/usr/lib/version` that this command line leads to.
    pub fn boots_version(&self, cmdline: &KernelCmdline) -> Option<String> {
        std::fs::read_to_string(self.boots(cmdline)?.join("usr/lib/version")).ok()
    }

    /// Where the `/etc` of a deployment is.
    pub async fn etc(&self, id: &DeploymentId) -> PathBuf {
        self.boots(&self.cmdline(id).await).unwrap().join("etc")
    }

    pub fn booted(&self, cmdline: &KernelCmdline) -> Option<DeploymentId> {
        booted::booted(&self.context(), cmdline).unwrap()
    }

    pub async fn ids(&self) -> BTreeSet<DeploymentId> {
        self.backend().deployments().await.unwrap().into_iter().map(|d| d.id).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for stateroot in std::fs::read_dir(self.path("ostree/deploy")).into_iter().flatten().flatten() {
            let folders = std::fs::read_dir(stateroot.path().join("deploy"));
            for folder in folders.into_iter().flatten().flatten() {
                set_flag(&folder.path(), IFlags::IMMUTABLE, false);
                let _ =
                    Root::open(folder.path(), Faults::none()).and_then(|root| root.lift_protection("etc"));
            }
        }
    }
}

/// Sets or clears a flag of an inode, where the file system has such flags.
pub fn set_flag(path: &Path, flag: IFlags, value: bool) {
    let Ok(open) = std::fs::File::open(path) else { return };
    let mut flags = ioctl_getflags(open.as_fd()).unwrap_or(IFlags::empty());
    flags.set(flag, value);
    let _ = ioctl_setflags(open.as_fd(), flags);
}

fn commit(repo: &ostree::Repo, tree: &Path) -> String {
    let none = Cancellable::NONE;
    let transaction = repo.auto_transaction(none).unwrap();
    let files = ostree::MutableTree::new();
    let folder = std::fs::File::open(tree).unwrap();
    repo.write_dfd_to_mtree(std::os::fd::AsRawFd::as_raw_fd(&folder), ".", &files, None, none).unwrap();
    let root = repo.write_mtree(&files, none).unwrap();
    let root = ostree_ext::gio::prelude::Cast::downcast::<ostree::RepoFile>(root).unwrap();
    let commit = repo.write_commit_with_time(None, None, None, None, &root, 1, none).unwrap();
    transaction.commit(none).unwrap();
    commit.into()
}

pub fn spec(image: &PinnedImage, merge_from: Option<&DeploymentId>) -> DeploySpec {
    DeploySpec {
        image: image.clone(),
        origin: "docker://example.invalid/os:latest".parse().unwrap(),
        stateroot: Stateroot::default(),
        merge_from: merge_from.cloned(),
    }
}

/// A small system whose kernel is the same in every version.
pub fn version(version: &str) -> Files {
    let text = |path: &str, text: String| (path.to_owned(), text.into_bytes());
    vec![
        text("usr/lib/os-release", format!("ID=test\nVERSION_ID={version}\n")),
        text("usr/lib/version", version.to_owned()),
        text("usr/lib/modules/6.1.0/vmlinuz", "kernel".to_owned()),
        text("usr/lib/modules/6.1.0/initramfs.img", "initramfs".to_owned()),
        text("usr/etc/app/default.conf", format!("version={version}\n")),
        text("usr/etc/hostname", "default\n".to_owned()),
        text("usr/etc/.updated", "stamp\n".to_owned()),
        text("var/lib/seeded", "from the image\n".to_owned()),
    ]
}

/// The set of one deployment.
pub fn only(deployment: &Deployment) -> BTreeSet<DeploymentId> {
    BTreeSet::from([deployment.id.clone()])
}
