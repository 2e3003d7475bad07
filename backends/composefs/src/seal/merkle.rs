//! The Merkle tree of fs-verity: hash functions, levels, and their order on disk. No I/O.
//!
//! `Documentation/filesystems/fsverity.rst`, "Merkle tree": the data is cut into blocks, the last one padded with zeros;
//! hashes fill blocks in turn, until one block is left, whose hash is the root hash. A file of one block has no
//! tree: its root hash is the hash of that block. An empty file has the root hash zero. The kernel stores the root's level first
//! and the leaves' last (`fs/verity/open.c`, `fsverity_init_merkle_tree_params`).

use sha2::{Digest, Sha256, Sha512};

/// Size in bytes of the blocks that are hashed, and of the file system's blocks: the only one that is sealed.
pub const BLOCK_SIZE: usize = 4096;

/// A hash function that fs-verity knows, without salt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256: 128 hashes in a block.
    Sha256,
    /// SHA-512: 64 hashes in a block.
    Sha512,
}

impl Algorithm {
    /// Length of a digest in bytes.
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The number that stands for it in the descriptor (`include/uapi/linux/fsverity.h`, `FS_VERITY_HASH_ALG_*`).
    pub(super) const fn kernel_id(self) -> u8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }

    /// The digest of `data`.
    pub(super) fn digest(self, data: &[u8]) -> Vec<u8> {
        let mut digest = Vec::with_capacity(self.digest_len());
        self.digest_into(data, &mut digest);
        digest
    }

    fn digest_into(self, data: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Sha256 => out.extend_from_slice(&Sha256::digest(data)),
            Self::Sha512 => out.extend_from_slice(&Sha512::digest(data)),
        }
    }
}

/// The tree of one file, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tree {
    /// All hash blocks in on-disk order; empty for a file of at most one block.
    pub blocks: Vec<u8>,
    /// The root hash; all zeros for an empty file.
    pub root_hash: Vec<u8>,
}

/// Takes a file's data in order and hashes it block by block.
#[derive(Debug)]
pub(super) struct Hasher {
    algorithm: Algorithm,
    leaves: Vec<u8>,
    /// The start of a block whose end has not come yet.
    partial: Vec<u8>,
}

impl Hasher {
    /// A hasher for a file of about `size` bytes (only how much memory to reserve depends on it).
    pub fn new(algorithm: Algorithm, size: u64) -> Self {
        let blocks = usize::try_from(size / BLOCK_SIZE as u64).unwrap_or(0).saturating_add(1);
        let leaves = Vec::with_capacity(blocks.saturating_mul(algorithm.digest_len()).min(1 << 24));
        Self { algorithm, leaves, partial: Vec::new() }
    }

    /// Adds the next bytes.
    pub fn update(&mut self, mut data: &[u8]) {
        if !self.partial.is_empty() {
            let (head, rest) = data.split_at(data.len().min(BLOCK_SIZE - self.partial.len()));
            self.partial.extend_from_slice(head);
            data = rest;
            if self.partial.len() < BLOCK_SIZE {
                return;
            }
            self.algorithm.digest_into(&self.partial, &mut self.leaves);
            self.partial.clear();
        }
        let blocks = data.chunks_exact(BLOCK_SIZE);
        self.partial.extend_from_slice(blocks.remainder());
        for block in blocks {
            self.algorithm.digest_into(block, &mut self.leaves);
        }
    }

    /// The tree over all that was added.
    pub fn finish(mut self) -> Tree {
        if !self.partial.is_empty() {
            self.partial.resize(BLOCK_SIZE, 0);
            self.algorithm.digest_into(&self.partial, &mut self.leaves);
        }
        if self.leaves.is_empty() {
            self.leaves.resize(self.algorithm.digest_len(), 0);
        }
        build(self.algorithm, self.leaves)
    }
}

/// Stacks levels over `hashes` until one hash is left.
fn build(algorithm: Algorithm, mut hashes: Vec<u8>) -> Tree {
    let mut levels = Vec::new();
    while hashes.len() > algorithm.digest_len() {
        hashes.resize(hashes.len().next_multiple_of(BLOCK_SIZE), 0);
        let mut above = Vec::with_capacity(hashes.len() / BLOCK_SIZE * algorithm.digest_len());
        for block in hashes.chunks_exact(BLOCK_SIZE) {
            algorithm.digest_into(block, &mut above);
        }
        levels.push(std::mem::replace(&mut hashes, above));
    }
    levels.reverse();
    Tree { blocks: levels.concat(), root_hash: hashes }
}

/// The size in bytes of the tree of a file of `data_size` bytes.
pub(super) fn tree_size(algorithm: Algorithm, data_size: u64) -> u64 {
    let block = BLOCK_SIZE as u64;
    let per_block = block / algorithm.digest_len() as u64;
    let mut blocks = data_size.div_ceil(block);
    let mut total = 0;
    while blocks > 1 {
        blocks = blocks.div_ceil(per_block);
        total += blocks;
    }
    total * block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_tree_is_known_before_it_is_built() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for size in
                [0, 1, 4096, 4097, 64 * 4096, 64 * 4096 + 1, 128 * 4096, 128 * 4096 + 1, 129 * 128 * 4096]
            {
                let mut hasher = Hasher::new(algorithm, size);
                hasher.update(&vec![7; usize::try_from(size).expect("small")]);
                assert_eq!(
                    hasher.finish().blocks.len() as u64,
                    tree_size(algorithm, size),
                    "{algorithm:?} {size}"
                );
            }
        }
    }

    #[test]
    fn how_the_data_arrives_does_not_matter() {
        let data: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut whole = Hasher::new(Algorithm::Sha256, 0);
        whole.update(&data);
        let mut pieces = Hasher::new(Algorithm::Sha256, 0);
        for piece in data.chunks(1009) {
            pieces.update(piece);
        }
        assert_eq!(whole.finish(), pieces.finish());
    }

    #[test]
    fn one_block_has_no_tree_and_an_empty_file_has_the_root_hash_zero() {
        let empty = Hasher::new(Algorithm::Sha512, 0).finish();
        assert_eq!((empty.blocks.len(), empty.root_hash), (0, vec![0; 64]));
        let mut one = Hasher::new(Algorithm::Sha256, 1);
        one.update(b"x");
        assert!(one.finish().blocks.is_empty());
    }
}
