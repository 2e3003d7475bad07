//! Names of our entry files, and sort keys.

use bootwright_core::{
    boot_files::{decode_id, encode_id},
    model::DeploymentId,
};

/// The folder of entry files.
pub const ENTRIES: &str = "loader/entries";
const PREFIX: &str = "bootwright-";

/// What the stem of one of our entry files says: `bootwright-<generation>-<deployment>`.
///
/// Unambiguous: the generation is decimal digits up to the first dash behind the prefix, the rest is the encoded deployment id, and
/// that holds no plus sign, so that a counter cannot be mistaken for a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryStem {
    /// The plan that published the file.
    pub generation: u64,
    /// What it boots.
    pub deployment: DeploymentId,
}

impl EntryStem {
    /// The stem as text.
    pub fn print(&self) -> String {
        format!("{PREFIX}{}-{}", self.generation, encode_id(&self.deployment))
    }

    /// Reads a stem; `None` if the file is not one of ours.
    pub fn parse(stem: &str) -> Option<Self> {
        let (digits, id) = stem.strip_prefix(PREFIX)?.split_once('-')?;
        let generation: u64 = digits.parse().ok()?;
        // Only what would be printed again: no sign, no leading zeros.
        (generation.to_string() == digits).then_some(Self { generation, deployment: decode_id(id)? })
    }
}

/// The sort key of the entry that a plan of `generation` puts at `rank` (0 is the default).
///
/// The loader sorts ascending, so the newest generation must give the least text: it is inverted, with all its twenty digits. The `0` in front
/// puts our entries before those of distributions, which begin with the name of the system.
pub fn sort_key(generation: u64, rank: usize) -> String {
    format!("0-bootwright-{:020}-{rank:03}", u64::MAX - generation)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_others_are_not_ours() {
        for stem in [
            "bootwright",
            "bootwright-",
            "bootwright-1",
            "bootwright-1-",
            "bootwright-+1-a",
            "bootwright-01-a",
            "bootwright-x-a",
            "bootwright-1-A",
            "Bootwright-1-a",
            "debian-1-a",
            "bootwright-99999999999999999999-a",
        ] {
            assert_eq!(EntryStem::parse(stem), None, "{stem}");
        }
    }

    proptest! {
        #[test]
        fn every_name_reads_back(generation in any::<u64>(), id in "[A-Za-z0-9_-][A-Za-z0-9._-]{0,40}") {
            let stem = EntryStem { generation, deployment: DeploymentId::new(id).unwrap() };
            prop_assert_eq!(EntryStem::parse(&stem.print()), Some(stem));
        }

        #[test]
        fn newer_generations_and_lower_ranks_sort_first(a in any::<u64>(), b in any::<u64>(), r in 0_usize..999, s in 0_usize..999) {
            let order = (b, r).cmp(&(a, s));
            prop_assert_eq!(sort_key(a, r).cmp(&sort_key(b, s)), order);
        }
    }
}
