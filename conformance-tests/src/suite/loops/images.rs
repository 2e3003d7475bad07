//! Images of a few hundred kilobytes, with stand-ins for kernels and loader binaries.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use bootwright_core::{
    context::{BackendContext, Sealing},
    fs::{Faults, Root},
    model::{ImageReference, KernelCmdline, NoProgress, Stateroot},
    registry::{BackendPlugin, Verity},
    transport,
    uki::synthetic,
    wrap,
};

use super::loader_files;
use crate::{
    images::{BlobStore, Entry, Layer, OciImage, OciLayoutWriter, write_layer, write_tar},
    suite::{Channel, Defect, Health, TestImage, points::fnv1a},
    system::KernelFormat,
};

/// Marks an image whose boots are never confirmed.
pub const NEVER_COMES_UP: &str = "usr/lib/never-comes-up";
/// Marks a kernel of which that is true, whatever the tree.
pub const KERNEL_FAILS: &[u8] = b"a kernel that fails";
/// A file with content of its own in each version, too large to be stored inside of anything else.
pub const OBJECT: &str = "usr/share/marker/object";
/// Length of a large kernel in bytes: a few of them fill the ESP.
pub const LARGE_KERNEL: usize = 1 << 20;
/// Length of any other: stores and loaders hash each of them many times.
const SMALL_KERNEL: usize = 64 << 10;

/// Makes images of one world.
#[derive(Debug)]
pub struct ImageMaker {
    folder: PathBuf,
    store: BlobStore,
    /// A layer that all images share.
    parts: Option<Layer>,
}

impl ImageMaker {
    /// Works in this folder, for images that this bootloader starts.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(folder: &Path, bootloader: &str) -> Result<Self> {
        let folder = folder.join("images");
        std::fs::create_dir_all(&folder)?;
        let store = BlobStore::open(folder.join("blobs"))?.uncompressed();
        let parts = loader_files::for_bootloader(bootloader)?;
        let parts = if parts.is_empty() { None } else { Some(write_layer(parts, &store)?) };
        Ok(Self { folder, store, parts })
    }

    /// What names the image of a channel.
    ///
    /// # Errors
    /// Never in practice.
    pub fn reference(&self, channel: Channel) -> Result<ImageReference> {
        Ok(format!("oci:{}:latest", self.folder.join(channel.0).display()).parse()?)
    }

    /// Makes the image what the channel names.
    ///
    /// # Errors
    /// When it cannot be written, or its root arguments not be found out.
    pub async fn publish(
        &self,
        channel: Channel,
        image: &TestImage,
        plugin: &BackendPlugin,
        verity: Verity,
    ) -> Result<()> {
        let plain = |writer: OciLayoutWriter| writer.entries(tree(image));
        let mut writer = plain(self.writer(image))?;
        if image.format == KernelFormat::Unified && image.defect != Some(Defect::NoKernel) {
            let draft = plain(self.writer(image))?.finish(&self.folder.join("draft"), "latest")?;
            let cmdline = self.uki_cmdline(image, plugin, verity, draft.layout()).await?;
            writer = writer.entries(ukis(image, &cmdline))?;
        }
        if let Some(tar) = &image.layer {
            writer = writer.layer(write_tar(tar, &self.store)?);
        }
        let made = writer.finish(&self.folder.join(channel.0), "latest")?;
        if image.defect == Some(Defect::DamagedLayer) {
            damage(&made)?;
        }
        Ok(())
    }

    fn writer(&self, image: &TestImage) -> OciLayoutWriter {
        let writer = OciLayoutWriter::new(&self.store);
        let writer = self.parts.iter().fold(writer, |writer, parts| writer.layer(parts.clone()));
        let writer = writer.label("org.opencontainers.image.version", &image.label);
        if image.defect == Some(Defect::WrongArchitecture) { writer.architecture("s390x") } else { writer }
    }

    /// What a builder would put into the UKI: the root arguments where they can be known, and the image's own.
    async fn uki_cmdline(
        &self,
        image: &TestImage,
        plugin: &BackendPlugin,
        verity: Verity,
        draft: &Path,
    ) -> Result<String> {
        let own: KernelCmdline = image.kargs.join(" ").parse()?;
        if !plugin.capabilities.predictable_root_args {
            return Ok(own.to_string());
        }
        let folder = tempfile::tempdir_in(&self.folder)?;
        let backend = wrap::open_backend(
            plugin,
            BackendContext {
                sysroot: Root::open(folder.path(), Faults::none())?,
                running_root: None,
                stateroot: Stateroot::default(),
                verity,
                sealing: Sealing::Scratch,
            },
        )?;
        backend.initialize().await?;
        let architecture = (image.defect == Some(Defect::WrongArchitecture)).then_some("s390x");
        let reference = format!("oci:{}:latest", draft.display()).parse()?;
        let summary = transport::inspect(&reference, architecture).await?;
        let pinned = backend.fetch(&summary, &NoProgress).await?;
        let root = backend.root_args(&pinned).await?;
        let line = root.merged_with(&own).to_string();
        if image.defect == Some(Defect::ForeignRoot) {
            return Ok(other_digest(&line));
        }
        Ok(line)
    }
}

