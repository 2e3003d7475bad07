//! The order of boot menus: a total order whatever names and versions are, or sorting entries of a foreign disk would panic.
#![no_main]

use std::cmp::Ordering;

use bootwright_core::bls::{Entry, EntryName, MenuItem, compare_versions};
use bootwright_fuzz::{pieces, text};
use libfuzzer_sys::fuzz_target;

/// Comparing all with all takes the cube of this.
const MOST: usize = 7;

fuzz_target!(|input: &[u8]| {
    let texts: Vec<String> = pieces(input).map(text).take(MOST).collect();
    total(&texts, |a, b| compare_versions(a, b));
    let mut menu: Vec<MenuItem> = texts.iter().filter_map(|text| item(text)).collect();
    total(&menu, MenuItem::compare);
    menu.sort_by(MenuItem::compare);
    let (expected, mut reversed) = (menu.clone(), menu);
    reversed.reverse();
    reversed.sort_by(MenuItem::compare);
    for (one, other) in expected.iter().zip(&reversed) {
        assert_eq!(MenuItem::compare(one, other), Ordering::Equal);
    }
});

/// A file name in the first line, the entry below it.
fn item(text: &str) -> Option<MenuItem> {
    let (name, entry) = text.split_once('\n').unwrap_or((text, ""));
    Some(MenuItem { name: EntryName::parse(&format!("{name}.conf"))?, entry: Entry::parse(entry.as_bytes()) })
}

fn total<T: std::fmt::Debug>(items: &[T], compare: impl Fn(&T, &T) -> Ordering) {
    for a in items {
        for b in items {
            let order = compare(a, b);
            assert_eq!(order, compare(b, a).reverse(), "{a:?} and {b:?}");
            for c in items.iter().filter(|c| compare(b, c) == order) {
                assert_eq!(compare(a, c), order, "{a:?}, {b:?}, {c:?}");
            }
        }
    }
}
