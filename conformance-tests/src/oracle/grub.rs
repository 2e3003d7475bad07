//! GRUB: its configuration, run by an interpreter that knows as much of the script language as menus need (GRUB manual, "The shell-like
//! scripting language" and "The list of available commands").
//!
//! What it does not know is an error, not a guess.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use memchr::memmem;

use super::{
    Disk, Loader, MenuEntry,
    entry::{on_partition, read_file},
    firmware,
};

/// Every GRUB program says this when its own configuration is missing (grub-core/normal/main.c).
const MARKER: &[u8] = b"grub";
/// Where the configuration is, in order of preference.
const CONFIGS: [&str; 3] = ["EFI/bootwright/grub.cfg", "EFI/BOOT/grub.cfg", "boot/grub/grub.cfg"];
const ESP: &str = "hd0,gpt1";
const ROOT: &str = "hd0,gpt2";

inventory::submit! {
    Loader {
        name: "GRUB",
        recognises: |program| memmem::find(program, b".linux").is_none() && memmem::find(program, MARKER).is_some(),
        menu: |disk, program| {
            behind_shim(disk, program)?;
            Ok(Shell::run(disk, false)?.menu())
        },
        started: |disk, _| Shell::run(disk, true).map(drop),
        add_foreign: |disk| add_foreign(disk).map(Some),
    }
}

/// shim names the program that it starts, which has to lie beside it; all else is started by the firmware.
fn behind_shim(disk: &Disk, program: &str) -> Result<()> {
    let file = on_partition(&disk.esp, program);
    let wide: Vec<u8> = "grubx64.efi".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let is_shim = read_file(&file).is_some_and(|bytes| memmem::find(&bytes, &wide).is_some());
    let grub = read_file(&file.with_file_name("grubx64.efi"));
    ensure!(
        !is_shim || grub.is_some_and(|bytes| memmem::find(&bytes, MARKER).is_some()),
        "no grubx64.efi lies beside {program}, which is shim"
    );
    Ok(())
}

/// One `menuentry`.
#[derive(Debug, Clone)]
struct Item {
    id: String,
    body: Vec<String>,
}

/// A running script.
struct Shell<'a> {
    disk: &'a Disk,
    /// Whether `save_env` reaches the disk.
    writes: bool,
    variables: BTreeMap<String, String>,
    items: Vec<Item>,
}

impl<'a> Shell<'a> {
    fn run(disk: &'a Disk, writes: bool) -> Result<Self> {
        let candidates = CONFIGS.iter().flat_map(|path| [disk.esp.join(path), disk.sysroot.join(path)]);
        let config =
            candidates.into_iter().find(|path| path.is_file()).context("GRUB finds no configuration")?;
        let text = std::fs::read_to_string(&config)?;
        let mut shell = Self { disk, writes, variables: BTreeMap::new(), items: Vec::new() };
        shell.set("root", ESP);
        shell.set("grub_platform", "efi");
        shell
            .lines(&text.lines().map(str::to_owned).collect::<Vec<_>>())
            .with_context(|| config.display().to_string())?;
        Ok(shell)
    }

    /// The menu, what `default` names first, what has no tries left last.
    fn menu(&self) -> Vec<MenuEntry> {
        let default = self.variables.get("default").cloned().unwrap_or_default();
        let mut entries: Vec<_> = self.items.iter().map(|item| self.entry(item)).collect();
        entries.sort_by_key(|entry| (entry.name != default, entry.tries_left == Some(0)));
        entries
    }

