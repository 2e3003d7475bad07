//! One layer: read, checked, unpacked and checked again on a thread of its own, while the library splits the stream.

use std::{
    io::{BufRead, BufReader, Read},
    pin::Pin,
    task::{Context, Poll},
};

use crate::{
    error::{Error, ErrorKind, Result},
    model::Digest,
};
use bytes::{Buf as _, Bytes};
use sha2::{Digest as _, Sha256, Sha512};
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::mpsc,
};

use super::{gunzip::Gunzip, progress::LayerProgress};

/// Bytes that travel at once between the two threads, and how many such pieces may wait.
const PIECE: usize = 256 << 10;
const WAITING: usize = 4;
const READ_AHEAD: usize = 128 << 10;

/// What manifest and configuration say of a layer.
#[derive(Debug, Clone)]
pub struct LayerSpec {
    /// Digest of the blob.
    pub digest: Digest,
    /// Digest of what it unpacks to.
    pub diff_id: Digest,
    /// Size of the blob in bytes, if it is known before it is read.
    pub size: Option<u64>,
}

/// Where the pieces of a layer's stream are sent to.
pub type Sender = mpsc::Sender<std::io::Result<Bytes>>;

/// What it means if a blob ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shortage {
    /// The transfer stopped: trying again helps.
    Interrupted,
    /// The file is like that.
    Truncated,
}

/// A hash that a digest names.
enum Hash {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hash {
    fn of(digest: &Digest) -> Self {
        if digest.as_str().starts_with("sha512:") {
            Self::Sha512(Sha512::new())
        } else {
            Self::Sha256(Sha256::new())
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    fn matches(self, digest: &Digest) -> bool {
        let hex = match self {
            Self::Sha256(hash) => hex::encode(hash.finalize()),
            Self::Sha512(hash) => hex::encode(hash.finalize()),
        };
        hex == digest.hex()
    }
}

/// Compares bytes with a digest.
pub(super) fn matches(bytes: &[u8], digest: &Digest) -> bool {
    let mut hash = Hash::of(digest);
    hash.update(bytes);
    hash.matches(digest)
}

/// Compares everything that a reader gives with a digest.
pub(super) fn matches_reader(reader: &mut dyn Read, digest: &Digest) -> std::io::Result<bool> {
    let mut hash = Hash::of(digest);
    let mut buffer = vec![0; READ_AHEAD];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hash.matches(digest)),
            n => hash.update(buffer.get(..n).unwrap_or_default()),
        }
    }
}

/// A blob on its way in: counted and hashed, and cut off at the size that the manifest gives.
struct Blob<R> {
    source: R,
    hash: Hash,
    read: u64,
    size: Option<u64>,
    progress: LayerProgress,
}

impl<R: Read> Read for Blob<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.source.read(buffer)?;
        self.hash.update(buffer.get(..n).unwrap_or_default());
        self.read += n as u64;
        self.progress.advance(n as u64);
        if self.size.is_some_and(|size| self.read > size) {
            return Err(std::io::Error::other("the blob is longer than the manifest says"));
        }
        Ok(n)
    }
}

/// How the unpacking ended.
enum Pumped {
    /// To the end of the stream.
    Whole { diff_id_matches: bool },
    /// The other side does not want any more.
    Unwanted,
    /// The compressed data is damaged, or reading failed.
    Broken(std::io::Error),
}

/// Reads the blob of a layer to its end and passes on what it unpacks to. Blocks.
///
/// The stream ends without an error only if both digests match.
///
/// # Errors
/// `Integrity` for a wrong digest, `InvalidInput` for one that cannot be unpacked, else as [`Shortage`] says.
pub(super) fn unpack(
    source: impl Read,
    spec: &LayerSpec,
    shortage: Shortage,
    progress: LayerProgress,
    stream: &Sender,
) -> Result<LayerProgress> {
    let hash = Hash::of(&spec.digest);
    let mut blob = Blob { source, hash, read: 0, size: spec.size, progress };
    let pumped = pump(&mut blob, spec, stream);
    let verdict = judge(pumped, &mut blob, spec, shortage);
    let Blob { hash, read, progress, .. } = blob;
    let verdict = verdict.and_then(|outcome| match outcome {
        Outcome::Unwanted => Ok(()),
        Outcome::Read(problem) => conclude(problem, hash, read, spec, shortage),
    });
    match verdict {
        Ok(()) => Ok(progress),
        Err(error) => {
            // The other side must not take the end of the channel for the end of the layer.
            let _ = stream.blocking_send(Err(std::io::Error::other(error.to_string())));
            Err(error)
        }
    }
}

enum Outcome {
    Unwanted,
    Read(Option<Error>),
}

fn pump<R: Read>(blob: &mut Blob<R>, spec: &LayerSpec, stream: &Sender) -> Pumped {
    let mut blob = BufReader::with_capacity(READ_AHEAD, blob);
    let mut plain = match unpacker(&mut blob) {
        Ok(plain) => plain,
        Err(error) => return Pumped::Broken(error),
    };
    let mut hash = Hash::of(&spec.diff_id);
    loop {
        let piece = match read_piece(&mut plain) {
            Ok(piece) => piece,
            Err(error) => return Pumped::Broken(error),
        };
        if piece.is_empty() {
            return Pumped::Whole { diff_id_matches: hash.matches(&spec.diff_id) };
        }
        hash.update(&piece);
        if stream.blocking_send(Ok(piece)).is_err() {
            return Pumped::Unwanted;
        }
    }
}

