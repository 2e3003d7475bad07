//! As much of GRUB as it takes to judge a configuration: its script language as the manual describes it, over folders that stand in for
//! partitions. Shares no code with the plugin, and panics at what it does not know.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a judge for tests"
)]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// One entry of the menu.
#[derive(Debug, Clone)]
pub struct MenuEntry {
    pub title: String,
    pub id: String,
    body: Vec<String>,
}

/// What is loaded at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    pub kernel: Vec<u8>,
    pub initrds: Vec<Vec<u8>>,
    /// As the kernel sees it.
    pub cmdline: String,
    pub chainloaded: bool,
}

/// A machine that GRUB runs on.
#[derive(Debug)]
pub struct Grub {
    pub folder: PathBuf,
    pub platform: &'static str,
    pub variables: BTreeMap<String, String>,
    pub menu: Vec<MenuEntry>,
    /// Whether `save_env` works.
    pub writable: bool,
    pub passwords: Vec<String>,
    pub loaded: Loaded,
}

const DEVICES: [(&str, &str); 3] = [("hd0,gpt1", "esp"), ("hd0,gpt3", "xbootldr"), ("hd0,gpt2", "root")];

impl Grub {
    /// GRUB on a machine whose partitions are folders below `folder`.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            platform: "efi",
            variables: BTreeMap::new(),
            menu: Vec::new(),
            writable: true,
            passwords: Vec::new(),
            loaded: Loaded::default(),
        }
    }

    /// Runs the configuration and the entry that it chooses. `None` if there is no configuration.
    pub fn boot(mut self) -> Option<Loaded> {
        self.configure()?;
        let wanted = self.variables.get("default").unwrap().clone();
        let entry = self.menu.iter().find(|entry| entry.id == wanted).unwrap_or(&self.menu[0]).clone();
        self.run(&entry.body);
        Some(self.loaded)
    }

    /// Runs the configuration only.
    pub fn configure(&mut self) -> Option<()> {
        let text = std::fs::read_to_string(self.folder.join("esp/EFI/bootwright/grub.cfg")).ok()?;
        self.variables.insert("root".into(), "hd0,gpt1".into());
        self.variables.insert("grub_platform".into(), self.platform.into());
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        self.run(&lines);
        Some(())
    }

    fn run(&mut self, lines: &[String]) {
        let mut at = 0;
        while at < lines.len() {
            let line = lines[at].trim();
            if line.is_empty() || line.starts_with('#') {
                at += 1;
            } else if let Some(rest) = line.strip_prefix("if ") {
                at = self.run_if(rest, lines, at);
            } else if let Some(rest) = line.strip_prefix("for ") {
                let end = block_end(lines, at, "for ", "done");
                let words = self.words(rest.strip_suffix("; do").unwrap());
                for value in &words[2..] {
                    self.variables.insert(words[0].clone(), value.clone());
                    self.run(&lines[at + 1..end]);
                }
                at = end + 1;
            } else if line.starts_with("menuentry ") {
                let end = at + lines[at..].iter().position(|line| line == "}").unwrap();
                let words = self.words(line.strip_suffix('{').unwrap());
                assert_eq!((words[2].as_str(), words[4].as_str()), ("--id", "--unrestricted"));
                let body = lines[at + 1..end].to_vec();
                self.menu.push(MenuEntry { title: words[1].clone(), id: words[3].clone(), body });
                at = end + 1;
            } else {
                self.command(line);
                at += 1;
            }
        }
    }

    fn run_if(&mut self, first: &str, lines: &[String], at: usize) -> usize {
        let end = block_end(lines, at, "if ", "fi");
        let mut depth = 0;
        let mut taken = self.condition(first);
        let (mut running, mut body) = (taken, Vec::new());
        for line in &lines[at + 1..end] {
            let text = line.trim();
            depth += i32::from(text.starts_with("if "));
            if depth == 0 && (text.starts_with("elif ") || text == "else") {
                running = !taken && text.strip_prefix("elif ").is_none_or(|rest| self.condition(rest));
                taken |= running;
            } else if running {
                body.push(line.clone());
            }
            depth -= i32::from(text == "fi");
        }
        self.run(&body);
        end + 1
    }

    fn condition(&mut self, text: &str) -> bool {
        let text = text.strip_suffix("; then").unwrap_or_else(|| panic!("no then in {text:?}"));
        let words = self.words(text);
        if words[0] != "[" {
            return self.command(text);
        }
        words[1..words.len() - 1].split(|word| word == "-a").all(|part| match part {
            [op, value] if op == "-z" => value.is_empty(),
            [op, value] if op == "-n" => !value.is_empty(),
            [op, value] if op == "-f" => self.path(value).is_some_and(|path| path.is_file()),
            [a, op, b] if op == "=" => a == b,
            [a, op, b] if op == "!=" => a != b,
            other => panic!("unknown test {other:?}"),
        })
    }

    fn command(&mut self, line: &str) -> bool {
        let words = self.words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["set", assignment] => {
                let (name, value) = assignment.split_once('=').unwrap();
                self.variables.insert(name.to_owned(), value.to_owned());
            }
            ["regexp", "--set=1:bw_disk", "^([^,]*)", text] => {
                self.variables.insert("bw_disk".into(), text.split(',').next().unwrap().to_owned());
            }
            ["search", "--no-floppy", "--file", set, "--hint", "hd0,", file] => {
                let found = DEVICES.iter().find(|(_, name)| self.folder.join(name).join(&file[1..]).exists());
                let (device, _) = found.unwrap_or_else(|| panic!("{file} is on no file system"));
                self.variables.insert(set.strip_prefix("--set=").unwrap().to_owned(), (*device).to_owned());
            }
            ["load_env", "--file", file, names @ ..] => self.load_env(file, names),
            ["save_env", "--file", file, name] => return self.save_env(file, name),
            ["export", _] => {}
            ["source", file] => {
                let text = std::fs::read_to_string(self.path(file).unwrap()).unwrap();
                self.run(&text.lines().map(str::to_owned).collect::<Vec<_>>());
            }
            ["password_pbkdf2", user, hash] => self.passwords.push(format!("{user} {hash}")),
            ["linux", kernel, arguments @ ..] => {
                self.loaded.kernel = self.read(kernel);
                // With spaces: GRUB quotes the whole word. With anything that it would escape: not the same any more.
                let shown = |word: &&str| {
                    assert!(!word.contains(['"', '\'', '\\']), "GRUB would change {word}");
                    if word.contains(' ') { format!("\"{word}\"") } else { (*word).to_owned() }
                };
                self.loaded.cmdline = arguments.iter().map(shown).collect::<Vec<_>>().join(" ");
            }
            ["initrd", files @ ..] => {
                self.loaded.initrds = files.iter().map(|file| self.read(file)).collect();
            }
            ["chainloader", file, arguments @ ..] => {
                assert_eq!(self.platform, "efi");
                self.loaded.kernel = self.read(file);
                (self.loaded.cmdline, self.loaded.chainloaded) = (arguments.join(" "), true);
            }
            other => panic!("unknown command {other:?}"),
        }
        true
    }

    fn load_env(&mut self, file: &str, names: &[&str]) {
        let Some(text) = self.env(file) else { return };
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.split_once('=') else { continue };
            if names.contains(&name) {
                self.variables.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    fn env(&self, file: &str) -> Option<String> {
        let bytes = std::fs::read(self.path(file)?).ok()?;
        (bytes.starts_with(b"# GRUB Environment Block\n"))
            .then(|| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// In place, and never longer: GRUB cannot allocate blocks.
    fn save_env(&mut self, file: &str, name: &str) -> bool {
        let Some(text) = self.env(file).filter(|text| self.writable && text.len() == 1024) else {
            return false;
        };
        let value = self.variables.get(name).unwrap();
        let kept = text.lines().filter(|line| !line.starts_with(&format!("{name}=")));
        let kept: Vec<_> = kept.filter(|line| !line.starts_with("##")).collect();
        let mut block = format!("{}\n{name}={value}\n", kept.join("\n"));
        assert!(block.len() <= 1024);
        block.push_str(&"#".repeat(1024 - block.len()));
        std::fs::write(self.path(file).unwrap(), block).unwrap();
        true
    }

    fn read(&self, file: &str) -> Vec<u8> {
        let file = format!("({}){file}", self.variables.get("root").unwrap());
        std::fs::read(self.path(&file).unwrap()).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    fn path(&self, file: &str) -> Option<PathBuf> {
        let (device, path) = file.strip_prefix('(')?.split_once(")/")?;
        let (_, name) = DEVICES.iter().find(|(known, _)| *known == device)?;
        Some(self.folder.join(name).join(path))
    }

    /// Splits a command into words, with quotes and variables resolved.
    fn words(&self, line: &str) -> Vec<String> {
        let (mut words, mut word, mut begun) = (Vec::new(), String::new(), false);
        let mut chars = line.chars().peekable();
        let mut quote = None;
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
        assert_eq!(quote, None, "a quote stays open in {line:?}");
        words.extend(begun.then_some(word));
        words
    }
}

/// The line that ends the block which begins at `at`.
fn block_end(lines: &[String], at: usize, open: &str, close: &str) -> usize {
    let mut depth = 0;
    for (index, line) in lines.iter().enumerate().skip(at) {
        depth += i32::from(line.trim().starts_with(open));
        depth -= i32::from(line.trim() == close);
        if depth == 0 {
            return index;
        }
    }
    panic!("a block stays open");
}
