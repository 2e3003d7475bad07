//! Reads an image from an OCI image layout folder.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use flate2::read::GzDecoder;
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest};

use super::{cache::Blob, layer::Layer};

/// Annotation that holds an image's tag (OCI image specification, annotations).
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An image in a layout folder. It is read anew on each call, so tests may damage the folder in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciImage {
    layout: PathBuf,
    tag: String,
}

impl OciImage {
    /// The image with this tag in the layout folder `layout`.
    pub fn new(layout: impl Into<PathBuf>, tag: &str) -> Self {
        Self { layout: layout.into(), tag: tag.to_owned() }
    }

    /// The layout folder.
    pub fn layout(&self) -> &Path {
        &self.layout
    }

    /// The tag of the image inside its layout.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The image as skopeo and Bootwright name it: `oci:<folder>:<tag>`.
    pub fn reference(&self) -> String {
        format!("oci:{}:{}", self.layout.display(), self.tag)
    }

    /// The file of the blob with this sha256 (hex).
    pub fn blob_path(&self, sha256: &str) -> PathBuf {
        self.layout.join("blobs/sha256").join(sha256)
    }

    /// Digest of the manifest, `sha256:<hex>`.
    pub fn manifest_digest(&self) -> Result<String> {
        Ok(self.descriptor()?.digest().to_string())
    }

    /// The manifest.
    pub fn manifest(&self) -> Result<ImageManifest> {
        self.document(&self.descriptor()?)
    }

    /// The configuration.
    pub fn config(&self) -> Result<ImageConfiguration> {
        self.document(self.manifest()?.config())
    }

    /// The layers, lowest first.
    pub fn layers(&self) -> Result<Vec<Layer>> {
        let (manifest, config) = (self.manifest()?, self.config()?);
        let diff_ids = config.rootfs().diff_ids();
        let pairs = manifest.layers().iter().zip(diff_ids);
        pairs
            .map(|(layer, diff_id)| {
                let diff_id = diff_id.strip_prefix("sha256:").unwrap_or(diff_id).to_owned();
                Ok(Layer { blob: Blob { sha256: hex_digest(layer)?, size: layer.size() }, diff_id })
            })
            .collect()
    }

    /// The labels of the configuration.
    pub fn labels(&self) -> Result<BTreeMap<String, String>> {
        let config = self.config()?;
        let labels = config.config().as_ref().and_then(|c| c.labels().as_ref());
        Ok(labels.map(|l| l.iter().map(|(k, v)| (k.clone(), v.clone())).collect()).unwrap_or_default())
    }

    /// The architecture that the configuration claims, in OCI's words.
    pub fn architecture(&self) -> Result<String> {
        Ok(self.config()?.architecture().to_string())
    }

    /// The bytes of the regular file at `path` as the assembled image has it; `None` when there is none.
    pub fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let path = path.trim_matches('/');
        for layer in self.layers()?.iter().rev() {
            match self.find_in_layer(layer, path)? {
                Found::File(bytes) => return Ok(Some(bytes)),
                Found::Removed => return Ok(None),
                Found::Nothing => {}
            }
        }
        Ok(None)
    }

    /// The version of the image's kernel, from the name of its folder in `/usr/lib/modules`.
    ///
    /// # Errors
    /// When the image has none.
    pub fn kernel_version(&self) -> Result<String> {
        for layer in self.layers()?.iter().rev() {
            let mut archive = self.open_layer(layer)?;
            for entry in archive.entries()? {
                let path = entry?.path()?.to_string_lossy().into_owned();
                if let Some(version) = kernel_version_in(&path) {
                    return Ok(version.to_owned());
                }
            }
        }
        bail!("{} has no kernel in /usr/lib/modules/<version>/vmlinuz", self.reference())
    }

    fn find_in_layer(&self, layer: &Layer, path: &str) -> Result<Found> {
        let mut archive = self.open_layer(layer)?;
        let mut removed = false;
        for entry in archive.entries()? {
            let mut entry = entry?;
            let name = entry.path()?.to_string_lossy().trim_matches('/').to_owned();
            if name == path && entry.header().entry_type().is_file() {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                return Ok(Found::File(bytes));
            }
            // Only lower layers are hidden by a whiteout: the file itself may still follow in this one.
            removed |= removes(&name, path);
        }
        Ok(if removed { Found::Removed } else { Found::Nothing })
    }

    fn open_layer(&self, layer: &Layer) -> Result<tar::Archive<GzDecoder<File>>> {
        let path = self.blob_path(&layer.blob.sha256);
        let file = File::open(&path).with_context(|| format!("cannot read layer {}", path.display()))?;
        Ok(tar::Archive::new(GzDecoder::new(file)))
    }

    fn descriptor(&self) -> Result<Descriptor> {
        let path = self.layout.join("index.json");
        let index: ImageIndex = serde_json::from_slice(&read(&path)?)?;
        let tag_of = |d: &Descriptor| d.annotations().as_ref().and_then(|a| a.get(REF_NAME)).cloned();
        let found = index.manifests().iter().find(|d| tag_of(d).as_deref() == Some(self.tag.as_str()));
        found.cloned().with_context(|| format!("{} has no image tagged {:?}", path.display(), self.tag))
    }

    fn document<T: serde::de::DeserializeOwned>(&self, descriptor: &Descriptor) -> Result<T> {
        let path = self.blob_path(&hex_digest(descriptor)?);
        serde_json::from_slice(&read(&path)?).with_context(|| format!("{} is malformed", path.display()))
    }
}