/// As much as fits in one piece; empty at the end.
fn read_piece(reader: &mut dyn Read) -> std::io::Result<Bytes> {
    let mut piece = Vec::with_capacity(PIECE);
    reader.take(PIECE as u64).read_to_end(&mut piece)?;
    Ok(piece.into())
}

/// Chooses by the first bytes: media types of layers are many, and what the blob begins with is what it is
/// (RFC 1952 section 2.3.1, RFC 8878 section 3.1).
fn unpacker<'a, R: BufRead>(blob: &'a mut R) -> std::io::Result<Box<dyn Read + 'a>> {
    let start = blob.fill_buf()?;
    Ok(match start {
        [0x1f, 0x8b, ..] => Box::new(Gunzip::new(blob)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Box::new(zstd::stream::read::Decoder::with_buffer(blob)?)
        }
        _ => Box::new(blob),
    })
}

/// Reads on to the end of the blob, so that its digest says whether the blob or the image is to blame.
fn judge<R: Read>(
    pumped: Pumped,
    blob: &mut Blob<R>,
    spec: &LayerSpec,
    shortage: Shortage,
) -> Result<Outcome> {
    let problem = match pumped {
        Pumped::Unwanted => return Ok(Outcome::Unwanted),
        Pumped::Whole { diff_id_matches: true } => None,
        Pumped::Whole { diff_id_matches: false } => Some(wrong_content(spec)),
        Pumped::Broken(error) => Some(malformed(spec, error)),
    };
    std::io::copy(blob, &mut std::io::sink()).map_err(|error| stopped(spec, shortage, error))?;
    Ok(Outcome::Read(problem))
}

fn conclude(
    problem: Option<Error>,
    hash: Hash,
    read: u64,
    spec: &LayerSpec,
    shortage: Shortage,
) -> Result<()> {
    if let Some(size) = spec.size.filter(|size| read < *size) {
        let short = std::io::Error::new(
            std::io::ErrorKind::UnexpectedEof,
            format!("it ends after {read} of {size} bytes"),
        );
        return Err(stopped(spec, shortage, short));
    }
    if !hash.matches(&spec.digest) {
        return Err(Error::integrity(format!("layer {} does not have its digest", spec.digest))
            .with_hint("the source is damaged or was changed: copy or push the image again"));
    }
    problem.map_or(Ok(()), Err)
}

fn wrong_content(spec: &LayerSpec) -> Error {
    Error::integrity(format!("layer {} does not unpack to {}", spec.digest, spec.diff_id))
        .with_hint("configuration and layers of the image do not belong together: build it again")
}

fn malformed(spec: &LayerSpec, error: std::io::Error) -> Error {
    Error::invalid(format!("layer {} cannot be unpacked", spec.digest))
        .with_hint("layers may be plain, gzip or zstd: build the image again")
        .with_source(error)
}

fn stopped(spec: &LayerSpec, shortage: Shortage, error: std::io::Error) -> Error {
    match shortage {
        Shortage::Interrupted => {
            Error::new(ErrorKind::Interrupted, format!("the transfer of layer {} stopped", spec.digest))
                .with_hint("run the command again: layers that arrived are kept")
        }
        Shortage::Truncated => {
            Error::invalid(format!("layer {} is not as long as the manifest says", spec.digest))
                .with_hint("the image was not copied completely: copy it again")
        }
    }
    .with_source(error)
}

/// The stream of a layer, as the library reads it.
#[derive(Debug)]
pub struct Unpacked {
    pieces: mpsc::Receiver<std::io::Result<Bytes>>,
    current: Bytes,
}

/// The two ends of a layer's stream.
pub fn stream() -> (Sender, Unpacked) {
    let (sender, pieces) = mpsc::channel(WAITING);
    (sender, Unpacked { pieces, current: Bytes::new() })
}

/// For threads that may block.
impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let n = buffer.len().min(self.current.len());
        self.current.copy_to_slice(buffer.get_mut(..n).unwrap_or_default());
        Ok(n)
    }
}

impl AsyncRead for Unpacked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        while self.current.is_empty() {
            match std::task::ready!(self.pieces.poll_recv(context)) {
                Some(piece) => self.current = piece?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let n = buffer.remaining().min(self.current.len());
        buffer.put_slice(self.current.get(..n).unwrap_or_default());
        self.current.advance(n);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::blobs::channel;

    const CONTENT: &[u8] = b"what a layer holds";

    fn packed() -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(CONTENT).unwrap();
        encoder.finish().unwrap()
    }

    /// Unpacks a blob that a manifest describes like this.
    fn unpacked(blob: &[u8], digest: Digest, diff_id: Digest) -> Result<()> {
        let spec = LayerSpec { digest, diff_id, size: Some(blob.len() as u64) };
        let progress = channel().0.layer("x", 0);
        let (sender, _stream) = stream();
        unpack(blob, &spec, Shortage::Truncated, progress, &sender).map(drop)
    }

    #[test]
    fn a_changed_byte_that_changes_nothing_of_what_is_unpacked_is_noticed() {
        let mut blob = packed();
        let digest = Digest::of(&blob);
        unpacked(&blob, digest.clone(), Digest::of(CONTENT)).unwrap();
        // The operating system on which it was packed (RFC 1952, section 2.3).
        blob[9] ^= 0xff;
        let error = unpacked(&blob, digest, Digest::of(CONTENT)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity, "{error}");
    }

    #[test]
    fn a_blob_that_unpacks_to_something_else_than_the_configuration_says_is_noticed() {
        let blob = packed();
        let error = unpacked(&blob, Digest::of(&blob), Digest::of(b"something else")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity, "{error}");
    }
}
