//! What a machine would boot, found out without the plugins.
//!
//! Everything in here reads disks, boot files and firmware variables in its own way, and shares no code with the plugins that wrote them:
//! a plugin that misunderstands a format must not be judged by its own misunderstanding.
//!
//! Three stages, as on a real machine: [`firmware`] chooses an EFI program; a [`Loader`] that recognises the program reads its menu;
//! an [`EarlyBoot`] finds the root that the kernel command line names. Which ones apply is decided by what is on the disk. Plugins from
//! elsewhere add theirs with `inventory::submit!`.

mod early;
mod entry;
pub mod firmware;
pub mod grub;
pub mod nvram;
mod pe;
mod systemd_boot;
pub mod tree;
mod variables;

pub use early::{EarlyBoot, LiveRoot, live_root, names_root, tree_of};
pub use entry::{Chosen, Disk, MenuEntry, read_file};
pub use pe::sections_beside_arguments;
pub use variables::Variables;

/// One kind of program that firmware may start.
#[derive(Debug, Clone, Copy)]
pub struct Loader {
    /// For messages.
    pub name: &'static str,
    /// The bootloader whose it is, by its registered name.
    pub plugin: &'static str,
    /// Whether this EFI program is it.
    pub recognises: fn(program: &[u8]) -> bool,
    /// Its menu, the default first. `program` is the path from which it was started.
    pub menu: fn(disk: &Disk, program: &str) -> anyhow::Result<Vec<MenuEntry>>,
    /// What it writes when it starts this entry: counters, one-shot choices.
    pub started: fn(disk: &Disk, entry: &MenuEntry) -> anyhow::Result<()>,
    /// Adds an entry as another program would, and returns its name; `None` if the fixture cannot.
    pub add_foreign: fn(disk: &Disk) -> anyhow::Result<Option<String>>,
    /// Makes another entry the default as a person would, by its name in the menu; `None` if the loader knows no such thing.
    pub choose: Option<fn(disk: &Disk, entry: &str)>,
}

inventory::collect!(Loader);
inventory::collect!(EarlyBoot);

/// Whether people can make another entry the default with this bootloader.
pub fn has_choice(plugin: &str) -> bool {
    inventory::iter::<Loader>().any(|loader| loader.plugin == plugin && loader.choose.is_some())
}

/// The loader that an EFI program is.
pub fn loader_of(program: &[u8]) -> Option<&'static Loader> {
    inventory::iter::<Loader>().find(|loader| (loader.recognises)(program))
}
