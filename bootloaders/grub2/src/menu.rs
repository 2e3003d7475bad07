//! What is published: the configuration's comment lines, and the environment block.

use bootwright_core::{
    Result,
    context::BootContext,
    efi::{self, EfiVariables, LOADER_VENDOR},
    fs::Root,
    model::{BootState, DeploymentId, EntryId, PublishedEntry},
};

use crate::{
    entry::{EntryRecord, Program},
    env_block::EnvBlock,
    script::{END_LINE, ENTRY_LINE, ONCE, PLAN_LINE, PlanLine},
    signed::is_stub,
};

/// Our folder on the ESP.
pub const FOLDER: &str = "EFI/bootwright";
/// The configuration.
pub const CONFIG: &str = "EFI/bootwright/grub.cfg";
/// The environment block.
pub const ENV: &str = "EFI/bootwright/grubenv";
/// A configuration is some kilobytes; what is larger was not written here.
const LIMIT: u64 = 4 << 20;

/// The published plan.
#[derive(Debug, Default)]
pub struct Menu {
    /// What the plan says besides its entries.
    pub plan: PlanLine,
    /// In the plan's order.
    pub entries: Vec<EntryRecord>,
    /// The environment block.
    pub env: EnvBlock,
    /// Whether the configuration lacks entries that it had when it was written.
    pub damaged: bool,
}

impl Menu {
    /// Reads both files. Damage never makes it fail: what can be read is there.
    pub fn load(esp: &Root) -> Result<Self> {
        let env = EnvBlock::parse(&esp.read(ENV).ok().flatten().unwrap_or_default());
        let Some(size) = esp.size_of(CONFIG)? else { return Ok(Self { env, ..Self::default() }) };
        // Too large, a folder, or a file that the disk does not give back: damage, not a reason to stop.
        let text = if size <= LIMIT { esp.read_text(CONFIG).ok().flatten() } else { None };
        Ok(Self { env, ..Self::parse(&text.unwrap_or_default()) })
    }

    fn parse(text: &str) -> Self {
        let mut menu = Self::default();
        for line in text.lines() {
            if let Some(plan) = line.strip_prefix(PLAN_LINE) {
                menu.plan = serde_json::from_str(plan).unwrap_or_default();
            } else if let Some(entry) = line.strip_prefix(ENTRY_LINE) {
                menu.entries.extend(serde_json::from_str::<EntryRecord>(entry));
            }
        }
        menu.damaged = menu.plan.entries != menu.entries.len() || text.lines().next_back() != Some(END_LINE);
        menu
    }

    /// The entry with this id.
    pub fn by_id(&self, id: &EntryId) -> Option<&EntryRecord> {
        self.entries.iter().find(|entry| &entry.id == id)
    }

    /// Entries as GRUB prefers them: those whose tries are used up last.
    pub fn preferred(&self) -> impl Iterator<Item = &EntryRecord> {
        let exhausted = |entry: &&EntryRecord| entry.tries_left(&self.env) == Some(0);
        let rest = self.entries.iter().filter(exhausted);
        self.entries.iter().filter(move |entry| !exhausted(entry)).chain(rest)
    }

    /// The entry to boot once, if that has not happened yet.
    pub fn once(&self) -> Option<&EntryId> {
        let done = self.env.get(ONCE) == Some(&self.plan.generation.to_string());
        self.plan.once.as_ref().filter(|_| !done)
    }
}

/// What is published, for core.
pub fn read(context: &BootContext) -> Result<BootState> {
    let menu = Menu::load(&context.esp)?;
    Ok(BootState {
        generation: menu.plan.generation,
        entries: menu.preferred().map(|entry| published(context, &menu, entry)).collect(),
        one_shot: menu.once().cloned(),
        started: started(&*context.efi, &menu)?,
        // No file of ours has a default that others could set.
        choice: None,
        also_bootable: std::collections::BTreeSet::default(),
        foreign: foreign(context)?,
    })
}

/// Which UKI was started. GRUB tells nothing itself; the stub notes the path that it was loaded from, if no loader before it has noted its own
/// (systemd, `export_variables` in src/boot/export-vars.c). A kernel without stub leaves no note, and needs none: its root is its own.
fn started(efi: &dyn EfiVariables, menu: &Menu) -> Result<Option<DeploymentId>> {
    let noted = efi::read_text(efi, LOADER_VENDOR, "LoaderImageIdentifier")?.unwrap_or_default();
    let entry = menu.entries.iter().find(|entry| match &entry.program {
        Program::Uki { path, .. } => is_same_path(&noted, path),
        Program::Linux { .. } => false,
    });
    Ok(entry.map(|entry| entry.deployment.clone()))
}

/// Whether firmware means this path. It writes backslashes, perhaps several between two parts of a device path, and may change the case.
fn is_same_path(noted: &str, path: &str) -> bool {
    let parts = |text: &str| {
        let parts = text.split(['\\', '/']).filter(|part| !part.is_empty());
        parts.map(str::to_ascii_lowercase).collect::<Vec<_>>()
    };
    parts(noted) == parts(path)
}

fn published(context: &BootContext, menu: &Menu, entry: &EntryRecord) -> PublishedEntry {
    PublishedEntry {
        id: entry.id.clone(),
        deployment: entry.deployment.clone(),
        title: entry.title.clone(),
        version: entry.version.clone(),
        cmdline: Some(entry.cmdline.clone()),
        tries_left: entry.tries_left(&menu.env),
        tries_done: entry.tries_done(&menu.env),
        problem: problem(context, menu, entry),
    }
}

fn problem(context: &BootContext, menu: &Menu, entry: &EntryRecord) -> Option<String> {
    let Some(root) = entry.place.root(context) else {
        return Some(format!("{} is missing", entry.place.name()));
    };
    let present = |path: &str| root.size_of(path.trim_start_matches('/')).is_ok_and(|size| size > Some(0));
    let missing = entry.program.paths().into_iter().find(|path| !present(path));
    let missing = missing.map(|path| format!("{path} is missing or empty"));
    missing.or_else(|| menu.damaged.then(|| format!("{CONFIG} on the ESP is damaged")))
}

/// Menus of others on the ESP, by their folders.
fn foreign(context: &BootContext) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in context.esp.list("EFI")? {
        let config = format!("EFI/{folder}/grub.cfg");
        let ours = folder.eq_ignore_ascii_case("bootwright") || is_stub(&context.esp, &config)?;
        if !ours && context.esp.exists(&config) {
            names.push(config);
        }
    }
    for file in ["custom.cfg", "user.cfg"] {
        let path = format!("{FOLDER}/{file}");
        names.extend(context.esp.exists(&path).then_some(path));
    }
    Ok(names)
}
