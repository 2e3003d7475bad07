//! A small machine for loader tests: a folder as ESP, variables in memory, and deployments with tiny kernels.
#![allow(dead_code, clippy::unwrap_used, reason = "shared by test programs that each use a part of it")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use async_trait::async_trait;
use bootwright_core::{
    Bootloader, Error, Result,
    context::{BootContext, Firmware, PartitionIdentity},
    efi::{AbsentVariables, EfiVariables, MemoryVariables},
    fs::{Faults, Root},
    model::{
        Addon, Blob, BootArtifacts, BootPlan, BootState, DeploymentId, Digest, EntryId, EntrySpec,
        KernelArtifacts, PlannedEntry,
    },
    tree::{BlobSource, Reader, TreeReader},
    uki::synthetic,
};

/// Variables that outlive one run, with the faults of that run.
#[derive(Debug)]
struct Counted {
    inner: Arc<MemoryVariables>,
    faults: Faults,
}

impl EfiVariables for Counted {
    fn available(&self) -> bool {
        true
    }
    fn read(&self, vendor: &str, name: &str) -> Result<Option<Vec<u8>>> {
        self.inner.read(vendor, name)
    }
    fn write(&self, vendor: &str, name: &str, value: &[u8]) -> Result<()> {
        self.faults.before(&format!("write EFI variable {name}"))?;
        self.inner.write(vendor, name, value)
    }
    fn delete(&self, vendor: &str, name: &str) -> Result<()> {
        self.faults.before(&format!("delete EFI variable {name}"))?;
        self.inner.delete(vendor, name)
    }
    fn list(&self, vendor: &str) -> Result<Vec<String>> {
        self.inner.list(vendor)
    }
}

/// The ESP's partition.
pub const PARTITION: PartitionIdentity =
    PartitionIdentity { number: 1, start: 2048, size: 1 << 20, guid: *b"0123456789abcdef" };

/// A machine without a running system.
#[derive(Debug)]
pub struct Machine {
    pub folder: tempfile::TempDir,
    pub efi: Option<Arc<MemoryVariables>>,
    pub xbootldr: bool,
}

impl Machine {
    /// A machine that has met its disk.
    pub fn new() -> Self {
        let machine =
            Self { folder: tempfile::tempdir().unwrap(), efi: Some(Arc::default()), xbootldr: false };
        for name in ["esp", "xbootldr", "root"] {
            std::fs::create_dir(machine.folder.path().join(name)).unwrap();
        }
        machine
    }

    /// A disk that is installed on another machine.
    pub fn without_firmware() -> Self {
        Self { efi: None, ..Self::new() }
    }

    pub fn esp(&self) -> std::path::PathBuf {
        self.folder.path().join("esp")
    }

    pub fn context(&self, faults: &Faults) -> BootContext {
        let root = |name: &str| Root::open(self.folder.path().join(name), faults.clone()).unwrap();
        let efi: Arc<dyn EfiVariables> = match &self.efi {
            Some(inner) => Arc::new(Counted { inner: inner.clone(), faults: faults.clone() }),
            None => Arc::new(AbsentVariables),
        };
        BootContext {
            esp: root("esp"),
            xbootldr: self.xbootldr.then(|| root("xbootldr")),
            sysroot: root("root"),
            esp_partition: Some(PARTITION),
            efi,
            disk: None,
            firmware: Firmware::Uefi,
        }
    }

    pub fn variable(&self, vendor: &str, name: &str) -> Option<Vec<u8>> {
        self.efi.as_ref().unwrap().read(vendor, name).unwrap()
    }
}

/// Blobs and files of all deployments.
#[derive(Debug, Default)]
pub struct Store {
    pub blobs: std::sync::Mutex<BTreeMap<String, Vec<u8>>>,
    pub files: BTreeMap<String, Vec<u8>>,
    /// Blobs whose reading stops halfway because the disk is full.
    pub full: BTreeSet<String>,
    /// How many bytes of nothing kernels have besides what they are told apart by.
    pub padding: usize,
}

impl Store {
    pub fn new() -> Self {
        let mut store = Self::default();
        let folder = "usr/lib/systemd/boot/efi";
        for name in ["linuxx64.efi.stub", "addonx64.efi.stub"] {
            store.files.insert(format!("{folder}/{name}"), synthetic::stub());
        }
        let loader = b"MZ #### LoaderInfo: systemd-boot 257.13-1 ####".to_vec();
        store.files.insert(format!("{folder}/systemd-bootx64.efi"), loader);
        store
    }

    pub fn blob(&self, key: &str, content: &[u8]) -> Blob {
        self.blobs.lock().unwrap().insert(key.to_owned(), content.to_vec());
        let sha256 = Digest::of(content);
        Blob { key: key.to_owned(), size: content.len() as u64, sha256 }
    }

