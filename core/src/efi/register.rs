//! Telling the firmware of a loader, without changing what boots.

use super::{
    EfiVariables, GLOBAL_VENDOR,
    load_option::{LoadOption, numbers_to_bytes, parse_numbers, parse_variable_name, variable_name},
};
use crate::{context::PartitionIdentity, error::Result};

/// Adds a boot option for the EFI program `file` on `partition` at the end of `BootOrder`, unless there is one: what boots on this machine
/// stays as it is. Does nothing where there are no variables, or no number is free.
///
/// # Errors
/// Those of the variables; `InvalidInput` for a path or title that cannot be encoded.
///
/// # Crash
/// The option may exist without being in `BootOrder`; the next call finds it, and it stays unused.
pub fn register(efi: &dyn EfiVariables, partition: PartitionIdentity, file: &str, title: &str) -> Result<()> {
    if !efi.available() {
        return Ok(());
    }
    let numbers: Vec<u16> =
        efi.list(GLOBAL_VENDOR)?.iter().filter_map(|name| parse_variable_name(name)).collect();
    for number in &numbers {
        let value = efi.read(GLOBAL_VENDOR, &variable_name(*number))?.unwrap_or_default();
        let Ok(option) = LoadOption::parse(&value) else { continue };
        let same_file = option.file().is_some_and(|path| path.eq_ignore_ascii_case(file));
        if same_file && option.partition().is_some_and(|found| found.guid == partition.guid) {
            return Ok(());
        }
    }
    let mut order = parse_numbers(&efi.read(GLOBAL_VENDOR, "BootOrder")?.unwrap_or_default());
    let free = (0..=u16::MAX).find(|number| !numbers.contains(number) && !order.contains(number));
    let Some(number) = free else { return Ok(()) };
    let value = LoadOption::for_file(title, partition, file).to_bytes()?;
    efi.write(GLOBAL_VENDOR, &variable_name(number), &value)?;
    order.push(number);
    efi.write(GLOBAL_VENDOR, "BootOrder", &numbers_to_bytes(&order))
}
