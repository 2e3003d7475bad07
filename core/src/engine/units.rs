//! What an image needs so that a system made of it upgrades itself: units that call the program, and what wants each of them.

use crate::{error::Result, tree::TreeReader};

/// Units, and the targets that have to want them.
pub const UNITS: [(&str, &str); 4] = [
    ("bootwright-try-again.service", "sysinit.target"),
    ("bootwright-finalize.service", "multi-user.target"),
    ("bootwright-confirm.service", "multi-user.target"),
    ("bootwright-unhealthy.service", "emergency.target"),
];

/// Where units are enabled, in an image as it was built and in one that a store has rearranged.
const FOLDERS: [&str; 3] = ["usr/lib/systemd/system", "etc/systemd/system", "usr/etc/systemd/system"];

/// Those that the image does not enable.
///
/// # Errors
/// As reading the tree fails.
pub(super) async fn missing(tree: &dyn TreeReader) -> Result<Vec<&'static str>> {
    let mut missing = Vec::new();
    for (unit, target) in UNITS {
        if !is_enabled(tree, unit, target).await? {
            missing.push(unit);
        }
    }
    Ok(missing)
}

async fn is_enabled(tree: &dyn TreeReader, unit: &str, target: &str) -> Result<bool> {
    for folder in FOLDERS {
        if tree.list(&format!("{folder}/{target}.wants")).await?.iter().any(|name| name == unit) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeTree;

    fn enabled(units: &[(&str, &str, &str)]) -> FakeTree {
        let link = |(folder, unit, target): &(&str, &str, &str)| {
            (format!("{folder}/{target}.wants/{unit}"), String::new())
        };
        FakeTree(units.iter().map(link).collect())
    }

    #[tokio::test]
    async fn units_count_wherever_they_are_enabled_and_only_for_their_own_target() {
        for place in FOLDERS {
            let all: Vec<_> = UNITS.iter().map(|(unit, target)| (place, *unit, *target)).collect();
            assert!(missing(&enabled(&all)).await.unwrap().is_empty(), "{place}");
        }
        let confirm = "bootwright-confirm.service";
        let elsewhere = enabled(&[(FOLDERS[0], confirm, "sysinit.target")]);
        assert!(missing(&elsewhere).await.unwrap().contains(&confirm));
        assert_eq!(missing(&enabled(&[])).await.unwrap().len(), UNITS.len());
    }
}
