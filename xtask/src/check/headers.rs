//! Every Rust file begins with a line that says what it is for.

use super::Input;

/// Files that do not.
pub fn check(input: &Input) -> Vec<String> {
    let rust = input.sources.iter().filter(|file| file.is("rs"));
    let silent = rust.filter(|file| !file.text.trim_start().starts_with("//!"));
    silent.map(|file| format!("{}: begin it with `//!` and what it is for", file.path)).collect()
}
