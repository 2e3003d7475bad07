//! As much of GRUB's script language as menus need (GRUB manual, "The shell-like scripting language" and "The list of available commands"), over
//! folders that stand in for partitions. The plugin's own tests use this file too; it shares no code with the plugin.
//!
//! What it does not know is an error, not a guess.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};

/// How an environment block begins, and how long it is, in bytes.
const HEADER: &str = "# GRUB Environment Block\n";
const ENVIRONMENT: usize = 1024;

/// What `save_env` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SaveEnv {
    /// It writes.
    Writes,
    /// It says that it did: somebody only looks.
    Pretends,
    /// It cannot, and says so.
    Fails,
}

/// What a script runs on.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    /// Folders in the place of partitions, by GRUB's names for those, in the order of a search. The script begins on the first.
    pub(super) partitions: Vec<(&'static str, PathBuf)>,
    /// Finds a file on one of them by its path, as its file system would.
    pub(super) find: fn(&Path, &str) -> PathBuf,
    /// `efi` or `pc`.
    pub(super) platform: &'static str,
    pub(super) save_env: SaveEnv,
}

/// One `menuentry`.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) title: String,
    pub(super) id: String,
    /// Whether anybody may start it where a password is set.
    pub(super) unrestricted: bool,
    /// Its commands.
    pub(super) body: Vec<String>,
}

/// What an item has loaded when it is started.
#[derive(Debug, Clone, Default)]
pub(super) struct Loaded {
    /// The kernel, or the program that is started in its place.
    pub(super) kernel: Option<PathBuf>,
    pub(super) initrds: Vec<PathBuf>,
    pub(super) arguments: Vec<String>,
    /// By the firmware.
    pub(super) chainloaded: bool,
}

/// A running script.
#[derive(Debug, Clone)]
pub(super) struct Shell {
    machine: Machine,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) items: Vec<Item>,
    /// Of each `password_pbkdf2`, the user and the hash, with a space between them.
    pub(super) passwords: Vec<String>,
    loaded: Loaded,
}

impl Shell {
    /// GRUB before it has read anything.
    pub(super) fn new(machine: Machine) -> Self {
        let root = machine.partitions.first().map_or("", |(name, _)| name);
        let variables = [("root", root), ("grub_platform", machine.platform)];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { machine, variables, items: Vec::new(), passwords: Vec::new(), loaded: Loaded::default() }
    }

    /// Runs a configuration.
    pub(super) fn source(&mut self, config: &Path) -> Result<()> {
        let text = std::fs::read_to_string(config).with_context(|| config.display().to_string())?;
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        self.lines(&lines).with_context(|| config.display().to_string())
    }

    /// The item that starts by itself: that of `default`, else the first.
    pub(super) fn chosen(&self) -> Option<&Item> {
        let default = self.variables.get("default");
        self.items.iter().find(|item| Some(&item.id) == default).or(self.items.first())
    }

    /// What an item loads. What it sets is forgotten.
    pub(super) fn start(&self, item: &Item) -> Result<Loaded> {
        let mut inside = self.clone();
        inside.lines(&item.body).with_context(|| format!("the item {}", item.id))?;
        Ok(inside.loaded)
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// A path as GRUB writes it: `(device)/path`, or below `$root`.
    fn file(&self, path: &str) -> Option<PathBuf> {
        let root = self.variables.get("root").map_or("", String::as_str);
        let (device, path) = match path.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
            Some((device, path)) => (device, path),
            None => (root, path),
        };
        let (_, folder) = self.machine.partitions.iter().find(|(name, _)| *name == device)?;
        Some((self.machine.find)(folder, path))
    }

    fn known_file(&self, path: &str) -> Result<PathBuf> {
        self.file(path).with_context(|| format!("{path} is on no partition"))
    }

    fn lines(&mut self, lines: &[String]) -> Result<()> {
        let mut at = 0;
        while let Some(line) = lines.get(at).map(|line| line.trim()) {
            let end = match line.split(' ').next().unwrap_or_default() {
                "if" => {
                    let end = block_end(lines, at, "if ", "fi")?;
                    self.branch(lines.get(at..=end).unwrap_or_default())?;
                    end
                }
                "for" => {
                    let end = block_end(lines, at, "for ", "done")?;
                    self.repeat(line, lines.get(at + 1..end).unwrap_or_default())?;
                    end
                }
                "menuentry" => self.item(lines, at)?,
                _ if line.is_empty() || line.starts_with('#') => at,
                _ => {
                    self.command(line)?;
                    at
                }
            };
            at = end + 1;
        }
        Ok(())
    }

