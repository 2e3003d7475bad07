//! Storage backend on `OSTree`.
