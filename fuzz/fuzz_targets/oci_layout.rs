//! The documents of an image: index, lists, manifest, configuration, in a layout in memory.
//!
//! The pieces of the input become blobs, the first one `index.json`. Every document is checked against its digest, so `@1` … `@9`
//! stand for the digest of another piece (and `#1` for its length): otherwise nothing would get beyond the first document.
#![no_main]

use std::collections::BTreeMap;

use bootwright_core::{
    model::{Digest, Transport},
    transport::fuzzing::inspect_files,
};
use bootwright_fuzz::{pieces, text, within};
use libfuzzer_sys::fuzz_target;

const MOST: usize = 9;

fuzz_target!(|input: &[u8]| {
    let files = layout(input);
    let reference = "oci:/layout".parse().expect("a good reference");
    for tag in [None, Some("a")] {
        let limit = (256 << 10) + input.len() * 1024;
        let Ok(image) = within(limit, || inspect_files(&files, tag, &reference, "amd64")) else { continue };
        assert_eq!((image.architecture.as_str(), image.reference.transport()), ("amd64", Transport::Oci));
        let manifest = &files[&format!("blobs/{}", image.manifest_digest.as_str().replacen(':', "/", 1))];
        assert_eq!(image.manifest_digest, Digest::of(manifest));
        assert!(image.layers.len() <= manifest.len());
    }
});

/// Later pieces first: a document can name those behind it.
fn layout(input: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let documents: Vec<String> = pieces(input).take(MOST).map(text).collect();
    let mut files =
        BTreeMap::from([("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())]);
    let mut known: Vec<(usize, Digest, usize)> = Vec::new();
    for (number, document) in documents.iter().enumerate().rev() {
        let mut document = document.clone();
        for (other, digest, length) in &known {
            document = document.replace(&format!("@{other}"), digest.as_str());
            document = document.replace(&format!("#{other}"), &length.to_string());
        }
        let digest = Digest::of(document.as_bytes());
        known.push((number, digest.clone(), document.len()));
        let name =
            if number == 0 { "index.json".to_owned() } else { format!("blobs/sha256/{}", digest.hex()) };
        files.insert(name, document.into_bytes());
    }
    files
}
