//! What a distribution may set when it builds its own program from this library.

/// Name and defaults of the program.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Name of the program, in help texts and messages.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// One line of what it is.
    pub about: &'static str,
    /// Storage backend of an install that names none; `None` leaves it to the image, or to the only one that is compiled in.
    pub default_backend: Option<&'static str>,
    /// Bootloader of an install that names none; `None` likewise.
    pub default_bootloader: Option<&'static str>,
    /// Where a running system has its physical root.
    pub sysroot: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "bootwright",
            version: env!("CARGO_PKG_VERSION"),
            about: "Installs OCI images as bootable systems and updates them transactionally",
            default_backend: None,
            default_bootloader: None,
            sysroot: "/sysroot",
        }
    }
}
