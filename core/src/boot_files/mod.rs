//! What bootloaders that keep their files on a FAT partition share: names, verified copies, room.
//!
//! A bootloader is free not to use any of it.

mod addons;
mod copy;
mod gap;
mod leftover;
mod name;
mod seal;
mod space;
mod verify;

pub use addons::{
    AddonSet, addon_cmdline, addon_digests, addon_folder, copy_addons, efi_architecture, removable_path,
    set_digest, systemd_efi_program,
};
pub use copy::{Checked, Placed, place, place_blob, place_named, read_back};
pub use leftover::{remove_folder, remove_temporaries};
pub use name::{decode_id, encode_id};
pub use seal::{file_line, file_lines, seal, unseal};
pub use space::{Room, short_of_space};
pub use verify::FileCheck;
