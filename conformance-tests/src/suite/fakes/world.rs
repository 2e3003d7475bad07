//! A world in memory.

use std::{any::Any, sync::Arc};

use anyhow::Context as _;
use async_trait::async_trait;
use bootwright_core::{
    Error, StorageBackend as _,
    capability::{BackendCapabilities, BootloaderCapabilities},
    engine::{Engine, InstallRequest, SystemRecord},
    fake::{FakeCheckpoint, FakeFlaw, FakeImage, FakeMachine},
    fs::Faults,
    model::{DeploymentId, ImageReference, Stateroot},
    registry::{BackendPlugin, Verification, Verity},
    wrap,
};

use crate::{
    suite::{
        Cell, Channel, Damage, Defect, Demand, Fingerprint, Health, InstallOptions, Missing, PluginCall,
        Points, Property, Result, Running, SeenEntry, TestImage, Tier, Trouble, Version, World,
        demand::Offer,
        world::{InProcess, calls, policy_in},
    },
    system::KernelFormat,
};

/// Marks a kernel that never comes up, whatever the tree.
const KERNEL_FAILS: &str = "fails";
/// Marks an image whose boots are never confirmed.
const NEVER_COMES_UP: &str = "usr/lib/never-comes-up";

pub(in crate::suite) const PROPERTIES: &[Property] = &[
    Property::CrashPoints,
    Property::PluginCalls,
    Property::Damage,
    Property::LittleRoom,
    Property::Fingerprints,
    Property::UnconfirmedBoots,
    Property::BootMenus,
    Property::ForeignEntries,
    Property::FailingBoots,
    Property::DamagedLayers,
    Property::SignaturePolicies,
];

/// A machine in memory.
#[derive(Debug)]
pub struct FakeWorld {
    cell: Cell,
    machine: FakeMachine,
    faults: Faults,
    backend: BackendCapabilities,
    loader: BootloaderCapabilities,
    points: Points,
    versions: u32,
    running: Option<DeploymentId>,
    /// Where the host's policy is.
    policy: tempfile::TempDir,
}

/// What a checkpoint holds.
#[derive(Debug)]
struct Saved(FakeCheckpoint, Option<DeploymentId>);

impl FakeWorld {
    /// A machine whose plugins can do this.
    ///
    /// # Errors
    /// `World` if there is no room for a temporary folder.
    pub fn new(
        cell: Cell,
        backend: BackendCapabilities,
        loader: BootloaderCapabilities,
        points: Points,
    ) -> Result<Self> {
        let machine = FakeMachine::with(backend, loader)?;
        let faults = Faults::none();
        let policy = tempfile::tempdir()?;
        Ok(Self { cell, machine, faults, backend, loader, points, versions: 0, running: None, policy })
    }

    fn runs(&self) -> Result<DeploymentId> {
        Ok(self.running.clone().context("nothing runs")?)
    }

    /// What opening a real plugin does with this demand.
    fn insist_on_verity(&self) -> Result<()> {
        let plugin = BackendPlugin {
            name: "fake",
            summary: "in memory",
            capabilities: self.backend,
            verification: Verification::ByDefault,
            detect: |_| Ok(false),
            open: |_| Err(Error::internal("a fake is opened by its machine")),
            mkfs_args: |_, _| Vec::new(),
            seal_offline: |_| Ok(()),
        };
        Ok(wrap::check_verity(&plugin, Verity::Required)?)
    }

    async fn version_of(&self, id: &DeploymentId) -> Result<Version> {
        let text = self.file(id, TestImage::VERSION_FILE).await?.context("no version file")?;
        Ok(Version(text.trim_start_matches('v').parse().context("a version")?))
    }

    async fn file(&self, id: &DeploymentId, path: &str) -> Result<Option<String>> {
        use bootwright_core::tree::TreeReaderExt as _;
        let tree = self.machine.backend(&Faults::none()).tree(id).await?;
        Ok(tree.read_text(path).await?)
    }

    async fn id_of(&self, version: Version) -> Result<DeploymentId> {
        let all = self.machine.backend(&Faults::none()).deployments().await?;
        let wanted = Some(version.to_string());
        let found = all.into_iter().find(|deployment| deployment.image.version == wanted);
        Ok(found.context("no deployment of this version")?.id)
    }
}

