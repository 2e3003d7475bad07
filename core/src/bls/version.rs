//! Version comparison (UAPI.10).

use std::cmp::Ordering;

/// Compares two version strings; the newer one is greater (UAPI.10, "Version Format Specification").
///
/// Any bytes are accepted: characters that the specification does not know separate segments.
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        a = skip_unknown(a);
        b = skip_unknown(b);
        if let Some(decided) = separator(&mut a, &mut b, b'~', Ordering::Less) {
            return decided;
        }
        // Except behind '~', more segments are newer: so this comes second.
        if a.is_empty() || b.is_empty() {
            return b.is_empty().cmp(&a.is_empty());
        }
        for mark in [b'-', b'^', b'.'] {
            if let Some(decided) = separator(&mut a, &mut b, mark, Ordering::Less) {
                return decided;
            }
        }
        match segment(&mut a, &mut b) {
            Ordering::Equal => {}
            decided => return decided,
        }
    }
}

/// Handles one separator: the side that has it where the other does not is `with`; if both have it, both step over it.
fn separator(a: &mut &[u8], b: &mut &[u8], mark: u8, with: Ordering) -> Option<Ordering> {
    match (a.strip_prefix(&[mark]), b.strip_prefix(&[mark])) {
        (Some(rest_a), Some(rest_b)) => {
            (*a, *b) = (rest_a, rest_b);
            None
        }
        (Some(_), None) => Some(with),
        (None, Some(_)) => Some(with.reverse()),
        (None, None) => None,
    }
}

fn segment(a: &mut &[u8], b: &mut &[u8]) -> Ordering {
    let first_is_digit = |s: &[u8]| s.first().is_some_and(u8::is_ascii_digit);
    if first_is_digit(a) || first_is_digit(b) {
        let (x, y) = (take(a, u8::is_ascii_digit), take(b, u8::is_ascii_digit));
        return (!x.is_empty()).cmp(&!y.is_empty()).then_with(|| {
            let (x, y) = (without_zeros(x), without_zeros(y));
            x.len().cmp(&y.len()).then_with(|| x.cmp(y))
        });
    }
    take(a, u8::is_ascii_alphabetic).cmp(take(b, u8::is_ascii_alphabetic))
}

fn take<'a>(text: &mut &'a [u8], belongs: fn(&u8) -> bool) -> &'a [u8] {
    let end = text.iter().position(|byte| !belongs(byte)).unwrap_or(text.len());
    let (head, rest) = text.split_at(end);
    *text = rest;
    head
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    let start = digits.iter().position(|&d| d != b'0').unwrap_or(digits.len());
    digits.get(start..).unwrap_or_default()
}

fn skip_unknown(text: &[u8]) -> &[u8] {
    let known = |byte: &u8| byte.is_ascii_alphanumeric() || b"~-^.".contains(byte);
    let start = text.iter().position(known).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_sort_as_the_specification_lists_them() {
        let ascending = [
            "122.1",
            "123~rc1-1",
            "123",
            "123-a",
            "123-a.1",
            "123-1",
            "123-1.1",
            "123^post1",
            "123.a-1",
            "123.1-1",
            "123a-1",
            "124-1",
        ];
        for pair in ascending.windows(2) {
            assert_eq!(compare_versions(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
    }

    #[test]
    fn versions_that_differ_only_in_leading_zeros_or_unknown_characters_are_equal() {
        for (a, b) in [("1.02", "1.2"), ("123_a", "123a"), ("", "ü"), ("6.12+deb13", "6.12deb13")] {
            assert_eq!(compare_versions(a, b), Ordering::Equal, "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn the_comparison_is_antisymmetric_for_any_text(a in ".{0,20}", b in "[-0-9a-b~^.]{0,12}") {
            prop_assert_eq!(compare_versions(&a, &b), compare_versions(&b, &a).reverse());
            prop_assert_eq!(compare_versions(&a, &a), Ordering::Equal);
        }

        #[test]
        fn the_comparison_is_transitive(mut v in proptest::collection::vec("[-0-2a-b~^.]{0,6}", 3)) {
            v.sort_by(|a, b| compare_versions(a, b));
            prop_assert_ne!(compare_versions(&v[0], &v[2]), Ordering::Greater);
        }
    }
}
