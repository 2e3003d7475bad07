//! The fs-verity descriptor, and where ext4 keeps it. No I/O.
//!
//! `struct fsverity_descriptor` is in `include/uapi/linux/fsverity.h`; the places are those of `fs/ext4/verity.c`: the tree
//! begins at the next 64 KiB boundary, the descriptor at the next block, and the descriptor's size are the last four bytes
//! of the last block that the file has.

use super::merkle::{Algorithm, BLOCK_SIZE, Hasher, Tree, tree_size};

const DESCRIPTOR_SIZE: u32 = 256;
const METADATA_ALIGNMENT: u64 = 65536;
const VERSION: u8 = 1;
const LOG_BLOCK_SIZE: u8 = 12;

/// What is written past the end of a file of `data_size` bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Metadata {
    /// The fs-verity digest of the file: what composefs names the object by.
    pub digest: Vec<u8>,
    /// Offset in bytes of `bytes`.
    pub position: u64,
    /// Tree, descriptor, padding, and the descriptor's size.
    pub bytes: Vec<u8>,
}

impl Metadata {
    /// The metadata for the data that `hasher` saw, `data_size` bytes.
    pub fn new(algorithm: Algorithm, hasher: Hasher, data_size: u64) -> Self {
        let Tree { blocks: mut bytes, root_hash } = hasher.finish();
        let descriptor = encode(algorithm, data_size, &root_hash);
        let digest = algorithm.digest(&descriptor);
        let block_start = bytes.len();
        bytes.extend_from_slice(&descriptor);
        bytes.resize(block_start + BLOCK_SIZE - size_of::<u32>(), 0);
        bytes.extend_from_slice(&DESCRIPTOR_SIZE.to_le_bytes());
        Self { digest, position: position(data_size), bytes }
    }

    /// The size in bytes that the file has once the metadata is written.
    #[cfg(test)]
    pub fn end(&self) -> u64 {
        self.position + self.bytes.len() as u64
    }
}

fn position(data_size: u64) -> u64 {
    data_size.next_multiple_of(METADATA_ALIGNMENT)
}

fn encode(algorithm: Algorithm, data_size: u64, root_hash: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(DESCRIPTOR_SIZE as usize);
    out.extend_from_slice(&[VERSION, algorithm.kernel_id(), LOG_BLOCK_SIZE, 0]); // no salt
    out.extend_from_slice(&[0; 4]); // no signature
    out.extend_from_slice(&data_size.to_le_bytes());
    out.extend_from_slice(root_hash);
    out.resize(DESCRIPTOR_SIZE as usize, 0);
    out
}

/// The size of the data in a file of `file_size` bytes, if its `last_block` looks as if metadata had been appended.
///
/// Anyone can store a file that looks like this: the caller decides by digest.
pub(super) fn data_size_from(algorithm: Algorithm, last_block: &[u8], file_size: u64) -> Option<u64> {
    let stated = last_block.last_chunk::<4>().map(|b| u32::from_le_bytes(*b))?;
    let head = last_block.first_chunk::<16>()?;
    let [VERSION, id, LOG_BLOCK_SIZE, 0, 0, 0, 0, 0, size @ ..] = head else { return None };
    let size = u64::from_le_bytes(*size);
    if stated != DESCRIPTOR_SIZE || *id != algorithm.kernel_id() || size > file_size {
        return None;
    }
    let expected = position(size) + tree_size(algorithm, size) + BLOCK_SIZE as u64;
    (expected == file_size).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(algorithm: Algorithm, size: u64) -> Metadata {
        let mut hasher = Hasher::new(algorithm, size);
        hasher.update(&vec![0x5a; usize::try_from(size).expect("small")]);
        Metadata::new(algorithm, hasher, size)
    }

    #[test]
    fn the_size_of_the_data_is_found_again_in_the_last_block() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for size in [0, 1, 4096, 65536, 65537, 3_000_000] {
                let metadata = metadata(algorithm, size);
                let last = &metadata.bytes[metadata.bytes.len() - BLOCK_SIZE..];
                assert_eq!(data_size_from(algorithm, last, metadata.end()), Some(size));
                assert_eq!(data_size_from(algorithm, last, metadata.end() + 4096), None);
            }
        }
    }

    #[test]
    fn a_descriptor_of_another_algorithm_is_not_taken() {
        let metadata = metadata(Algorithm::Sha256, 10);
        assert_eq!(data_size_from(Algorithm::Sha512, &metadata.bytes, metadata.end()), None);
    }

    #[test]
    fn an_enormous_stated_size_is_refused() {
        let mut block = metadata(Algorithm::Sha256, 10).bytes;
        block[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(data_size_from(Algorithm::Sha256, &block, 4096), None);
    }

    #[test]
    fn metadata_begins_at_the_next_64_kib_boundary() {
        let at = |size| metadata(Algorithm::Sha256, size).position;
        assert_eq!([at(0), at(1), at(65536), at(65537)], [0, 65536, 65536, 131_072]);
    }
}
