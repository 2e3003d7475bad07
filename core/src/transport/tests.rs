//! Tiny images in folders, archives and a registry made on the spot.

mod fixture;
mod layouts;
mod policy;
mod registry;

use proptest::prelude::*;

use super::document::{Document, Index};

proptest! {
    #[test]
    fn any_document_parses_without_panic(text in ".{0,300}") {
        let _ = Document::parse(text.as_bytes());
        let _ = Index::parse(text.as_bytes(), "x");
    }

    #[test]
    fn any_bytes_in_place_of_a_manifest_are_an_error(place in 0..400_usize, byte in any::<u8>()) {
        let fixture = fixture::Layout::with_one_image();
        let path = fixture.blob(fixture.manifest());
        let mut bytes = std::fs::read(&path).unwrap();
        let place = place % bytes.len();
        prop_assume!(bytes[place] != byte);
        bytes[place] = byte;
        std::fs::write(&path, bytes).unwrap();
        let error = super::inspect_blocking(&fixture.reference("v1"), Some("amd64")).unwrap_err();
        prop_assert_eq!(error.kind(), crate::ErrorKind::Integrity);
    }
}
