//! A whole system: an engine over this backend, with a bootloader in memory. Needs root.

use std::sync::Arc;

use async_trait::async_trait;
use bootwright_core::{
    Result,
    engine::{
        DeploymentStatus, Engine, ImageLookup, InstallRequest, Parts, StateStore, Status, SystemRecord,
        UpdateMode, UpdateRequest,
    },
    fake::FakeMachine,
    fs::Faults,
    model::{DeploymentId, ImageReference, ImageSummary, KernelCmdline, NoProgress, PinnedImage, Stateroot},
    process::Tool,
    transport::policy::ImagePolicy,
    wrap,
};

use super::support::{Files, Host, version};

/// A disk with a system on it.
#[derive(Debug)]
pub struct System {
    pub host: Host,
    loader: FakeMachine,
    running: KernelCmdline,
}

/// What every reference names now.
#[derive(Debug)]
struct Only(PinnedImage);

#[async_trait]
impl ImageLookup for Only {
    async fn look_up(&self, image: &ImageReference) -> Result<ImageSummary> {
        let PinnedImage { manifest_digest, architecture, .. } = self.0.clone();
        let reference = image.clone();
        let (version, created, layers) = (None, None, Vec::new());
        Ok(ImageSummary { reference, manifest_digest, architecture, version, created, layers })
    }
}

/// What the fake loader wants to find in it, too.
fn bootable(label: &str) -> Files {
    let mut files = version(label);
    files.push(("usr/lib/fake-loader".to_owned(), b"loader".to_vec()));
    files
}

impl System {
    /// Runs version 1.
    pub async fn installed() -> (Self, DeploymentId) {
        let host = Host::initialized().await;
        let mut system = Self { host, loader: FakeMachine::new().unwrap(), running: KernelCmdline::new() };
        let reference: ImageReference = "docker://example.invalid/os:latest".parse().unwrap();
        let request = InstallRequest {
            image: reference.clone(),
            origin: reference,
            system: SystemRecord {
                backend: "ostree".to_owned(),
                bootloader: "fake".to_owned(),
                stateroot: Stateroot::default(),
                allow_missing_verity: true,
            },
            machine_args: KernelCmdline::new(),
            user_args: KernelCmdline::new(),
            filesystem: None,
            notes: std::env::temp_dir(),
        };
        let id = system.engine("1").install(&request).await.unwrap();
        system.boot().await;
        (system, id)
    }

    /// An engine that finds this version at the origin.
    pub fn engine(&self, label: &str) -> Engine {
        let context =
            if self.running.is_empty() { self.host.context() } else { self.host.running(&self.running) };
        let state = StateStore::new(context.sysroot.clone());
        Engine::new(Parts {
            backend: wrap::backend("ostree", Host::open(context)),
            loader: wrap::loader("fake", Arc::new(self.loader.loader(&Faults::none()))),
            state,
            images: Arc::new(Only(self.host.image(&bootable(label)))),
            policy: ImagePolicy::none(),
            running_cmdline: self.running.clone(),
            boot_id: self.running.to_string(),
            progress: Arc::new(NoProgress),
            patience: std::time::Duration::from_secs(1),
        })
    }

    pub async fn status(&self) -> Status {
        self.engine("1").status().await.unwrap()
    }

    /// One deployment in the status.
    pub async fn shown(&self, id: &DeploymentId) -> Option<DeploymentStatus> {
        let status = self.status().await;
        let special = [status.staged, status.booted, status.rollback].into_iter().flatten();
        special.chain(status.others).find(|one| &one.deployment.id == id)
    }

    /// Starts what the loader would start.
    async fn boot(&mut self) {
        let status = self.status().await;
        let boot = self.engine("1").observe().await.unwrap().boot;
        let entry = boot.entry_of(&status.default.unwrap()).cloned().unwrap();
        self.running = entry.cmdline.unwrap();
    }

    /// Upgrades to this version, and runs it from then on.
    pub async fn upgrade(&mut self, label: &str) -> DeploymentId {
        self.stage(label).await;
        self.reboot().await
    }

    /// Upgrades to this version; it does not boot yet.
    pub async fn stage(&self, label: &str) {
        let request = UpdateRequest { image: None, mode: UpdateMode::Stage, retry: true };
        self.engine(label).update(&request).await.unwrap();
    }

    /// Shuts down, boots and confirms; returns what runs.
    pub async fn reboot(&mut self) -> DeploymentId {
        self.engine("1").finalize_staged().await.unwrap();
        self.boot().await;
        self.engine("1").confirm_boot().await.unwrap();
        self.status().await.booted.unwrap().deployment.id
    }

    /// What `ostree admin` prints.
    pub fn admin(&self, args: &[&str]) -> String {
        let sysroot = format!("--sysroot={}", self.host.path("").display());
        let all = ["admin", &sysroot].into_iter().chain(args.iter().copied());
        Tool::new("ostree").args(all).run_blocking().unwrap().text()
    }

    /// The number by which `ostree admin` knows a deployment.
    pub fn index(&self, id: &DeploymentId) -> String {
        let status = self.admin(&["status"]);
        let deployments =
            status.lines().filter(|line| line.trim_start_matches(['*', ' ']).starts_with("default "));
        deployments.enumerate().find(|(_, line)| line.contains(id.as_str())).unwrap().0.to_string()
    }
}
