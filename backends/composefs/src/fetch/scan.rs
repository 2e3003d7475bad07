//! Looks through the tar stream of a layer before the library gets it.
//!
//! The library keeps in memory whatever is not the content of a file: headers, what stands behind the end of the archive, and the content of
//! entries that are no files, such as a folder with a size. It also asks for ever for a map of a sparse file that has no line end. A small
//! layer can unpack to gigabytes of any of these. So the stream goes through a [`Scanner`] first, which changes nothing in it and refuses
//! such layers.
//!
//! Its parser is the library's own, so that both see the same entries. Where the parser refuses a stream, the library does so too, and says why.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bootwright_core::{
    error::{Error, Result},
    layers::headers_wanted,
};
use tar_core::{
    HEADER_SIZE,
    parse::{ParseError, ParseEvent, ParsedEntry, Parser},
};
use tokio::io::{AsyncRead, ReadBuf};

#[cfg(test)]
#[path = "scan/tests.rs"] // also where a fuzz target takes this file by its path
mod tests;

const BLOCK: u64 = HEADER_SIZE as u64;
/// Archives are filled up to a record, which is 10 KiB long unless somebody asks for more.
const MOST_BEHIND: u64 = 1 << 20;
/// Of headers and the smallest files, in one layer: those of some two million tiny files, a third less with attributes.
const MOST_KEPT: u64 = 2 << 30;

/// Follows a tar stream from piece to piece. Content costs nothing, and only headers are copied.
#[derive(Debug)]
pub(super) struct Scanner {
    parser: Parser,
    place: Place,
    /// Of the entry that begins, as far as they were seen.
    headers: Vec<u8>,
    /// How many of them the parser has to have before it is asked.
    wanted: usize,
    /// Bytes that the library has in memory.
    kept: u64,
}

/// Where in the stream the next byte is.
#[derive(Debug, Clone, Copy)]
enum Place {
    Headers,
    /// In content, with so many bytes to the next header.
    Content(u64),
    /// Behind the end of the archive, after so many bytes.
    Behind(u64),
    /// Behind what the parser refuses.
    Lost,
}

/// What the parser says to the headers so far.
enum Verdict {
    /// It has to see so many bytes of them.
    More(usize),
    /// They are whole; so many bytes of content follow, with what fills up their last block.
    Content(u64),
    /// The archive ends.
    End,
    /// They are malformed.
    Refused,
}

impl Scanner {
    /// Starts at the beginning of a stream.
    pub(super) fn new() -> Self {
        Self {
            parser: Parser::with_defaults(),
            place: Place::Headers,
            headers: Vec::new(),
            wanted: HEADER_SIZE,
            kept: 0,
        }
    }

    /// Looks at the next piece of the stream. Only pieces that it lets pass may go to the library.
    ///
    /// # Errors
    /// `InvalidInput` for a layer with content where none belongs, with sparse files, or with headers without an end.
    pub(super) fn scan(&mut self, mut piece: &[u8]) -> Result<()> {
        while !piece.is_empty() {
            let taken = match self.place {
                Place::Headers => self.headers(piece)?,
                Place::Content(left) => self.content(left, piece.len()),
                Place::Behind(before) => self.behind(before, piece.len())?,
                Place::Lost => piece.len(),
            };
            piece = piece.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// Returns how many bytes of the piece were headers.
    fn headers(&mut self, piece: &[u8]) -> Result<usize> {
        let taken = piece.len().min(self.wanted.saturating_sub(self.headers.len()));
        self.headers.extend_from_slice(piece.get(..taken).unwrap_or_default());
        if self.headers.len() >= self.wanted {
            self.ask()?;
        }
        Ok(taken)
    }

    fn ask(&mut self) -> Result<()> {
        match verdict(self.parser.parse(&self.headers))? {
            Verdict::More(wanted) => {
                self.wanted = headers_wanted(self.headers.len(), wanted)?;
                return Ok(());
            }
            Verdict::Content(size) => {
                // A file that is shorter than a block may be kept as well.
                let tiny = if size > BLOCK { 0 } else { size };
                self.keep((self.headers.len() as u64).saturating_add(tiny))?;
                self.place = if size == 0 { Place::Headers } else { Place::Content(size) };
            }
            Verdict::End => self.place = Place::Behind(0),
            Verdict::Refused => self.place = Place::Lost,
        }
        self.headers.clear();
        self.wanted = HEADER_SIZE;
        Ok(())
    }

    fn keep(&mut self, bytes: u64) -> Result<()> {
        self.kept = self.kept.saturating_add(bytes);
        if self.kept > MOST_KEPT {
            let what = format!("a layer has more than {} MiB of headers and tiny files", MOST_KEPT >> 20);
            return Err(Error::invalid(what).with_hint("put fewer files into one layer"));
        }
        Ok(())
    }

    fn content(&mut self, left: u64, there: usize) -> usize {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(there);
        let left = left.saturating_sub(taken as u64);
        self.place = if left == 0 { Place::Headers } else { Place::Content(left) };
        taken
    }

    fn behind(&mut self, before: u64, there: usize) -> Result<usize> {
        let now = before.saturating_add(there as u64);
        if now > MOST_BEHIND {
            return Err(invalid(format!(
                "a layer goes on for more than {} MiB behind the end of its archive",
                MOST_BEHIND >> 20
            )));
        }
        self.place = Place::Behind(now);
        Ok(there)
    }
}

fn verdict(event: std::result::Result<ParseEvent<'_>, ParseError>) -> Result<Verdict> {
    Ok(match event {
        Ok(ParseEvent::NeedData { min_bytes }) => Verdict::More(min_bytes),
        Ok(ParseEvent::GlobalExtensions { .. }) => Verdict::Content(0),
        Ok(ParseEvent::Entry { entry, .. }) => Verdict::Content(content_of(&entry)?),
        Ok(ParseEvent::SparseEntry { entry, .. }) => {
            return Err(invalid(format!("{:?} in a layer is a sparse file", entry.path_lossy())));
        }
        Ok(ParseEvent::End { .. }) => Verdict::End,
        Err(_) => Verdict::Refused,
    })
}

/// Bytes up to the next header.
fn content_of(entry: &ParsedEntry<'_>) -> Result<u64> {
    if entry.size > 0 && !entry.entry_type.is_file() {
        return Err(invalid(format!(
            "{:?} in a layer is no file (its type is {:?}), and has {} bytes of content",
            entry.path_lossy(),
            entry.entry_type,
            entry.size
        )));
    }
    let too_large = || invalid(format!("the size of {:?} in a layer is impossible", entry.path_lossy()));
    entry.size.checked_next_multiple_of(BLOCK).ok_or_else(too_large)
}

fn invalid(what: String) -> Error {
    Error::invalid(what).with_hint("make layers with a tool for container images")
}

/// A stream that ends with an error where its [`Scanner`] refuses it.
#[derive(Debug)]
pub(super) struct Scanned<R> {
    stream: R,
    scanner: Scanner,
}

impl<R> Scanned<R> {
    /// Looks through this tar stream while it is read.
    pub(super) fn new(stream: R) -> Self {
        Self { stream, scanner: Scanner::new() }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Scanned<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let scanned = self.scanner.scan(buffer.filled().get(before..).unwrap_or_default());
        if scanned.is_err() {
            buffer.set_filled(before);
        }
        Poll::Ready(scanned.map_err(std::io::Error::other))
    }
}
