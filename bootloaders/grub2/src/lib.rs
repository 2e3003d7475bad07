//! Bootloader plugin for GRUB 2.
