//! Imports, by both tools in turn, into fresh folders on one file system.

use std::{
    fs::{self, File},
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use bootwright_conformance::{host, images::OciImage};

use super::{
    measure::measure,
    report::{Report, Scenario},
    say,
    tools::{Tool, Tools},
};

/// Two versions of one system; they share their lower layers.
#[derive(Debug)]
pub struct Pair {
    /// Imported first.
    pub one: OciImage,
    /// Imported after that.
    pub two: OciImage,
}

/// Where and how often imports are done.
#[derive(Debug)]
pub struct Work<'a> {
    tools: &'a Tools,
    folder: &'a Path,
    rounds: NonZeroUsize,
    report: &'a mut Report,
    /// Of all rounds, kept to the end: for a minute and more ext4 goes out of its way not to use the inodes of removed files again
    /// (`recently_deleted` in the kernel's fs/ext4/ialloc.c), and would have whoever comes next pay for that.
    used: Vec<Stores>,
}

impl<'a> Work<'a> {
    /// Folders are made below `folder`, and results go to `report`.
    pub fn new(tools: &'a Tools, folder: &'a Path, rounds: NonZeroUsize, report: &'a mut Report) -> Self {
        Self { tools, folder, rounds, report, used: Vec::new() }
    }

    /// The first import, the same again, the next version, and the question whether there is anything to do.
    ///
    /// # Errors
    /// When a tool does not succeed.
    pub fn imports(&mut self, pair: &Pair) -> Result<()> {
        self.report.image(describe(&pair.one)?);
        for image in [&pair.one, &pair.two] {
            read_once(image)?;
        }
        let (one, two) = (pair.one.reference(), pair.two.reference());
        for round in 1..=self.rounds.get() {
            say(&format!("round {round} of {}: import, import again, next version", self.rounds));
            let stores = Stores::make(self.folder)?;
            self.both(Scenario::First, round, &stores, &one)?;
            self.both(Scenario::Again, round, &stores, &one)?;
            self.nothing_to_do(&stores, &one)?;
            self.both(Scenario::Next, round, &stores, &two)?;
            self.used.push(stores);
        }
        Ok(())
    }

    /// The first import of an image with one very large layer.
    ///
    /// # Errors
    /// As [`Work::imports`].
    pub fn large(&mut self, image: &OciImage) -> Result<()> {
        self.report.large_image(describe(image)?);
        read_once(image)?;
        for round in 1..=self.rounds.get() {
            say(&format!("round {round} of {}: import one large layer", self.rounds));
            let stores = Stores::make(self.folder)?;
            self.both(Scenario::Large, round, &stores, &image.reference())?;
            self.used.push(stores);
        }
        Ok(())
    }

    /// Who went second goes first in the next round.
    fn both(&mut self, scenario: Scenario, round: usize, stores: &Stores, image: &str) -> Result<()> {
        let mut tools = Tool::BOTH;
        if round.is_multiple_of(2) {
            tools.reverse();
        }
        for tool in tools {
            let mut commands = self.tools.import(tool, &stores.of(tool), image, scenario.is_first());
            self.report.add(scenario, tool, measure(&mut commands)?);
        }
        Ok(())
    }

    fn nothing_to_do(&mut self, stores: &Stores, image: &str) -> Result<()> {
        let mut commands = [self.tools.check(&stores.of(Tool::Bootwright), image)];
        self.report.add(Scenario::NoChange, Tool::Bootwright, measure(&mut commands)?);
        Ok(())
    }
}

/// An empty store for each tool, removed at the end, with the rights that filled it.
#[derive(Debug)]
struct Stores {
    folder: PathBuf,
}

impl Stores {
    fn make(parent: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("stores-").tempdir_in(parent)?.keep();
        let stores = Self { folder };
        for tool in Tool::BOTH {
            fs::create_dir(stores.of(tool))?;
        }
        Ok(stores)
    }

    fn of(&self, tool: Tool) -> PathBuf {
        self.folder.join(tool.to_string())
    }
}

impl Drop for Stores {
    fn drop(&mut self) {
        let mut command = host::privileged("rm");
        if let Err(error) = host::run(command.arg("-rf").arg(&self.folder)) {
            eprintln!("{error:#}");
        }
    }
}

/// Reads the layers, so that the first tool does not wait for the disk on behalf of both.
fn read_once(image: &OciImage) -> Result<()> {
    for layer in image.layers()? {
        let path = image.blob_path(&layer.blob.sha256);
        let mut file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        std::io::copy(&mut file, &mut std::io::sink())?;
    }
    Ok(())
}

fn describe(image: &OciImage) -> Result<String> {
    let layers = image.layers()?;
    let bytes: u64 = layers.iter().map(|layer| layer.blob.size).sum();
    let count = if layers.len() == 1 { "1 layer".to_owned() } else { format!("{} layers", layers.len()) };
    Ok(format!("{}, {count}, {} MB compressed", image.manifest_digest()?, bytes / 1_000_000))
}
