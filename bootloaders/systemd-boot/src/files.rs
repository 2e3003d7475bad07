//! Kernels, initrds and UKIs on the boot partition, by content.

use bootwright_core::{
    Error, Result,
    bls::{Entry, Program},
    boot_files::{AddonSet, Room, addon_digests, addon_folder, place_blob},
    context::BootContext,
    fs::Root,
    model::{Blob, BootPlan, Digest, EntrySpec, KernelArtifacts, PlannedEntry, SpaceNeed},
    tree::{BlobSource, TreeReader},
};

use crate::{boot_root, menu::relative};

/// Our folder. Each folder in it is named by the SHA-256 of what it holds, and is shared by all entries that need that.
pub const STORE: &str = "bootwright";
/// An addon that carries kernel arguments takes about this much.
const ADDON_SIZE: u64 = 16 << 10;
const ENTRY_SIZE: u64 = 4 << 10;

fn stored(digest: &Digest, name: &str) -> String {
    format!("{STORE}/{}/{name}", digest.hex())
}

/// Room that the new files of a plan take.
pub fn space_needed(root: &Root, place: &str, plan: &BootPlan) -> Result<SpaceNeed> {
    let mut needed = Room::on(root, place)?;
    let mut counted = std::collections::BTreeSet::new();
    for planned in &plan.entries {
        needed.add(ENTRY_SIZE);
        let PlannedEntry::Add(spec) = planned else { continue };
        if !spec.extra_args.is_empty() && matches!(spec.artifacts.kernel, KernelArtifacts::Unified { .. }) {
            needed.add(ADDON_SIZE);
        }
        for (name, blob) in blobs_of(&spec.artifacts.kernel) {
            let path = stored(&blob.sha256, name);
            // The folder of a UKI with addons is named by all of them: another argument, another copy.
            let copied = with_addons(spec) || root.size_of(&path)? != Some(blob.size);
            if copied && counted.insert(path) {
                // The folder takes a cluster too.
                needed.add(blob.size);
                needed.add(1);
            }
        }
    }
    Ok(needed.total())
}

/// Folders of files that a plan needs, as far as their names are known before they are copied.
pub fn folders_of(plan: &BootPlan) -> impl Iterator<Item = String> {
    let blobs = plan.added().flat_map(|spec| blobs_of(&spec.artifacts.kernel));
    blobs.map(|(_, blob)| format!("{STORE}/{}", blob.sha256.hex()))
}

/// Whether an entry takes a UKI that has addons.
fn with_addons(spec: &EntrySpec) -> bool {
    match &spec.artifacts.kernel {
        KernelArtifacts::Unified { addons, .. } => !addons.is_empty() || !spec.extra_args.is_empty(),
        KernelArtifacts::Split { .. } => false,
    }
}

/// Each blob with the name that it gets in its folder.
fn blobs_of(kernel: &KernelArtifacts) -> Vec<(&'static str, &Blob)> {
    match kernel {
        KernelArtifacts::Split { kernel, initrds, devicetree, .. } => std::iter::once((LINUX, kernel))
            .chain(initrds.iter().map(|blob| (INITRD, blob)))
            .chain(devicetree.iter().map(|blob| (DEVICETREE, blob)))
            .collect(),
        KernelArtifacts::Unified { uki, addons, .. } => {
            std::iter::once((UKI, uki)).chain(addons.iter().map(|addon| ("", &addon.blob))).collect()
        }
    }
}

const LINUX: &str = "linux";
const INITRD: &str = "initrd";
const DEVICETREE: &str = "devicetree.dtb";
const UKI: &str = "linux.efi";

/// Files by path, with the digests of their contents.
pub type FileDigests = Vec<(String, Digest)>;

