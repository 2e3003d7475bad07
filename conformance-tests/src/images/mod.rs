//! Test images: a minimal Debian composed as an OCI image layout, and images derived from it.
//!
//! Everything is cached under `target/images/` by a hash of what went in, so that a second run costs nothing:
//! the base system from packages, the initramfs, the caller's files on top, and each derived image.
//! Layers are made reproducibly (sorted, fixed times), so a digest changes only when content does.
//!
//! ```no_run
//! use bootwright_conformance::images::{Cache, Edits, Recipe, compose, derive};
//! # fn main() -> anyhow::Result<()> {
//! let cache = Cache::in_target_dir()?;
//! let recipe = Recipe::debian().host_file("/usr/bin/bootwright", "target/release/bootwright", 0o755);
//! let v1 = compose(&recipe, &cache)?;
//! let v2 = derive(&v1, &Edits::new("v2").write("/usr/lib/marker", "two\n", 0o644), &cache)?;
//! println!("{} {}", v1.reference(), v2.reference());
//! # Ok(()) }
//! ```

mod base;
mod cache;
mod compose;
mod derive;
mod entry;
mod initramfs;
mod layer;
mod oci;
mod packages;
mod writer;

pub use cache::{Blob, BlobStore, Cache};
pub use compose::{KARGS_FILE, Recipe, TopContent, TopFile, UNIT_FOLDER, compose};
pub use derive::{Edits, derive};
pub use entry::{Content, Entry, EntryKind, IMAGE_TIME};
pub use layer::{Layer, LayerSink, write_layer, write_tar};
pub use oci::OciImage;
pub use packages::{Packages, unpacked};
pub use writer::OciLayoutWriter;
