//! Unified kernel images (UAPI.5): their sections read and written, and addons for them.
//!
//! [`UkiInfo`] reads what matters for deciding whether and how an image boots, without reading kernel or initrd.
//! [`UkiParts`] assembles an image from the systemd stub, streaming the big parts. [`addon`] wraps a command line.
//!
//! ```
//! use bootwright_core::uki::{UkiInfo, addon, synthetic};
//! let line = "console=ttyS0".parse()?;
//! let built = addon(synthetic::stub(), &line)?;
//! assert_eq!(UkiInfo::parse(&built)?.cmdline(), line);
//! # Ok::<(), bootwright_core::Error>(())
//! ```

mod assemble;
mod info;
mod layout;
mod pe;
pub mod synthetic;

pub use assemble::{Assembly, Part, UkiParts, addon};
pub use info::UkiInfo;
pub use pe::{PeHeaders, SectionSpan};
