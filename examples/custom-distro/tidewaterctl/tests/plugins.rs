//! Which plugins are in the program, and that the suite's matrix has each cell of its own backend.

use std::collections::BTreeSet;

use bootwright_conformance::{runner::Matrix, suite::loops};
use bootwright_core::registry;
use tidewater_backend_squashfs as _;
// The two plugins of ours that the program's features bring.
use bootwright as _;

#[test]
fn the_program_has_two_plugins_of_bootwright_and_one_of_its_own() {
    let backends: Vec<_> = registry::backends().iter().map(|plugin| plugin.name).collect();
    let loaders: Vec<_> = registry::bootloaders().iter().map(|plugin| plugin.name).collect();
    assert_eq!((backends, loaders), (vec!["composefs", "squashfs"], vec!["systemd-boot"]));
}

#[test]
fn the_matrix_has_every_cell_of_our_backend_and_no_other() {
    let matrix = Matrix::parse(include_str!("../../matrix.toml")).unwrap();
    let ours = loops::cells().into_iter().filter(|cell| cell.backend == "squashfs");
    assert_eq!(matrix.all().into_iter().collect::<BTreeSet<_>>(), ours.collect());
}
