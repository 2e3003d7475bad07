//! From layers in the repository to a complete image: root image, configuration, manifest.

use std::{collections::HashMap, sync::Arc};

use bootwright_core::{
    blobs::Documents,
    context::BackendContext,
    error::{ErrorKind, Result},
};
use composefs::{erofs::format::FormatVersion, fsverity::FsVerityHashValue, repository::Repository};
use composefs_boot::BootOps as _;
use composefs_oci::{BOOT_IMAGE_REF_KEY, BOOT_IMAGE_REF_KEY_V1, OciDigest, oci_image::manifest_identifier};

use crate::{errors::LibraryContext, merge};

/// What marks a manifest in the repository (composefs-oci, `skopeo.rs`).
const MANIFEST_CONTENT_TYPE: u64 = u64::from_le_bytes(*b"ocimanif");

/// Digests of layers' contents and the objects that hold them, in the image's order.
pub(super) type Layers<H> = Vec<(String, H)>;

/// Writes root image, configuration and manifest, in this order: each refers to the one before. Returns the digest of the manifest's
/// bytes as they are stored.
pub(super) fn assemble<H: FsVerityHashValue>(
    context: &BackendContext,
    repo: &Arc<Repository<H>>,
    documents: &Documents,
    layers: &Layers<H>,
) -> Result<OciDigest> {
    context.sysroot.faults().before("write the root image")?;
    let roots = root_images(repo, layers).map_err(|error| {
        crate::errors::library("put the layers of the image together", ErrorKind::InvalidInput, &error)
    })?;
    context.sysroot.faults().before("store the image's configuration and manifest")?;
    let what = || "store the image's configuration and manifest".to_owned();
    let refs = layers.iter().map(|(diff_id, id)| (diff_id.clone().into_boxed_str(), id.clone())).collect();
    let (_, config) =
        composefs_oci::write_config_raw(repo, &documents.config, refs, None, None, &roots).context(what)?;
    write_manifest(repo, documents, &config, layers).context(what)
}

/// Merges the layers, empties `/boot` and `/sysroot`, and writes the result in every format that the repository keeps, under the
/// names by which the library looks for it.
fn root_images<H: FsVerityHashValue>(
    repo: &Repository<H>,
    layers: &Layers<H>,
) -> anyhow::Result<HashMap<Box<str>, H>> {
    let mut tree = merge::layers(repo, layers.iter().map(|(_, id)| id))?;
    tree.transform_for_boot(repo)?;
    let images = tree.commit_images(repo, None)?;
    let key = |version| if version == FormatVersion::V2 { BOOT_IMAGE_REF_KEY } else { BOOT_IMAGE_REF_KEY_V1 };
    Ok(images.into_iter().map(|(version, id)| (key(version).into(), id)).collect())
}

/// The library's own function takes a parsed manifest, which it prints anew: not always the same bytes.
fn write_manifest<H: FsVerityHashValue>(
    repo: &Arc<Repository<H>>,
    documents: &Documents,
    config: &H,
    layers: &Layers<H>,
) -> anyhow::Result<OciDigest> {
    let digest = composefs_oci::sha256_content_digest(&documents.manifest);
    let mut stream = repo.create_stream(MANIFEST_CONTENT_TYPE)?;
    stream.add_named_stream_ref(&format!("config:{}", documents.config_digest), config);
    for (diff_id, id) in layers {
        stream.add_named_stream_ref(diff_id, id);
    }
    stream.write_external(&documents.manifest)?;
    repo.write_stream(stream, &manifest_identifier(&digest), None)?;
    Ok(digest)
}
