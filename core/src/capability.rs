//! What a plugin can do: declared once, checked in core before anything is touched.

use serde::Serialize;

/// One thing that a backend may or may not be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BackendCapabilities {
    /// Reads of every file of a deployment can be checked by the kernel (fs-verity).
    pub verified_root: bool,
    /// A verified disk can be made on a host whose kernel cannot verify.
    pub offline_seal: bool,
    /// The root arguments of an image are known before it is deployed, so that a UKI can be sealed to it.
    pub predictable_root_args: bool,
    /// File systems that the physical root may have, in order of preference.
    pub root_filesystems: &'static [&'static str],
}

/// One thing that a bootloader may or may not be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent fact that a conformance case names"
)]
pub struct BootloaderCapabilities {
    /// Starts a kernel with separate initrds, or turns them into something that it can start.
    pub split_kernels: bool,
    /// Starts a UKI.
    pub unified_kernels: bool,
    /// Extra arguments reach a UKI that was sealed elsewhere (through addons).
    pub addons: bool,
    /// Counts tries of a new entry and falls back by itself.
    pub boot_counting: bool,
    /// Can boot an entry exactly once.
    pub one_shot: bool,
}

/// A capability by name, as conformance cases and `bootwright plugins` list it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Capability {
    /// Its name in kebab case.
    pub name: &'static str,
    /// Whether the plugin has it.
    pub present: bool,
}

macro_rules! list {
    ($self:ident: $($field:ident),+ $(,)?) => {
        vec![$(Capability { name: stringify!($field), present: $self.$field }),+]
    };
}

impl BackendCapabilities {
    /// Each by name.
    pub fn list(&self) -> Vec<Capability> {
        list!(self: verified_root, offline_seal, predictable_root_args)
    }
}

impl BootloaderCapabilities {
    /// Each by name.
    pub fn list(&self) -> Vec<Capability> {
        list!(self: split_kernels, unified_kernels, addons, boot_counting, one_shot)
    }
}
