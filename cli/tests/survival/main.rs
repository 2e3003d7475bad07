//! What must not harm an installed system: two commands at once, commands that are killed, transfers that stop, bits that flip. Needs root.

#![cfg(all(feature = "composefs", feature = "systemd-boot"))]
#![expect(clippy::disallowed_methods, reason = "tests make and break files, and start programs, on purpose")]

mod concurrency;
mod damage;
mod kill;
mod registry;
mod resume;
#[path = "../support/mod.rs"]
mod support;
mod system;
