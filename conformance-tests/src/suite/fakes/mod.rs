//! The cheapest tier: plugins in memory. Every case runs in a millisecond, so that a defect of the engine, or of a case, is found
//! before anything real is started.

mod factory;
mod world;

pub use factory::{FakeFactory, cells};
pub use world::FakeWorld;
pub(super) use world::PROPERTIES;
