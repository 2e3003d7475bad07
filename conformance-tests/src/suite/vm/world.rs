//! A virtual machine as a world.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use async_trait::async_trait;
use bootwright_core::{
    capability::BootloaderCapabilities,
    context::{self, BootContext, PartitionIdentity},
    efi::{AbsentVariables, EfiVariables},
    fs::{Faults, Root},
    registry,
};

use super::{
    eyes::{Eyes, Look},
    fingerprint, images, look, mailbox,
    mailbox::Mailbox,
    scripts, status,
};
use crate::{
    host,
    images::OciImage,
    lifecycle::{BOOT, COMMAND, DISK_SIZE, Guest, retagged},
    oracle::{MenuEntry, Variables, firmware},
    suite::{
        Cell, Channel, Damage, Defect, Demand, Fingerprint, Firmware, FsckFindings, Health, InstallOptions,
        Missing, Offer, Operate, PluginCall, Points, Property, Result, Running, SeenEntry, SystemStatus,
        TestImage, Tier, Trouble, UpgradeMode, Upgraded, Version, World,
    },
    system::Systems,
    vm::{self, Disk, Output, Vm},
};

/// The machine's disk, in its folder.
const DISK: &str = "disk.img";
/// Where the guest has the images of a channel.
const IMAGES: &str = "/var/lib/images";
/// Deadline until all tries of a new deployment failed, and the last good one is up.
const TRIALS: Duration = Duration::from_secs(1200);
/// Exit status that says that there is no such file; `cat` never ends with it.
const ABSENT: i32 = 44;
/// What this tier can do beyond the ordinary.
pub(in crate::suite) const PROPERTIES: &[Property] = &[
    Property::BootMenus,
    Property::Damage,
    Property::DamagedLayers,
    Property::FailingBoots,
    Property::FailureKinds,
    Property::Fingerprints,
    Property::ForeignEntries,
    Property::IndependentEyes,
    Property::LostVariables,
    Property::ImmutableFiles,
    Property::ChosenDefaults,
    Property::Fstab,
    Property::SoftReboots,
    Property::DiskLayouts,
];

/// One machine.
pub struct VmWorld {
    cell: Cell,
    systems: Systems,
    /// Layers that every store has: those of the base.
    shared_layers: BTreeSet<String>,
    folder: tempfile::TempDir,
    mailbox: Mailbox,
    eyes: Eyes,
    guest: Option<Guest>,
    next: u32,
    published: BTreeMap<Channel, (OciImage, Option<Defect>)>,
    unsent: BTreeSet<Channel>,
    /// Whether an image is offered whose boots fail.
    broken_ones: bool,
}

impl std::fmt::Debug for VmWorld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VmWorld").field("cell", &self.cell).finish_non_exhaustive()
    }
}

fn missing<T>(property: Property) -> Result<T> {
    Err(property.into())
}

impl VmWorld {
    /// A machine that was never switched on, with an empty disk.
    ///
    /// # Errors
    /// When the base image cannot be composed, or there is no room.
    pub fn new(cell: Cell, systems: Systems) -> anyhow::Result<Self> {
        let base = images::base(&systems)?;
        let shared_layers = base.layers()?.into_iter().map(|layer| layer.blob.sha256).collect();
        let parent = host::target_dir().join("vm");
        std::fs::create_dir_all(&parent)?;
        let folder = tempfile::Builder::new().prefix("world-").tempdir_in(parent)?;
        let mailbox = Mailbox::make(folder.path().join("mailbox.img"))?;
        let eyes = Eyes::make(folder.path().join("eyes.img"), folder.path().join(DISK))?;
        let (published, unsent) = (BTreeMap::new(), BTreeSet::new());
        Ok(Self {
            cell,
            systems,
            shared_layers,
            folder,
            mailbox,
            eyes,
            guest: None,
            next: 1,
            published,
            unsent,
            broken_ones: false,
        })
    }

    fn disk(&self) -> PathBuf {
        self.folder.path().join(DISK)
    }

