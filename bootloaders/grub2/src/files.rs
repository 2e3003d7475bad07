//! Kernels, initrds and UKIs, by content, and the command line that goes with them.

use std::{collections::BTreeSet, io::Read as _};

use bootwright_core::{
    Error, IoContext, Result,
    boot_files::{Checked, Room, place_blob},
    context::BootContext,
    efi::secure_boot,
    fs::Root,
    model::{
        Addon, Blob, BootPlan, Digest, EntrySpec, KernelArtifacts, KernelCmdline, PlannedEntry, SpaceNeed,
    },
    tree::BlobSource,
    uki::{PeHeaders, UkiInfo},
};

use crate::{
    entry::{EntryRecord, Program},
    places::{self, Place},
    quote::kernel_words,
};

/// The configuration grows by about this much for each entry: its record, its part of the script, its command line in both.
const ENTRY_SIZE: u64 = 8 << 10;
/// An addon carries a command line; a larger file is no addon.
const ADDON_LIMIT: u64 = 8 << 20;
/// Sections of an addon that GRUB has no way to apply (UAPI.5, "UKI Components").
const MORE_THAN_ARGUMENTS: [&str; 8] =
    [".linux", ".initrd", ".ucode", ".dtb", ".dtbauto", ".hwids", ".efifw", ".splash"];

/// Where a new entry's files go.
pub fn place_of(context: &BootContext, kernel: &KernelArtifacts) -> Result<Place> {
    match kernel {
        KernelArtifacts::Split { .. } => places::for_split(context),
        KernelArtifacts::Unified { .. } => places::for_uki(context),
    }
}

fn stored(place: Place, digest: &Digest, name: &str) -> String {
    format!("{}/{}/{name}", place.store(), digest.hex())
}

/// Blobs that are copied, each with its name.
fn blobs_of(kernel: &KernelArtifacts) -> Vec<(&'static str, &Blob)> {
    match kernel {
        KernelArtifacts::Split { kernel, initrds, devicetree, .. } => std::iter::once((LINUX, kernel))
            .chain(initrds.iter().map(|blob| (INITRD, blob)))
            .chain(devicetree.iter().map(|blob| (DEVICETREE, blob)))
            .collect(),
        KernelArtifacts::Unified { uki, .. } => vec![(UKI, uki)],
    }
}

const LINUX: &str = "linux";
const INITRD: &str = "initrd";
const DEVICETREE: &str = "devicetree.dtb";
const UKI: &str = "linux.efi";

/// Room that the new files of a plan take, on each file system.
pub fn space_needed(context: &BootContext, plan: &BootPlan) -> Result<Vec<SpaceNeed>> {
    let mut needs = Vec::new();
    for place in Place::ALL {
        let Some(root) = place.root(context) else { continue };
        let mut sum = Room::on(root, place.name())?;
        let mut counted = BTreeSet::new();
        for planned in &plan.entries {
            if place == Place::Esp {
                sum.add(ENTRY_SIZE);
            }
            let PlannedEntry::Add(spec) = planned else { continue };
            if place_of(context, &spec.artifacts.kernel)? != place {
                continue;
            }
            for (name, blob) in blobs_of(&spec.artifacts.kernel) {
                let path = stored(place, &blob.sha256, name);
                if root.size_of(&path)? != Some(blob.size) && counted.insert(path) {
                    // The folder takes a cluster too.
                    sum.add(blob.size);
                    sum.add(1);
                }
            }
        }
        needs.push(sum.total());
    }
    needs.retain(|need| need.needed > 0);
    Ok(needs)
}

/// Names of the folders that a plan's files have, wherever they go.
pub fn folders_of(plan: &BootPlan) -> BTreeSet<String> {
    let blobs = plan.added().flat_map(|spec| blobs_of(&spec.artifacts.kernel));
    blobs.map(|(_, blob)| blob.sha256.hex().to_owned()).collect()
}