/// The same with another last hexadecimal digit in every long number: a root that is none.
fn other_digest(line: &str) -> String {
    let other = |word: &str| match word.char_indices().next_back() {
        Some((at, last)) if word.len() > 40 => {
            format!("{}{}", &word[..at], if last == '0' { '1' } else { '0' })
        }
        _ => word.to_owned(),
    };
    line.split(' ').map(other).collect::<Vec<_>>().join(" ")
}

fn tree(image: &TestImage) -> Vec<Entry> {
    let mut entries: Vec<_> =
        image.files.iter().map(|(path, text)| Entry::file(path, text.as_bytes(), 0o644)).collect();
    let version = image.version;
    entries.push(Entry::file(OBJECT, format!("object of {version}\n").repeat(600), 0o644));
    let os_release = format!("ID=suite\nPRETTY_NAME=\"Suite {version}\"\nVERSION_ID={}\n", version.0);
    entries.push(Entry::file("usr/lib/os-release", os_release, 0o644));
    entries.extend(
        ["boot", "dev", "proc", "run", "sys", "sysroot", "tmp"].map(|name| Entry::directory(name, 0o755)),
    );
    entries.extend(loader_files());
    if !matches!(image.health, Health::Good | Health::KernelFails) {
        entries.push(Entry::file(NEVER_COMES_UP, "", 0o644));
    }
    if image.format == KernelFormat::Split {
        if !image.kargs.is_empty() {
            let text = format!("kargs = {:?}\n", image.kargs);
            entries.push(Entry::file("usr/lib/bootc/kargs.d/10-test.toml", text, 0o644));
        }
        entries.extend(split_kernels(image));
    }
    entries
}

/// Programs that loaders take from the tree. They only have to be recognised.
fn loader_files() -> Vec<Entry> {
    let folder = "usr/lib/systemd/boot/efi";
    let stub = |name: &str| Entry::file(&format!("{folder}/{name}"), synthetic::stub(), 0o644);
    let loader = b"MZ #### LoaderInfo: systemd-boot 257.13-1 ####".to_vec();
    vec![
        stub("linuxx64.efi.stub"),
        stub("addonx64.efi.stub"),
        Entry::file(&format!("{folder}/systemd-bootx64.efi"), loader, 0o644),
    ]
}

fn versions(image: &TestImage) -> Vec<String> {
    let one = format!("6.12.{}-suite", image.kernel_version);
    match image.defect {
        Some(Defect::NoKernel) => Vec::new(),
        Some(Defect::TwoKernels) => vec![one, "6.99.0-suite".to_owned()],
        _ => vec![one],
    }
}

/// A page that nothing compresses, over and over, the same for the same label.
fn kernel_bytes(image: &TestImage) -> Vec<u8> {
    const PAGE: usize = 4096;
    let mut state = fnv1a(&image.kernel) | 1;
    let mut page = Vec::with_capacity(PAGE);
    while page.len() < PAGE {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        page.extend_from_slice(&state.to_le_bytes());
    }
    let mut kernel = page.repeat(if image.large_kernel { LARGE_KERNEL } else { SMALL_KERNEL } / PAGE);
    if image.health == Health::KernelFails {
        kernel.extend_from_slice(KERNEL_FAILS);
    }
    kernel
}

fn kernel_image(image: &TestImage) -> Vec<u8> {
    synthetic::image(&[(".setup", &kernel_bytes(image))])
}

fn split_kernels(image: &TestImage) -> Vec<Entry> {
    let initrd = format!("initrd of {}\n", image.kernel).repeat(100);
    let one = |version: String| {
        let folder = format!("usr/lib/modules/{version}");
        [
            Entry::file(&format!("{folder}/vmlinuz"), kernel_image(image), 0o644),
            Entry::file(&format!("{folder}/initramfs.img"), initrd.clone(), 0o644),
        ]
    };
    versions(image).into_iter().flat_map(one).collect()
}

fn ukis(image: &TestImage, cmdline: &str) -> Vec<Entry> {
    let kernel = kernel_bytes(image);
    let osrel = format!("ID=suite\nPRETTY_NAME=\"Suite {}\"\n", image.version);
    let one = |version: String| {
        let uki = synthetic::image(&[
            (".osrel", osrel.as_bytes()),
            (".cmdline", cmdline.as_bytes()),
            (".uname", version.as_bytes()),
            (".linux", &kernel),
        ]);
        Entry::file(&format!("boot/EFI/Linux/{version}.efi"), uki, 0o644)
    };
    versions(image).into_iter().map(one).collect()
}

/// Changes a byte in the middle of the uppermost layer: those below may be stored already.
fn damage(image: &OciImage) -> Result<()> {
    let layers = image.layers()?;
    let path = image.blob_path(&layers.last().context("an image with layers")?.blob.sha256);
    let mut bytes = std::fs::read(&path)?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).context("a byte")? ^= 0xff;
    // A hard link into the store: replaced, not written through.
    std::fs::remove_file(&path)?;
    std::fs::write(&path, bytes)?;
    Ok(())
}
