//! The system under test: Debian with Bootwright in it, in several versions, with split and with unified kernels.
//!
//! Everything is built from this workspace and cached; a change of one program rebuilds what holds it and nothing else.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use bootwright_core::{engine::UNITS, model::KernelCmdline, uki};

use crate::{
    cargo::build_program,
    host,
    images::{Cache, Edits, KARGS_FILE, OciImage, Recipe, compose, derive},
};

mod fixture;

use fixture::workspace;
pub use fixture::{BackendFixture, EarlyProgram, INSTALLER, OSTREE_VERIFIED, Placed, fixture};

/// The backend of images that nobody chose one for.
const USUAL_BACKEND: &str = "composefs";

/// Optimised, because emulated processors are slow, but without link-time optimisation, because builds are slow too.
const PROFILE: &[&str] = &["--profile", "image"];
/// Where Debian's systemd-boot-efi puts the stub that UKIs are made with.
const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";

/// Programs of this workspace, built for images and for the host that installs them.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The command line program.
    pub bootwright: PathBuf,
    /// The guest agent.
    pub agent: PathBuf,
}

impl Programs {
    /// Builds them, or finds them built.
    ///
    /// # Errors
    /// When cargo does not succeed.
    pub fn build() -> Result<Self> {
        Ok(Self {
            bootwright: build_program("bootwright", "bootwright", PROFILE)?,
            agent: build_program("bootwright-guest-agent", "bootwright-guest-agent", PROFILE)?,
        })
    }
}

/// How the kernel comes in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KernelFormat {
    /// `vmlinuz` and `initramfs.img` beside the modules.
    Split,
    /// One UKI in `/boot/EFI/Linux`, sealed to the image's root.
    Unified,
}

impl KernelFormat {
    /// The word on command lines and in test names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::Unified => "unified",
        }
    }

    /// The one that this is not.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Split => Self::Unified,
            Self::Unified => Self::Split,
        }
    }
}

/// Makes images of the system under test.
#[derive(Debug)]
pub struct Systems {
    programs: Programs,
    cache: Cache,
    backend: &'static BackendFixture,
}

impl Systems {
    /// Builds the programs; images are made when they are asked for.
    ///
    /// # Errors
    /// When cargo does not succeed or the cache cannot be written.
    pub fn new(cache: Cache) -> Result<Self> {
        Self::with_programs(Programs::build()?, cache)
    }

    /// Uses these programs: a distribution's own, or another build of ours.
    ///
    /// # Errors
    /// None for the backends of this workspace.
    pub fn with_programs(programs: Programs, cache: Cache) -> Result<Self> {
        Ok(Self { programs, cache, backend: fixture(USUAL_BACKEND)? })
    }

    /// The same, for another storage backend.
    ///
    /// # Errors
    /// When images for it cannot be made here.
    pub fn for_backend(self, backend: &str) -> Result<Self> {
        Ok(self.for_fixture(fixture(backend)?))
    }

    /// The same, for a backend with these needs.
    #[must_use]
    pub fn for_fixture(mut self, needs: &'static BackendFixture) -> Self {
        self.backend = needs;
        self
    }

    /// The programs.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Version `version` ("v1", "v2", …) with this kernel format.
    ///
    /// # Errors
    /// When a tool is missing or an image cannot be made.
    pub fn image(&self, version: &str, format: KernelFormat) -> Result<OciImage> {
        let split = self.split(version)?;
        match format {
            KernelFormat::Split => Ok(split),
            KernelFormat::Unified => self.unified(&split, version, None, &[]),
        }
    }

    /// Version `version` of somebody else's image, with what a test needs added: the guest agent, this build of
    /// bootwright, its units, and a marker. Kernel and initramfs stay as they are.
    ///
    /// # Errors
    /// When the image cannot be read, or has no kernel of its own beside its modules.
    pub fn adapted(&self, reference: &str, version: &str, format: KernelFormat) -> Result<OciImage> {
        let base = local_copy(reference, &self.cache)?;
        base.kernel_version()
            .context("the image needs vmlinuz and initramfs.img in /usr/lib/modules/<version>")?;
        let split = derive(&base, &self.additions(version)?, &self.cache)?;
        match format {
            KernelFormat::Split => Ok(split),
            KernelFormat::Unified => self.unified(&split, version, None, &[]),
        }
    }

