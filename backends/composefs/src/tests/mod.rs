//! The backend on real folders, with images of a few files.

mod image;
mod lifecycle;
mod support;
