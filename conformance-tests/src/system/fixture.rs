//! What a Debian image needs so that a storage backend can boot it: one row for each backend that is booted in virtual machines.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// A folder or file of this workspace, and its place in the image.
#[derive(Debug, Clone, Copy)]
pub struct Placed {
    /// Path below the workspace, or an absolute one.
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
    /// Packages of the distribution, besides those of every test image.
    pub packages: &'static [&'static str],
    /// Those of all packages that come from the distribution's next release.
    pub newer_packages: &'static [&'static str],
    /// Whether a UKI is sealed to its root (otherwise the root arguments come beside it).
    pub sealed_ukis: bool,
}

const READ_ONLY_ROOT: &str = "/usr/lib/systemd/system/systemd-growfs-root.service.d/50-read-only-root.conf";
const READ_ONLY_ROOT_TEXT: &str = include_str!("../../../backends/composefs/systemd/50-read-only-root.conf");

static FIXTURES: [BackendFixture; 2] = [COMPOSEFS, OSTREE];

const COMPOSEFS: BackendFixture = BackendFixture {
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
    packages: &[],
    newer_packages: &[],
    sealed_ukis: true,
};

const PREPARE_ROOT: &str = "/usr/lib/ostree/prepare-root.conf";

const OSTREE: BackendFixture = BackendFixture {
    backend: "ostree",
    early_program: None,
    folders: &[Placed {
        from: "backends/ostree/initramfs/dracut/50bootwright-ostree",
        to: "/usr/lib/dracut/modules.d/50bootwright-ostree",
    }],
    files: &[(PREPARE_ROOT, "[sysroot]\nreadonly = true\n"), (READ_ONLY_ROOT, READ_ONLY_ROOT_TEXT)],
    links: &[("/ostree", "sysroot/ostree")],
    dracut_modules: &["ostree", "bootwright-ostree"],
    packages: &[],
    newer_packages: &[],
    sealed_ukis: false,
};

/// The `ostree` backend where the kernel verifies what is read: Debian builds libostree with composefs from its next release on.
pub static OSTREE_VERIFIED: BackendFixture = BackendFixture {
    files: &[
        (PREPARE_ROOT, "[sysroot]\nreadonly = true\n[composefs]\nenabled = verity\n"),
        (READ_ONLY_ROOT, READ_ONLY_ROOT_TEXT),
    ],
    // Not that it needs them: with them, its base is that of [`INSTALLER`].
    packages: INSTALLS,
    newer_packages: NEWER_OSTREE,
    ..OSTREE
};

/// A system that installs others. For [`OSTREE_VERIFIED`] as well: libostree of the program that installs makes what early boot verifies.
pub static INSTALLER: BackendFixture =
    BackendFixture { packages: INSTALLS, newer_packages: NEWER_OSTREE, ..COMPOSEFS };

const INSTALLS: &[&str] = &["btrfs-progs", "dosfstools", "fdisk", "xfsprogs"];
const NEWER_OSTREE: &[&str] = &["ostree", "ostree-boot", "libostree-1-1"];

bootwright_core::inventory::collect!(BackendFixture);

/// The needs of this backend. A backend that is kept elsewhere brings its own row, by `inventory::submit!` in the program that tests it.
///
/// # Errors
/// When there is no row for it: its images cannot be made here.
pub fn fixture(backend: &str) -> Result<&'static BackendFixture> {
    let all = || FIXTURES.iter().chain(bootwright_core::inventory::iter::<BackendFixture>());
    let known = all().map(|fixture| fixture.backend).collect::<Vec<_>>().join(", ");
    all()
        .find(|fixture| fixture.backend == backend)
        .with_context(|| format!("no images can be made for the backend {backend} (known: {known})"))
}

/// A path of this workspace.
pub fn workspace(path: &str) -> PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
