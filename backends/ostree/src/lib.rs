//! Storage backend on `OSTree`.

#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests break files on purpose"))]
#![allow(dead_code)]

mod errors;
mod fetch;
mod repo;

#[cfg(test)]
mod tests {}
