//! The variable store of edk2 firmware, as it lies in flash (edk2, `MdeModulePkg/Include/Guid/VariableFormat.h`: a firmware volume whose header is
//! followed by a store of authenticated variables).
//!
//! A store that is just being compacted is not understood: then the firmware has a copy in its spare blocks.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

/// Vendor and name of a variable.
pub type Name = (String, String);

/// `AAF32C78-947B-439A-A180-2E144EC37792`, as bytes.
const AUTHENTICATED: [u8; 16] =
    [0x78, 0x2c, 0xf3, 0xaa, 0x7b, 0x94, 0x9a, 0x43, 0xa1, 0x80, 0x2e, 0x14, 0x4e, 0xc3, 0x77, 0x92];
const STORE_HEADER: usize = 28;
const VARIABLE_HEADER: usize = 60;
const START: u16 = 0x55aa;
/// States: bits are cleared one after the other.
const ADDED: u8 = 0x3f;
/// The same, while what replaces it is being written: holds as long as that is not complete.
const BEING_REPLACED: u8 = 0x3e;

/// Reads all variables that hold.
///
/// # Errors
/// When there is no store, or it is not complete.
pub fn parse(flash: &[u8]) -> Result<BTreeMap<Name, Vec<u8>>> {
    ensure!(flash.get(40..44) == Some(b"_FVH".as_slice()), "no firmware volume");
    let store = flash.get(u16_at(flash, 48).context("a short header")?..).context("no room for a store")?;
    ensure!(store.get(..16) == Some(&AUTHENTICATED), "no store of authenticated variables");
    ensure!(store.get(20..22) == Some(&[0x5a, 0xfe]), "the store is not formatted, or not healthy");
    let size = u32_at(store, 16).unwrap_or_default().min(store.len());
    let store = store.get(..size).unwrap_or_default();
    let (mut current, mut replaced) = (BTreeMap::new(), BTreeMap::new());
    let mut at = STORE_HEADER;
    while let Some((variable, next)) = variable(store, at) {
        match variable.state {
            ADDED => drop(current.insert(variable.name, variable.data)),
            BEING_REPLACED => drop(replaced.insert(variable.name, variable.data)),
            _ => {}
        }
        at = next;
    }
    replaced.extend(current);
    Ok(replaced)
}

struct Variable {
    state: u8,
    name: Name,
    data: Vec<u8>,
}

/// The variable at `at`, and where the next one is.
fn variable(store: &[u8], at: usize) -> Option<(Variable, usize)> {
    if u16_at(store, at)? != usize::from(START) {
        return None;
    }
    let header = store.get(at..at + VARIABLE_HEADER)?;
    let state = *header.get(2)?;
    let (mut name_size, mut data_size) = (u32_at(header, 36)?, u32_at(header, 40)?);
    let unset = u32::MAX as usize;
    // A header that was not written to its end has no sizes yet (edk2, `NameSizeOfVariable`).
    if state == 0xff || [name_size, data_size, u32_at(header, 4)?].contains(&unset) {
        (name_size, data_size) = (0, 0);
    }
    let body = at + VARIABLE_HEADER;
    let name = store.get(body..body.checked_add(name_size)?)?;
    let data = store.get(body + name_size..(body + name_size).checked_add(data_size)?)?;
    let units: Vec<u16> = name.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]])).collect();
    let name = String::from_utf16_lossy(&units).trim_end_matches('\0').to_owned();
    let variable = Variable { state, name: (guid(header.get(44..60)?), name), data: data.to_vec() };
    Some((variable, (body + name_size + data_size).next_multiple_of(4)))
}

/// In the usual notation, whose first three groups are little-endian in memory.
fn guid(bytes: &[u8]) -> String {
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let digits: Vec<u8> = order.iter().filter_map(|&place| bytes.get(place).copied()).collect();
    let text = hex::encode(digits);
    let group = |range| text.get(range).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", group(0..8), group(8..12), group(12..16), group(16..20), group(20..32))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?)))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::variables::{GLOBAL, wide};

    const GLOBAL_BYTES: [u8; 16] =
        [0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0, 0xe0, 0x98, 3, 0x2b, 0x8c];

    fn store(variables: &[(u8, &str, &[u8])]) -> Vec<u8> {
        let mut flash = vec![0; 72];
        flash[40..44].copy_from_slice(b"_FVH");
        flash[48] = 72;
        flash.extend(AUTHENTICATED);
        flash.extend(4096_u32.to_le_bytes());
        flash.extend([0x5a, 0xfe, 0, 0, 0, 0, 0, 0]);
        for (state, name, data) in variables {
            flash.extend(START.to_le_bytes());
            flash.extend([*state, 0, 7, 0, 0, 0]);
            flash.extend([0; 28]);
            let name = wide(name);
            flash.extend(u32::try_from(name.len()).unwrap().to_le_bytes());
            flash.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
            flash.extend(GLOBAL_BYTES);
            flash.extend(name);
            flash.extend_from_slice(data);
            flash.resize(flash.len().next_multiple_of(4), 0xff);
        }
        flash.resize(8192, 0xff);
        flash
    }

    fn value(flash: &[u8], name: &str) -> Option<Vec<u8>> {
        parse(flash).unwrap().get(&(GLOBAL.to_owned(), name.to_owned())).cloned()
    }

    #[test]
    fn only_what_was_added_and_not_deleted_holds() {
        let flash =
            store(&[(0x3c, "BootNext", b"no"), (ADDED, "BootOrder", b"yes"), (0x7f, "Boot0001", b"half")]);
        assert_eq!(value(&flash, "BootOrder").unwrap(), b"yes");
        assert_eq!((value(&flash, "BootNext"), value(&flash, "Boot0001")), (None, None));
    }

    #[test]
    fn the_old_value_holds_until_the_new_one_is_complete() {
        let unfinished = store(&[(BEING_REPLACED, "BootOrder", b"old"), (0x7f, "BootOrder", b"new")]);
        assert_eq!(value(&unfinished, "BootOrder").unwrap(), b"old");
        let finished = store(&[(BEING_REPLACED, "BootOrder", b"old"), (ADDED, "BootOrder", b"new")]);
        assert_eq!(value(&finished, "BootOrder").unwrap(), b"new");
    }

    #[test]
    fn a_header_that_was_cut_is_no_variable() {
        let flash = store(&[(ADDED, "BootOrder", b"yes"), (0xff, "BootNext", b"no")]);
        assert_eq!(parse(&flash).unwrap().len(), 1);
    }

    #[test]
    fn rubbish_is_refused_without_a_panic() {
        let flash = store(&[(ADDED, "BootOrder", b"yes")]);
        for end in 0..200 {
            let _ = parse(&flash[..end]);
        }
        let mut huge = flash.clone();
        huge[100 + 36..100 + 44].fill(0xf0);
        assert!(parse(&huge).unwrap().is_empty());
        assert!(parse(&[0; 4096]).is_err());
    }
}
