//! The one place that names plugins: each `use` makes the linker keep a crate that nothing else refers to, and with it its registration.
//!
//! A plugin that is only listed as a dependency registers nothing, silently, in debug and release builds alike.

#[cfg(feature = "composefs")]
use bootwright_backend_composefs as _;
#[cfg(feature = "ostree")]
use bootwright_backend_ostree as _;
#[cfg(feature = "grub2")]
use bootwright_loader_grub2 as _;
#[cfg(feature = "systemd-boot")]
use bootwright_loader_systemd_boot as _;
#[cfg(feature = "uki")]
use bootwright_loader_uki as _;