    fn item(&mut self, lines: &[String], at: usize) -> Result<usize> {
        let line = lines.get(at).map_or("", |line| line.trim());
        let words = self.words(line.strip_suffix('{').context("a menuentry without a block")?)?;
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let (title, id, unrestricted) = match words.as_slice() {
            [_, title, "--id", id] => (title, id, false),
            [_, title, "--id", id, "--unrestricted"] => (title, id, true),
            other => bail!("a menuentry that is not understood: {other:?}"),
        };
        let length =
            lines.iter().skip(at).position(|line| line.trim() == "}").context("an open menuentry")?;
        let body = lines.get(at + 1..at + length).unwrap_or_default().to_vec();
        self.items.push(Item { title: (*title).to_owned(), id: (*id).to_owned(), unrestricted, body });
        Ok(at + length)
    }

    fn repeat(&mut self, head: &str, body: &[String]) -> Result<()> {
        let words = self.words(head.strip_suffix("; do").context("for without do")?)?;
        ensure!(words.get(2).is_some_and(|word| word == "in"), "for without in: {head}");
        for value in words.iter().skip(3) {
            let name = words.get(1).context("for without a name")?.clone();
            self.variables.insert(name, value.clone());
            self.lines(body)?;
        }
        Ok(())
    }

    /// `if …; then` to `fi`, both included.
    fn branch(&mut self, block: &[String]) -> Result<()> {
        let (mut depth, mut taken, mut body, mut running) = (0, false, Vec::new(), false);
        for line in block {
            let text = line.trim();
            let head = text.strip_prefix("if ").or_else(|| text.strip_prefix("elif "));
            let opens = text.starts_with("if ");
            if (depth == 0 && opens) || (depth == 1 && !opens && (head.is_some() || text == "else")) {
                running = !taken && head.map_or(Ok(true), |head| self.condition(head))?;
                taken |= running;
            } else if running && !(depth == 1 && text == "fi") {
                body.push(line.clone());
            }
            depth += i32::from(opens) - i32::from(text == "fi");
        }
        self.lines(&body)
    }

    fn condition(&mut self, text: &str) -> Result<bool> {
        let text = text.strip_suffix("; then").with_context(|| format!("no then in {text:?}"))?;
        let words = self.words(text)?;
        if words.first().is_none_or(|word| word != "[") {
            return self.command(text);
        }
        let inner = words.get(1..words.len() - 1).unwrap_or_default();
        let mut holds = true;
        for part in inner.split(|word| word == "-a") {
            let part: Vec<_> = part.iter().map(String::as_str).collect();
            holds &= match part.as_slice() {
                ["-z", value] => value.is_empty(),
                ["-n", value] => !value.is_empty(),
                ["-f", path] => self.file(path).is_some_and(|path| path.is_file()),
                [a, "=", b] => a == b,
                [a, "!=", b] => a != b,
                other => bail!("an unknown test: {other:?}"),
            };
        }
        Ok(holds)
    }

    fn command(&mut self, line: &str) -> Result<bool> {
        let words = self.words(line)?;
        let texts: Vec<_> = words.iter().map(String::as_str).collect();
        match texts.as_slice() {
            ["set", assignment] => {
                let (name, value) =
                    assignment.split_once('=').with_context(|| format!("set {assignment}"))?;
                self.set(name, value);
            }
            ["regexp", set, "^([^,]*)", text] => {
                let name = set.strip_prefix("--set=1:").with_context(|| format!("regexp with {set}"))?;
                self.set(name, text.split(',').next().unwrap_or_default());
            }
            ["search", "--no-floppy", "--file", set, "--hint", "hd0,", file] => self.search(set, file)?,
            ["load_env", "--file", file, names @ ..] if !names.is_empty() => self.load_env(file, names),
            ["save_env", "--file", file, name] => return self.save_env(file, name),
            ["source", file] => self.source(&self.known_file(file)?)?,
            ["password_pbkdf2", user, hash] => self.passwords.push(format!("{user} {hash}")),
            ["linux" | "initrd" | "chainloader", ..] => self.load(&texts)?,
            ["export", _] => {}
            other => bail!("an unknown command: {other:?}"),
        }
        Ok(true)
    }

