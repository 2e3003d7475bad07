//! `oci:`: an OCI image layout, in a folder or anywhere else where files have names.

use std::{fmt::Debug, io::Read, path::Path};

use serde::Deserialize;

use super::{
    document::{Descriptor, Index, LIMIT},
    source::{self, Documents, Expected},
};
use crate::{
    error::{Error, ErrorKind, IoContext, Result},
    fs::{Faults, Root},
    model::{Digest, ImageReference, ImageSummary},
    tree::Reader,
};

/// Tags that an error lists at most.
const TAGS_SHOWN: usize = 10;

pub(super) fn inspect(reference: &ImageReference, architecture: &str) -> Result<ImageSummary> {
    let (path, tag) = reference.path_and_tag();
    let root = open_folder(path)?;
    let layout = Layout { files: &root, label: path, tag };
    source::inspect(&layout, reference, architecture)
}

fn open_folder(path: &str) -> Result<Root> {
    if Path::new(path).is_file() {
        return Err(Error::invalid(format!("{path} is a file, not the folder of an image layout"))
            .with_hint(format!("for a tar file, write oci-archive:{path}")));
    }
    Root::open(path, Faults::none()).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::not_found(format!("there is no folder {path}")),
        _ => error,
    })
}

/// The files of a layout by name, with `/` between folders.
pub(super) trait Files: Debug {
    /// Opens a file, or `None` if there is none.
    fn open(&self, name: &str) -> Result<Option<Reader>>;
}

impl Files for Root {
    fn open(&self, name: &str) -> Result<Option<Reader>> {
        Ok(self.open_file(name)?.map(|file| Box::new(file) as Reader))
    }
}

/// A layout and the tag that is looked for in it.
#[derive(Debug)]
pub(super) struct Layout<'a> {
    pub(super) files: &'a dyn Files,
    pub(super) label: &'a str,
    pub(super) tag: Option<&'a str>,
}

impl Layout<'_> {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(reader) = self.files.open(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = reader.take(LIMIT + 1).read_to_end(&mut bytes);
        read.context_io(|| format!("read {name} of {}", self.label))?;
        if bytes.len() as u64 > LIMIT {
            return Err(Error::invalid(format!(
                "{name} of {} is larger than {} MiB",
                self.label,
                LIMIT >> 20
            )));
        }
        Ok(Some(bytes))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let digest = &descriptor.digest;
        if descriptor.size > LIMIT {
            return Err(Error::invalid(format!("a document of {} bytes is too large", descriptor.size))
                .with_context("digest", digest));
        }
        let name = format!("blobs/{}", digest.as_str().replacen(':', "/", 1));
        self.read(&name)?.ok_or_else(|| {
            Error::integrity(format!("{} names {name} and does not have it", self.label))
                .with_hint("copy the image again: the copy is incomplete")
        })
    }

    /// The image specification demands the file `oci-layout`, "to determine the base of a layout".
    fn check_version(&self) -> Result<()> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Marker {
            image_layout_version: String,
        }
        let no_layout =
            |why: &str| Error::invalid(format!("{} is not an OCI image layout: {why}", self.label));
        let bytes = self.read("oci-layout")?.ok_or_else(|| {
            no_layout("it has no file oci-layout").with_hint("make one with `skopeo copy … oci:/path:tag`")
        })?;
        let marker: Marker = serde_json::from_slice(&bytes)
            .map_err(|error| no_layout("its file oci-layout is malformed").with_source(error))?;
        match marker.image_layout_version.split_once('.') {
            Some(("1", _)) => Ok(()),
            _ => Err(Error::unsupported(format!(
                "{} is an OCI image layout of version {:?}; version 1 is read",
                self.label, marker.image_layout_version
            ))),
        }
    }

    /// The entry that the tag names, or the only one.
    fn select<'i>(&self, index: &'i Index, architecture: &str) -> Result<&'i Descriptor> {
        let tagged = |entry: &&Descriptor| self.tag.is_none() || entry.tag() == self.tag;
        let mut found: Vec<&Descriptor> = index.manifests.iter().filter(tagged).collect();
        found.dedup_by(|a, b| a.digest == b.digest && a.tag() == b.tag());
        match found.as_slice() {
            [] => Err(self.no_such_tag(index)),
            [only] => Ok(only),
            // Several images under one name: one for each architecture.
            many if many.iter().all(|entry| entry.tag() == many.first().and_then(|first| first.tag())) => {
                let same_name = Index { manifests: many.iter().map(|entry| (*entry).clone()).collect() };
                let chosen = same_name.for_architecture(architecture)?.digest.clone();
                found.into_iter().find(|entry| entry.digest == chosen).ok_or_else(|| self.no_such_tag(index))
            }
            many => Err(Error::invalid(format!("{} holds {} images", self.label, many.len()))
                .with_hint(format!("add a tag to the reference: {}", tags(index)))),
        }
    }

    fn no_such_tag(&self, index: &Index) -> Error {
        let Some(tag) = self.tag else {
            return Error::not_found(format!("{} holds no image", self.label));
        };
        let error = Error::not_found(format!("{} has no image with the tag {tag:?}", self.label));
        let tags = tags(index);
        error.with_hint(if tags.is_empty() {
            "its images have no tags: leave the tag out".to_owned()
        } else {
            format!("it has {tags}")
        })
    }
}

fn tags(index: &Index) -> String {
    let tags: Vec<&str> = index.manifests.iter().filter_map(Descriptor::tag).collect();
    let shown = tags.iter().take(TAGS_SHOWN).copied().collect::<Vec<_>>().join(", ");
    if tags.len() > TAGS_SHOWN { format!("{shown}, … ({} in all)", tags.len()) } else { shown }
}

impl Documents for Layout<'_> {
    fn top(&self, architecture: &str) -> Result<(Vec<u8>, Option<Expected>)> {
        self.check_version()?;
        let name = format!("index.json of {}", self.label);
        let bytes = self.read("index.json")?.ok_or_else(|| Error::invalid(format!("there is no {name}")))?;
        let index = Index::parse(&bytes, &name)?;
        let entry = self.select(&index, architecture)?;
        Ok((self.blob(entry)?, Some(entry.into())))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.blob(descriptor)
    }

    fn config(&self, _: &Digest, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.blob(descriptor)
    }
}