    fn guest(&mut self) -> Result<&mut Guest> {
        Ok(self.guest.as_mut().ok_or_else(|| anyhow!("the machine was never switched on"))?)
    }

    /// Runs the guest's program; what it refuses is told from what broke.
    fn program(&mut self, arguments: &str) -> Result<Output> {
        let output = self.guest()?.try_sh(&format!("bootwright {arguments}"))?;
        if output.status == 0 { Ok(output) } else { Err(look::refusal(&output)) }
    }

    /// What the bootloader can do on this firmware.
    fn loader(&self) -> bootwright_core::Result<BootloaderCapabilities> {
        let place = Root::open(self.folder.path(), Faults::none())?;
        // The machine's own variables are out of reach, but it has some: a loader may count boots in them.
        let (firmware, efi): (_, Arc<dyn EfiVariables>) = match self.cell.firmware {
            Firmware::Uefi => (context::Firmware::Uefi, Variables::default().counted(&Faults::none())),
            Firmware::Bios => (context::Firmware::Bios, Arc::new(AbsentVariables)),
        };
        let loader = (registry::bootloader(&self.cell.bootloader)?.open)(BootContext {
            esp: place.clone(),
            xbootldr: None,
            sysroot: place,
            esp_partition: Some(PartitionIdentity { number: 1, start: 2048, size: 1 << 20, guid: [1; 16] }),
            efi,
            disk: None,
            firmware,
        })?;
        Ok(loader.capabilities())
    }

    fn reference(channel: Channel) -> String {
        format!("oci:{IMAGES}/{}:latest", channel.0)
    }

    /// Brings what was published into the running machine.
    fn send(&mut self) -> anyhow::Result<()> {
        let Some(guest) = self.guest.as_mut() else { return Ok(()) };
        while let Some(channel) = self.unsent.first().copied() {
            let (image, defect) = self.published.get(&channel).context("nothing was published there")?;
            let shared = &self.shared_layers;
            self.mailbox.send(guest, &format!("{IMAGES}/{}", channel.0), |tar| {
                pack(tar, image, shared, *defect == Some(Defect::DamagedLayer))
            })?;
            self.unsent.remove(&channel);
        }
        Ok(())
    }

    /// After the agent is ready: the boot is confirmed, images are there.
    fn came_up(&mut self) -> Result<Running> {
        if self.broken_ones {
            self.guest()?.settle_at_last(TRIALS)?;
        } else {
            self.guest()?.settle()?;
        }
        self.send()?;
        self.look()
    }

    fn look(&mut self) -> Result<Running> {
        let version = self.guest()?.version()?;
        let number = version.strip_prefix('v').and_then(|number| number.parse().ok());
        let version = Version(number.ok_or_else(|| anyhow!("{version:?} runs, which is no version"))?);
        let booted = self.status_now()?.booted.ok_or_else(|| anyhow!("status shows nothing booted"))?;
        Ok(Running { version, id: booted.id })
    }

    fn status_now(&mut self) -> Result<SystemStatus> {
        let output = self.program("status --json")?;
        Ok(status::parse(&output.stdout_text())?)
    }

    fn look_at_boot_files(&mut self) -> anyhow::Result<Look> {
        let guest = self.guest.as_mut().context("the machine was never switched on")?;
        self.eyes.look(guest)
    }

    fn switch_on(&mut self) -> Result<Running> {
        if self.guest.is_none() {
            let builder = Vm::builder(&self.cell.to_string()).watchdog().disk(Disk::raw(self.disk()));
            let builder = self.cell.firmware.of(builder);
            self.guest = Some(Guest::bare(builder.disk(self.mailbox.disk()).disk(self.eyes.disk()).build()?));
        }
        self.guest()?.vm().power_on()?;
        self.guest()?.booted()?;
        self.came_up()
    }

