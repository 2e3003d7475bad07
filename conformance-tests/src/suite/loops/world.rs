//! A world with real plugins and real file systems.

use std::{
    any::Any,
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use async_trait::async_trait;
use bootwright_core::{
    StorageBackend,
    capability::BootloaderCapabilities,
    context::{BackendContext, BootContext, Firmware, PartitionIdentity, Sealing},
    efi::{AbsentVariables, EfiVariables},
    engine::{Engine, ImageLookup, InstallRequest, Parts, StateStore, SystemRecord},
    fs::{Faults, Root},
    model::{DeploymentId, ImageReference, ImageSummary, KernelCmdline, NoProgress, Stateroot},
    registry::{BackendPlugin, BootloaderPlugin, Verity},
    transport::{self, policy::ImagePolicy},
    wrap,
};
use memchr::memmem;

use super::{
    disk::LoopDisk,
    images::{ImageMaker, KERNEL_FAILS, LARGE_KERNEL, NEVER_COMES_UP, OBJECT},
    snapshot::add_folder,
};
use crate::{
    oracle::{self, Disk, LiveRoot, MenuEntry, Variables, firmware, live_root},
    suite::{
        Cell, Channel, Damage, Demand, Filler, Fingerprint, InstallOptions, Missing, PluginCall, Points,
        Property, Result, Running, SeenEntry, TestImage, Tier, Trouble, Version, World,
        demand::Offer,
        world::{InProcess, calls, policy_in},
    },
};

const ESP_GUID: [u8; 16] = *b"suite-esp-0123__";

/// Takes room on a file system.
const FILLER: &str = "filler";

pub(in crate::suite) const PROPERTIES: &[Property] = &[
    Property::CrashPoints,
    Property::PluginCalls,
    Property::Damage,
    Property::LittleRoom,
    Property::FullRoot,
    Property::Fingerprints,
    Property::UnconfirmedBoots,
    Property::BootMenus,
    Property::ForeignEntries,
    Property::FailingBoots,
    Property::DamagedLayers,
    Property::AnyLayers,
    Property::LostVariables,
    Property::ImmutableFiles,
    Property::ChosenDefaults,
    Property::SignaturePolicies,
];

/// A machine whose disks are mounted on this one.
#[derive(Debug)]
pub struct LoopWorld {
    cell: Cell,
    backend: &'static BackendPlugin,
    loader: &'static BootloaderPlugin,
    loader_can: BootloaderCapabilities,
    verity: Verity,
    disk: LoopDisk,
    images: ImageMaker,
    variables: Variables,
    policy: ImagePolicy,
    faults: Faults,
    points: Points,
    versions: u32,
    boots: u32,
    now: Option<Now>,
}

/// What runs.
#[derive(Debug, Clone)]
struct Now {
    id: DeploymentId,
    cmdline: String,
    live: LiveRoot,
}

/// What a checkpoint holds.
#[derive(Debug)]
struct Saved {
    disk: tempfile::TempDir,
    variables: BTreeMap<(String, String), Vec<u8>>,
    boots: u32,
    now: Option<Now>,
}

/// Looks images up in layouts on this machine.
#[derive(Debug)]
struct Layouts;

#[async_trait]
impl ImageLookup for Layouts {
    async fn look_up(&self, reference: &ImageReference) -> bootwright_core::Result<ImageSummary> {
        transport::inspect(reference, None).await
    }
}

/// Verified reads where this kernel has them.
fn verity(plugin: &BackendPlugin) -> Verity {
    let kernel = Path::new("/sys/fs/ext4/features/verity").exists();
    if kernel && plugin.verifies_by_default() { Verity::Required } else { Verity::Optional }
}

/// In place: a file that was there before takes no further block, and gives none away that a full disk then lacks.
fn overwrite(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = File::options().write(true).create(true).truncate(false).open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

impl LoopWorld {
    /// A machine with an empty disk.
    ///
    /// # Errors
    /// `World` if it cannot be made.
    pub fn new(
        cell: Cell,
        backend: &'static BackendPlugin,
        loader: &'static BootloaderPlugin,
        points: Points,
    ) -> Result<Self> {
        let verity = verity(backend);
        let disk = LoopDisk::make(&(backend.mkfs_args)("ext4", verity))?;
        let images = ImageMaker::new(disk.scratch(), loader.name)?;
        let mut world = Self {
            cell,
            backend,
            loader,
            loader_can: loader.capabilities,
            verity,
            disk,
            images,
            variables: Variables::default(),
            policy: ImagePolicy::none(),
            faults: Faults::none(),
            points,
            versions: 0,
            boots: 0,
            now: None,
        };
        let efi = world.variables.counted(&world.faults);
        world.loader_can = wrap::open_loader(loader, world.boot_context(efi)?)?.capabilities();
        Ok(world)
    }

    fn sysroot(&self) -> Result<Root> {
        Ok(Root::open(self.disk.sysroot(), self.faults.clone())?)
    }

    fn running_root(&self) -> Result<Option<Root>> {
        let root = self.now.as_ref().and_then(|now| now.live.root.as_ref());
        Ok(root.map(|root| Root::open(root, self.faults.clone())).transpose()?)
    }

    fn backend_context(&self, sealing: Sealing) -> Result<BackendContext> {
        Ok(BackendContext {
            sysroot: self.sysroot()?,
            running_root: self.running_root()?,
            stateroot: Stateroot::default(),
            verity: self.verity,
            sealing,
        })
    }

    fn boot_context(&self, efi: Arc<dyn EfiVariables>) -> Result<BootContext> {
        Ok(BootContext {
            esp: Root::open(self.disk.esp(), self.faults.clone())?,
            xbootldr: None,
            sysroot: self.sysroot()?,
            esp_partition: Some(PartitionIdentity { number: 1, start: 2048, size: 1 << 20, guid: ESP_GUID }),
            efi,
            disk: None,
            firmware: Firmware::Uefi,
        })
    }

    fn open_backend(&self) -> Result<Arc<dyn StorageBackend>> {
        Ok(wrap::open_backend(self.backend, self.backend_context(Sealing::Now)?)?)
    }

    fn engine_with(&self, efi: Arc<dyn EfiVariables>) -> Result<Engine> {
        let cmdline = self.now.as_ref().map(|now| KernelCmdline::parse_lossy(&now.cmdline));
        Ok(Engine::new(Parts {
            backend: self.open_backend()?,
            loader: wrap::open_loader(self.loader, self.boot_context(efi)?)?,
            state: StateStore::new(self.sysroot()?),
            images: Arc::new(Layouts),
            policy: self.policy.clone(),
            running_cmdline: cmdline.unwrap_or_default(),
            boot_id: format!("boot-{}", self.boots),
            progress: Arc::new(NoProgress),
            // Another thread may be starting a program, which shares the lock's file until it is on its own.
            patience: std::time::Duration::from_secs(10),
        }))
    }

    fn as_seen(&self) -> Disk {
        Disk {
            esp: self.disk.esp(),
            sysroot: self.disk.sysroot(),
            esp_guid: ESP_GUID,
            variables: self.variables.clone(),
        }
    }

    fn now(&self) -> Result<&Now> {
        Ok(self.now.as_ref().context("nothing runs")?)
    }

    /// One boot, as firmware, loader and early boot do it; returns whether it comes up.
    async fn start(&mut self) -> Result<bool> {
        self.boots += 1;
        self.now = None;
        let chosen = firmware::start(&self.as_seen())?;
        let cmdline = chosen.entry.cmdline.clone();
        let live = live_root(&self.disk.sysroot(), &cmdline).with_context(|| format!("boot {chosen:#?}"))?;
        if let Some(root) = &live.root {
            // What a running system would have mounted there.
            overwrite(&root.join("proc/cmdline"), &cmdline)?;
        }
        let booted = self.open_backend()?.booted(&KernelCmdline::parse_lossy(&cmdline)).await?;
        let id = booted.with_context(|| format!("the backend does not recognise {cmdline:?}"))?;
        self.now = Some(Now { id, cmdline, live });
        // Deployments of one tree have one root argument: what was started is known by what loader or firmware tell.
        let told = self.engine()?.observe().await?.booted;
        if let (Some(now), Some(told)) = (&mut self.now, told) {
            now.id = told;
        }
        let kernel = chosen.entry.files.first().and_then(|file| oracle::read_file(file)).unwrap_or_default();
        let fails = memmem::find(&kernel, KERNEL_FAILS).is_some();
        Ok(!fails && self.read(NEVER_COMES_UP).await?.is_none())
    }

    async fn file(&self, id: &DeploymentId, path: &str) -> Result<Option<String>> {
        use bootwright_core::tree::TreeReaderExt as _;
        let tree = self.open_backend()?.tree(id).await?;
        Ok(tree.read_text(path).await?)
    }

    /// A path of the running system on the disk.
    fn live(&self, path: &str) -> Result<Option<PathBuf>> {
        let live = &self.now()?.live;
        let inside = |folder: &str, at: &PathBuf| path.strip_prefix(folder).map(|rest| at.join(rest));
        Ok(inside("etc/", &live.etc).or_else(|| inside("var/", &live.var)))
    }

    fn writable(&self, path: &str) -> Result<PathBuf> {
        let found = self.live(path)?;
        Ok(found.with_context(|| format!("{path} is not writable on a running system"))?)
    }

    async fn menu_entry_of(&self, version: Version) -> Result<MenuEntry> {
        // By the command line alone, whatever runs now.
        let context = BackendContext { running_root: None, ..self.backend_context(Sealing::Now)? };
        let backend = wrap::open_backend(self.backend, context)?;
        for entry in firmware::menu(&self.as_seen())?.into_iter().filter(|entry| !entry.foreign) {
            let id = backend.booted(&KernelCmdline::parse_lossy(&entry.cmdline)).await?;
            let Some(id) = id else { continue };
            let text = self.file(&id, TestImage::VERSION_FILE).await?;
            if text == Some(version.to_string()) {
                return Ok(entry);
            }
        }
        Err(anyhow::anyhow!("no boot entry starts {version}").into())
    }

    /// The stored file that holds [`OBJECT`] of a version, found by its content, and where in it: a store may keep files in larger ones.
    fn object_of(&self, version: Version) -> Result<(PathBuf, std::ops::Range<usize>)> {
        let wanted = format!("object of {version}\n").repeat(600).into_bytes();
        let mut left = vec![self.disk.sysroot()];
        while let Some(next) = left.pop() {
            for entry in std::fs::read_dir(&next)? {
                let path = entry?.path();
                let found = path.symlink_metadata()?;
                if found.is_dir() {
                    // A file that is in a deployment's folder as well is deleted from the store, not from there.
                    if path.file_name().is_none_or(|name| name != "deploy") {
                        left.push(path);
                    }
                } else if found.is_file() && found.len() >= wanted.len() as u64 {
                    let bytes = oracle::read_file(&path).unwrap_or_default();
                    if let Some(at) = memmem::find(&bytes, &wanted) {
                        return Ok((path, at..at + wanted.len()));
                    }
                }
            }
        }
        Err(anyhow::anyhow!("no stored file has the content of {OBJECT} in {version}").into())
    }

    /// The file system that the kernel of what boots next is on.
    fn kernels_on(&self) -> Result<PathBuf> {
        let menu = firmware::menu(&self.as_seen())?;
        let default = menu.iter().find(|entry| !entry.foreign).context("a boot entry")?;
        let kernel = default.files.first().context("a kernel")?;
        let root = self.disk.sysroot();
        Ok(if kernel.starts_with(&root) { root } else { self.disk.esp() })
    }
}

#[async_trait]
impl InProcess for LoopWorld {
    fn engine(&self) -> Result<Engine> {
        self.engine_with(self.variables.counted(&self.faults))
    }

    fn reference(&self, channel: Channel) -> Result<ImageReference> {
        Ok(self.images.reference(channel)?)
    }

    fn faults(&mut self) -> &mut Faults {
        &mut self.faults
    }

    async fn boot_once(&mut self) -> Result<bool> {
        // What does not come up is taken to fail early: there, nothing of its own runs.
        while self.start().await? {
            if !self.engine()?.try_again().await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[async_trait]
impl World for LoopWorld {
    fn cell(&self) -> &Cell {
        &self.cell
    }

    fn tier(&self) -> Tier {
        Tier::Loop
    }

    fn demand(&self, demand: &Demand) -> Result<(), Missing> {
        let (backend, loader) = (self.backend.capabilities_here(), self.loader_can);
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
        Ok(self.images.publish(channel, image, self.backend, self.verity).await?)
    }

    async fn install(&mut self, options: &InstallOptions) -> Result<()> {
        if options.require_verity {
            wrap::check_verity(self.backend, Verity::Required)?;
        }
        let image = self.images.reference(Channel::MAIN)?;
        let request = InstallRequest {
            origin: image.clone(),
            image,
            system: SystemRecord {
                backend: self.backend.name.to_owned(),
                bootloader: self.loader.name.to_owned(),
                stateroot: Stateroot::default(),
                allow_missing_verity: self.verity == Verity::Optional,
            },
            machine_args: "root=UUID=suite rw".parse()?,
            user_args: options.kargs.join(" ").parse()?,
            filesystem: Some("ext4".to_owned()),
            notes: self.disk.scratch().to_owned(),
        };
        // Made for a machine that is elsewhere: without its firmware.
        self.engine_with(Arc::new(AbsentVariables))?.install(&request).await?;
        Ok(())
    }

    async fn running(&mut self) -> Result<Running> {
        let id = self.now()?.id.clone();
        let text = self.file(&id, TestImage::VERSION_FILE).await?.context("no version file")?;
        let version = Version(text.trim_start_matches('v').parse().context("a version")?);
        Ok(Running { version, id: id.to_string() })
    }

    async fn cmdline(&mut self) -> Result<String> {
        Ok(self.now()?.cmdline.clone())
    }

    async fn read(&mut self, path: &str) -> Result<Option<String>> {
        match self.live(path)? {
            Some(at) => Ok(oracle::read_file(&at).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())),
            None => self.file(&self.now()?.id.clone(), path).await,
        }
    }

    async fn write(&mut self, path: &str, text: &str) -> Result<()> {
        let at = self.writable(path)?;
        std::fs::create_dir_all(at.parent().context("a folder")?)?;
        std::fs::write(at, text)?;
        Ok(())
    }

    async fn remove(&mut self, path: &str) -> Result<()> {
        std::fs::remove_file(self.writable(path)?)?;
        Ok(())
    }

    async fn set_immutable(&mut self, path: &str, immutable: bool) -> Result<()> {
        let file = File::open(self.writable(path)?)?;
        let mut flags = rustix::fs::ioctl_getflags(&file).map_err(std::io::Error::from)?;
        flags.set(rustix::fs::IFlags::IMMUTABLE, immutable);
        rustix::fs::ioctl_setflags(&file, flags).map_err(std::io::Error::from)?;
        Ok(())
    }

    async fn entries(&mut self) -> Result<Vec<SeenEntry>> {
        let disk = self.as_seen();
        Ok(firmware::menu(&disk)?.iter().map(|entry| entry.seen_with_root(&disk.sysroot)).collect())
    }

    async fn complaints(&mut self) -> Result<Vec<String>> {
        Err(Property::IndependentEyes.into())
    }

    async fn add_foreign_entry(&mut self) -> Result<String> {
        let disk = self.as_seen();
        let loader = firmware::loader(&disk).context("a loader on the disk")?;
        let added = (loader.add_foreign)(&disk)?;
        added.ok_or_else(|| Trouble::Missing(Missing(format!("foreign entries for {}", loader.name))))
    }

    async fn choose_default(&mut self, entry: &str) -> Result<()> {
        let disk = self.as_seen();
        let loader = firmware::loader(&disk).context("a loader on the disk")?;
        let choose = loader.choose.ok_or(Property::ChosenDefaults)?;
        choose(&disk, entry);
        Ok(())
    }

    async fn fingerprint(&mut self) -> Result<Fingerprint> {
        let mut all = Fingerprint::default();
        add_folder(&mut all, "esp", &self.disk.esp())?;
        add_folder(&mut all, "root", &self.disk.sysroot())?;
        for ((vendor, name), value) in self.variables.all() {
            all.add(format!("variable {name}-{vendor}"), hex::encode(value));
        }
        Ok(all)
    }

    async fn damage(&mut self, what: Damage) -> Result<()> {
        match what {
            Damage::StoredFile(version) => {
                let (path, part) = self.object_of(version)?;
                let mut bytes = oracle::read_file(&path).unwrap_or_default();
                bytes.get_mut(part).context("the object in its file")?.reverse();
                std::fs::write(path, bytes)?;
            }
            Damage::MissingFile(version) => std::fs::remove_file(self.object_of(version)?.0)?,
            Damage::BootFile(version) => {
                let entry = self.menu_entry_of(version).await?;
                std::fs::write(entry.files.first().context("a kernel")?, "")?;
            }
        }
        Ok(())
    }

    async fn leave_room_for(&mut self, entries: Option<u32>) -> Result<()> {
        for place in [self.disk.esp(), self.disk.sysroot()] {
            let _ = std::fs::remove_file(place.join(FILLER));
        }
        let Some(entries) = entries else { return Ok(()) };
        let place = self.kernels_on()?;
        let each = (LARGE_KERNEL + (64 << 10)) as u64;
        // Notes, entries and a stub take less than a large kernel. Plugins leave a mebibyte free.
        let mut left = u64::from(entries) * each + (1 << 20) + (640 << 10);
        if place == self.disk.sysroot() {
            // The store takes the image before anybody asks for boot files.
            left += each;
        }
        let found = rustix::fs::statvfs(&place).map_err(std::io::Error::from)?;
        let size = (found.f_bavail * found.f_frsize).saturating_sub(left);
        let file = File::create(place.join(FILLER))?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size.max(1))
            .map_err(std::io::Error::from)?;
        Ok(())
    }

    async fn set_policy(&mut self, text: Option<&str>) -> Result<()> {
        self.policy = policy_in(self.disk.scratch(), text)?;
        Ok(())
    }

    async fn lose_variables(&mut self) -> Result<()> {
        self.variables = Variables::default();
        Ok(())
    }

    async fn fill_root(&mut self, with: Filler, left: u64) -> Result<()> {
        Ok(self.disk.fill_root(with, left)?)
    }

    async fn empty_root(&mut self) -> Result<()> {
        Ok(self.disk.empty_root()?)
    }

    async fn ask_plugin(&mut self, call: PluginCall) -> Result<()> {
        if matches!(call, PluginCall::VerifiedStore | PluginCall::OfflineSeal) {
            wrap::check_verity(self.backend, Verity::Required)?;
            let context =
                BackendContext { verity: Verity::Required, ..self.backend_context(Sealing::Offline)? };
            let elsewhere = tempfile::tempdir_in(self.disk.scratch())?;
            let sysroot = Root::open(elsewhere.path(), Faults::none())?;
            let backend = wrap::open_backend(self.backend, BackendContext { sysroot, ..context })?;
            return Ok(backend.initialize().await?);
        }
        let loader =
            wrap::open_loader(self.loader, self.boot_context(self.variables.counted(&self.faults))?)?;
        calls::ask(&*self.open_backend()?, &*loader, call).await
    }

    async fn checkpoint(&mut self) -> Result<Box<dyn Any + Send + Sync>> {
        Ok(Box::new(Saved {
            disk: self.disk.save()?,
            variables: self.variables.all(),
            boots: self.boots,
            now: self.now.clone(),
        }))
    }

    async fn restore(&mut self, checkpoint: &(dyn Any + Send + Sync)) -> Result<()> {
        let saved: &Saved = checkpoint.downcast_ref().context("a checkpoint of another world")?;
        self.disk.load(saved.disk.path())?;
        self.variables.replace(&saved.variables);
        self.boots = saved.boots;
        self.now.clone_from(&saved.now);
        self.faults = Faults::none();
        Ok(())
    }
}
