//! `image root-args`: what an image's root is found by, from a store that is made for the question and thrown away.

use bootwright_core::{
    Error, IoContext, Result,
    context::{BackendContext, Sealing},
    fs::{Faults, Root},
    model::{KernelCmdline, Stateroot},
    registry::{BackendPlugin, Verity},
    transport, wrap,
};

use super::{Context, answer, block_on, plugins::backend_for_install};
use crate::args::RootArgsOptions;

/// Prints the arguments on one line.
pub fn root_args(context: &Context<'_>, options: &RootArgsOptions) -> Result<()> {
    let plugin = backend_for_install(options.backend.as_deref(), context.settings.default_backend)?;
    if !plugin.capabilities.predictable_root_args {
        return Err(Error::unsupported(format!(
            "the storage backend {} knows its root arguments only once an image is installed",
            plugin.name
        ))
        .with_hint(
            "use an image with kernel and initramfs: its UKI, where one is needed, is made at install",
        ));
    }
    let args = block_on(ask(context, options, plugin))?;
    answer(&args.to_string())
}

async fn ask(
    context: &Context<'_>,
    options: &RootArgsOptions,
    plugin: &BackendPlugin,
) -> Result<KernelCmdline> {
    let what = || format!("make a temporary folder in {}", options.scratch.display());
    let folder =
        tempfile::Builder::new().prefix("bootwright-").tempdir_in(&options.scratch).context_io(what)?;
    let summary = transport::inspect(&options.image, None).await?;
    context.image_policy().admit(&summary).await?;
    let optional = options.allow_missing_verity || !plugin.verifies_by_default();
    let context_of_store = BackendContext {
        sysroot: Root::open(folder.path(), Faults::none())?,
        running_root: None,
        stateroot: Stateroot::default(),
        verity: if optional { Verity::Optional } else { Verity::Required },
        sealing: Sealing::Scratch,
    };
    let backend = wrap::open_backend(plugin, context_of_store)?;
    backend.initialize().await?;
    let image = backend.fetch(&summary, &*context.progress).await?;
    backend.root_args(&image).await
}
