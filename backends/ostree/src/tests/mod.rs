//! Tests on real repositories and sysroots, in plain folders. All need root: files belong to several owners, and deployments are immutable.

mod catalogue;
mod crash;
#[path = "../../../composefs/src/tests/docker_registry.rs"]
mod docker_registry;
mod fetch_encapsulated;
mod fetch_hostile;
mod fetch_ordinary;
mod fetch_registry;
mod fetch_transports;
mod layout;
mod lifecycle;
mod programs;
mod retain;
mod store;
mod support;
mod system;
mod unified;
mod verified;
mod verify;
