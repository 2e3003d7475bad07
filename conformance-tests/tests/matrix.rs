//! `matrix.toml`, the registered plugins and the suite agree.

use std::collections::BTreeSet;

use bootwright as _;
use bootwright_conformance::{
    runner::{Matrix, Options, Plan, built_in},
    suite::{Case, Cell, Demand, Firmware, Property, all_cases, loops},
};
use bootwright_core::{capability::Capability, registry};
use clap::Parser as _;

fn matrix() -> Matrix {
    Matrix::of_this_project().unwrap()
}

/// spec: BW-802
#[test]
fn the_matrix_has_every_registered_pair_and_no_other() {
    let registered: BTreeSet<_> = loops::cells().into_iter().collect();
    let pinned: BTreeSet<_> =
        matrix().all().into_iter().filter(|cell| cell.firmware == Firmware::Uefi).collect();
    assert_eq!(pinned, registered, "matrix.toml on the left, the registry on the right");
}

/// Every backend with every bootloader, kernel format and firmware.
fn combinations() -> Vec<Cell> {
    let on_uefi = loops::cells().into_iter();
    on_uefi.flat_map(|cell| [cell.clone(), Cell { firmware: Firmware::Bios, ..cell }]).collect()
}

/// Combinations of which a matrix does not say exactly one: that they have to work, or why they cannot.
fn undecided(matrix: &Matrix) -> Vec<String> {
    let pinned = matrix.all();
    let is_decided = |cell: &Cell| pinned.contains(cell) != matrix.reason_against(cell).is_some();
    combinations().iter().filter(|cell| !is_decided(cell)).map(ToString::to_string).collect()
}

#[test]
fn a_cell_that_is_left_out_is_impossible_for_a_reason() {
    assert_eq!(undecided(&matrix()), Vec::<String>::new());
}

#[test]
fn no_cell_can_be_deleted_without_a_reason() {
    let whole = matrix();
    for place in 0..whole.cells.len() {
        let mut matrix = whole.clone();
        let cell = matrix.cells.remove(place).cell().unwrap();
        assert_eq!(undecided(&matrix), [cell.to_string()]);
    }
}

#[test]
fn the_plan_has_every_case_on_every_cell_of_the_matrix() {
    let options = Options::try_parse_from(["suite", "--tier", "loop"]).unwrap();
    let plan = Plan::make(&options, &built_in(), Some(&matrix())).unwrap();
    let planned: BTreeSet<_> = plan
        .units
        .iter()
        .flat_map(|unit| unit.cases.iter().map(|case| (unit.cell.clone(), case.name)))
        .collect();
    for cell in matrix().all() {
        for case in all_cases() {
            assert!(planned.contains(&(cell.clone(), case.name)), "{cell} lacks {}", case.name);
        }
    }
}

/// spec: BW-006
#[test]
fn every_capability_has_a_case_that_shows_its_lack() {
    let cases = all_cases();
    let shown = |demand: Demand| cases.iter().any(|case| case.demands.contains(&demand));
    for plugin in registry::backends() {
        for capability in plugin.capabilities.list() {
            assert!(shown(Demand::BackendWithout(capability.name)), "{}", capability.name);
        }
    }
    for plugin in registry::bootloaders() {
        for capability in plugin.capabilities.list() {
            assert!(shown(Demand::LoaderWithout(capability.name)), "{}", capability.name);
        }
    }
}

/// What a plugin declares, as it is written down: a field that nobody lists would be a capability without a case.
#[test]
fn every_field_of_the_capabilities_is_one_that_cases_can_name() {
    let fields = |declared: serde_json::Value| {
        let names = declared.as_object().unwrap().keys().map(|name| name.replace('-', "_"));
        names.collect::<BTreeSet<_>>()
    };
    let names = |list: Vec<Capability>| list.iter().map(|one| one.name.to_owned()).collect::<BTreeSet<_>>();
    for plugin in registry::backends() {
        let mut listed = names(plugin.capabilities.list());
        // Not a thing that is there or lacks, but a choice: that others are refused is shown by tests of installs (BW-704).
        listed.insert("root_filesystems".to_owned());
        assert_eq!(fields(serde_json::to_value(plugin.capabilities).unwrap()), listed);
    }
    for plugin in registry::bootloaders() {
        let declared = serde_json::to_value(plugin.capabilities).unwrap();
        assert_eq!(fields(declared), names(plugin.capabilities.list()));
    }
}

/// One cannot: an install that fails leaves a disk to be made anew, and the kernel of an image is known when the image is on it. The same lack
/// is shown by an upgrade.
///
/// spec: BW-006
#[test]
fn every_case_of_a_lack_looks_whether_the_disk_is_as_before() {
    let takes_none = |case: &Case| !case.demands.contains(&Demand::Tier(Property::Fingerprints));
    let lacks = all_cases().into_iter().filter(|case| case.name.starts_with("unsupported::"));
    let names: Vec<_> = lacks.filter(takes_none).map(|case| case.name).collect();
    assert_eq!(names, ["unsupported::arguments_for_a_sealed_uki"]);
}

#[test]
fn the_name_of_a_case_is_unique_and_says_its_topic() {
    let mut seen = BTreeSet::new();
    for case in all_cases() {
        assert!(seen.insert(case.name), "{} is there twice", case.name);
        assert!(case.name.contains("::") && !case.spec.is_empty(), "{case:?}");
    }
}