/// What a layer says about one path.
enum Found {
    File(Vec<u8>),
    Removed,
    Nothing,
}

/// Whether the layer entry `name` is a whiteout of `path` or of one of its parents, or makes a parent opaque
/// (OCI image specification, layer, "Opaque Whiteout").
fn removes(name: &str, path: &str) -> bool {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    if file == ".wh..wh..opq" {
        return path.starts_with(&format!("{folder}/"));
    }
    let Some(hidden) = file.strip_prefix(".wh.") else { return false };
    let target = if folder.is_empty() { hidden.to_owned() } else { format!("{folder}/{hidden}") };
    path == target || path.starts_with(&format!("{target}/"))
}

/// The version in `usr/lib/modules/<version>/vmlinuz`.
pub(super) fn kernel_version_in(path: &str) -> Option<&str> {
    let version = path.strip_prefix("usr/lib/modules/")?.strip_suffix("/vmlinuz")?;
    (!version.is_empty() && !version.contains('/')).then_some(version)
}

fn hex_digest(descriptor: &Descriptor) -> Result<String> {
    let digest = descriptor.digest();
    descriptor
        .as_digest_sha256()
        .map(str::to_owned)
        .with_context(|| format!("{digest} is not a sha256 digest"))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{BlobStore, Entry, OciLayoutWriter},
        *,
    };

    fn image(folder: &Path) -> OciImage {
        let store = BlobStore::open(folder.join("blobs")).unwrap();
        let writer = OciLayoutWriter::new(&store).label("containers.bootc", "1");
        let base = vec![
            Entry::file("usr/lib/modules/6.1/vmlinuz", "kernel", 0o644),
            Entry::file("etc/a", "1", 0o644),
            Entry::file("etc/d/b", "1", 0o644),
        ];
        let top = vec![Entry::file("etc/a", "2", 0o644), Entry::whiteout("etc/d")];
        let writer = writer.entries(base).unwrap().entries(top).unwrap();
        writer.finish(&folder.join("layout"), "v1").unwrap()
    }

    #[test]
    fn a_written_layout_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let image = image(folder.path());
        assert_eq!(image.layers().unwrap().len(), 2);
        assert_eq!(image.labels().unwrap().get("containers.bootc").map(String::as_str), Some("1"));
        assert_eq!(image.kernel_version().unwrap(), "6.1");
        assert_eq!(image.architecture().unwrap(), super::super::writer::oci_architecture());
    }

    #[test]
    fn the_upper_layer_wins_and_a_removed_folder_takes_its_files_along() {
        let folder = tempfile::tempdir().unwrap();
        let image = image(folder.path());
        assert_eq!(image.read_file("/etc/a").unwrap().as_deref(), Some(b"2".as_slice()));
        assert_eq!(image.read_file("/etc/d/b").unwrap(), None);
        assert_eq!(image.read_file("/etc/none").unwrap(), None);
    }

    #[test]
    fn the_same_layers_give_the_same_manifest() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_eq!(
            image(one.path()).manifest_digest().unwrap(),
            image(two.path()).manifest_digest().unwrap()
        );
    }

    #[test]
    fn an_unknown_tag_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let wrong = OciImage::new(image(folder.path()).layout(), "v9");
        assert!(wrong.manifest_digest().unwrap_err().to_string().contains("v9"));
    }

    #[test]
    fn an_image_without_a_kernel_says_where_one_belongs() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path().join("blobs")).unwrap();
        let writer = OciLayoutWriter::new(&store).entries(vec![Entry::file("a", "1", 0o644)]).unwrap();
        let image = writer.finish(&folder.path().join("layout"), "x").unwrap();
        assert!(image.kernel_version().unwrap_err().to_string().contains("/usr/lib/modules"));
    }

    #[test]
    fn only_a_direct_child_of_modules_is_a_kernel_version() {
        assert_eq!(kernel_version_in("usr/lib/modules/6.1/vmlinuz"), Some("6.1"));
        assert_eq!(kernel_version_in("usr/lib/modules/6.1/build/vmlinuz"), None);
        assert_eq!(kernel_version_in("usr/lib/modules//vmlinuz"), None);
    }
}