/// Copies what an entry boots, and returns the entry's text, without its sort key, and the files that it needs. `written` gets the path of each file that
/// was not there before, also when it fails.
pub async fn place_entry(
    context: &BootContext,
    spec: &EntrySpec,
    blobs: &dyn BlobSource,
    tree: Option<&dyn TreeReader>,
    written: &mut Vec<String>,
) -> Result<(Entry, FileDigests)> {
    let entry = Entry { title: Some(spec.title.clone()), version: spec.version.clone(), ..Entry::default() };
    let mut place = Placer { root: boot_root(context), blobs, written, files: Vec::new() };
    let entry = match &spec.artifacts.kernel {
        KernelArtifacts::Split { kernel, initrds, devicetree, .. } => {
            let program = Program::Linux(place.blob(LINUX, kernel).await?);
            let mut paths = Vec::new();
            for initrd in initrds {
                paths.push(place.blob(INITRD, initrd).await?);
            }
            let devicetree = match devicetree {
                Some(blob) => Some(place.blob(DEVICETREE, blob).await?),
                None => None,
            };
            let options = vec![spec.full_cmdline().to_string()];
            Entry { program: Some(program), initrds: paths, devicetree, options, ..entry }
        }
        KernelArtifacts::Unified { uki, addons, .. } => {
            let set = AddonSet::collect(addons, &spec.extra_args, tree, &*context.efi).await?;
            let path = place.uki(uki, &set).await?;
            Entry { program: Some(Program::Efi(path)), ..entry }
        }
    };
    Ok((entry, place.files))
}

struct Placer<'a> {
    root: &'a Root,
    blobs: &'a dyn BlobSource,
    written: &'a mut Vec<String>,
    files: FileDigests,
}

impl Placer<'_> {
    async fn blob(&mut self, name: &str, blob: &Blob) -> Result<String> {
        self.blob_at(stored(&blob.sha256, name), blob).await
    }

    async fn blob_at(&mut self, path: String, blob: &Blob) -> Result<String> {
        self.written.extend((!self.root.exists(&path)).then(|| path.clone()));
        place_blob(self.root, &path, blob, self.blobs).await?;
        let path = format!("/{path}");
        self.files.push((path.clone(), blob.sha256.clone()));
        Ok(path)
    }

    /// A UKI that is loaded with other addons lies in another folder, because the stub looks for them beside it.
    async fn uki(&mut self, uki: &Blob, addons: &AddonSet) -> Result<String> {
        let path = stored(&addons.digest_with(&uki.sha256), UKI);
        addons.place_beside(self.root, &path, self.blobs, self.written).await?;
        let folder = addon_folder(&path);
        let beside = addons.digests().into_iter().map(|(name, digest)| (format!("/{folder}/{name}"), digest));
        self.files.extend(beside);
        self.blob_at(path, uki).await
    }
}

/// Checks files against digests that were noted.
///
/// # Errors
/// `Integrity` if one is missing or damaged.
pub fn verify_list(root: &Root, files: &[(String, Digest)]) -> Result<()> {
    for (path, digest) in files {
        let path = relative(path);
        if root.sha256_of(&path)?.as_ref() != Some(digest) {
            return Err(damaged(root, &path));
        }
    }
    Ok(())
}

fn damaged(root: &Root, path: &str) -> Error {
    Error::integrity(format!("{} is missing or damaged", root.show(path)))
        .with_hint("choose another deployment, or deploy this image again")
}

/// The files that an entry on disk needs, as they are now: for one whose own list cannot be believed.
pub fn digests_on_disk(root: &Root, entry: &Entry) -> Result<FileDigests> {
    let mut files = Vec::new();
    for path in entry.paths() {
        let file = relative(path);
        files.extend(root.sha256_of(&file)?.map(|digest| (format!("/{file}"), digest)));
        let folder = addon_folder(&file);
        let beside = addon_digests(root, &file)?.into_iter();
        files.extend(beside.filter_map(|(name, digest)| Some((format!("/{folder}/{name}"), digest?))));
    }
    Ok(files)
}

/// Checks every file that an entry names against the digest in its path.
///
/// # Errors
/// `Integrity` if one is missing or damaged. A UKI with addons is only checked for being there: its folder is named by the
/// digest of the whole set.
pub fn verify(root: &Root, entry: &Entry) -> Result<()> {
    for path in entry.paths() {
        let path = relative(path);
        let folder = path.strip_prefix(STORE).and_then(|rest| rest.trim_start_matches('/').split('/').next());
        let found = root.sha256_of(&path)?;
        let with_addons = root.exists(&addon_folder(&path));
        if found.as_ref().is_none_or(|digest| Some(digest.hex()) != folder && !with_addons) {
            return Err(damaged(root, &path));
        }
    }
    Ok(())
}