    /// The stored object of the version file, which is large enough in no image: of a program that every image has.
    fn object(&mut self, version: Version) -> Result<String> {
        let running = self.look()?.version;
        if running != version {
            return Err(anyhow!("only files of the running version can be damaged here").into());
        }
        Ok(scripts::stored_object(self.guest()?, "/usr/bin/dpkg")?)
    }

    fn install_now(&mut self, options: &InstallOptions) -> Result<()> {
        let (image, _) = self.published.get(&Channel::MAIN).context("nothing was published")?;
        let disk = self.disk();
        if !disk.exists() {
            File::create(&disk).and_then(|file| file.set_len(DISK_SIZE))?;
        }
        let mut command = host::privileged(&self.systems.programs().bootwright.to_string_lossy());
        let cell = &self.cell;
        command.args(["install", "to-disk", "--backend", &cell.backend, "--boot", &cell.bootloader]);
        command.args(["--image", &image.reference(), "--target-imgref", &Self::reference(Channel::MAIN)]);
        command.args(options.kargs.iter().map(|arg| format!("--karg={arg}")));
        command.args(options.require_verity.then_some("--require-verity"));
        command.args(layout(options)).arg(&disk);
        let output = command.stdin(Stdio::null()).output().context("start bootwright")?;
        if output.status.success() {
            return Ok(());
        }
        let status = output.status.code().unwrap_or(-1);
        let (stdout, stderr) = (output.stdout, output.stderr);
        Err(look::refusal(&Output { command: "bootwright install".to_owned(), status, stdout, stderr }))
    }
}

/// How the disk is laid out, for the command line.
fn layout(options: &InstallOptions) -> Vec<&'static str> {
    let root = options.unverified_filesystem.map(|kind| ["--allow-missing-verity", "--filesystem", kind]);
    let boot = options.boot_filesystem.map(|kind| ["--boot-partition", "400M", "--boot-filesystem", kind]);
    root.into_iter().flatten().chain(boot.into_iter().flatten()).collect()
}

