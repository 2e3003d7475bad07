//! Records the life of a machine: every command that changes it, with everything that its disk and its firmware's variables were sent meanwhile.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    images,
    recorder::Recorder,
    root_file_system::RootFileSystem,
    timeline::{Layout, Timeline},
};
use crate::{
    host,
    lifecycle::{self, BOOT, Guest, Site, install},
    suite::Cell,
    system::Systems,
};

/// Text of the files that must never be lost.
pub const MARKER: &str = "kept by the power cut tests\n";
/// One in `/etc` and one in `/var`.
const MARKERS: [&str; 2] = ["etc/power-cut-marker", "var/lib/power-cut-marker"];
/// What runs while it is recorded; the versions that may boot if the power fails then, the old default first, the new one last; and the version whose
/// entry has to stay: what runs, or, in a trial, the way back.
const VERBS: [(Verb, &[&str], &str); 7] = [
    (Verb::Install, &["v1"], "v1"),
    (Verb::Upgrade, &["v1"], "v1"),
    (Verb::Finalise, &["v1", "v2"], "v1"),
    (Verb::Confirm, &["v1", "v2"], "v1"),
    (Verb::Switch, &["v2"], "v2"),
    (Verb::Rollback, &["v2", "v1"], "v2"),
    (Verb::Gc, &["v1"], "v2"),
];

/// What is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Verb {
    /// `bootwright install to-disk` on an empty disk.
    Install,
    /// `bootwright upgrade`: fetches and stages.
    Upgrade,
    /// The shutdown after it.
    Finalise,
    /// The first boot of the new deployment.
    Confirm,
    /// `bootwright switch`: stages another image.
    Switch,
    /// `bootwright rollback`, which drops what is staged.
    Rollback,
    /// `bootwright gc`.
    Gc,
}

impl Verb {
    /// All, in the order in which they are recorded.
    pub fn all() -> impl Iterator<Item = Self> {
        VERBS.iter().map(|(verb, ..)| *verb)
    }

    /// The word on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Upgrade => "upgrade",
            Self::Finalise => "finalise",
            Self::Confirm => "confirm",
            Self::Switch => "switch",
            Self::Rollback => "rollback",
            Self::Gc => "gc",
        }
    }

    fn row(self) -> (&'static [&'static str], &'static str) {
        let row = VERBS.iter().find(|(verb, ..)| *verb == self);
        row.map_or((&[], ""), |(_, versions, running)| (*versions, *running))
    }

    /// The versions that may boot if the power fails meanwhile.
    pub fn may_boot(self) -> &'static [&'static str] {
        self.row().0
    }

    /// The version that must boot once it is done.
    pub fn leads_to(self) -> &'static str {
        self.may_boot().last().copied().unwrap_or_default()
    }

    /// The version whose entry has to stay: what runs, or, in a trial, the way back.
    pub fn must_stay(self) -> &'static str {
        self.row().1
    }
}

/// Events during which a verb ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The verb.
    pub verb: Verb,
    /// Its events.
    pub events: Range<usize>,
}

/// A recorded life.
#[derive(Debug)]
pub struct Life {
    /// The combination.
    pub cell: Cell,
    /// Disk and variable store before the first boot.
    pub base: PathBuf,
    /// Where things are in it.
    pub layout: Layout,
    /// Bytes of the variable store; 0 where there is none.
    pub variables_size: u64,
    /// GUID of the ESP, in the byte order of the table.
    pub esp_guid: [u8; 16],
    /// All that was written.
    pub timeline: Timeline,
    /// What ran when.
    pub windows: Vec<Window>,
    /// Files with [`MARKER`] in them that must never be lost. If there are none, nothing has run yet, and all of `/etc` and `/var` must be there.
    pub markers: &'static [&'static str],
    /// What the machine said each time it was on.
    pub consoles: Vec<String>,
    /// The images, for machines that boot what is left.
    pub site: Site,
    /// The program that installs, for disks on which that was cut.
    pub bootwright: PathBuf,
}

