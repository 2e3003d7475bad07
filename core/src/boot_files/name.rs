//! Deployment ids in file names on FAT, which knows no difference between `A` and `a`.

use crate::model::DeploymentId;

/// Writes an id in lower case: `_` becomes `__`, and a capital letter becomes `_` with the small letter.
///
/// Two ids never give the same text, not even to a file system that ignores case; and systemd-boot 257 finds one-shot entries with
/// a boot counter only if their names are in lower case (`boot_entry_parse_tries` in its src/boot/boot.c).
pub fn encode_id(id: &DeploymentId) -> String {
    let mut out = String::with_capacity(id.as_str().len());
    for c in id.as_str().chars() {
        if c == '_' || c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Reads what [`encode_id`] wrote; `None` for any other text.
pub fn decode_id(text: &str) -> Option<DeploymentId> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '_' => out.push(match chars.next()? {
                '_' => '_',
                letter if letter.is_ascii_lowercase() => letter.to_ascii_uppercase(),
                _ => return None,
            }),
            c if c.is_ascii_uppercase() => return None,
            c => out.push(c),
        }
    }
    DeploymentId::new(out).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_that_differ_in_case_only_get_different_names() {
        let encoded = |id| encode_id(&DeploymentId::new(id).unwrap());
        assert_eq!(encoded("aB_c"), "a_b__c");
        assert_ne!(encoded("a_b"), encoded("aB"));
    }

    #[test]
    fn text_that_was_not_encoded_here_is_refused() {
        for bad in ["", "A", "a_", "a_1", "../a", "a+b", ".a"] {
            assert_eq!(decode_id(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_id_reads_back(id in "[A-Za-z0-9_-][A-Za-z0-9._-]{0,60}") {
            let id = DeploymentId::new(id).unwrap();
            let encoded = encode_id(&id);
            prop_assert_eq!(&encoded, &encoded.to_ascii_lowercase());
            prop_assert_eq!(decode_id(&encoded), Some(id));
        }

        #[test]
        fn any_text_decodes_without_panic_and_only_to_what_encodes_to_it(text in ".{0,30}") {
            if let Some(id) = decode_id(&text) {
                prop_assert_eq!(encode_id(&id), text);
            }
        }
    }
}