    fn additions(&self, version: &str) -> Result<Edits> {
        let program = |path: &Path| std::fs::read(path).with_context(|| format!("read {}", path.display()));
        let mut edits = Edits::new(version)
            .write("/usr/bin/bootwright", program(&self.programs.bootwright)?, 0o755)
            .write("/usr/lib/bootwright/guest-agent", program(&self.programs.agent)?, 0o755)
            .write("/usr/share/marker/version", format!("{version}\n"), 0o644);
        let agent = workspace("conformance-tests/agent/bootwright-guest-agent.service");
        edits = unit(edits, &agent, "multi-user.target")?;
        UNITS.into_iter().try_fold(edits, |edits, (name, target)| {
            unit(edits, &workspace("cli/systemd").join(name), target)
        })
    }

    /// The first version is composed; later ones change, add and remove files in `/usr` and `/etc`.
    fn split(&self, version: &str) -> Result<OciImage> {
        let first = compose(&self.recipe()?, &self.cache)?;
        if version == "v1" { Ok(first) } else { derive(&first, &changes(version), &self.cache) }
    }

    fn recipe(&self) -> Result<Recipe> {
        let programs = &self.programs;
        let mut recipe = Recipe::debian()
            .guest_agent(&programs.agent)
            .host_program("/usr/bin/bootwright", &programs.bootwright);
        recipe.name = format!("bootwright-{}", self.backend.backend);
        recipe = self.early_boot(recipe)?;
        for (unit, target) in UNITS {
            let path = workspace("cli/systemd").join(unit);
            let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            recipe = recipe.unit(unit, &text, target);
        }
        Ok(marked(recipe))
    }

    /// What the backend needs in early boot.
    fn early_boot(&self, mut recipe: Recipe) -> Result<Recipe> {
        let needs = self.backend;
        recipe.packages.names.extend(needs.packages.iter().map(|&package| package.to_owned()));
        recipe.packages.newer.extend(needs.newer_packages.iter().map(|&package| package.to_owned()));
        if let Some(program) = needs.early_program {
            let built = build_program(program.package, program.package, PROFILE)?;
            recipe = recipe.host_file(program.to, built, 0o755);
        }
        for folder in needs.folders {
            recipe = with_folder(recipe, &workspace(folder.from), folder.to)?;
        }
        recipe = needs.files.iter().fold(recipe, |recipe, (path, text)| recipe.file(path, *text, 0o644));
        recipe = needs.links.iter().fold(recipe, |recipe, (path, target)| recipe.symlink(path, target));
        Ok(needs.dracut_modules.iter().fold(recipe, |recipe, module| recipe.dracut_module(module)))
    }

    /// `image` with a UKI in place of the separate kernel; it names its root if the backend knows that beforehand.
    /// With `root`, it names that instead. `kargs` are further arguments.
    ///
    /// # Errors
    /// When the image cannot be read or written, or the program does not tell its root.
    pub fn unified(
        &self,
        image: &OciImage,
        version: &str,
        root: Option<KernelCmdline>,
        kargs: &[String],
    ) -> Result<OciImage> {
        let kver = image.kernel_version()?;
        let bare =
            derive(image, &Edits::new(&format!("{version}-bare")).without_split_kernel(&kver), &self.cache)?;
        let root_args = match root {
            Some(root) => root,
            None if self.backend.sealed_ukis => self.root_args(&bare)?,
            None => KernelCmdline::new(),
        };
        let cmdline = image_arguments(image)?.merged_with(&kargs.join(" ").parse()?).merged_with(&root_args);
        let uki = assemble(image, &kver, cmdline)?;
        derive(&bare, &Edits::new(version).unified(&kver, uki), &self.cache)
    }

