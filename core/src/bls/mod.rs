//! Boot Loader Specification Type #1 entries: reader and writer (UAPI.1).
