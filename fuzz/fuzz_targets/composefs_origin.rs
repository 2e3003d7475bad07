//! Origin files of deployments, which other tools write as well.
#![no_main]

#[path = "../../backends/composefs/src/origin.rs"]
mod origin;

use bootwright_core::model::DeploymentId;
use bootwright_fuzz::{proportional, text, within};
use libfuzzer_sys::fuzz_target;
use origin::Origin;

fuzz_target!(|input: &[u8]| {
    let (id, text) = (DeploymentId::new("d").expect("a good id"), text(input));
    let Ok(read) = within(proportional(input), || Origin::parse(id.clone(), &text)) else { return };
    let printed = read.print().expect("an origin can be printed");
    assert_eq!(Origin::parse(id, &printed).ok().as_ref(), Some(&read), "{printed}");
});
