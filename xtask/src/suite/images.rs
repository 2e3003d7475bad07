//! The operating system images that all others in tests are derived from, made before the tests so that none of them waits.

use std::time::Instant;

use anyhow::Result;
use bootwright_conformance::{
    images::Cache,
    system::{KernelFormat, Systems},
};

/// The backends that are booted.
const BACKENDS: [&str; 2] = ["composefs", "ostree"];

/// Builds the programs that go into images, and the images, unless they are in the cache; says what it does.
pub fn prepare() -> Result<()> {
    let start = Instant::now();
    make(move |line: &str| println!("{:6.1} s  {line}", start.elapsed().as_secs_f32()))
}

/// The same, and `show` is told what is done.
pub fn make(show: impl Fn(&str) + Send + Sync + 'static) -> Result<()> {
    show("building the programs that go into images");
    let mut systems = Systems::new(Cache::in_target_dir()?.with_progress(show))?;
    for backend in BACKENDS {
        systems = systems.for_backend(backend)?;
        systems.image("v1", KernelFormat::Split)?;
    }
    Ok(())
}