    fn entry(&self, item: &Item) -> MenuEntry {
        let mut entry = MenuEntry {
            name: item.id.clone(),
            cmdline: String::new(),
            files: Vec::new(),
            tries_left: None,
            foreign: !item.id.contains("bootwright")
                && !item.body.iter().any(|line| line.contains("bootwright")),
            counter_file: None,
        };
        let mut inside =
            Self { disk: self.disk, writes: false, variables: self.variables.clone(), items: Vec::new() };
        for line in &item.body {
            let words = inside.words(line.trim()).unwrap_or_default();
            match words.split_first() {
                Some((command, rest)) if command == "linux" => {
                    entry.files.extend(rest.first().and_then(|path| inside.file(path)));
                    entry.cmdline = rest.get(1..).unwrap_or_default().join(" ");
                }
                Some((command, rest)) if command == "initrd" => {
                    entry.files.extend(rest.iter().filter_map(|path| inside.file(path)));
                }
                Some((command, rest)) if command == "chainloader" => inside.chainload(rest, &mut entry),
                Some((command, rest)) if command == "set" => inside.assign(rest),
                _ => {}
            }
        }
        entry
    }

    /// Arguments given here replace the embedded ones; without any, the UKI and its addons speak for themselves.
    fn chainload(&self, words: &[String], entry: &mut MenuEntry) {
        let Some(file) = words.first().and_then(|path| self.file(path)) else { return };
        let arguments = words.get(1..).unwrap_or_default().join(" ");
        if arguments.is_empty() {
            let below = file.strip_prefix(&self.disk.esp).unwrap_or(&file).display().to_string();
            let uki = firmware::uki(self.disk, &below, String::new(), false);
            (entry.cmdline, entry.files) = (uki.cmdline, uki.files);
        } else {
            (entry.cmdline, entry.files) = (arguments, vec![file]);
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    fn assign(&mut self, words: &[String]) {
        if let Some((name, value)) = words.first().and_then(|word| word.split_once('=')) {
            self.variables.insert(name.to_owned(), value.to_owned());
        }
    }

    /// A path as GRUB writes it: `(device)/path`, or below `$root`.
    fn file(&self, path: &str) -> Option<PathBuf> {
        let root = self.variables.get("root").map_or("", String::as_str);
        let (device, path) = match path.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
            Some((device, path)) => (device, path),
            None => (root, path),
        };
        let folder = match device {
            ESP => &self.disk.esp,
            ROOT => &self.disk.sysroot,
            _ => return None,
        };
        Some(on_partition(folder, path))
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
        let id = words.iter().position(|word| word == "--id").and_then(|place| words.get(place + 1));
        let title = words.get(1).context("a menuentry without a title")?;
        let length =
            lines.iter().skip(at).position(|line| line.trim() == "}").context("an open menuentry")?;
        let body = lines.get(at + 1..at + length).unwrap_or_default().to_vec();
        self.items.push(Item { id: id.unwrap_or(title).clone(), body });
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
                ["-f" | "-e", path] => self.file(path).is_some_and(|path| path.exists()),
                [a, "=" | "==", b] => a == b,
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
            ["set", ..] => self.assign(words.get(1..).unwrap_or_default()),
            ["regexp", set, "^([^,]*)", text] => {
                let name = set.strip_prefix("--set=1:").with_context(|| format!("regexp with {set}"))?;
                self.set(name, text.split(',').next().unwrap_or_default());
            }
            ["search", options @ .., file] => return self.search(options, file),
            ["load_env", "--file", file, names @ ..] => self.load_env(file, names),
            ["save_env", "--file", file, names @ ..] => return self.save_env(file, names),
            ["source", file] => {
                let path = self.file(file).context("source without a file")?;
                let text = std::fs::read_to_string(path)?;
                self.lines(&text.lines().map(str::to_owned).collect::<Vec<_>>())?;
            }
            ["export" | "insmod" | "password_pbkdf2" | "terminal_output" | "echo", ..] => {}
            other => bail!("an unknown command: {other:?}"),
        }
        Ok(true)
    }

