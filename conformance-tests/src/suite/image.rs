//! Images as cases describe them; each tier makes them in its own way.

use std::{collections::BTreeMap, fmt};

use crate::system::KernelFormat;

/// Version of a test image. Counted per machine, so that a case never needs to know what ran before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u32);

/// `v3`: the image's version label, and the text of [`TestImage::VERSION_FILE`].
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

/// A name under which images are published, as a tag in a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(pub &'static str);

impl Channel {
    /// What installs follow.
    pub const MAIN: Self = Self("main");
    /// Something to switch to.
    pub const OTHER: Self = Self("other");
}

/// What is wrong with an image, on purpose. Each must be refused by `upgrade` (BW-121, BW-306, BW-504), with nothing left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Defect {
    /// No kernel at all: `InvalidInput`.
    NoKernel,
    /// Kernels of two versions: `InvalidInput`.
    TwoKernels,
    /// Its configuration names another processor architecture: `Unsupported`.
    WrongArchitecture,
    /// A UKI that names another root than this image's: `Integrity`. Only with [`KernelFormat::Unified`], where the backend has
    /// `predictable_root_args`.
    ForeignRoot,
    /// A layer whose bytes do not match the manifest: `Integrity`.
    DamagedLayer,
}

/// How boots of an image end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Health {
    /// It comes up, and the boot is confirmed.
    #[default]
    Good,
    /// The kernel starts, but no boot is ever confirmed: the machine restarts by itself, or is restarted, until something else comes
    /// up. In a virtual machine the kernel panics.
    NeverComesUp,
    /// The same, and only the kernel or its arguments are to blame: in a UKI, that leaves the tree as that of a good image.
    KernelFails,
    /// The kernel panics, and no argument of the image says what then. This and the following only with
    /// [`super::Property::FailureKinds`].
    Panics,
    /// The initramfs cannot mount the root.
    NoRoot,
    /// A file system that the system needs cannot be mounted, and systemd ends in its emergency mode.
    Emergency,
    /// A unit that everything else waits for never ends.
    HangsEarly,
    /// Everything comes up, but a unit fails that `boot-complete.target` requires.
    CheckFails,
    /// Everything comes up, but a unit that `boot-complete.target` requires never ends.
    CheckHangs,
    /// The system stops doing anything; the machine has a watchdog.
    Freezes,
}

impl Health {
    /// The unit that breaks a boot, where a unit of its own does.
    pub const UNIT: &str = "bootwright-test-broken.service";
    /// The file system that cannot be mounted ([`Self::Emergency`]).
    pub const MOUNT: &str = "mnt.mount";
}

/// One image. Every tier adds what it needs to boot (loader binaries, an init, …), the same in all versions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TestImage {
    /// Version, of which tree and label say which it is.
    pub version: Version,
    /// Version label.
    pub label: String,
    /// Files below `usr/`, `etc/` and `var/` by path without a leading slash, with their text. [`TestImage::VERSION_FILE`] is added by
    /// [`TestImage::new`]. Two images that differ in one entry differ in that file and in nothing else.
    pub files: BTreeMap<String, String>,
    /// Names the kernel and initrd: images with equal labels carry the very same bytes, others carry other bytes under the same
    /// kernel version (`uname -r`) unless `kernel_version` differs.
    pub kernel: String,
    /// Whether its kernel is a large one, of which a few fill the place for boot files ([`super::World::leave_room_for`]).
    pub large_kernel: bool,
    /// Suffix of the kernel version.
    pub kernel_version: u32,
    /// Kernel and initrd apart, or a UKI sealed to this image (where root arguments are predictable), which embeds [`TestImage::kargs`].
    pub format: KernelFormat,
    /// Kernel arguments of the image: for split kernels in `usr/lib/bootc/kargs.d/10-test.toml`, for a UKI in its command line.
    pub kargs: Vec<String>,
    /// How its boots end.
    pub health: Health,
    /// What is wrong with it.
    pub defect: Option<Defect>,
    /// A further layer, on top of all others: a tar archive as it is. Only with [`super::Property::AnyLayers`].
    pub layer: Option<Vec<u8>>,
}

impl TestImage {
    /// Holds the version, so that whoever runs can be asked which one it is.
    pub const VERSION_FILE: &'static str = "usr/share/marker/version";

    /// A good image: its version in `/usr`, a default in `/etc` that changes with each version and one that never does, a file that
    /// seeds `/var`, and the same kernel in all versions.
    pub fn new(version: Version, format: KernelFormat) -> Self {
        let text = version.to_string();
        let files = [
            (Self::VERSION_FILE, text.as_str()),
            ("etc/marker/changing", &text),
            ("etc/marker/constant", "same"),
            ("var/lib/marker/seeded", &text),
        ];
        let files = files.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
        let (kernel, kargs) = ("one".to_owned(), Vec::new());
        Self {
            version,
            label: text,
            files,
            kernel,
            large_kernel: false,
            kernel_version: 1,
            format,
            kargs,
            health: Health::Good,
            defect: None,
            layer: None,
        }
    }

    /// The same with a file, or with another text in it.
    #[must_use]
    pub fn with(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.to_owned(), text.to_owned());
        self
    }

    /// The same without a file.
    #[must_use]
    pub fn without(mut self, path: &str) -> Self {
        self.files.remove(path);
        self
    }

    /// The same with another kernel of the same version.
    #[must_use]
    pub fn kernel(mut self, label: &str) -> Self {
        label.clone_into(&mut self.kernel);
        self
    }

    /// The same with another kernel of the same version, which is large.
    #[must_use]
    pub fn large_kernel(self, label: &str) -> Self {
        Self { large_kernel: true, ..self.kernel(label) }
    }

    /// The same with other kernel arguments.
    #[must_use]
    pub fn kargs(mut self, kargs: &[&str]) -> Self {
        self.kargs = kargs.iter().map(|&arg| arg.to_owned()).collect();
        self
    }

    /// The same in another kernel format.
    #[must_use]
    pub fn format(mut self, format: KernelFormat) -> Self {
        self.format = format;
        self
    }

    /// The same, whose boots end like this.
    #[must_use]
    pub fn health(mut self, health: Health) -> Self {
        self.health = health;
        self
    }

    /// The same tree and kernel, built once more: an image of its own, with another version label.
    #[must_use]
    pub fn built_again(mut self) -> Self {
        self.label.push_str("-again");
        self
    }

    /// The same with a further layer.
    #[must_use]
    pub fn layer(mut self, tar: Vec<u8>) -> Self {
        self.layer = Some(tar);
        self
    }

    /// The same, broken.
    #[must_use]
    pub fn defect(mut self, defect: Defect) -> Self {
        self.defect = Some(defect);
        self
    }
}
