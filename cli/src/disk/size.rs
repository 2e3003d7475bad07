//! Sizes as people write and read them.

use std::{fmt, str::FromStr};

use bootwright_core::{Error, Result};

/// One mebibyte, in bytes.
pub const MIB: u64 = 1 << 20;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// So many mebibytes.
    pub const fn mib(count: u64) -> Self {
        Self(count * MIB)
    }
}

/// Suffixes in any case, with or without `iB` behind them. Always powers of 1024: partitions are.
const UNITS: [(&str, u64); 5] = [("", 1), ("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40)];

impl FromStr for ByteSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::invalid(format!("{text:?} is not a size")).with_hint("for example 512M, 20G or 1073741824")
        };
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit = unit.to_ascii_uppercase();
        let unit = unit.strip_suffix("IB").unwrap_or(&unit);
        let factor = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        number.checked_mul(factor).filter(|bytes| *bytes > 0).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for ByteSize {
    /// Three digits at most, in the largest unit that keeps a digit before the point.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((unit, factor)) = UNITS.iter().rev().find(|(_, factor)| self.0 >= *factor) else {
            return write!(f, "0 B");
        };
        if *factor == 1 {
            return write!(f, "{} B", self.0);
        }
        let tenths = u128::from(self.0) * 10 / u128::from(*factor);
        if tenths >= 100 {
            write!(f, "{} {unit}iB", tenths / 10)
        } else {
            write!(f, "{}.{} {unit}iB", tenths / 10, tenths % 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024_in_every_spelling() {
        for text in ["512M", "512m", "512MiB", "536870912"] {
            assert_eq!(text.parse::<ByteSize>().unwrap(), ByteSize::mib(512), "{text}");
        }
    }

    #[test]
    fn nonsense_and_overflow_are_refused() {
        for bad in ["", "M", "0", "5X", "-1G", "99999999999T", "1.5G"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn printed_sizes_are_short() {
        let shown: Vec<_> =
            [0, 5, 1536, MIB * 512, 3 << 40].into_iter().map(|n| ByteSize(n).to_string()).collect();
        assert_eq!(shown, ["0 B", "5 B", "1.5 KiB", "512 MiB", "3.0 TiB"]);
    }
}
