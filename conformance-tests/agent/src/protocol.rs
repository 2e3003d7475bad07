//! Frames on the virtio port, and what they mean.
//!
//! A frame is a magic number, a kind, a sequence number, a length and a body. A virtual machine can die in
//! the middle of one while the stream lives on, so a reader finds the next frame by its magic number, and
//! sees the ready message of a new boot even inside what looks like the body of an unfinished frame.

use std::io::{self, Write};

const MAGIC: [u8; 4] = [0xb0, 0x07, 0x57, 0x1a];
/// Magic, kind, sequence, length.
const HEADER: usize = 4 + 1 + 4 + 4;
/// A body that claims to be longer than this is taken for noise.
const LONGEST_BODY: usize = 512 << 20;
const BOOT_ID_LENGTH: usize = 36;

const READY: u8 = 1;
const RUN: u8 = 2;
const WRITE: u8 = 3;
const READ: u8 = 4;
const FINISHED: u8 = 5;
const FAILED: u8 = 6;

/// What one side says to the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Agent: it has started, in the boot with this id (`/proc/sys/kernel/random/boot_id`).
    Ready {
        /// The boot id, 36 characters.
        boot_id: String,
    },
    /// Host: run this with `sh -c`.
    Run {
        /// The command line.
        command: String,
    },
    /// Host: write a file, with its parent folders if they are missing.
    Write {
        /// Absolute path in the guest.
        path: String,
        /// Permission bits.
        mode: u32,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Host: send a file; its bytes come back as the output of [`Message::Finished`].
    Read {
        /// Absolute path in the guest.
        path: String,
    },
    /// Agent: the request was carried out.
    Finished {
        /// Exit status of a command; 128 plus the signal if one ended it; 0 for other requests.
        status: i32,
        /// Standard output.
        stdout: Vec<u8>,
        /// Standard error.
        stderr: Vec<u8>,
    },
    /// Agent: the request could not be carried out.
    Failed {
        /// Why.
        reason: String,
    },
}

/// Writes one message. `sequence` is chosen by the host, and repeated in the answer.
pub fn send(stream: &mut impl Write, sequence: u32, message: &Message) -> io::Result<()> {
    let (kind, body) = encode(message);
    let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "the message is longer than 4 GiB");
    let length = u32::try_from(body.len()).map_err(too_long)?;
    let mut frame = Vec::with_capacity(HEADER + body.len());
    frame.extend(MAGIC);
    frame.push(kind);
    frame.extend(sequence.to_le_bytes());
    frame.extend(length.to_le_bytes());
    frame.extend(body);
    stream.write_all(&frame)?;
    stream.flush()
}

fn encode(message: &Message) -> (u8, Vec<u8>) {
    match message {
        Message::Ready { boot_id } => (READY, boot_id.as_bytes().to_vec()),
        Message::Run { command } => (RUN, command.as_bytes().to_vec()),
        Message::Write { path, mode, bytes } => {
            (WRITE, [&mode.to_le_bytes(), length_of(path).as_slice(), path.as_bytes(), bytes].concat())
        }
        Message::Read { path } => (READ, path.as_bytes().to_vec()),
        Message::Finished { status, stdout, stderr } => {
            (FINISHED, [&status.to_le_bytes(), length_of(stdout).as_slice(), stdout, stderr].concat())
        }
        Message::Failed { reason } => (FAILED, reason.as_bytes().to_vec()),
    }
}

/// Length prefix; `send` refuses bodies for which it would not fit.
fn length_of(bytes: impl AsRef<[u8]>) -> [u8; 4] {
    u32::try_from(bytes.as_ref().len()).unwrap_or(u32::MAX).to_le_bytes()
}

/// The message in a body of this kind; `None` if the two do not fit.
fn decode(kind: u8, body: &[u8]) -> Option<Message> {
    let text = || String::from_utf8_lossy(body).into_owned();
    match kind {
        READY => is_boot_id(body).then(|| Message::Ready { boot_id: text() }),
        RUN => Some(Message::Run { command: text() }),
        READ => Some(Message::Read { path: text() }),
        FAILED => Some(Message::Failed { reason: text() }),
        WRITE => {
            let (mode, path, bytes) = number_and_two_fields(body)?;
            let path = String::from_utf8_lossy(path).into_owned();
            Some(Message::Write { path, mode: u32::from_le_bytes(mode), bytes: bytes.to_vec() })
        }
        FINISHED => {
            let (status, stdout, stderr) = number_and_two_fields(body)?;
            let (stdout, stderr) = (stdout.to_vec(), stderr.to_vec());
            Some(Message::Finished { status: i32::from_le_bytes(status), stdout, stderr })
        }
        _ => None,
    }
}

fn number_and_two_fields(body: &[u8]) -> Option<([u8; 4], &[u8], &[u8])> {
    let (number, rest) = body.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (first, second) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    Some((*number, first, second))
}

fn is_boot_id(body: &[u8]) -> bool {
    body.len() == BOOT_ID_LENGTH && body.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-')
}

/// Finds messages in a stream of bytes that arrive in any pieces.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    /// How much of an unfinished frame was already searched for a ready message.
    searched: usize,
}

