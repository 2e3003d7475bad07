//! The commands: each opens what it needs, asks the engine, and prints what happened.

mod image;
mod install;
mod internals;
mod plugins;
mod system;
mod update;

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use bootwright_core::{
    Error, IoContext, Result,
    engine::ImageLookup,
    model::{ImageReference, ImageSummary, Progress},
    process::Tool,
    transport::{self, policy::ImagePolicy},
};

use crate::{
    Settings,
    args::{Cli, Command, GlobalOptions, ImageCommand, InstallCommand, StatusFormat},
    machine::{Access, namespace},
    progress,
    status::{Host, text},
};

/// What every command needs.
#[derive(Debug)]
pub struct Context<'a> {
    /// The program's name and defaults.
    pub settings: &'a Settings,
    /// Options of every command.
    pub global: GlobalOptions,
    /// Where progress goes.
    pub progress: Arc<dyn Progress>,
}

impl Context<'_> {
    /// How long to wait for another command: the clean-up after a boot takes seconds.
    fn patience(&self) -> Duration {
        Duration::from_secs(self.global.patience)
    }

    /// Which images are let in.
    fn image_policy(&self) -> ImagePolicy {
        ImagePolicy::at(&self.global.signature_policy)
    }
}

/// Runs a command. Returns whether it found everything in order; what a person must know besides errors was printed.
///
/// # Errors
/// As the command reports.
pub fn run(cli: Cli, settings: &Settings) -> Result<bool> {
    let progress = progress::choose(&cli.global)?;
    let context = Context { settings, global: cli.global, progress };
    if let Command::Plugins(options) = &cli.command {
        answer(&if options.json { crate::plugins::json()? } else { crate::plugins::table() })?;
        return Ok(true);
    }
    crate::disk::device::require_root()?;
    // Before the first thread starts: what is mounted from here on is for this process alone.
    namespace::enter()?;
    dispatch(&context, cli.command)
}

fn dispatch(context: &Context<'_>, command: Command) -> Result<bool> {
    match command {
        Command::Install(command) => match &*command {
            InstallCommand::ToDisk(options) => install::to_disk(context, options)?,
            InstallCommand::ToFilesystem(options) => install::to_filesystem(context, options)?,
        },
        Command::Upgrade(options) => update::upgrade(context, &options)?,
        Command::Switch(options) => update::switch(context, &options)?,
        Command::Rollback(options) => update::rollback(context, &options)?,
        Command::Status(options) => status(context, options.format())?,
        Command::Pin(options) => update::pin(context, &options.deployment, true)?,
        Command::Unpin(options) => update::pin(context, &options.deployment, false)?,
        Command::Gc => update::gc(context)?,
        Command::Fsck => return update::fsck(context),
        Command::Image(ImageCommand::RootArgs(options)) => image::root_args(context, &options)?,
        Command::Internals(command) => return internals::run(context, command),
        Command::Plugins(_) => {}
    }
    Ok(true)
}

fn status(context: &Context<'_>, format: StatusFormat) -> Result<()> {
    let status = match system::open(context, Access::Read)? {
        Some(system) => block_on(system.engine.status())?,
        None => bootwright_core::engine::Status::default(),
    };
    match format {
        StatusFormat::Human => answer(&text(&status, context.settings.name)),
        StatusFormat::Json => answer(&crate::to_json(&Host::new(&status))?),
    }
}

/// Writes what a command was asked for to standard output; a reader that went away (`… | head`) is no error.
fn answer(text: &str) -> Result<()> {
    use std::io::Write as _;
    let line = if text.ends_with('\n') { "" } else { "\n" };
    let mut out = std::io::stdout().lock();
    match write!(out, "{text}{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io("write to standard output", error))
        }
        _ => Ok(()),
    }
}

/// Tells what was done, which a full disk behind standard output does not undo.
fn print(text: &str) {
    let _ = answer(text);
}

/// Runs a future to its end, and every background task with it: when this returns, none of them holds a file open.
fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context_io(|| "start worker threads".to_owned())?.block_on(future)
}

/// Reboots the machine.
fn reboot() -> Result<()> {
    Tool::new("systemctl").package("systemd").arg("reboot").run_blocking().map(drop)
}

/// Looks images up where they are, for this machine's architecture.
#[derive(Debug, Clone, Copy)]
struct Transports;

#[async_trait]
impl ImageLookup for Transports {
    async fn look_up(&self, image: &ImageReference) -> Result<ImageSummary> {
        transport::inspect(image, None).await
    }
}

/// For commands that make no sense on a system of others.
fn not_installed(context: &Context<'_>) -> Error {
    let name = context.settings.name;
    Error::not_found(format!("the running system was not installed by {name}"))
        .with_hint(format!("run this on an installed system, or install one with `{name} install`"))
}
