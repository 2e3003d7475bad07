//! Tests of deployments, on plain folders. All need root: files have owners, and deployments are immutable.

mod catalogue;
mod crash;
mod lifecycle;
mod programs;
mod retain;
mod support;
mod unified;
mod verify;