fn fake_image(image: &TestImage) -> FakeImage {
    let mut made = FakeImage::bootable(&image.version.to_string());
    made.version.clone_from(&image.label);
    made.files.extend(image.files.clone());
    made.unified = image.format == KernelFormat::Unified;
    made.kernel = Some(format!("{} {}", image.kernel_version, image.kernel));
    if made.unified {
        made.embedded = image.kargs.join(" ");
    } else if !image.kargs.is_empty() {
        let text = format!("kargs = {:?}", image.kargs);
        made.files.insert("usr/lib/bootc/kargs.d/10-test.toml".to_owned(), text);
    }
    if image.health == Health::KernelFails {
        made.kernel = made.kernel.map(|kernel| format!("{kernel} {KERNEL_FAILS}"));
    } else if image.health != Health::Good {
        made.files.insert(NEVER_COMES_UP.to_owned(), String::new());
    }
    match image.defect {
        Some(Defect::NoKernel) => made.kernel = None,
        Some(Defect::TwoKernels) => made.flaw = Some(FakeFlaw::TwoKernels),
        Some(Defect::WrongArchitecture) => made.flaw = Some(FakeFlaw::WrongArchitecture),
        Some(Defect::ForeignRoot) => made.flaw = Some(FakeFlaw::ForeignRoot),
        Some(Defect::DamagedLayer) => made.flaw = Some(FakeFlaw::Damaged),
        None => {}
    }
    made
}

#[async_trait]
impl InProcess for FakeWorld {
    fn engine(&self) -> Result<Engine> {
        Ok(self.machine.engine(&self.faults)?)
    }

    fn reference(&self, channel: Channel) -> Result<ImageReference> {
        Ok(format!("docker://images/os:{}", channel.0).parse()?)
    }

    fn faults(&mut self) -> &mut Faults {
        &mut self.faults
    }

    async fn boot_once(&mut self) -> Result<bool> {
        self.running = self.machine.boot().await?;
        let id = self.running.clone().context("the disk does not boot")?;
        let engine_sees = self.machine.backend(&Faults::none()).booted(self.machine.cmdline()).await?;
        if engine_sees != Some(id) {
            return Err(anyhow::anyhow!("the backend does not recognise what boots").into());
        }
        let running = self.machine.cmdline().to_string();
        let started = self.machine.seen().into_iter().find(|seen| seen.cmdline == running);
        let fails = started.is_some_and(|seen| String::from_utf8_lossy(&seen.kernel).contains(KERNEL_FAILS));
        Ok(!fails && self.read(NEVER_COMES_UP).await?.is_none())
    }
}

#[async_trait]
impl World for FakeWorld {
    fn cell(&self) -> &Cell {
        &self.cell
    }

    fn tier(&self) -> Tier {
        Tier::Fakes
    }

    fn demand(&self, demand: &Demand) -> Result<(), Missing> {
        let (backend, loader) = (self.backend, self.loader);
        demand.check(&Offer { cell: &self.cell, backend, loader, properties: PROPERTIES })
    }

    fn points(&self) -> Points {
        self.points
    }

    fn next_version(&mut self) -> Version {
        self.versions += 1;
        Version(self.versions)
    }

    async fn publish(&mut self, channel: Channel, image: &TestImage) -> Result<()> {
        let reference = self.reference(channel)?;
        self.machine.publish_image(&reference, fake_image(image));
        Ok(())
    }

    async fn install(&mut self, options: &InstallOptions) -> Result<()> {
        if options.require_verity {
            self.insist_on_verity()?;
        }
        let image = self.reference(Channel::MAIN)?;
        let request = InstallRequest {
            origin: image.clone(),
            image,
            system: SystemRecord {
                backend: self.cell.backend.clone(),
                bootloader: self.cell.bootloader.clone(),
                stateroot: Stateroot::default(),
                allow_missing_verity: !self.backend.verified_root,
            },
            machine_args: "root=UUID=1 rw".parse()?,
            user_args: options.kargs.join(" ").parse()?,
            filesystem: None,
            notes: std::env::temp_dir(),
        };
        self.engine()?.install(&request).await?;
        Ok(())
    }

    async fn running(&mut self) -> Result<Running> {
        let id = self.runs()?;
        Ok(Running { version: self.version_of(&id).await?, id: id.to_string() })
    }