/// What an entry hands to the kernel, checked before anything is written.
///
/// # Errors
/// `Unsupported` if GRUB cannot pass an argument on, if an addon does more than add arguments, or if there are arguments for a UKI under
/// Secure Boot, whose stub would not look at them.
pub async fn command_line(
    context: &BootContext,
    spec: &EntrySpec,
    blobs: &dyn BlobSource,
) -> Result<(KernelCmdline, bool)> {
    match &spec.artifacts.kernel {
        KernelArtifacts::Split { .. } => {
            let line = spec.full_cmdline();
            kernel_words(&line)?;
            Ok((line, false))
        }
        KernelArtifacts::Unified { addons, embedded, .. } => {
            let mut line = embedded.clone();
            for addon in addons {
                addon_arguments(addon, blobs).await?.iter().for_each(|arg| line.push(arg.clone()));
            }
            let line = line.merged_with(&spec.extra_args);
            let with_arguments = line != *embedded;
            if with_arguments && secure_boot(&*context.efi)? {
                return Err(Error::unsupported("a UKI takes no arguments from GRUB while Secure Boot is on")
                    .with_hint("put them into the image's UKI, or use another bootloader"));
            }
            Ok((line, with_arguments))
        }
    }
}

/// What an addon would append. The stub does not find addons of a UKI that GRUB loads, so that its arguments are handed over by GRUB.
async fn addon_arguments(addon: &Addon, blobs: &dyn BlobSource) -> Result<KernelCmdline> {
    let mut bytes = Vec::new();
    let reader = Checked::new(blobs.open_blob(&addon.blob).await?, &addon.blob);
    let what = || format!("read addon {}", addon.name);
    reader.take(ADDON_LIMIT + 1).read_to_end(&mut bytes).context_io(what)?;
    if bytes.len() as u64 > ADDON_LIMIT {
        return Err(Error::invalid(format!("addon {} is larger than 8 MiB", addon.name)));
    }
    let sections = PeHeaders::parse(bytes.get(..bytes.len().min(64 << 10)).unwrap_or_default())?.sections;
    let mut names = sections.iter().map(|section| section.name.as_str());
    if let Some(odd) = names.find(|name| MORE_THAN_ARGUMENTS.contains(name)) {
        let message = format!("GRUB cannot apply section {odd} of addon {}", addon.name);
        return Err(Error::unsupported(message).with_hint("use another bootloader for this image"));
    }
    Ok(UkiInfo::parse(&bytes)?.cmdline())
}

/// Copies what an entry boots. `written` gets each file that was not there before, also when it fails.
///
/// # Errors
/// As [`place_blob`].
pub async fn place_files(
    context: &BootContext,
    place: Place,
    kernel: &KernelArtifacts,
    with_arguments: bool,
    blobs: &dyn BlobSource,
    written: &mut Vec<(Place, String)>,
) -> Result<Program> {
    let root = place.require(context)?;
    let mut paths = Vec::new();
    for (name, blob) in blobs_of(kernel) {
        let path = stored(place, &blob.sha256, name);
        written.extend((!root.exists(&path)).then(|| (place, path.clone())));
        place_blob(root, &path, blob, blobs).await?;
        paths.push((name, format!("/{path}")));
    }
    let named = |wanted: &str| {
        paths.iter().filter(|(name, _)| *name == wanted).map(|(_, path)| path.clone()).collect()
    };
    let one = |wanted: &str| -> Option<String> { Vec::into_iter(named(wanted)).next() };
    Ok(match one(UKI) {
        Some(path) => Program::Uki { path, with_arguments },
        None => Program::Linux {
            kernel: one(LINUX).unwrap_or_default(),
            initrds: named(INITRD),
            devicetree: one(DEVICETREE),
        },
    })
}

/// Checks every file of an entry against the digest in its path.
///
/// # Errors
/// `Integrity` if one is missing or damaged.
pub fn verify(root: &Root, entry: &EntryRecord) -> Result<()> {
    for path in entry.program.paths() {
        let path = path.trim_start_matches('/');
        let folder = path.rsplit('/').nth(1);
        let found = root.sha256_of(path)?;
        if found.as_ref().is_none_or(|digest| Some(digest.hex()) != folder) {
            return Err(Error::integrity(format!("{} is missing or damaged", root.show(path)))
                .with_hint("choose another deployment, or deploy this image again"));
        }
    }
    Ok(())
}
