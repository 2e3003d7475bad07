//! `matrix.toml`, the registered plugins and the suite agree.

use std::collections::BTreeSet;

use bootwright as _;
use bootwright_conformance::{
    runner::{Matrix, Options, Plan, built_in},
    suite::{Cell, Demand, Firmware, all_cases, loops},
    system::KernelFormat,
};
use bootwright_core::registry;
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

#[test]
fn a_cell_that_is_left_out_is_impossible_for_a_reason() {
    let matrix = matrix();
    for loader in registry::bootloaders() {
        for format in [KernelFormat::Split, KernelFormat::Unified] {
            for firmware in [Firmware::Uefi, Firmware::Bios] {
                let is = |cell: &Cell| {
                    (cell.bootloader.as_str(), cell.format, cell.firmware) == (loader.name, format, firmware)
                };
                let impossible = matrix.impossible.iter().any(|one| {
                    let named = [one.bootloader.as_str(), one.format.as_str(), one.firmware.as_str()];
                    named == [loader.name, format.name(), firmware.name()] && !one.reason.is_empty()
                });
                let pinned = matrix.all().iter().any(is);
                assert!(pinned != impossible, "{} {} {}", loader.name, format.name(), firmware.name());
            }
        }
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

#[test]
fn the_name_of_a_case_is_unique_and_says_its_topic() {
    let mut seen = BTreeSet::new();
    for case in all_cases() {
        assert!(seen.insert(case.name), "{} is there twice", case.name);
        assert!(case.name.contains("::") && !case.spec.is_empty(), "{case:?}");
    }
}
