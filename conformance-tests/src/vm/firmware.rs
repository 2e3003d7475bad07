//! Finds the UEFI firmware that the distribution ships.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Set both to use another firmware than the distribution's.
const VARIABLES: (&str, &str) = ("BOOTWRIGHT_OVMF_CODE", "BOOTWRIGHT_OVMF_VARS");

/// Code and variable templates as Debian, Fedora and Arch Linux place them. Raw images only.
const KNOWN: [(&str, &str); 4] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
];

/// A UEFI firmware: its code, and the template of its variable store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firmware {
    /// Read-only flash image.
    pub code: PathBuf,
    /// Variable store of a machine that was never switched on; each machine gets a copy.
    pub vars: PathBuf,
}

impl Firmware {
    /// The firmware that `BOOTWRIGHT_OVMF_CODE` and `BOOTWRIGHT_OVMF_VARS` name, else the distribution's.
    ///
    /// # Errors
    /// When there is none.
    pub fn find() -> Result<Self> {
        if let (Some(code), Some(vars)) = (std::env::var_os(VARIABLES.0), std::env::var_os(VARIABLES.1)) {
            return Ok(Self { code: code.into(), vars: vars.into() });
        }
        let installed =
            KNOWN.iter().find(|(code, vars)| Path::new(code).exists() && Path::new(vars).exists());
        let (code, vars) =
            installed.context("no UEFI firmware for QEMU; install ovmf (Debian) or edk2-ovmf")?;
        Ok(Self { code: code.into(), vars: vars.into() })
    }
}
