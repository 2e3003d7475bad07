//! GRUB's environment block, which lies on the ESP where anybody can write.
#![no_main]

#[path = "../../bootloaders/grub2/src/env_block.rs"]
mod env_block;

use bootwright_fuzz::{proportional, within};
use env_block::{EnvBlock, SIZE};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let block = within(proportional(input), || EnvBlock::parse(input));
    let Some(printed) = block.to_bytes() else { return };
    assert_eq!(printed.len(), SIZE);
    let again = EnvBlock::parse(&printed);
    assert!(again.is_valid() && again.to_bytes() == Some(printed));
});