    /// By a file that only the wanted file system has.
    fn search(&mut self, options: &[&str], file: &str) -> Result<bool> {
        let name = options.iter().find_map(|option| option.strip_prefix("--set=")).unwrap_or("root");
        let found = [ESP, ROOT]
            .into_iter()
            .find(|device| self.file(&format!("({device}){file}")).is_some_and(|p| p.exists()));
        let device = found.with_context(|| format!("{file} is on no file system"))?;
        self.set(name, device);
        Ok(true)
    }

    fn block(&self, file: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.file(file)?).ok()?;
        text.starts_with("# GRUB Environment Block\n").then_some(text)
    }

    fn load_env(&mut self, file: &str, names: &[&str]) {
        for line in self.block(file).unwrap_or_default().lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.split_once('=') else { continue };
            if names.is_empty() || names.contains(&name) {
                self.set(name, value);
            }
        }
    }

    /// In place and of the same length: GRUB cannot allocate blocks.
    fn save_env(&mut self, file: &str, names: &[&str]) -> Result<bool> {
        let Some(block) = self.block(file).filter(|block| block.len() == 1024) else { return Ok(false) };
        let mut values: Vec<(String, String)> = block
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
            .filter(|(name, _)| !names.contains(&name.as_str()))
            .collect();
        for name in names {
            values.push(((*name).to_owned(), self.variables.get(*name).cloned().unwrap_or_default()));
        }
        let lines = values.iter().map(|(name, value)| format!("{name}={value}\n"));
        let text = format!("# GRUB Environment Block\n{}", lines.collect::<String>());
        if text.len() > 1024 {
            return Ok(false);
        }
        if self.writes {
            let path = self.file(file).context("an environment block")?;
            std::fs::write(path, format!("{text}{}", "#".repeat(1024 - text.len())))?;
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

/// Another system's entry, as an administrator adds one.
fn add_foreign(disk: &Disk) -> Result<String> {
    let folder = disk.esp.join("other");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("linux"), "another system's kernel")?;
    let text = "menuentry 'Another system' --id other-system {\n  linux /other/linux root=other\n}\n";
    std::fs::write(disk.esp.join("EFI/bootwright/custom.cfg"), text)?;
    Ok("other-system".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Variables;

    fn disk(config: &str) -> (tempfile::TempDir, Disk) {
        let folder = tempfile::tempdir().unwrap();
        let (esp, sysroot) = (folder.path().join("esp"), folder.path().join("root"));
        std::fs::create_dir_all(esp.join("EFI/bootwright")).unwrap();
        std::fs::create_dir_all(&sysroot).unwrap();
        std::fs::write(esp.join("EFI/bootwright/grub.cfg"), config).unwrap();
        let block = format!("# GRUB Environment Block\nleft=1\n{}", "#".repeat(1024 - 32));
        std::fs::write(esp.join("EFI/bootwright/grubenv"), block).unwrap();
        (folder, Disk { esp, sysroot, esp_guid: [0; 16], variables: Variables::default() })
    }

    const COUNTED: &str = r#"
set env="($root)/EFI/bootwright/grubenv"
load_env --file "$env" left
set pick=''
if [ "$left" = '0' ]; then
  set pick='b'
elif [ "$left" = '1' ]; then
  set left='0'
  if save_env --file "$env" left; then
    set pick='a'
  fi
fi
set default="$pick"
menuentry 'A' --id a --unrestricted {
  linux /vmlinuz root=a "b c"
}
menuentry 'B' --id b --unrestricted {
  linux /vmlinuz root=b
}
"#;

    #[test]
    fn a_counter_is_used_up_by_starting_and_not_by_looking() {
        let (_folder, disk) = disk(COUNTED);
        let first = || Shell::run(&disk, false).unwrap().menu().first().cloned().unwrap();
        assert_eq!((first().name.as_str(), first().cmdline.as_str()), ("a", "root=a b c"));
        Shell::run(&disk, true).unwrap();
        assert_eq!(first().name, "b");
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        let (_folder, disk) = disk("frobnicate now\n");
        assert!(Shell::run(&disk, false).is_err());
    }
}
