//! gzip (RFC 1952) at the speed of zlib-rs.
//!
//! The composefs crates make `flate2` use the C library zlib, which takes a third longer; and unpacking is most of an import's work.

use std::io::{BufRead, Error, ErrorKind, Read, Result};

use zlib_rs::{Inflate, InflateFlush, Status};

/// Largest window, plus 16 for a gzip header and trailer with its checksum (zlib's `inflateInit2`).
const GZIP_WINDOW: u8 = 15 + 16;

/// Unpacks one gzip member after the other, as layers may consist of several.
pub(super) struct Gunzip<R> {
    source: R,
    inflate: Inflate,
    /// Nothing of the next member was read yet.
    between: bool,
}

impl<R: BufRead> Gunzip<R> {
    /// Unpacks what `source` gives.
    pub fn new(source: R) -> Self {
        Self { source, inflate: Inflate::new(true, GZIP_WINDOW), between: true }
    }

    /// One call of the library. Returns the bytes written.
    fn step(&mut self, output: &mut [u8]) -> Result<usize> {
        let input = self.source.fill_buf()?;
        if input.is_empty() {
            return Err(Error::new(ErrorKind::UnexpectedEof, "the gzip stream ends in the middle"));
        }
        let before = (self.inflate.total_in(), self.inflate.total_out());
        let status = self.inflate.decompress(input, output, InflateFlush::NoFlush);
        let status = status.map_err(|error| Error::new(ErrorKind::InvalidData, error.as_str()))?;
        let taken = count(self.inflate.total_in() - before.0);
        let written = count(self.inflate.total_out() - before.1);
        self.source.consume(taken);
        self.between = status == Status::StreamEnd;
        if self.between {
            self.inflate = Inflate::new(true, GZIP_WINDOW);
        }
        Ok(written)
    }
}

/// Never more than a buffer holds.
fn count(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, output: &mut [u8]) -> Result<usize> {
        if output.is_empty() {
            return Ok(0);
        }
        loop {
            if self.between && self.source.fill_buf()?.is_empty() {
                return Ok(0);
            }
            match self.step(output)? {
                0 => {}
                written => return Ok(written),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn gunzip(bytes: &[u8], at_once: usize) -> Result<Vec<u8>> {
        let mut plain = Vec::new();
        Gunzip::new(std::io::BufReader::with_capacity(at_once, bytes)).read_to_end(&mut plain)?;
        Ok(plain)
    }

    fn sample() -> Vec<u8> {
        (0..100_000_u64).flat_map(|i| (i * i).to_le_bytes()).collect()
    }

    #[test]
    fn members_are_unpacked_one_after_the_other_however_they_arrive() {
        let packed = [gzip(&sample()), gzip(b""), gzip(b"end")].concat();
        let expected = [sample(), b"end".to_vec()].concat();
        for at_once in [1, 17, 4096, 1 << 20] {
            assert!(gunzip(&packed, at_once).unwrap() == expected, "{at_once} bytes at once");
        }
    }

    #[test]
    fn a_stream_that_is_cut_off_damaged_or_followed_by_something_else_is_an_error() {
        let packed = gzip(&sample());
        for length in [1, 10, packed.len() / 2, packed.len() - 1] {
            assert_eq!(gunzip(&packed[..length], 4096).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        }
        let mut checksum = packed.clone();
        let at = packed.len() - 6;
        checksum[at] ^= 1;
        let followed = [packed, b"something".to_vec()].concat();
        for bad in [checksum, followed] {
            assert_eq!(gunzip(&bad, 4096).unwrap_err().kind(), ErrorKind::InvalidData);
        }
    }
}
