//! The engine against the fakes: lifecycles, every possible interruption, properties of plans, bad input.

mod bad_input;
mod crash;
mod integrity;
mod lifecycle;
mod plan_properties;
mod policy;
mod support;
mod trials;
