//! What the fuzz targets share: a bound on memory, and pieces of the input.

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Runs `work` and panics if it had more than `limit` bytes allocated at one time, beside what was before.
///
/// A parser may keep a multiple of its input; what it must not do is believe a length that the input announces.
pub fn within<T>(limit: usize, work: impl FnOnce() -> T) -> T {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let result = work();
    let used = ALLOCATOR.peak_usage().saturating_sub(before);
    assert!(used <= limit, "{used} bytes were allocated, at most {limit} are allowed");
    result
}

/// The bound for parsers that keep what they read: generous per byte, and what error messages and tables need anyway.
pub fn proportional(input: &[u8]) -> usize {
    (64 << 10) + input.len() * 256
}

/// The input up to the first separator (the byte 0xff, which no UTF-8 text contains), and what is behind it.
pub fn split(input: &[u8]) -> (&[u8], &[u8]) {
    match input.iter().position(|&byte| byte == 0xff) {
        Some(at) => (&input[..at], &input[at + 1..]),
        None => (input, &[]),
    }
}

/// All pieces between separators.
pub fn pieces(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    input.split(|&byte| byte == 0xff)
}

/// Text as parsers of text get it.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