/// Writes the layout of `image`, without the layers that every machine has.
fn pack(
    tar: &mut tar::Builder<&mut File>,
    image: &OciImage,
    shared: &BTreeSet<String>,
    damaged: bool,
) -> anyhow::Result<()> {
    let layout = image.layout();
    mailbox::add(tar, &layout.join("oci-layout"), "oci-layout")?;
    mailbox::add_bytes(tar, Path::new("index.json"), &retagged(&std::fs::read(layout.join("index.json"))?)?)?;
    let last = image.layers()?.pop().map(|layer| layer.blob.sha256);
    for entry in std::fs::read_dir(layout.join("blobs/sha256"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if shared.contains(&name) {
            continue;
        }
        let target = format!("blobs/sha256/{name}");
        if damaged && last.as_ref() == Some(&name) {
            let mut content = std::fs::read(entry.path())?;
            if let Some(byte) = content.last_mut() {
                *byte ^= 1;
            }
            mailbox::add_bytes(tar, Path::new(&target), &content)?;
        } else {
            mailbox::add(tar, &entry.path(), &target)?;
        }
    }
    Ok(())
}

#[async_trait]
impl Operate for VmWorld {
    async fn power_on(&mut self) -> Result<Running> {
        self.switch_on()
    }

    async fn reboot(&mut self) -> Result<Running> {
        let patience = if self.broken_ones { TRIALS } else { BOOT };
        self.guest()?.reboot_within(patience)?;
        self.came_up()
    }

    async fn reboot_unconfirmed(&mut self) -> Result<Running> {
        missing(Property::UnconfirmedBoots)
    }

    async fn power_cut(&mut self) -> Result<Running> {
        self.guest()?.vm().power_cut();
        self.switch_on()
    }

    async fn upgrade(&mut self, mode: UpgradeMode) -> Result<Upgraded> {
        let option = match mode {
            UpgradeMode::Check => "--check",
            UpgradeMode::DownloadOnly => "--download-only",
            UpgradeMode::Stage => "",
            UpgradeMode::Retry => "--retry",
        };
        look::upgraded(&self.program(&format!("upgrade {option}"))?)
    }

    async fn switch(&mut self, channel: Channel, mode: UpgradeMode) -> Result<Upgraded> {
        if mode != UpgradeMode::Stage {
            return Err(Trouble::Missing(Missing(
                "a switch that only looks, on the command line".to_owned(),
            )));
        }
        look::upgraded(&self.program(&format!("switch {}", Self::reference(channel)))?)
    }

    async fn rollback(&mut self) -> Result<()> {
        self.program("rollback").map(drop)
    }

    async fn gc(&mut self) -> Result<()> {
        self.program("gc").map(drop)
    }

    async fn set_pinned(&mut self, id: &str, pinned: bool) -> Result<()> {
        self.program(&format!("{} {id}", if pinned { "pin" } else { "unpin" })).map(drop)
    }

    async fn fsck(&mut self) -> Result<FsckFindings> {
        let output = self.guest()?.try_sh("bootwright fsck")?;
        if output.stderr_text().contains("error (") {
            Err(look::refusal(&output))
        } else {
            Ok(look::findings(&output))
        }
    }

    async fn status(&mut self) -> Result<SystemStatus> {
        self.status_now()
    }

    async fn mutations(&mut self) -> Result<u64> {
        missing(Property::CrashPoints)
    }

    async fn syncs(&mut self) -> Result<u64> {
        missing(Property::CrashPoints)
    }

    async fn stop_before(&mut self, _n: Option<u64>) -> Result<()> {
        missing(Property::CrashPoints)
    }

    async fn fail_once(&mut self, _n: u64, _fault: bootwright_core::fs::Fault) -> Result<()> {
        missing(Property::CrashPoints)
    }

    async fn fail_reads_at_first(&mut self) -> Result<()> {
        missing(Property::CrashPoints)
    }

    async fn failed(&mut self) -> Result<Option<String>> {
        missing(Property::CrashPoints)
    }
}

#[async_trait]
impl World for VmWorld {
    fn cell(&self) -> &Cell {
        &self.cell
    }

    fn tier(&self) -> Tier {
        Tier::Vm
    }

    fn demand(&self, demand: &Demand) -> Result<(), Missing> {
        let unknown = |error: bootwright_core::Error| Missing(error.to_string());
        let backend = registry::backend(&self.cell.backend).map_err(unknown)?.capabilities_here();
        let loader = self.loader().map_err(unknown)?;
        demand.check(&Offer { cell: &self.cell, backend, loader, properties: PROPERTIES })
    }

    /// None: power is not cut at a certain change here.
    fn points(&self) -> Points {
        Points::Few(0)
    }

    fn next_version(&mut self) -> Version {
        self.next += 1;
        Version(self.next - 1)
    }

    async fn publish(&mut self, channel: Channel, image: &TestImage) -> Result<()> {
        let made = images::make(&self.systems, image)?;
        self.broken_ones = image.health != Health::Good;
        self.published.insert(channel, (made, image.defect));
        self.unsent.insert(channel);
        if self.guest.as_mut().is_some_and(|guest| guest.vm().is_on()) {
            self.send()?;
        }
        Ok(())
    }

    async fn install(&mut self, options: &InstallOptions) -> Result<()> {
        self.install_now(options)
    }

    async fn restart_units(&mut self) -> Result<()> {
        self.guest()?.sh("systemctl restart bootwright-finalize.service bootwright-confirm.service")?;
        Ok(())
    }

    async fn soft_reboot(&mut self) -> Result<Running> {
        self.guest()?.soft_reboot()?;
        self.came_up()
    }

    async fn lose_variables(&mut self) -> Result<()> {
        let vm = self.guest()?.vm();
        vm.power_cut();
        let fresh = vm::Firmware::find()?.vars;
        std::fs::copy(fresh, vm.vars_file())?;
        Ok(())
    }

    async fn running(&mut self) -> Result<Running> {
        self.look()
    }

    async fn cmdline(&mut self) -> Result<String> {
        Ok(self.guest()?.sh("cat /proc/cmdline")?)
    }

    async fn read(&mut self, path: &str) -> Result<Option<String>> {
        // One question, since each starts a program.
        let output = self.guest()?.try_sh(&format!("[ -e '/{path}' ] || exit {ABSENT}; cat '/{path}'"))?;
        if output.status == ABSENT {
            return Ok(None);
        }
        Ok(Some(String::from_utf8_lossy(&output.success()?.stdout).into_owned()))
    }

    async fn write(&mut self, path: &str, text: &str) -> Result<()> {
        let guest = self.guest()?;
        guest.vm().put_file(&format!("/{path}"), text.as_bytes(), 0o644, COMMAND)?;
        guest.sh(&format!("sync -f '/{path}'"))?;
        Ok(())
    }

    async fn remove(&mut self, path: &str) -> Result<()> {
        self.guest()?.sh(&format!("rm '/{path}' && sync -f \"$(dirname '/{path}')\""))?;
        Ok(())
    }

    async fn set_immutable(&mut self, path: &str, immutable: bool) -> Result<()> {
        let change = if immutable { "+i" } else { "-i" };
        self.guest()?.sh(&format!("chattr {change} '/{path}'"))?;
        Ok(())
    }

    async fn entries(&mut self) -> Result<Vec<SeenEntry>> {
        let look = self.look_at_boot_files()?;
        Ok(firmware::menu(&look.disk())?.iter().map(MenuEntry::seen).collect())
    }

    async fn complaints(&mut self) -> Result<Vec<String>> {
        let bootloader = self.cell.bootloader.clone();
        Ok(scripts::complaints(self.guest()?, &bootloader)?)
    }

    async fn add_foreign_entry(&mut self) -> Result<String> {
        let look = self.look_at_boot_files()?;
        let loader = firmware::loader(&look.disk()).context("a loader on the disk")?;
        let guest = self.guest.as_mut().context("the machine was never switched on")?;
        let added = look.change(guest, &self.mailbox, loader.add_foreign)?;
        added.ok_or_else(|| Trouble::Missing(Missing(format!("foreign entries for {}", loader.name))))
    }

    async fn choose_default(&mut self, entry: &str) -> Result<()> {
        let look = self.look_at_boot_files()?;
        let loader = firmware::loader(&look.disk()).context("a loader on the disk")?;
        let choose = loader.choose.ok_or(Property::ChosenDefaults)?;
        let guest = self.guest.as_mut().context("the machine was never switched on")?;
        look.change(guest, &self.mailbox, |disk| {
            choose(disk, entry);
            Ok(())
        })?;
        Ok(())
    }

    async fn fingerprint(&mut self) -> Result<Fingerprint> {
        match &mut self.guest {
            Some(guest) => Ok(fingerprint::take(guest)?),
            None => Ok(fingerprint::of_disk(&self.folder.path().join(DISK))?),
        }
    }

    async fn damage(&mut self, what: Damage) -> Result<()> {
        match what {
            Damage::StoredFile(version) => {
                let object = self.object(version)?;
                Ok(scripts::flip_byte(self.guest()?, &object)?)
            }
            Damage::MissingFile(version) => {
                let object = self.object(version)?;
                Ok(scripts::delete(self.guest()?, &object)?)
            }
            Damage::BootFile(_) => missing(Property::Damage),
        }
    }

    async fn leave_room_for(&mut self, _entries: Option<u32>) -> Result<()> {
        missing(Property::LittleRoom)
    }

    async fn ask_plugin(&mut self, _call: PluginCall) -> Result<()> {
        missing(Property::PluginCalls)
    }

    async fn checkpoint(&mut self) -> Result<Box<dyn Any + Send + Sync>> {
        missing(Property::CrashPoints)
    }

    async fn restore(&mut self, _checkpoint: &(dyn Any + Send + Sync)) -> Result<()> {
        missing(Property::CrashPoints)
    }
}
