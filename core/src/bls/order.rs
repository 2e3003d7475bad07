//! The order of the boot menu; its first entry is what boots.

use std::cmp::Ordering;

use super::{Entry, EntryName, compare_versions};

/// An entry together with its file name: what the order is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MenuItem {
    /// File name with its counter.
    pub name: EntryName,
    /// Content.
    pub entry: Entry,
}

impl MenuItem {
    /// Order of preference, the most preferred being least (UAPI.1, "Sorting"; `boot_entry_compare` in systemd's
    /// src/boot/boot.c): exhausted entries last; then entries with a sort key before those without; then by sort
    /// key, machine id, and version (newest first); then by file name (newest first); then by tries.
    pub fn compare(a: &Self, b: &Self) -> Ordering {
        a.name
            .is_exhausted()
            .cmp(&b.name.is_exhausted())
            .then_with(|| a.entry.sort_key.is_none().cmp(&b.entry.sort_key.is_none()))
            .then_with(|| Self::by_sort_key(a, b))
            .then_with(|| compare_versions(&b.name.id(), &a.name.id()))
            .then_with(|| Self::by_tries(a, b))
    }

    fn by_sort_key(a: &Self, b: &Self) -> Ordering {
        let (Some(key_a), Some(key_b)) = (&a.entry.sort_key, &b.entry.sort_key) else {
            return Ordering::Equal;
        };
        let version = |item: &Self| item.entry.version.clone().unwrap_or_default();
        key_a
            .encode_utf16()
            .cmp(key_b.encode_utf16())
            .then_with(|| a.entry.machine_id.cmp(&b.entry.machine_id))
            .then_with(|| compare_versions(&version(b), &version(a)))
    }

    /// The loader calls a counted and an uncounted entry of one name equal, which is no order: with two counted ones, everything would
    /// be equal to the uncounted one and they not to each other. Here the uncounted one, which has proved itself, comes first.
    fn by_tries(a: &Self, b: &Self) -> Ordering {
        match (a.name.tries, b.name.tries) {
            (Some(a), Some(b)) => b.left.cmp(&a.left).then(a.done.cmp(&b.done)),
            (a, b) => a.is_some().cmp(&b.is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn item(name: &str, text: &str) -> MenuItem {
        MenuItem { name: EntryName::parse(name).unwrap(), entry: Entry::parse(text.as_bytes()) }
    }

    fn sorted(items: &[(&str, &str)]) -> Vec<String> {
        let mut menu: Vec<_> = items.iter().map(|(name, text)| item(name, text)).collect();
        menu.sort_by(MenuItem::compare);
        menu.into_iter().map(|item| item.name.stem).collect()
    }

    /// spec: BW-414
    #[test]
    fn an_exhausted_entry_sorts_last_whatever_its_key() {
        assert_eq!(sorted(&[("a+0-3.conf", "sort-key 0"), ("b.conf", "title none")]), ["b", "a"]);
    }

    #[test]
    fn a_counter_that_is_not_used_up_gives_no_bonus_and_no_malus() {
        assert_eq!(sorted(&[("a+3.conf", "sort-key b"), ("b.conf", "sort-key a")]), ["b", "a"]);
    }

    #[test]
    fn entries_with_a_sort_key_come_before_those_without() {
        assert_eq!(sorted(&[("z.conf", "version 9"), ("a.conf", "sort-key zz")]), ["a", "z"]);
    }

    #[test]
    fn equal_keys_sort_by_machine_then_by_version_newest_first() {
        let entries = [
            ("c.conf", "sort-key k\nmachine-id 2\nversion 9"),
            ("b.conf", "sort-key k\nmachine-id 1\nversion 1.9"),
            ("a.conf", "sort-key k\nmachine-id 1\nversion 1.10"),
        ];
        assert_eq!(sorted(&entries), ["a", "b", "c"]);
    }

    #[test]
    fn without_keys_the_newest_file_name_comes_first_and_versions_do_not_matter() {
        assert_eq!(sorted(&[("os-9.conf", "version 3"), ("os-10.conf", "version 2")]), ["os-10", "os-9"]);
    }

    /// Found while its fuzz target was written. The sort of the standard library may panic where an order is none, and files on an ESP are anybody's.
    #[test]
    fn counted_and_uncounted_entries_of_one_name_have_an_order() {
        let menu = ["a+3.conf", "a.conf", "a+2-1.conf"].map(|name| item(name, "sort-key k"));
        for (first, second) in [(1, 0), (1, 2), (0, 2)] {
            assert_eq!(MenuItem::compare(&menu[first], &menu[second]), Ordering::Less);
        }
    }

    proptest! {
        #[test]
        fn the_order_is_total(
            mut items in proptest::collection::vec(("[ab]{1,2}(\\+[01](-[01])?)?", "(sort-key [ab]\n)?(version [12]\n)?"), 3)
        ) {
            let parse = |(name, text): &(String, String)| item(&format!("{name}.conf"), text);
            items.sort_by(|a, b| MenuItem::compare(&parse(a), &parse(b)));
            let (first, last) = (parse(&items[0]), parse(&items[2]));
            prop_assert_ne!(MenuItem::compare(&first, &last), Ordering::Greater);
            prop_assert_eq!(MenuItem::compare(&first, &last), MenuItem::compare(&last, &first).reverse());
        }
    }
}
