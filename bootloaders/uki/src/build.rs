//! Our UKIs: copied, or assembled.

use bootwright_core::{
    Error, Result,
    boot_files::{AddonSet, Checked, Room, place_blob, place_named, systemd_efi_program},
    context::BootContext,
    fs::Root,
    model::{Blob, BootPlan, Digest, EntrySpec, KernelArtifacts, PlannedEntry, SpaceNeed},
    tree::{BlobSource, TreeReader},
    uki::{Part, UkiParts},
};

use crate::{
    firmware,
    names::{FOLDER, UkiName},
};

/// Where all of them lie, for people.
pub const PLACE: &str = "the ESP";
/// Stub, headers, texts and padding of an assembled UKI.
const OVERHEAD: u64 = 256 << 10;
const ADDON_SIZE: u64 = 16 << 10;
const NOTES_SIZE: u64 = 32 << 10;

/// Opens one of our UKIs.
///
/// # Errors
/// `NotFound` if it is gone.
pub fn open(esp: &Root, name: &UkiName) -> Result<std::fs::File> {
    esp.open_file(&name.path())?
        .ok_or_else(|| Error::not_found(format!("{} is gone", esp.show(&name.path()))))
}

/// Room that the new UKIs of a plan take, and the copy on the removable-media path where that is what boots.
pub fn space_needed(context: &BootContext, plan: &BootPlan) -> Result<SpaceNeed> {
    let mut needed = Room::on(&context.esp, PLACE)?;
    needed.add(NOTES_SIZE);
    let copied = !firmware::usable(context);
    for (rank, planned) in plan.entries.iter().enumerate() {
        let mut sizes = Vec::new();
        match planned {
            PlannedEntry::Add(spec) => sizes = sizes_of(spec),
            PlannedEntry::Keep(id) if copied && rank == 0 => {
                let size =
                    UkiName::parse(id.as_str()).map(|name| context.esp.size_of(&name.path())).transpose()?;
                needed.add(size.flatten().unwrap_or(0));
            }
            PlannedEntry::Keep(_) => {}
        }
        let times = if copied && rank == 0 { 2 } else { 1 };
        sizes.repeat(times).into_iter().for_each(|size| needed.add(size));
    }
    Ok(needed.total())
}

fn sizes_of(spec: &EntrySpec) -> Vec<u64> {
    let blobs = spec.artifacts.kernel.blobs();
    match &spec.artifacts.kernel {
        KernelArtifacts::Split { .. } => {
            vec![blobs.iter().fold(OVERHEAD, |sum, blob| sum.saturating_add(blob.size))]
        }
        KernelArtifacts::Unified { .. } => {
            let ours = (!spec.extra_args.is_empty()).then_some(ADDON_SIZE);
            blobs.iter().map(|blob| blob.size).chain(ours).collect()
        }
    }
}

/// A UKI that is in its folder.
#[derive(Debug)]
pub struct PlacedUki {
    /// Its name.
    pub name: UkiName,
    /// Digest of the file.
    pub digest: Digest,
    /// File names and digests of its addons.
    pub addons: Vec<(String, Digest)>,
}

/// Puts the UKI of an entry into its folder. Returns its name, the digest of the file, and those of its addons. `written` gets the path of each file that was
/// not there before, also when it fails.
pub async fn place_uki(
    context: &BootContext,
    spec: &EntrySpec,
    blobs: &dyn BlobSource,
    tree: Option<&dyn TreeReader>,
    written: &mut Vec<String>,
) -> Result<PlacedUki> {
    match &spec.artifacts.kernel {
        KernelArtifacts::Unified { uki, addons, .. } => {
            let set = AddonSet::collect(addons, &spec.extra_args, tree, &*context.efi).await?;
            let name = UkiName::new(&spec.deployment, &set.digest_with(&uki.sha256))?;
            let path = name.path();
            set.place_beside(&context.esp, &path, blobs, written).await?;
            written.extend((!context.esp.exists(&path)).then(|| path.clone()));
            let placed = place_blob(&context.esp, &path, uki, blobs).await?;
            Ok(PlacedUki { name, digest: placed.digest, addons: set.digests() })
        }
        KernelArtifacts::Split { .. } => {
            let tree = tree.ok_or_else(|| Error::internal("a new entry came without its tree"))?;
            assemble(context, spec, blobs, tree, written).await
        }
    }
}

async fn assemble(
    context: &BootContext,
    spec: &EntrySpec,
    blobs: &dyn BlobSource,
    tree: &dyn TreeReader,
    written: &mut Vec<String>,
) -> Result<PlacedUki> {
    let KernelArtifacts::Split { kver, kernel, initrds, devicetree } = &spec.artifacts.kernel else {
        return Err(Error::internal("only a split kernel is assembled"));
    };
    let stub = systemd_efi_program(tree, "linux", ".efi.stub").await?;
    let mut parts = UkiParts {
        os_release: spec.os_release.clone(),
        cmdline: spec.full_cmdline(),
        uname: Some(kver.clone()),
        initrds: Vec::new(),
        devicetree: None,
        kernel: part(kernel, blobs).await?,
    };
    for initrd in initrds {
        parts.initrds.push(part(initrd, blobs).await?);
    }
    if let Some(blob) = devicetree {
        parts.devicetree = Some(part(blob, blobs).await?);
    }
    let mut image = parts.assemble(stub)?;
    // Checked before anything is written: the name is made from the digest only afterwards.
    UkiName::new(&spec.deployment, &Digest::from_sha256([0; 32]))?;
    let name = |digest: &Digest| UkiName::new(&spec.deployment, digest);
    let draft = format!("{FOLDER}/{}.efi", name(&kernel.sha256)?.stem());
    let path = |digest: &Digest| name(digest).map_or_else(|_| draft.clone(), |name| name.path());
    let (path, placed) = place_named(&context.esp, &draft, &mut image, path)?;
    written.extend(placed.written.then_some(path));
    Ok(PlacedUki { name: name(&placed.digest)?, digest: placed.digest, addons: Vec::new() })
}

async fn part(blob: &Blob, blobs: &dyn BlobSource) -> Result<Part> {
    let reader = Checked::new(blobs.open_blob(blob).await?, blob);
    Ok(Part { size: blob.size, content: Box::new(reader) })
}