    /// An entry for a deployment with kernel and initrd; `root=<id>` is on its command line, and its kernel holds `kernel of <id>`.
    pub fn split(&self, id: &str) -> EntrySpec {
        let padding = vec![0; self.padding];
        let kernel =
            synthetic::image(&[(".setup", format!("kernel of {id}").as_bytes()), (".text", &padding)]);
        let kernel = KernelArtifacts::Split {
            kver: "6.12.1".into(),
            kernel: self.blob(&format!("{id}/linux"), &kernel),
            initrds: vec![self.blob("initrd", b"one initrd for all")],
            devicetree: None,
        };
        Self::spec(id, kernel, "quiet")
    }

    /// An entry for a deployment with a sealed UKI that embeds `root=<id>`, and an addon.
    pub fn unified(&self, id: &str, extra: &str) -> EntrySpec {
        let cmdline = format!("root={id} sealed");
        let linux = [b"kernel".as_slice(), &vec![0; self.padding]].concat();
        let uki =
            synthetic::image(&[(".osrel", b"ID=x"), (".cmdline", cmdline.as_bytes()), (".linux", &linux)]);
        let addon = synthetic::image(&[(".cmdline", b"from-addon")]);
        let kernel = KernelArtifacts::Unified {
            kver: None,
            uki: self.blob(&format!("{id}/uki"), &uki),
            addons: vec![Addon { name: "a.addon.efi".into(), blob: self.blob("addon", &addon) }],
            embedded: cmdline.parse().unwrap(),
        };
        Self::spec(id, kernel, extra)
    }

    fn spec(id: &str, kernel: KernelArtifacts, extra: &str) -> EntrySpec {
        let root_args = format!("root={id}").parse().unwrap();
        EntrySpec {
            deployment: deployment(id),
            title: format!("System {id}"),
            version: Some("1".into()),
            os_release: format!("ID=x\nPRETTY_NAME=\"System {id}\"\n"),
            artifacts: BootArtifacts { kernel, root_args },
            extra_args: extra.parse().unwrap(),
            tries: None,
        }
    }
}

/// Gives the first half, then fails as a full disk does.
struct Half(std::io::Cursor<Vec<u8>>);

impl std::io::Read for Half {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match std::io::Read::read(&mut self.0, buffer)? {
            0 => Err(std::io::ErrorKind::StorageFull.into()),
            n => Ok(n),
        }
    }
}

#[async_trait]
impl BlobSource for Store {
    async fn open_blob(&self, blob: &Blob) -> Result<Reader> {
        let content = self.blobs.lock().unwrap().get(&blob.key).cloned();
        let content = content.ok_or_else(|| Error::not_found(blob.key.clone()))?;
        if self.full.contains(&blob.key) {
            let half = content[..content.len() / 2].to_vec();
            return Ok(Box::new(Half(std::io::Cursor::new(half))));
        }
        Ok(Box::new(std::io::Cursor::new(content)))
    }
}