    fn load(&mut self, words: &[&str]) -> Result<()> {
        match words {
            ["initrd", files @ ..] => {
                self.loaded.initrds =
                    files.iter().map(|file| self.known_file(file)).collect::<Result<_>>()?;
            }
            [command, file, arguments @ ..] => {
                self.loaded.kernel = Some(self.known_file(file)?);
                self.loaded.arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
                self.loaded.chainloaded = *command == "chainloader";
            }
            _ => bail!("{words:?} without a file"),
        }
        Ok(())
    }

    /// By a file that only the wanted file system has.
    fn search(&mut self, set: &str, file: &str) -> Result<()> {
        let name = set.strip_prefix("--set=").with_context(|| format!("search with {set}"))?;
        let has = |(_, folder): &&(&str, PathBuf)| (self.machine.find)(folder, file).exists();
        let found = self.machine.partitions.iter().find(has);
        let (device, _) = found.with_context(|| format!("{file} is on no file system"))?;
        self.set(name, device);
        Ok(())
    }

    fn block(&self, file: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.file(file)?).ok()?;
        text.starts_with(HEADER).then_some(text)
    }

    fn load_env(&mut self, file: &str, names: &[&str]) {
        for line in self.block(file).unwrap_or_default().lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.split_once('=') else { continue };
            if names.contains(&name) {
                self.set(name, value);
            }
        }
    }

    /// In place and of the same length: GRUB cannot allocate blocks.
    fn save_env(&self, file: &str, name: &str) -> Result<bool> {
        let whole = |block: &String| block.len() == ENVIRONMENT && self.machine.save_env != SaveEnv::Fails;
        let Some(block) = self.block(file).filter(whole) else { return Ok(false) };
        let value =
            self.variables.get(name).with_context(|| format!("save_env of {name}, which is not set"))?;
        let assignments = block.lines().filter(|line| !line.starts_with('#'));
        let assignments = assignments.filter_map(|line| line.split_once('='));
        let kept = assignments.filter(|(kept, _)| *kept != name);
        let mut text = HEADER.to_owned();
        text.extend(kept.chain([(name, value.as_str())]).flat_map(|(name, value)| [name, "=", value, "\n"]));
        let rest = ENVIRONMENT.checked_sub(text.len()).context("the environment block has no room")?;
        if self.machine.save_env == SaveEnv::Writes {
            std::fs::write(self.known_file(file)?, format!("{text}{}", "#".repeat(rest)))?;
        }
        Ok(true)
    }

    /// Words of a command: quotes and variables resolved.
    fn words(&self, line: &str) -> Result<Vec<String>> {
        let (mut words, mut word, mut begun, mut quote) = (Vec::new(), String::new(), false, None);
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match (c, quote) {
                (' ', None) => {
                    if std::mem::take(&mut begun) {
                        words.push(std::mem::take(&mut word));
                    }
                    continue;
                }
                ('\'' | '"', None) => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                ('\\', None | Some('"')) => word.extend(chars.next()),
                ('$', None | Some('"')) => {
                    let mut name = String::new();
                    while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                        name.push(c);
                    }
                    word.push_str(self.variables.get(&name).map_or("", String::as_str));
                }
                (c, _) => word.push(c),
            }
            begun = true;
        }
        ensure!(quote.is_none(), "a quote stays open in {line:?}");
        words.extend(begun.then_some(word));
        Ok(words)
    }
}

fn block_end(lines: &[String], at: usize, open: &str, close: &str) -> Result<usize> {
    let mut depth = 0;
    for (index, line) in lines.iter().enumerate().skip(at) {
        depth += i32::from(line.trim().starts_with(open)) - i32::from(line.trim() == close);
        if depth == 0 {
            return Ok(index);
        }
    }
    bail!("a block stays open")
}
