//! GRUB on a machine whose partitions are folders, judged by the conformance suite's interpreter of its script language, which shares no code with
//! the plugin.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a judge for tests"
)]

use std::path::{Path, PathBuf};

#[path = "../../../../conformance-tests/src/oracle/grub/script.rs"]
mod script;

use script::{Machine, SaveEnv, Shell};

/// What is loaded at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    pub kernel: Vec<u8>,
    pub initrds: Vec<Vec<u8>>,
    /// As the kernel sees it.
    pub cmdline: String,
    pub chainloaded: bool,
}

/// What a configuration has told GRUB.
#[derive(Debug)]
pub struct Menu {
    pub titles: Vec<String>,
    pub passwords: Vec<String>,
    pub timeout: Option<String>,
}

/// A machine that GRUB runs on.
#[derive(Debug)]
pub struct Grub {
    pub folder: PathBuf,
    pub platform: &'static str,
    /// Whether `save_env` works.
    pub writable: bool,
}

impl Grub {
    /// GRUB on a machine whose partitions are folders below `folder`.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), platform: "efi", writable: true }
    }

    /// Runs the configuration and the entry that it chooses. `None` if there is no configuration.
    pub fn boot(&self) -> Option<Loaded> {
        let shell = self.run()?;
        assert!(shell.variables.contains_key("default"), "nothing is chosen");
        let loaded = shell.start(shell.chosen().unwrap()).unwrap();
        assert!(!loaded.chainloaded || self.platform == "efi");
        let read = |file: &PathBuf| {
            std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        };
        Some(Loaded {
            kernel: read(&loaded.kernel.unwrap()),
            initrds: loaded.initrds.iter().map(read).collect(),
            cmdline: cmdline(&loaded.arguments),
            chainloaded: loaded.chainloaded,
        })
    }

    /// Runs the configuration only.
    pub fn menu(&self) -> Option<Menu> {
        let shell = self.run()?;
        let titles = shell.items.iter().map(|item| item.title.clone()).collect();
        Some(Menu { titles, timeout: shell.variables.get("timeout").cloned(), passwords: shell.passwords })
    }

    fn run(&self) -> Option<Shell> {
        let partitions = [("hd0,gpt1", "esp"), ("hd0,gpt3", "xbootldr"), ("hd0,gpt2", "root")];
        let partitions = partitions.map(|(device, name)| (device, self.folder.join(name))).into();
        let save_env = if self.writable { SaveEnv::Writes } else { SaveEnv::Fails };
        let find = |folder: &Path, path: &str| folder.join(path.trim_start_matches('/'));
        let mut shell = Shell::new(Machine { partitions, find, platform: self.platform, save_env });
        let config = self.folder.join("esp/EFI/bootwright/grub.cfg");
        if !config.exists() {
            return None;
        }
        shell.source(&config).unwrap();
        assert!(shell.items.iter().all(|item| item.unrestricted), "{:?}", shell.items);
        Some(shell)
    }
}

/// With spaces: GRUB quotes the whole word. With anything that it would escape: not the same any more.
fn cmdline(arguments: &[String]) -> String {
    let shown = |word: &String| {
        assert!(!word.contains(['"', '\'', '\\']), "GRUB would change {word}");
        if word.contains(' ') { format!("\"{word}\"") } else { word.clone() }
    };
    arguments.iter().map(shown).collect::<Vec<_>>().join(" ")
}
