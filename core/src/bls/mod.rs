//! Boot Loader Specification Type #1 entries (UAPI.1): text, file names with boot counters, and the order of a boot menu.
//!
//! Pure functions; whoever reads and writes the files is elsewhere. Where the specification leaves room, the behaviour
//! is that of systemd-boot 257 (`src/boot/boot.c`), because that is the program which will read the files.
//!
//! ```
//! use bootwright_core::bls::{Entry, EntryName, MenuItem};
//! let item = |name: &str, text: &str| {
//!     MenuItem { name: EntryName::parse(name).unwrap(), entry: Entry::parse(text.as_bytes()) }
//! };
//! let mut menu = vec![
//!     item("old.conf", "sort-key os\nversion 1\nlinux /a"),
//!     item("failed+0-3.conf", "sort-key os\nversion 3\nlinux /a"),
//!     item("new+3.conf", "sort-key os\nversion 2\nlinux /a"),
//! ];
//! menu.sort_by(MenuItem::compare);
//! assert_eq!(menu.iter().map(|item| item.name.stem.as_str()).collect::<Vec<_>>(), ["new", "old", "failed"]);
//! ```

mod entry;
mod name;
mod order;
mod version;

pub use entry::{Entry, Program};
pub use name::{EntryName, Tries};
pub use order::MenuItem;
pub use version::compare_versions;
