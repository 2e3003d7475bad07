//! Composes the test image with the guest agent, and prints where it is and how long it took.
//!
//! With an argument, that program is taken for the agent, and nothing needs to be built.

use std::time::Instant;

use bootwright_conformance::{
    cargo::build_guest_agent,
    images::{Cache, Recipe, compose},
};

fn main() -> anyhow::Result<()> {
    let start = Instant::now();
    let show = move |line: &str| println!("{:6.1} s  {line}", start.elapsed().as_secs_f32());
    let cache = Cache::in_target_dir()?.with_progress(show);
    let agent = std::env::args_os().nth(1).map_or_else(build_guest_agent, |path| Ok(path.into()))?;
    let image = compose(&Recipe::debian().guest_agent(agent), &cache)?;
    show(&format!("{} with kernel {}", image.reference(), image.kernel_version()?));
    for layer in image.layers()? {
        show(&format!("layer {} of {} bytes", layer.blob.digest(), layer.blob.size));
    }
    Ok(())
}
