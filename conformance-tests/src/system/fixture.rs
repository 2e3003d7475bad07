//! What a Debian image needs so that a storage backend can boot it: one row for each backend that is booted in virtual machines.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// A folder or file of this workspace, and its place in the image.
#[derive(Debug, Clone, Copy)]
pub struct Placed {
    /// Path below the workspace.
    pub from: &'static str,
    /// Absolute path in the image.
    pub to: &'static str,
}

/// A program of this workspace that early boot runs.
#[derive(Debug, Clone, Copy)]
pub struct EarlyProgram {
    /// Its package; the program has the same name.
    pub package: &'static str,
    /// Absolute path in the image.
    pub to: &'static str,
}

/// One backend's needs.
#[derive(Debug, Clone, Copy)]
pub struct BackendFixture {
    /// The backend's registered name.
    pub backend: &'static str,
    /// Built and put into the image before its initramfs is made.
    pub early_program: Option<EarlyProgram>,
    /// Folders whose files are copied.
    pub folders: &'static [Placed],
    /// Files with fixed text.
    pub files: &'static [(&'static str, &'static str)],
    /// Symbolic links: path and target.
    pub links: &'static [(&'static str, &'static str)],
    /// dracut modules.
    pub dracut_modules: &'static [&'static str],
    /// Whether a UKI is sealed to its root (otherwise the root arguments come beside it).
    pub sealed_ukis: bool,
}

const READ_ONLY_ROOT: &str = "/usr/lib/systemd/system/systemd-growfs-root.service.d/50-read-only-root.conf";
const READ_ONLY_ROOT_TEXT: &str = include_str!("../../../backends/composefs/systemd/50-read-only-root.conf");

const FIXTURES: [BackendFixture; 2] = [
    BackendFixture {
        backend: "composefs",
        early_program: Some(EarlyProgram {
            package: "bootwright-composefs-root",
            to: "/usr/lib/bootwright/bootwright-composefs-root",
        }),
        folders: &[Placed {
            from: "backends/composefs/initramfs/dracut/50bootwright-composefs",
            to: "/usr/lib/dracut/modules.d/50bootwright-composefs",
        }],
        files: &[(READ_ONLY_ROOT, READ_ONLY_ROOT_TEXT)],
        links: &[],
        dracut_modules: &["bootwright-composefs"],
        sealed_ukis: true,
    },
    BackendFixture {
        backend: "ostree",
        early_program: None,
        folders: &[Placed {
            from: "backends/ostree/initramfs/dracut/50bootwright-ostree",
            to: "/usr/lib/dracut/modules.d/50bootwright-ostree",
        }],
        files: &[
            ("/usr/lib/ostree/prepare-root.conf", "[sysroot]\nreadonly = true\n"),
            (READ_ONLY_ROOT, READ_ONLY_ROOT_TEXT),
        ],
        links: &[("/ostree", "sysroot/ostree")],
        dracut_modules: &["ostree", "bootwright-ostree"],
        sealed_ukis: false,
    },
];

/// The needs of this backend.
///
/// # Errors
/// When there is no row for it: its images cannot be made here.
pub fn fixture(backend: &str) -> Result<&'static BackendFixture> {
    let known = FIXTURES.iter().map(|fixture| fixture.backend).collect::<Vec<_>>().join(", ");
    FIXTURES
        .iter()
        .find(|fixture| fixture.backend == backend)
        .with_context(|| format!("no images can be made for the backend {backend} (known: {known})"))
}

/// A path of this workspace.
pub fn workspace(path: &str) -> PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