#[async_trait]
impl TreeReader for Store {
    async fn open(&self, path: &str) -> Result<Option<Reader>> {
        Ok(self.files.get(path).cloned().map(|bytes| Box::new(std::io::Cursor::new(bytes)) as Reader))
    }
    async fn list(&self, _: &str) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

pub fn deployment(id: &str) -> DeploymentId {
    DeploymentId::new(id).unwrap()
}

pub fn set(ids: &[&str]) -> BTreeSet<DeploymentId> {
    ids.iter().map(|id| deployment(id)).collect()
}

/// Deployments in the order of `state`.
pub fn order(state: &BootState) -> Vec<String> {
    state.entries.iter().map(|entry| entry.deployment.to_string()).collect()
}

/// The plan that puts `first` in front of what is published.
pub fn plan_with(state: &BootState, first: PlannedEntry) -> BootPlan {
    let deployment = match &first {
        PlannedEntry::Add(spec) => spec.deployment.clone(),
        PlannedEntry::Keep(id) => {
            state.entries.iter().find(|entry| &entry.id == id).unwrap().deployment.clone()
        }
    };
    let others = state.entries.iter().filter(|entry| entry.deployment != deployment);
    let others = others.map(|entry| PlannedEntry::Keep(entry.id.clone()));
    BootPlan {
        generation: state.generation + 1,
        entries: std::iter::once(first).chain(others).collect(),
        one_shot: None,
    }
}

pub fn keep(state: &BootState, id: &str) -> PlannedEntry {
    PlannedEntry::Keep(entry_id(state, id))
}

pub fn entry_id(state: &BootState, id: &str) -> EntryId {
    state.entry_of(&deployment(id)).unwrap().id.clone()
}

/// Stages and commits.
pub async fn publish(loader: &dyn Bootloader, plan: &BootPlan, store: &Store) -> Result<()> {
    let staged = loader.stage(plan, store, Some(store)).await?;
    loader.commit(staged).await
}

/// Publishes a new deployment in front.
pub async fn add(loader: &dyn Bootloader, store: &Store, spec: EntrySpec) {
    let state = loader.read().await.unwrap();
    publish(loader, &plan_with(&state, PlannedEntry::Add(Box::new(spec))), store).await.unwrap();
}

/// Puts a published deployment in front.
pub async fn roll_back(loader: &dyn Bootloader, store: &Store, id: &str) {
    let state = loader.read().await.unwrap();
    publish(loader, &plan_with(&state, keep(&state, id)), store).await.unwrap();
}

/// Makes a plan from what is published.
pub type Make = fn(&Store, &BootState) -> BootPlan;

/// `c` in front, with kernel and initrd.
pub fn new_default(store: &Store, state: &BootState) -> BootPlan {
    plan_with(state, PlannedEntry::Add(Box::new(store.split("c"))))
}

/// `c` in front, as a sealed UKI with arguments.
pub fn sealed(store: &Store, state: &BootState) -> BootPlan {
    plan_with(state, PlannedEntry::Add(Box::new(store.unified("c", "extra"))))
}

/// `a`, which is published, in front.
pub fn back(_: &Store, state: &BootState) -> BootPlan {
    plan_with(state, keep(state, "a"))
}

/// Stops a publication after each of its changes: what boot files take then, whole clusters and folders, is covered by what they took before and by
/// what was asked for beforehand, of which more than half is used. `ids` are published already. Kernels are large, so that one copy more would not fit
/// into what plugins leave free.
pub async fn room_covers_each_change<L: Bootloader>(
    machine: impl Fn() -> Machine,
    loader: impl Fn(&Machine, &Faults) -> L,
    ids: &[&str],
    make: Make,
) {
    let mut most = 0;
    for n in 1.. {
        let (machine, store) = (machine(), Store { padding: 3 << 20, ..Store::new() });
        let usual = loader(&machine, &Faults::none());
        for id in ids {
            add(&usual, &store, store.split(id)).await;
        }
        let plan = make(&store, &usual.read().await.unwrap());
        let needs = usual.space_needed(&plan).await.unwrap();
        let (asked, before) =
            (needs.iter().map(|need| need.needed).sum::<u64>(), room(machine.folder.path()));
        let faults = Faults::stop_before(n);
        let done = publish(&loader(&machine, &faults), &plan, &store).await;
        let taken = room(machine.folder.path()).saturating_sub(before);
        assert!(taken <= asked, "{asked} asked for, {taken} taken after change {n}");
        most = taken.max(most);
        if !faults.stopped() {
            done.unwrap();
            return assert!(most > asked / 2, "{asked} asked for, and no more than {most} taken");
        }
    }
}

/// What all below a folder takes, in bytes: whole clusters for each file, and one for each folder.
fn room(folder: &Path) -> u64 {
    const CLUSTER: u64 = 4096;
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let file = |path: &Path| path.metadata().unwrap().len().next_multiple_of(CLUSTER);
    entries.map(|path| if path.is_dir() { CLUSTER + room(&path) } else { file(&path) }).sum()
}

/// Every file below a folder, with its content.
pub fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            found.extend(
                tree(&entry.path()).into_iter().map(|(path, content)| (format!("{name}/{path}"), content)),
            );
        } else {
            found.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
    found
}

pub fn write(folder: &Path, path: &str, content: &[u8]) {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// The addon of `u` is missing, and then there is one too many: a verification names it, and nothing else.
pub async fn addons_are_verified(loader: &dyn Bootloader, machine: &Machine) {
    let files = tree(&machine.esp());
    let addon = files.keys().find(|path| path.ends_with("a.addon.efi")).unwrap();
    std::fs::remove_file(machine.esp().join(addon)).unwrap();
    let found = loader.verify().await.unwrap().problems;
    assert_eq!((found.len(), &found[0].path), (1, addon), "{found:?}");
    write(&machine.esp(), addon, &files[addon]);
    let more = addon.replace("a.addon.efi", "b.addon.efi");
    write(&machine.esp(), &more, b"init=/bin/sh");
    let found = loader.verify().await.unwrap().problems;
    assert_eq!((found.len(), &found[0].path), (1, &more), "{found:?}");
    assert_eq!(found[0].deployments, [deployment("u")]);
}