    async fn cmdline(&mut self) -> Result<String> {
        Ok(self.machine.cmdline().to_string())
    }

    async fn read(&mut self, path: &str) -> Result<Option<String>> {
        let id = self.runs()?;
        if let Some(name) = path.strip_prefix("etc/") {
            return Ok(self.machine.etc(&id).get(name).cloned());
        }
        match path.strip_prefix("var/") {
            Some(name) => Ok(self.machine.var(&id).get(name).cloned()),
            None => self.file(&id, path).await,
        }
    }

    async fn write(&mut self, path: &str, text: &str) -> Result<()> {
        self.change(path, Some(text))
    }

    async fn remove(&mut self, path: &str) -> Result<()> {
        self.change(path, None)
    }

    async fn entries(&mut self) -> Result<Vec<SeenEntry>> {
        let one = |seen: bootwright_core::fake::FakeSeen| SeenEntry {
            name: seen.name,
            kernel_sha256: calls::sha256(&seen.kernel),
            deployment: seen.cmdline.clone(),
            starts: calls::sha256(&seen.kernel),
            cmdline: seen.cmdline,
            tries_left: seen.tries,
            foreign: seen.foreign,
            problem: seen.kernel.is_empty().then(|| "the kernel is empty".to_owned()),
        };
        Ok(self.machine.seen().into_iter().map(one).collect())
    }

    async fn complaints(&mut self) -> Result<Vec<String>> {
        Err(Property::IndependentEyes.into())
    }

    async fn add_foreign_entry(&mut self) -> Result<String> {
        let name = "another-system".to_owned();
        self.machine.add_foreign(&name);
        Ok(name)
    }

    async fn fingerprint(&mut self) -> Result<Fingerprint> {
        Ok(Fingerprint(self.machine.disk()?))
    }

    async fn damage(&mut self, what: Damage) -> Result<()> {
        match what {
            Damage::StoredFile(version) => {
                self.machine.damage_tree(&self.id_of(version).await?, "is not what its digest says");
            }
            Damage::MissingFile(version) => {
                self.machine.damage_tree(&self.id_of(version).await?, "is missing");
            }
            Damage::BootFile(version) => self.machine.damage_kernel(&self.id_of(version).await?),
        }
        Ok(())
    }

    async fn leave_room_for(&mut self, entries: Option<u32>) -> Result<()> {
        let capacity = entries.map_or(usize::MAX, |more| self.machine.kernels() + more as usize);
        self.machine.limit_entries(capacity);
        Ok(())
    }

    async fn set_policy(&mut self, text: Option<&str>) -> Result<()> {
        self.machine.set_policy(policy_in(self.policy.path(), text)?);
        Ok(())
    }

    async fn ask_plugin(&mut self, call: PluginCall) -> Result<()> {
        if matches!(call, PluginCall::VerifiedStore | PluginCall::OfflineSeal) {
            self.insist_on_verity()?;
            let elsewhere = FakeMachine::with(self.backend, self.loader)?.on_a_kernel_without_verity();
            return Ok(elsewhere.backend(&Faults::none()).initialize().await?);
        }
        let backend = wrap::backend("fake", Arc::new(self.machine.backend(&self.faults)));
        let loader = wrap::loader("fake", Arc::new(self.machine.loader(&self.faults)));
        calls::ask(&*backend, &*loader, call).await
    }

    async fn checkpoint(&mut self) -> Result<Box<dyn Any + Send + Sync>> {
        Ok(Box::new(Saved(self.machine.checkpoint()?, self.running.clone())))
    }

    async fn restore(&mut self, checkpoint: &(dyn Any + Send + Sync)) -> Result<()> {
        let Saved(disk, running) = checkpoint.downcast_ref().context("a checkpoint of another world")?;
        self.machine.restore(disk)?;
        self.running.clone_from(running);
        self.faults = Faults::none();
        Ok(())
    }
}

impl FakeWorld {
    fn change(&mut self, path: &str, text: Option<&str>) -> Result<()> {
        let id = self.runs()?;
        if let Some(name) = path.strip_prefix("etc/") {
            self.machine.change_etc(&id, name, text);
        } else if let Some(name) = path.strip_prefix("var/") {
            self.machine.change_var(name, text);
        } else {
            return Err(Trouble::World(anyhow::anyhow!("{path} is not writable on a running system")));
        }
        Ok(())
    }
}
