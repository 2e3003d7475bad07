//! A bootable image: the base system, the caller's files, and an initramfs made of both.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use super::{
    base::{base, default_packages},
    cache::{Cache, Key},
    entry::{Content, Entry, EntryKind},
    initramfs::{Inputs, initramfs},
    layer::write_layer,
    oci::OciImage,
    packages::Packages,
    writer::{OciLayoutWriter, layout_path},
};

/// Where an image has its units.
pub const UNIT_FOLDER: &str = "/usr/lib/systemd/system";
/// Where the kernel arguments of a composed image are.
pub const KARGS_FILE: &str = "/usr/lib/bootc/kargs.d/10-test.toml";
/// Kernel arguments of a test image. `rw`: the overlay on `/etc` cannot be mounted under a read-only root.
/// The rest makes an emulated boot short, quiet enough to be quick, and a panic a reboot.
const KERNEL_ARGUMENTS: [&str; 10] = [
    "rw",
    "console=ttyS0",
    "panic=1",
    "loglevel=4",
    "mitigations=off",
    "audit=0",
    "8250.nr_uarts=1",
    "init_on_alloc=0",
    "rcupdate.rcu_expedited=1",
    "cryptomgr.notests",
];

/// What a file in the top layer is.
#[derive(Debug, Clone)]
pub enum TopContent {
    /// A regular file.
    File(Content),
    /// A symbolic link to this target.
    Symlink(String),
}

/// A file that the caller puts on top of the base system.
#[derive(Debug, Clone)]
pub struct TopFile {
    /// Absolute path in the image.
    pub path: String,
    /// What is there.
    pub content: TopContent,
    /// Permission bits.
    pub mode: u32,
    /// Whether dracut gets to see it. `false` spares a rebuild of the initramfs when only this file changes.
    pub in_initramfs: bool,
}

/// What to compose. Start from [`Recipe::debian`], and add to it.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Name of the image, used for its folder.
    pub name: String,
    /// Tag inside the layout, and the version label.
    pub version: String,
    /// Debian packages of the base system.
    pub packages: Packages,
    /// Files on top of it.
    pub top: Vec<TopFile>,
    /// dracut modules besides the usual ones of a systemd initramfs.
    pub dracut_modules: Vec<String>,
    /// Kernel modules to add to the initramfs besides the usual ones.
    pub dracut_drivers: Vec<String>,
    /// Contents of `/usr/lib/bootc/kargs.d`.
    pub kernel_arguments: Vec<String>,
    /// Root file system in `/usr/lib/bootc/install`: `ext4`, `btrfs` or `xfs`.
    pub root_filesystem: String,
}

impl Recipe {
    /// A minimal Debian 13, with nothing of ours in it.
    pub fn debian() -> Self {
        Self {
            name: "debian".to_owned(),
            version: "v1".to_owned(),
            packages: default_packages(),
            top: Vec::new(),
            dracut_modules: Vec::new(),
            dracut_drivers: Vec::new(),
            kernel_arguments: KERNEL_ARGUMENTS.map(str::to_owned).to_vec(),
            root_filesystem: "ext4".to_owned(),
        }
    }

    /// Adds any [`TopFile`].
    #[must_use]
    pub fn top_file(mut self, file: TopFile) -> Self {
        self.top.push(file);
        self
    }

    /// Adds a file with these bytes.
    #[must_use]
    pub fn file(self, path: &str, bytes: impl Into<Vec<u8>>, mode: u32) -> Self {
        let content = TopContent::File(Content::Bytes(bytes.into()));
        self.top_file(TopFile { path: path.to_owned(), content, mode, in_initramfs: true })
    }

    /// Adds a copy of a file of the host.
    #[must_use]
    pub fn host_file(self, path: &str, host: impl Into<PathBuf>, mode: u32) -> Self {
        let content = TopContent::File(Content::Host(host.into()));
        self.top_file(TopFile { path: path.to_owned(), content, mode, in_initramfs: true })
    }

    /// Adds a copy of a file of the host that dracut does not need, such as a program of the running system.
    #[must_use]
    pub fn host_program(self, path: &str, host: impl Into<PathBuf>) -> Self {
        let content = TopContent::File(Content::Host(host.into()));
        self.top_file(TopFile { path: path.to_owned(), content, mode: 0o755, in_initramfs: false })
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        let content = TopContent::Symlink(target.to_owned());
        self.top_file(TopFile { path: path.to_owned(), content, mode: 0o777, in_initramfs: true })
    }

    /// Adds a systemd unit of the image, wanted by `target`.
    #[must_use]
    pub fn unit(self, name: &str, text: &str, target: &str) -> Self {
        let recipe = self.file(&format!("{UNIT_FOLDER}/{name}"), text, 0o644);
        recipe.symlink(&format!("{UNIT_FOLDER}/{target}.wants/{name}"), &format!("../{name}"))
    }

    /// Adds a dracut module of the caller.
    #[must_use]
    pub fn dracut_module(mut self, name: &str) -> Self {
        self.dracut_modules.push(name.to_owned());
        self
    }

    /// Adds the guest agent that [`crate::vm`] talks to; `program` is its binary on the host.
    #[must_use]
    pub fn guest_agent(self, program: impl Into<PathBuf>) -> Self {
        let unit = include_str!("../../agent/bootwright-guest-agent.service");
        self.host_program("/usr/lib/bootwright/guest-agent", program).unit(
            "bootwright-guest-agent.service",
            unit,
            "multi-user.target",
        )
    }
}

