//! placeholder

pub mod disk;
pub mod machine;
