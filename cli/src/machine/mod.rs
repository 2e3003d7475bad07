//! The machine that a command runs on: its mounts, its physical root, its EFI system partition.

pub mod namespace;
