//! Commands that are killed at any moment, and run again.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    support::TinyImage,
    system::{Pair, System},
};

/// Moments that are tried on each combination, others on each.
const MOMENTS: u32 = 6;

/// Numbers that look random, the same in each run.
struct Random(u64);

impl Random {
    /// Below `limit`.
    fn below(&mut self, limit: Duration) -> Duration {
        // Knuth's MMIX generator.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let share = u32::try_from(self.0 >> 33).unwrap();
        limit * (share >> 15) / (1 << 16)
    }
}

/// One version after the other: upgrade and shutdown, killed at some moment, then run again.
fn survive(pair: Pair, seed: u64) {
    let mut image = TinyImage::for_loader(pair.1);
    let system = System::install(&image, &image.reference(), pair);
    let mut random = Random(seed);
    image = image.replace("first", &[1 << 20]);
    let start = Instant::now();
    system.must(&["upgrade"]);
    let upgrade = start.elapsed();
    system.must(&["internals", "finalize"]);
    let both = start.elapsed();
    let mut killed = 0;
    for moment in 0..MOMENTS {
        image = image.replace(&format!("v{moment}"), &[1 << 20]);
        // One in each part of the time that it takes, so that few moments see all of it.
        let at = both * moment / MOMENTS + random.below(both / MOMENTS);
        let report = format!("{pair:?}, seed {seed}, moment {moment}, after {at:?} of {both:?}");
        if at < upgrade {
            killed += u32::from(system.start(&["upgrade"]).kill_after(at));
        } else {
            system.must(&["upgrade"]);
            killed +=
                u32::from(system.start(&["internals", "finalize"]).kill_after(at.saturating_sub(upgrade)));
        }
        system.assert_released();
        assert!(system.status()["bootwright"]["default"].is_string(), "{report}: nothing boots");
        system.assert_clean();
        system.must(&["upgrade"]);
        system.must(&["internals", "finalize"]);
        let status = system.status();
        assert!(status["staged"].is_null(), "{report}: {status}");
        let newest = format!("Tiny OS v{moment}");
        let title = title_of_default(&status);
        assert_eq!(title, newest, "{report}");
        system.must(&["gc"]);
        system.assert_clean();
    }
    // The first time, from which the moments were reckoned, may have been slower than the others.
    assert!(killed >= MOMENTS / 4, "only {killed} of {MOMENTS} were killed before they ended");
    drop(image);
}

/// The title of the deployment that boots next.
fn title_of_default(status: &Value) -> String {
    let default = status["bootwright"]["default"].clone();
    let all =
        status["otherDeployments"].as_array().unwrap().iter().chain([&status["rollback"], &status["booted"]]);
    let mut all = all.filter(|one| one["bootwright"]["deploymentId"] == default);
    all.next()
        .map(|one| one["bootwright"]["title"].as_str().unwrap_or_default().to_owned())
        .unwrap_or_default()
}

/// spec: BW-005, BW-705, BW-631
#[test]
fn an_upgrade_with_systemd_boot_survives_being_killed_at_any_moment() {
    survive(("composefs", "systemd-boot"), 1);
}

/// spec: BW-005, BW-705, BW-631
#[cfg(feature = "uki")]
#[test]
fn an_upgrade_with_ukis_survives_being_killed_at_any_moment() {
    survive(("composefs", "uki"), 2);
}

/// spec: BW-005, BW-705, BW-631
#[cfg(feature = "grub2")]
#[test]
fn an_upgrade_with_grub_survives_being_killed_at_any_moment() {
    survive(("composefs", "grub2"), 3);
}

/// spec: BW-005, BW-705, BW-631
#[cfg(feature = "ostree")]
#[test]
fn an_upgrade_on_ostree_with_systemd_boot_survives_being_killed_at_any_moment() {
    survive(("ostree", "systemd-boot"), 4);
}

/// spec: BW-005, BW-705, BW-631
#[cfg(all(feature = "ostree", feature = "uki"))]
#[test]
fn an_upgrade_on_ostree_with_ukis_survives_being_killed_at_any_moment() {
    survive(("ostree", "uki"), 5);
}

/// spec: BW-005, BW-705, BW-631
#[cfg(all(feature = "ostree", feature = "grub2"))]
#[test]
fn an_upgrade_on_ostree_with_grub_survives_being_killed_at_any_moment() {
    survive(("ostree", "grub2"), 6);
}