    /// Asks the program itself which arguments find the root of `image`.
    fn root_args(&self, image: &OciImage) -> Result<KernelCmdline> {
        let scratch = tempfile::tempdir_in(self.cache.dir())?;
        let output = host::privileged(&self.programs.bootwright.to_string_lossy())
            .args(["--quiet", "image", "root-args", "--backend", self.backend.backend, "--scratch"])
            .arg(scratch.path())
            .arg(image.reference())
            .output()
            .context("start bootwright")?;
        ensure!(
            output.status.success(),
            "bootwright image root-args ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
    }
}

/// Adds a unit of the host, wanted by this target.
fn unit(edits: Edits, path: &Path, target: &str) -> Result<Edits> {
    let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(edits.unit(&name, text, &format!("{target}.wants")))
}

/// An image of any transport as a layout on this machine.
fn local_copy(reference: &str, cache: &Cache) -> Result<OciImage> {
    if let Some((path, tag)) = reference.strip_prefix("oci:").and_then(|name| name.split_once(':')) {
        return Ok(OciImage::new(path, tag));
    }
    let folder = cache.dir().join("adapted");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let target = format!("oci:{}:latest", folder.display());
    host::run(host::command("skopeo").args(["copy", reference, &target]))?;
    Ok(OciImage::new(folder, "latest"))
}

/// Files that later versions change, so that a test can tell versions and merges apart.
fn marked(recipe: Recipe) -> Recipe {
    recipe
        .file("/usr/share/marker/version", "v1\n", 0o644)
        .file("/usr/share/marker/removed-later", "v1\n", 0o644)
        .file("/etc/marker/changed-by-image", "v1\n", 0o644)
        .file("/etc/marker/changed-by-both", "v1\n", 0o644)
        .file("/etc/marker/removed-later", "v1\n", 0o644)
        .file("/etc/marker/removed-locally", "v1\n", 0o644)
}

fn changes(version: &str) -> Edits {
    let text = format!("{version}\n");
    Edits::new(version)
        .write("/usr/share/marker/version", text.clone(), 0o644)
        .write(&format!("/usr/share/marker/added-in-{version}"), text.clone(), 0o644)
        .remove("/usr/share/marker/removed-later")
        .write("/etc/marker/changed-by-image", text.clone(), 0o644)
        .write("/etc/marker/changed-by-both", text.clone(), 0o644)
        .write(&format!("/etc/marker/added-in-{version}"), text, 0o644)
        .remove("/etc/marker/removed-later")
}

fn with_folder(mut recipe: Recipe, folder: &Path, target: &str) -> Result<Recipe> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut files: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);
    for file in files {
        let mode = file.metadata()?.permissions().mode() & 0o777;
        let name = file.file_name();
        recipe = recipe.host_file(&format!("{target}/{}", name.to_string_lossy()), file.path(), mode);
    }
    Ok(recipe)
}

/// The image's own kernel arguments, which a UKI has to embed.
fn image_arguments(image: &OciImage) -> Result<KernelCmdline> {
    let text = image.read_file(KARGS_FILE)?.with_context(|| format!("no {KARGS_FILE} in the image"))?;
    let value: toml::Table = String::from_utf8(text)?.parse()?;
    let list = value.get("kargs").and_then(toml::Value::as_array).context("no kargs in the image")?;
    let words: Vec<_> = list.iter().filter_map(toml::Value::as_str).collect();
    Ok(words.join(" ").parse()?)
}

fn assemble(image: &OciImage, kver: &str, cmdline: KernelCmdline) -> Result<Vec<u8>> {
    let file = |path: &str| image.read_file(path)?.with_context(|| format!("no {path} in the image"));
    let parts = uki::UkiParts {
        os_release: String::from_utf8(file("/usr/lib/os-release")?)?,
        cmdline,
        uname: Some(kver.to_owned()),
        initrds: vec![uki::Part::bytes(file(&format!("/usr/lib/modules/{kver}/initramfs.img"))?)],
        devicetree: None,
        kernel: uki::Part::bytes(file(&format!("/usr/lib/modules/{kver}/vmlinuz"))?),
    };
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut parts.assemble(file(STUB)?)?, &mut bytes)?;
    Ok(bytes)
}
