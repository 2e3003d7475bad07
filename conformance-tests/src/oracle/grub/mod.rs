//! GRUB: its configuration, run by an interpreter of as much of its script language as menus need.

use anyhow::{Context as _, Result, ensure};
use memchr::memmem;

use super::{
    Disk, Loader, MenuEntry,
    entry::{on_partition, read_file},
    firmware,
    variables::LOADER,
};

mod script;

use script::{Item, Machine, SaveEnv, Shell};

/// Every GRUB program says this when its own configuration is missing (grub-core/normal/main.c).
const MARKER: &[u8] = b"grub";
/// Where the configuration is, in order of preference.
const CONFIGS: [&str; 3] = ["EFI/bootwright/grub.cfg", "EFI/BOOT/grub.cfg", "boot/grub/grub.cfg"];

inventory::submit! {
    Loader {
        name: "GRUB",
        plugin: "grub2",
        recognises: |program| memmem::find(program, b".linux").is_none() && memmem::find(program, MARKER).is_some(),
        menu: |disk, program| {
            behind_shim(disk, program)?;
            menu(disk)
        },
        started: |disk, entry| started(disk, entry),
        add_foreign: |disk| add_foreign(disk).map(Some),
        choose: None,
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

fn run(disk: &Disk, save_env: SaveEnv) -> Result<Shell> {
    let candidates = CONFIGS.iter().flat_map(|path| [disk.esp.join(path), disk.sysroot.join(path)]);
    let config = candidates.into_iter().find(|path| path.is_file()).context("GRUB finds no configuration")?;
    let partitions = vec![("hd0,gpt1", disk.esp.clone()), ("hd0,gpt2", disk.sysroot.clone())];
    let mut shell = Shell::new(Machine { partitions, find: on_partition, platform: "efi", save_env });
    shell.source(&config)?;
    Ok(shell)
}

/// Counts the try, and hands over to the kernel; the stub of a UKI notes where it lies.
fn started(disk: &Disk, entry: &MenuEntry) -> Result<()> {
    run(disk, SaveEnv::Writes)?;
    let uki = entry.files.first().filter(|file| file.extension().is_some_and(|ending| ending == "efi"));
    if let Some(path) = uki.and_then(|file| file.strip_prefix(&disk.esp).ok()) {
        let noted = format!("\\{}", path.display().to_string().replace('/', "\\"));
        disk.variables.set_text(LOADER, "LoaderImageIdentifier", &noted);
    }
    Ok(())
}

/// The menu, what starts by itself first.
fn menu(disk: &Disk) -> Result<Vec<MenuEntry>> {
    let shell = run(disk, SaveEnv::Pretends)?;
    let default = shell.chosen().map(|item| item.id.clone()).unwrap_or_default();
    let entries = shell.items.iter().map(|item| entry(disk, &shell, item));
    let mut entries: Vec<_> = entries.collect::<Result<_>>()?;
    entries.sort_by_key(|entry| entry.name != default);
    Ok(entries)
}

/// Arguments given to a UKI replace the embedded ones; without any, it and its addons speak for themselves.
fn entry(disk: &Disk, shell: &Shell, item: &Item) -> Result<MenuEntry> {
    let loaded = shell.start(item)?;
    let mut entry = MenuEntry {
        name: item.id.clone(),
        cmdline: loaded.arguments.join(" "),
        files: loaded.kernel.iter().chain(&loaded.initrds).cloned().collect(),
        tries_left: None,
        foreign: !item.id.contains("bootwright") && !item.body.iter().any(|line| line.contains("bootwright")),
        counter_file: None,
    };
    ensure!(entry.foreign || item.unrestricted, "{:?} asks for a password, where one is set", item.title);
    if let Some(file) = loaded.kernel.filter(|_| loaded.chainloaded && entry.cmdline.is_empty()) {
        let below = file.strip_prefix(&disk.esp).unwrap_or(&file).display().to_string();
        let uki = firmware::uki(disk, &below, String::new(), false);
        (entry.cmdline, entry.files) = (uki.cmdline, uki.files);
    }
    Ok(entry)
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
        let first = || menu(&disk).unwrap().first().cloned().unwrap();
        assert_eq!((first().name.as_str(), first().cmdline.as_str()), ("a", "root=a b c"));
        run(&disk, SaveEnv::Writes).unwrap();
        assert_eq!(first().name, "b");
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        let (_folder, disk) = disk("frobnicate now\n");
        assert!(menu(&disk).is_err());
    }
}
