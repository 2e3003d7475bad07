//! Names that come from file systems, firmware and people: entry files, ids, digests, image references.
#![no_main]

use bootwright_core::{
    bls::EntryName,
    boot_files::{decode_id, encode_id},
    model::{DeploymentId, Digest, EntryId, ImageReference, Stateroot},
};
use bootwright_fuzz::text;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let text = text(input);
    if let Some(name) = EntryName::parse(&text) {
        assert_eq!(EntryName::parse(&name.to_string()), Some(name));
    }
    if let Some(id) = decode_id(&text) {
        assert_eq!(encode_id(&id), text);
    }
    for accepted in [
        DeploymentId::new(text.as_str()).map(String::from),
        EntryId::new(text.as_str()).map(String::from),
        Stateroot::new(text.as_str()).map(String::from),
    ] {
        // They become names of files and folders.
        assert!(accepted.is_err() || is_plain(&text), "{text:?}");
    }
    if let Ok(id) = DeploymentId::new(text.as_str()) {
        assert_eq!(decode_id(&encode_id(&id)), Some(id));
    }
    if let Ok(digest) = Digest::new(text.as_str()) {
        assert!(is_plain(&digest.as_str().replacen(':', "-", 1)) && digest.short().len() == 12);
    }
    if let Ok(reference) = text.parse::<ImageReference>() {
        let printed = reference.to_string();
        assert_eq!(printed.parse().ok().as_ref(), Some(&reference), "{printed}");
        assert!(!reference.name().starts_with('-'), "{printed} would be an option");
        let _ = reference.path_and_tag();
    }
});

fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0', '\\']) && name.len() < 255
}
