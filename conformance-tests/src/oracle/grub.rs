//! GRUB: its configuration, run by an interpreter of its own.
