//! How many points of a verb a sweep tries.

/// How many points of a verb a sweep tries: each of its changes to the disk is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Points {
    /// Each.
    All,
    /// So many, spread evenly, the first and the last among them. At least one.
    Few(u64),
}

impl Points {
    /// Points out of `0..count`, in ascending order.
    pub fn of(self, count: u64) -> Vec<u64> {
        match self {
            Self::Few(few) if few < count => spread(few.max(1), count),
            _ => (0..count).collect(),
        }
    }

    /// The same, moved on by `turn`: combinations that take turns try other points each.
    pub fn of_turn(self, count: u64, turn: u64) -> Vec<u64> {
        match self {
            Self::Few(few) if few < count => {
                let few = few.max(1);
                let shift = turn % (count / few);
                (0..few).map(|step| step * count / few + shift).collect()
            }
            _ => (0..count).collect(),
        }
    }

    /// Fewer, where each takes longer, or there are more kinds of them: that part of them, rounded up.
    #[must_use]
    pub fn part(self, part: u64) -> Self {
        match self {
            Self::All => Self::All,
            Self::Few(few) => Self::Few(few.div_ceil(part.max(1))),
        }
    }

    /// Not more than `few`: for what would otherwise be tried for each pair of points.
    #[must_use]
    pub fn at_most(self, few: u64) -> Self {
        match self {
            Self::All => Self::Few(few),
            Self::Few(own) => Self::Few(own.min(few)),
        }
    }

    /// Points out of `0..count` that lie between those of the other kinds: kind `kind` of `kinds`, counted from 0.
    pub fn of_kind(self, count: u64, kind: u64, kinds: u64) -> Vec<u64> {
        let Self::Few(few) = self else { return self.of(count) };
        if few >= count {
            return self.of(count);
        }
        (0..few).map(|step| ((step * kinds + kind) * count / (few * kinds)).min(count - 1)).collect()
    }
}

fn spread(few: u64, count: u64) -> Vec<u64> {
    if few == 1 {
        return vec![count / 2];
    }
    (0..few).map(|step| step * (count - 1) / (few - 1)).collect()
}

/// A number that looks random and is the same for the same text (FNV-1a, 64 bits).
pub(in crate::suite) fn fnv1a(text: &str) -> u64 {
    let hash = |state: u64, byte: u8| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, hash)
}

impl std::str::FromStr for Points {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(few) if few > 0 => Ok(Self::Few(few)),
            _ if text == "all" => Ok(Self::All),
            _ => Err("write a number of points, or all".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_points_are_spread_from_the_first_to_the_last() {
        assert_eq!(Points::Few(3).of(9), [0, 4, 8]);
        assert_eq!(Points::Few(1).of(9), [4]);
        assert_eq!(Points::Few(9).of(3), [0, 1, 2]);
        assert_eq!(Points::All.of(4), [0, 1, 2, 3]);
        assert!(Points::Few(3).of(0).is_empty());
    }

    #[test]
    fn turns_take_other_points_each_until_every_point_had_its_turn() {
        assert_eq!(Points::Few(2).of_turn(9, 0), [0, 4]);
        assert_eq!(Points::Few(2).of_turn(9, 3), [3, 7]);
        assert_eq!(Points::Few(2).of_turn(9, 4), [0, 4]);
        let all: std::collections::BTreeSet<_> =
            (0..5).flat_map(|turn| Points::Few(2).of_turn(10, turn)).collect();
        assert_eq!(all, (0..10).collect());
        assert_eq!((Points::Few(4).of_turn(3, 7), Points::All.of_turn(2, 7)), (vec![0, 1, 2], vec![0, 1]));
        assert!(Points::Few(3).of_turn(0, 1).is_empty());
    }

    #[test]
    fn each_kind_has_points_of_its_own() {
        let all: Vec<_> = (0..3).flat_map(|kind| Points::Few(2).of_kind(60, kind, 3)).collect();
        assert_eq!(all, [0, 30, 10, 40, 20, 50]);
        assert_eq!(Points::All.of_kind(3, 1, 3), [0, 1, 2]);
    }

    #[test]
    fn a_number_of_points_is_positive_or_all() {
        assert_eq!("7".parse(), Ok(Points::Few(7)));
        assert_eq!("all".parse(), Ok(Points::All));
        assert!("0".parse::<Points>().is_err() && "many".parse::<Points>().is_err());
    }
}