impl Decoder {
    /// Takes in bytes that arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next complete message with its sequence number; `None` until more bytes arrive.
    pub fn next_message(&mut self) -> Option<(u32, Message)> {
        loop {
            self.skip_noise();
            let Some(header) = Header::parse(&self.bytes) else {
                // A whole header that is none: step over its magic number and look further.
                if self.bytes.len() >= HEADER {
                    self.bytes.drain(..1);
                    continue;
                }
                return None;
            };
            let Some(body) = self.bytes.get(HEADER..HEADER + header.length) else {
                return self.ready_in_unfinished_frame();
            };
            let message = decode(header.kind, body);
            self.consume(HEADER + header.length);
            if let Some(message) = message {
                return Some((header.sequence, message));
            }
        }
    }

    /// Drops bytes up to the next magic number, or to what may be the start of one.
    fn skip_noise(&mut self) {
        let starts = |window: &[u8]| MAGIC.starts_with(window) || window.starts_with(&MAGIC);
        let start = (0..self.bytes.len()).find(|at| self.bytes.get(*at..).is_some_and(starts));
        let noise = start.unwrap_or(self.bytes.len());
        if noise > 0 {
            self.consume(noise);
        }
    }

    /// The machine may have been reset while it sent a frame. Then the rest of that frame never comes, and
    /// the ready message of the next boot follows in its place.
    fn ready_in_unfinished_frame(&mut self) -> Option<(u32, Message)> {
        let whole = HEADER + BOOT_ID_LENGTH;
        let from = self.searched.max(1);
        let last = self.bytes.len().checked_sub(whole)?;
        let found = (from..=last).find_map(|at| {
            let (header, body) = self.bytes.get(at..at + whole)?.split_at_checked(HEADER)?;
            let header = Header::parse(header)?;
            (header.kind == READY && header.length == BOOT_ID_LENGTH).then_some(())?;
            Some((at, header.sequence, decode(READY, body)?))
        });
        self.searched = last + 1;
        let (at, sequence, message) = found?;
        self.consume(at + whole);
        Some((sequence, message))
    }

    fn consume(&mut self, count: usize) {
        self.bytes.drain(..count);
        self.searched = 0;
    }
}

struct Header {
    kind: u8,
    sequence: u32,
    length: usize,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (kind, rest) = rest.split_first()?;
        let (sequence, rest) = rest.split_first_chunk::<4>()?;
        let (length, _) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let plausible = (READY..=FAILED).contains(kind) && length <= LONGEST_BODY;
        plausible.then_some(Self { kind: *kind, sequence: u32::from_le_bytes(*sequence), length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

    fn bytes(sequence: u32, message: &Message) -> Vec<u8> {
        let mut out = Vec::new();
        send(&mut out, sequence, message).unwrap();
        out
    }

    fn all_messages() -> Vec<Message> {
        vec![
            Message::Ready { boot_id: BOOT.into() },
            Message::Run { command: "true".into() },
            Message::Write { path: "/a".into(), mode: 0o600, bytes: vec![0, 1, 2] },
            Message::Read { path: "/a".into() },
            Message::Finished { status: -3, stdout: b"out".to_vec(), stderr: b"err".to_vec() },
            Message::Failed { reason: "no".into() },
        ]
    }

    #[test]
    fn every_message_survives_the_way_byte_by_byte() {
        let mut decoder = Decoder::default();
        for (sequence, message) in (7..).zip(all_messages()) {
            let mut got = None;
            for byte in bytes(sequence, &message) {
                assert_eq!(got, None);
                decoder.push(&[byte]);
                got = decoder.next_message();
            }
            assert_eq!(got, Some((sequence, message)));
        }
    }

    #[test]
    fn noise_before_a_message_is_skipped() {
        let mut decoder = Decoder::default();
        decoder.push(b"kernel says \xb0\x07 something");
        assert_eq!(decoder.next_message(), None);
        let message = Message::Run { command: "x".into() };
        decoder.push(&bytes(1, &message));
        assert_eq!(decoder.next_message(), Some((1, message)));
    }

    #[test]
    fn a_new_boot_is_seen_behind_a_frame_that_was_cut_off() {
        let mut decoder = Decoder::default();
        let cut = bytes(1, &Message::Finished { status: 0, stdout: vec![b'x'; 1000], stderr: Vec::new() });
        decoder.push(&cut[..200]);
        assert_eq!(decoder.next_message(), None);
        let ready = Message::Ready { boot_id: BOOT.into() };
        let (head, tail) = (bytes(0, &ready)[..20].to_vec(), bytes(0, &ready)[20..].to_vec());
        decoder.push(&head);
        assert_eq!(decoder.next_message(), None);
        decoder.push(&tail);
        assert_eq!(decoder.next_message(), Some((0, ready)));
        let next = Message::Run { command: "x".into() };
        decoder.push(&bytes(2, &next));
        assert_eq!(decoder.next_message(), Some((2, next)));
    }

    #[test]
    fn a_header_with_an_absurd_length_is_noise() {
        let mut decoder = Decoder::default();
        decoder.push(&MAGIC);
        decoder.push(&[RUN, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        let message = Message::Read { path: "/a".into() };
        decoder.push(&bytes(3, &message));
        assert_eq!(decoder.next_message(), Some((3, message)));
    }

    #[test]
    fn a_body_that_does_not_fit_its_kind_is_skipped() {
        let mut decoder = Decoder::default();
        let mut broken = bytes(1, &Message::Read { path: "ab".into() });
        broken[4] = FINISHED;
        decoder.push(&broken);
        assert_eq!(decoder.next_message(), None);
        decoder.push(&bytes(2, &Message::Failed { reason: "x".into() }));
        assert_eq!(decoder.next_message(), Some((2, Message::Failed { reason: "x".into() })));
    }
}
