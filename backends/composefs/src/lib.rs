//! Bootwright storage backend: composefs.

pub mod seal;
