//! Storage backend on OSTree.
