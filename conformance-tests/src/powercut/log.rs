//! The log of a recorded device: the format of the kernel's `dm-log-writes` (Documentation/admin-guide/device-mapper/log-writes.rst), which
//! QEMU's `blklogwrites` writes too.
//!
//! A head, then for each request a head of one sector and its data, in the order in which requests were completed.

use std::ops::Range;

use anyhow::{Context as _, Result, ensure};

const MAGIC: u64 = 0x006a_7366_7773_6872;
/// The recording node is told to use it.
pub const SECTOR: usize = 512;

const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Where its head begins in the log, in bytes.
    pub at: usize,
    /// What it did.
    pub kind: Kind,
}

/// What a request does to the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Bytes at `offset` of the device; `data` is their place in the log.
    Write {
        /// In bytes.
        offset: u64,
        /// In the log.
        data: Range<usize>,
        /// Durable when it is completed.
        durable: bool,
    },
    /// Afterwards the bytes read as zero.
    Discard {
        /// In bytes.
        offset: u64,
        /// In bytes.
        length: u64,
    },
    /// All that was completed before is durable.
    Flush,
}

/// Reads a log. How many requests it has is not believed: that number is written at a flush only. A request that is cut off ends the log.
///
/// # Errors
/// When it is no log, has another sector size, or a request is unknown.
pub fn parse(log: &[u8]) -> Result<Vec<Request>> {
    if log.is_empty() {
        return Ok(Vec::new());
    }
    // Before the first flush there is no head, but room for it.
    let magic = number(log, 0).context("a log without a head")?;
    ensure!(magic == MAGIC || magic == 0, "not a log of writes: it begins with {magic:#x}");
    let mut requests = Vec::new();
    let mut at = SECTOR;
    while let Some(head) = head(log, at) {
        let [sector, count, flags, _] = head;
        if head == [0; 4] {
            break;
        }
        ensure!(flags & !(FLUSH | FUA | DISCARD | MARK) == 0, "a request with the flags {flags:#x} at {at}");
        let carried = if flags & (DISCARD | MARK) == 0 { count } else { 0 };
        let (offset, length) = (bytes(sector)?, bytes(count)?);
        let data = at + SECTOR..at + SECTOR + usize::try_from(bytes(carried)?)?;
        if data.end > log.len() {
            break;
        }
        let next = data.end;
        let mut push = |kind| requests.push(Request { at, kind });
        if flags & FLUSH != 0 {
            push(Kind::Flush);
        }
        if flags & DISCARD != 0 {
            push(Kind::Discard { offset, length });
        } else if !data.is_empty() {
            push(Kind::Write { offset, data, durable: flags & FUA != 0 });
        }
        at = next;
    }
    Ok(requests)
}

fn bytes(sectors: u64) -> Result<u64> {
    let limit = u64::MAX / 4 / SECTOR as u64;
    ensure!(sectors < limit, "a request of {sectors} sectors");
    Ok(sectors * SECTOR as u64)
}

fn head(log: &[u8], at: usize) -> Option<[u64; 4]> {
    let field = |index: usize| number(log, at + 8 * index);
    Some([field(0)?, field(1)?, field(2)?, field(3)?])
}

fn number(log: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(log.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A log of requests: sector, flags, data.
    pub fn log_of(requests: &[(u64, u64, &[u8])]) -> Vec<u8> {
        let mut log = MAGIC.to_le_bytes().to_vec();
        log.resize(SECTOR, 0);
        for (sector, flags, data) in requests {
            let head = [*sector, (data.len() / SECTOR) as u64, *flags, 0];
            let end = log.len() + SECTOR;
            log.extend(head.iter().flat_map(|field| field.to_le_bytes()));
            log.resize(end, 0);
            log.extend_from_slice(data);
        }
        log
    }

    #[test]
    fn writes_flushes_and_discards_are_told_apart() {
        let mut log = log_of(&[(3, 0, &[7; 1024]), (0, FLUSH, &[]), (9, FUA, &[1; 512])]);
        let discard = log.len();
        log.extend(log_of(&[(5, DISCARD, &[])]).split_off(SECTOR));
        log[discard + 8] = 2;
        let kinds: Vec<_> = parse(&log).unwrap().into_iter().map(|request| request.kind).collect();
        let write = |offset, data, durable| Kind::Write { offset, data, durable };
        let expected = [
            write(1536, 1024..2048, false),
            Kind::Flush,
            write(4608, 3072..3584, true),
            Kind::Discard { offset: 2560, length: 1024 },
        ];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn a_log_ends_where_it_was_cut_or_holds_nothing_more() {
        let mut log = log_of(&[(3, 0, &[7; 1024]), (4, 0, &[8; 512])]);
        log.truncate(log.len() - 1);
        assert_eq!(parse(&log).unwrap().len(), 1);
        log.truncate(SECTOR * 4);
        log.resize(SECTOR * 40, 0);
        assert_eq!(parse(&log).unwrap().len(), 1);
        assert!(parse(&[]).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_log_is_refused_without_a_panic() {
        assert!(parse(&[1; 600]).is_err());
        assert!(parse(&[1; 3]).is_err());
        let mut log = log_of(&[(3, 64, &[])]);
        assert!(parse(&log).unwrap_err().to_string().contains("0x40"));
        log[SECTOR + 8..SECTOR + 16].fill(0xff);
        assert!(parse(&log).is_err());
    }
}
