//! The backend on real folders, with images of a few files.

mod archive;
mod attributes;
mod bad_input;
mod bounded;
mod docker_registry;
mod image;
mod lifecycle;
mod programs;
mod registry;
mod retain;
mod sealed;
mod support;
mod unified;
mod verify;
