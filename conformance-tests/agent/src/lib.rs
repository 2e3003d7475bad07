//! The guest agent of the test machines: what it says on its virtio port, and how it serves requests.
//!
//! The test harness uses [`protocol`] for its side of the conversation; the program is a loop around
//! [`serve()`]. Everything here is made with the standard library alone, so that the agent stays small.

pub mod protocol;
mod serve;

pub use serve::{serve, wait_for_host};

/// Name of the virtio serial port, which udev links as `/dev/virtio-ports/<name>`.
pub const PORT_NAME: &str = "org.bootwright.agent";
