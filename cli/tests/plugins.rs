//! Pins the set of plugins for each selection of cargo features: a plugin that the linker dropped is missing here.
//!
//! The expectation follows the features that this very build has, so one test serves every selection; the checks run it for several.

#![expect(clippy::disallowed_methods, reason = "tests make and break files, and start programs, on purpose")]

use std::process::Command;

/// Features that bring a storage backend, and those that bring a bootloader: each plugin is named after its feature.
const BACKENDS: [(&str, bool); 2] =
    [("composefs", cfg!(feature = "composefs")), ("ostree", cfg!(feature = "ostree"))];
const BOOTLOADERS: [(&str, bool); 3] = [
    ("grub2", cfg!(feature = "grub2")),
    ("systemd-boot", cfg!(feature = "systemd-boot")),
    ("uki", cfg!(feature = "uki")),
];

fn program(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_bootwright")).args(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn expected(features: &[(&'static str, bool)]) -> Vec<&'static str> {
    features.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect()
}

fn names(listing: &serde_json::Value, kind: &str) -> Vec<String> {
    let rows = listing[kind].as_array().unwrap();
    rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

/// spec: BW-802
#[test]
fn the_program_has_exactly_the_plugins_of_its_features() {
    let listing: serde_json::Value = serde_json::from_str(&program(&["plugins", "--json"])).unwrap();
    assert_eq!(names(&listing, "backends"), expected(&BACKENDS));
    assert_eq!(names(&listing, "bootloaders"), expected(&BOOTLOADERS));
}

#[test]
fn every_plugin_says_what_it_is_and_can() {
    let listing: serde_json::Value = serde_json::from_str(&program(&["plugins", "--json"])).unwrap();
    let rows = ["backends", "bootloaders"].map(|kind| listing[kind].as_array().unwrap().clone());
    for row in rows.iter().flatten() {
        assert!(!row["summary"].as_str().unwrap().is_empty(), "{row}");
        assert!(!row["capabilities"].as_array().unwrap().is_empty(), "{row}");
    }
}

#[test]
fn the_table_names_what_the_json_names() {
    let table = program(&["plugins"]);
    for name in expected(&BACKENDS).into_iter().chain(expected(&BOOTLOADERS)) {
        assert!(table.contains(name), "{name} is not in\n{table}");
    }
}