/// Composes the image that `recipe` describes, or takes it from the cache.
///
/// # Errors
/// When mmdebstrap or dracut is missing or does not succeed, when this process neither is root nor may use
/// `sudo -n`, or when a file of the recipe cannot be read. Nothing half-done is taken for a result later.
pub fn compose(recipe: &Recipe, cache: &Cache) -> Result<OciImage> {
    let key = recipe_key(recipe)?;
    let dir = layout_path(cache.dir(), &recipe.name, &key);
    let _lock = cache.lock(&format!("{}-{key}", recipe.name))?;
    if dir.join("index.json").exists() {
        return Ok(OciImage::new(dir, &recipe.version));
    }
    let base = base(&recipe.packages, cache)?;
    let mut files = settings(recipe);
    files.extend(recipe.top.iter().filter(|file| file.in_initramfs).map(entry));
    let inputs =
        Inputs { modules: &recipe.dracut_modules, drivers: &recipe.dracut_drivers, files: files.clone() };
    let initramfs = initramfs(&base, inputs, cache)?;
    files.extend(recipe.top.iter().filter(|file| !file.in_initramfs).map(entry));
    cache.say("packing the top layer");
    let top = write_layer(files, cache.blobs())?;
    let writer = OciLayoutWriter::new(cache.blobs()).layer(base.layer).layer(initramfs).layer(top);
    let writer = writer.label("containers.bootc", "1").label("ostree.bootable", "1");
    let writer = writer.label("org.opencontainers.image.version", &recipe.version);
    writer.finish(&dir, &recipe.version)
}

/// The files that say how the image wants to be installed and booted.
fn settings(recipe: &Recipe) -> Vec<Entry> {
    let quoted: Vec<String> =
        recipe.kernel_arguments.iter().map(|argument| format!("{argument:?}")).collect();
    let kargs = format!("kargs = [{}]\n", quoted.join(", "));
    let install = format!("[install.filesystem.root]\ntype = \"{}\"\n", recipe.root_filesystem);
    vec![
        Entry::file(KARGS_FILE, kargs, 0o644),
        Entry::file("/usr/lib/bootc/install/00-test.toml", install, 0o644),
    ]
}

fn entry(file: &TopFile) -> Entry {
    match &file.content {
        TopContent::File(content) => Entry::new(&file.path, file.mode, EntryKind::File(content.clone())),
        TopContent::Symlink(target) => Entry::symlink(&file.path, target),
    }
}

/// A hash over everything that the image depends on, files of the host by content.
fn recipe_key(recipe: &Recipe) -> Result<String> {
    let mut key = Key::default().add(include_str!("scripts/essential.sh"));
    key = key.add(include_str!("scripts/customize.sh")).add(include_str!("scripts/initramfs.sh"));
    key = key.add(include_str!("base.rs")).add(include_str!("initramfs.rs")).add(include_str!("compose.rs"));
    key = key.add(&recipe.version).add(&recipe.root_filesystem);
    let packages = &recipe.packages;
    for list in [
        &packages.names,
        &packages.newer,
        &recipe.dracut_modules,
        &recipe.dracut_drivers,
        &recipe.kernel_arguments,
    ] {
        key = list.iter().fold(key.add("list"), Key::add);
    }
    for file in &recipe.top {
        key = key.add(&file.path).add(file.mode.to_le_bytes()).add([u8::from(file.in_initramfs)]);
        key = match &file.content {
            TopContent::Symlink(target) => key.add("link").add(target),
            TopContent::File(Content::Bytes(bytes)) => key.add("file").add(Sha256::digest(bytes)),
            TopContent::File(Content::Host(path)) => {
                let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
                key.add("file").add(Sha256::digest(bytes))
            }
        };
    }
    Ok(key.short())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_follows_the_content_of_a_host_file() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        fs::write(&program, "one").unwrap();
        let recipe = Recipe::debian().host_program("/usr/bin/program", &program);
        let before = recipe_key(&recipe).unwrap();
        assert_eq!(before, recipe_key(&recipe).unwrap());
        fs::write(&program, "two").unwrap();
        assert_ne!(before, recipe_key(&recipe).unwrap());
    }

    #[test]
    fn a_unit_is_enabled_by_a_link_in_usr() {
        let recipe = Recipe::debian().unit("x.service", "[Service]\n", "multi-user.target");
        let paths: Vec<&str> = recipe.top.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "/usr/lib/systemd/system/x.service",
                "/usr/lib/systemd/system/multi-user.target.wants/x.service"
            ]
        );
    }

    #[test]
    fn a_missing_host_file_is_named() {
        let recipe = Recipe::debian().host_program("/usr/bin/x", "/no/such/program");
        assert!(format!("{:#}", recipe_key(&recipe).unwrap_err()).contains("/no/such/program"));
    }

    #[test]
    fn kernel_arguments_are_valid_toml_strings() {
        let mut recipe = Recipe::debian();
        recipe.kernel_arguments = vec!["a=\"b c\"".to_owned()];
        let entries = settings(&recipe);
        let EntryKind::File(Content::Bytes(bytes)) = entries[0].kind() else { panic!("not a file") };
        assert_eq!(String::from_utf8_lossy(bytes), "kargs = [\"a=\\\"b c\\\"\"]\n");
    }
}
