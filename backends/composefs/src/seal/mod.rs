//! Offline fs-verity: seals a composefs repository on an ext4 whose host kernel has no fs-verity.
//!
//! Enabling fs-verity is a matter of a few on-disk facts: the Merkle tree and a descriptor lie past the end of the
//! file, and the inode carries a flag. A kernel without fs-verity cannot be asked to write them, and cannot even open
//! a file that has the flag. So sealing has two halves:
//!
//! 1. while the file system is mounted, [`append_repository`] writes tree and descriptor behind the data of every
//!    object (and of `meta.json`), which leaves files that are too long;
//! 2. after it is unmounted, [`Sealing::finish`] gives each inode its true size and the flag with `debugfs`, and checks
//!    the result with `e2fsck -fn` and by reading every inode back.
//!
//! Where the kernel looks for what: `Documentation/filesystems/fsverity.rst` ("Merkle tree", "fs-verity descriptor")
//! and `fs/ext4/verity.c`. A kernel that has fs-verity then enforces each file as if it had sealed it itself.
//!
//! Both halves are repeatable: a run over a repository that is sealed already, wholly or in part, seals the rest. Between the
//! two, the objects have wrong sizes and the repository must not be used.
//!
//! ```no_run
//! # fn main() -> bootwright_core::error::Result<()> {
//! use bootwright_backend_composefs::seal::{self, Algorithm};
//! # let mounted = cap_std::fs::Dir::open_ambient_dir("/mnt", cap_std::ambient_authority()).unwrap();
//! let device = std::path::Path::new("/dev/loop0p2");
//! seal::check_device(device)?; // before anything is written
//! let repository = mounted.open_dir("composefs").unwrap();
//! let sealing = seal::append_repository(&repository, Algorithm::Sha256)?;
//! // … unmount …
//! sealing.finish(device)?;
//! # Ok(()) }
//! ```

mod append;
mod debugfs;
mod descriptor;
mod ext4;
mod finish;
mod merkle;

pub use append::{SealedFile, append_merkle, append_repository};
pub use ext4::check_device;
pub use finish::{Sealing, Summary};
pub use merkle::{Algorithm, BLOCK_SIZE};

#[cfg(test)]
mod tests;
