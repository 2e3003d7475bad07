//! The `bootwright` program.

fn main() {}