/// The marks of one time of being switched on: a verb, and how long the log was before and after it.
pub(super) type Marks = Vec<(Verb, Range<u64>)>;

/// Installs `cell` with such a root file system, and records its life, up to the last of `verbs`. Files are put into `folder`.
///
/// # Errors
/// When an image cannot be made, or a machine does not do what it should.
pub fn record(
    systems: &Systems,
    cell: &Cell,
    root: RootFileSystem,
    verbs: &[Verb],
    folder: &Path,
) -> Result<Life> {
    let start = Instant::now();
    let say = |what: &str| println!("{:6.1} s  {cell}: {what}", start.elapsed().as_secs_f32());
    let (first, site) = images::make_all(systems, cell.format, folder)?;
    say("images are there");
    let base = folder.join("base.img");
    let installed = lifecycle::Cell::new(&cell.backend, &cell.bootloader, cell.format);
    install(&systems.programs().bootwright, &installed, &first, &base, root.install_options(), false)?;
    say("installed");
    let mut recorder = Recorder::new(systems, cell, folder, site, base)?;
    let last = verbs.iter().max().copied().unwrap_or(Verb::Gc);
    let mut marks = vec![first_boot(&mut recorder).context("the boot of v1")?];
    say("upgraded and shut down");
    if last > Verb::Finalise {
        marks.push(second_boot(&mut recorder, last).context("the boot of v2")?);
        say("booted v2");
    }
    let mut life = recorder.life(root, &marks, &MARKERS)?;
    life.windows.retain(|window| verbs.contains(&window.verb));
    Ok(life)
}

fn run(recorder: &Recorder, guest: &mut Guest, verb: Verb, command: &str, marks: &mut Marks) -> Result<()> {
    let start = recorder.position()?;
    guest.sh(command)?;
    marks.push((verb, start..recorder.position()?));
    Ok(())
}

fn first_boot(recorder: &mut Recorder) -> Result<Marks> {
    let mut guest = recorder.switch_on(None)?;
    guest.offer("v2")?;
    let [etc, var] = MARKERS;
    // Each file is synced: that of the whole system sends no flush to the disk.
    guest.sh(&format!(
        "for file in /{etc} /{var}; do printf '{}' > $file; sync $file; done",
        MARKER.replace('\n', "\\n")
    ))?;
    let mut marks = Marks::new();
    run(recorder, &mut guest, Verb::Upgrade, "bootwright upgrade", &mut marks)?;
    let start = recorder.position()?;
    guest.vm().shutdown(BOOT)?;
    marks.push((Verb::Finalise, start..u64::MAX));
    let console = guest.vm().serial_text();
    ensure!(
        console.contains(" boots next"),
        "nothing was finalised:\n{}",
        host::tail(console.as_bytes(), 60)
    );
    recorder.switched_off(&mut guest);
    Ok(marks)
}

fn second_boot(recorder: &mut Recorder, last: Verb) -> Result<Marks> {
    let mut guest = recorder.switch_on(None)?;
    let mut marks = vec![(Verb::Confirm, 0..recorder.position()?)];
    let running = guest.version()?;
    ensure!(running == "v2", "{running} runs after the upgrade");
    let commands = [
        (Verb::Switch, format!("bootwright switch {}", Site::in_guest("v3"))),
        (Verb::Rollback, "bootwright rollback".to_owned()),
        (Verb::Gc, "bootwright gc".to_owned()),
    ];
    for (verb, command) in commands.into_iter().filter(|(verb, _)| *verb <= last) {
        run(recorder, &mut guest, verb, &command, &mut marks)?;
    }
    // What the guest still keeps is not needed: the power may as well be cut.
    recorder.switched_off(&mut guest);
    Ok(marks)
}

/// Copies a sparse file.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut command = host::command("cp");
    host::run(command.args(["--reflink=auto", "--sparse=always"]).arg(from).arg(to)).map(drop)
}
