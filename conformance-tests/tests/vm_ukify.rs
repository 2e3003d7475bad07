//! `ukify inspect`, systemd's own program, reads the UKI and the addon that an installation put on the ESP. Nothing is booted, but it takes
//! the images of the tests that boot.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use bootwright_conformance::{
    host,
    images::{Cache, OciImage, unpacked},
    lifecycle::{Cell, OfflineDisk, install},
    system::{KernelFormat, Systems},
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// A section, as `ukify inspect --json` describes it.
#[derive(Debug, Deserialize)]
struct Section {
    size: u64,
    sha256: String,
    text: Option<String>,
}

type Sections = BTreeMap<String, Section>;

/// Asks ukify, which Debian 13 has and an older host may not: it runs in a tree of its packages.
fn inspect(systems: &Systems, program: &[u8]) -> Result<Sections> {
    let tree = unpacked(&["systemd-ukify"], systems.cache())?;
    let name = tempfile::Builder::new().prefix("program-").suffix(".efi").tempfile_in(tree.join("tmp"))?;
    std::fs::write(name.path(), program)?;
    let inside = format!("/tmp/{}", name.path().file_name().context("a name")?.to_string_lossy());
    // By its interpreter: its first line asks for a program that it does not depend on.
    let mut ask = host::privileged("chroot");
    ask.arg(&tree).args(["/usr/bin/python3", "/usr/bin/ukify", "--json=short", "inspect"]).arg(&inside);
    let printed = host::run(&mut ask)?;
    serde_json::from_slice(&printed).context("read what ukify printed")
}

/// The programs of this kind on the ESP of a new installation.
fn installed(systems: &Systems, cell: &Cell, image: &OciImage, ending: &str) -> Result<Vec<Vec<u8>>> {
    let scratch = tempfile::tempdir_in("/var/tmp")?;
    let disk = scratch.path().join("disk.img");
    install(&systems.programs().bootwright, cell, image, &disk, &["--karg", "asked=1"], false)?;
    let disk = OfflineDisk::open(&disk)?;
    let paths = disk.esp_files()?.into_iter().filter(|path| path.ends_with(ending));
    paths.map(|path| disk.esp_file(&path)).collect()
}

fn holds(sections: &Sections, name: &str, content: &[u8]) -> Result<()> {
    let section = sections.get(name).with_context(|| format!("ukify sees no {name}"))?;
    ensure!(section.size == content.len() as u64, "{name} has {} bytes", section.size);
    ensure!(section.sha256 == hex::encode(Sha256::digest(content)), "{name} has another content");
    Ok(())
}

fn arguments(sections: &Sections) -> Result<&str> {
    sections
        .get(".cmdline")
        .and_then(|section| section.text.as_deref())
        .context("no text of the command line")
}

/// spec: BW-004
#[test]
#[ignore = "takes the images of virtual machines; `cargo xtask test` runs it"]
fn ukify_finds_the_image_s_kernel_and_initramfs_in_a_uki_that_was_assembled() -> Result<()> {
    let systems = Systems::new(Cache::in_target_dir()?)?;
    let image = systems.image("v1", KernelFormat::Split)?;
    let cell = Cell::new("composefs", "uki", KernelFormat::Split);
    let ukis = installed(&systems, &cell, &image, ".efi")?;
    let kernel = format!("/usr/lib/modules/{}", image.kernel_version()?);
    let file = |name: &str| image.read_file(&format!("{kernel}/{name}"))?.context("a file of the image");
    ensure!(!ukis.is_empty(), "no UKI on the ESP");
    for uki in &ukis {
        let sections = inspect(&systems, uki)?;
        holds(&sections, ".linux", &file("vmlinuz")?)?;
        // Several archives follow each other, each from a multiple of four bytes on.
        let mut initramfs = file("initramfs.img")?;
        initramfs.resize(initramfs.len().next_multiple_of(4), 0);
        holds(&sections, ".initrd", &initramfs)?;
        let line = arguments(&sections)?;
        ensure!(line.contains("composefs") && line.contains("asked=1"), "the command line is {line:?}");
        ensure!(sections.get(".osrel").is_some_and(|section| section.text.is_some()), "no os-release");
        ensure!(sections.contains_key(".uname"), "no version of the kernel");
    }
    Ok(())
}

/// spec: BW-412
#[test]
#[ignore = "takes the images of virtual machines; `cargo xtask test` runs it"]
fn ukify_reads_the_addon_with_the_machine_s_arguments() -> Result<()> {
    let systems = Systems::new(Cache::in_target_dir()?)?;
    let image = systems.unified(&systems.image("v1", KernelFormat::Split)?, "v1", None, &[])?;
    let cell = Cell::new("composefs", "systemd-boot", KernelFormat::Unified);
    let addons = installed(&systems, &cell, &image, ".addon.efi")?;
    ensure!(addons.len() == 1, "{} addons on the ESP", addons.len());
    for addon in &addons {
        let sections = inspect(&systems, addon)?;
        ensure!(!sections.contains_key(".linux"), "ukify takes the addon for a UKI");
        ensure!(arguments(&sections)?.contains("asked=1"), "the addon says {:?}", arguments(&sections)?);
    }
    Ok(())
}
