//! Imports into real repositories, of images of a few files. All need root: files belong to several owners.

mod fetch_encapsulated;
mod fetch_hostile;
mod fetch_ordinary;
mod fetch_transports;
mod layout;
mod store;
