//! Imports an image into a folder as an install or an upgrade does: inspect, fetch, prepare. For measuring; it prints one line.
//!
//! With `--check` it does what `upgrade --check` does of it, and changes nothing: which image is that, and is all of it here?
//! `cargo xtask bench` runs it beside another tool; the store is one without fs-verity, so that any file system will do.

// The backend registers itself, but only what is linked.
use bootwright_backend_composefs as _;
use bootwright_core::{
    Error,
    context::{BackendContext, Sealing},
    error::Result,
    fs::{Faults, Root},
    model::{DeploySpec, Deployment, ImageReference, Progress, ProgressEvent, Stateroot},
    registry::{self, Verity},
    transport,
};

/// Nobody watches.
#[derive(Debug)]
struct Silent;

impl Progress for Silent {
    fn report(&self, _event: ProgressEvent) {}
}

// As many threads as the command line program has.
#[tokio::main]
async fn main() -> std::process::ExitCode {
    match run(std::env::args().skip(1).collect()).await {
        Ok(line) => println!("{line}"),
        Err(error) => {
            eprintln!("error: {error}");
            return std::process::ExitCode::FAILURE;
        }
    }
    std::process::ExitCode::SUCCESS
}

async fn run(mut arguments: Vec<String>) -> Result<String> {
    let check = arguments.first().is_some_and(|first| first == "--check");
    if check {
        arguments.remove(0);
    }
    let [folder, image] = arguments.as_slice() else {
        return Err(Error::invalid("usage: import [--check] FOLDER IMAGE"));
    };
    let reference: ImageReference = image.parse()?;
    if check { look(folder, &reference).await } else { import(folder, &reference).await }
}

fn context(folder: &str) -> Result<BackendContext> {
    Ok(BackendContext {
        sysroot: Root::open(folder, Faults::none())?,
        running_root: None,
        stateroot: Stateroot::default(),
        verity: Verity::Optional,
        sealing: Sealing::Now,
    })
}

async fn import(folder: &str, reference: &ImageReference) -> Result<String> {
    let backend = (registry::backend("composefs")?.open)(context(folder)?)?;
    let image = transport::inspect(reference, None).await?;
    backend.initialize().await?;
    let pinned = backend.fetch(&image, &Silent).await?;
    let latest = backend.deployments().await?.into_iter().next_back();
    let spec = DeploySpec {
        image: pinned,
        origin: reference.clone(),
        stateroot: Stateroot::default(),
        merge_from: latest.map(|Deployment { id, .. }| id),
    };
    let deployment = backend.prepare(&spec).await?;
    Ok(format!("{} is deployment {}", image.manifest_digest, deployment.id))
}

async fn look(folder: &str, reference: &ImageReference) -> Result<String> {
    let backend = (registry::backend("composefs")?.open)(context(folder)?)?;
    let image = transport::inspect(reference, None).await?;
    let missing = backend.estimate(&image).await?.layers_missing;
    let deployed = backend.deployments().await?;
    let known = deployed.iter().any(|one| one.image.manifest_digest == image.manifest_digest);
    let answer = if known && missing == 0 { "no change" } else { "a change" };
    Ok(format!("{}: {answer}", image.manifest_digest))
}
