//! `tidewaterctl`: Bootwright under Tidewater's name, with its defaults and its storage backend.

use std::process::ExitCode;

// Named, so that the linker keeps the crate and with it the plugin that it registers.
use tidewater_backend_squashfs as _;

fn main() -> ExitCode {
    bootwright::run(bootwright::Settings {
        name: "tidewaterctl",
        version: env!("CARGO_PKG_VERSION"),
        about: "Installs and updates Tidewater Linux",
        default_backend: Some("squashfs"),
        default_bootloader: Some("systemd-boot"),
        ..bootwright::Settings::default()
    })
}
