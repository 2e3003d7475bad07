//! Rust source without its comments, line by line.

/// What the scanner is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum In {
    Code,
    LineComment,
    BlockComment(u32),
    /// A string; escapes count.
    Text,
    /// A raw string, with so many `#`.
    RawText(usize),
}

/// `source` with every comment replaced by spaces; lines and strings stay as they are.
///
/// Knows strings, raw strings, character literals, and nested block comments (the Rust reference, "Comments" and
/// "Tokens"). Character literals matter only because of `'"'`.
pub fn without_comments(source: &str) -> String {
    let mut state = In::Code;
    let mut result = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let (next, length, shown) = step(state, rest, c);
        let taken = rest.get(..length).unwrap_or(rest);
        if shown {
            result.push_str(taken);
        } else {
            result.extend(taken.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        state = next;
        rest = rest.get(length..).unwrap_or_default();
    }
    result
}

/// The next state, how many bytes were looked at, and whether they are code.
fn step(state: In, rest: &str, c: char) -> (In, usize, bool) {
    match state {
        In::Code => code(rest, c),
        In::LineComment if c == '\n' => (In::Code, 1, true),
        In::LineComment => (In::LineComment, c.len_utf8(), false),
        In::BlockComment(depth) => block(depth, rest, c),
        In::Text if c == '\\' => (In::Text, 1 + rest.chars().nth(1).map_or(0, char::len_utf8), true),
        In::Text if c == '"' => (In::Code, 1, true),
        In::RawText(hashes) if ends_raw(rest, hashes) => (In::Code, 1 + hashes, true),
        In::Text | In::RawText(_) => (state, c.len_utf8(), true),
    }
}

fn code(rest: &str, c: char) -> (In, usize, bool) {
    if rest.starts_with("//") {
        return (In::LineComment, 2, false);
    }
    if rest.starts_with("/*") {
        return (In::BlockComment(1), 2, false);
    }
    if let Some(hashes) = raw_start(rest) {
        return (In::RawText(hashes), 2 + hashes, true);
    }
    match c {
        '"' => (In::Text, 1, true),
        '\'' => (In::Code, character_literal(rest).unwrap_or(1), true),
        // A whole word at once: the `r` at the end of `bar"` starts no raw string.
        _ if is_word(c) => (In::Code, rest.find(|c| !is_word(c)).unwrap_or(rest.len()), true),
        _ => (In::Code, c.len_utf8(), true),
    }
}

fn block(depth: u32, rest: &str, c: char) -> (In, usize, bool) {
    if rest.starts_with("/*") {
        return (In::BlockComment(depth + 1), 2, false);
    }
    if rest.starts_with("*/") {
        return (if depth == 1 { In::Code } else { In::BlockComment(depth - 1) }, 2, false);
    }
    (In::BlockComment(depth), c.len_utf8(), false)
}

/// The number of `#` if a raw string starts here.
fn raw_start(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after.get(hashes..)?.starts_with('"').then_some(hashes)
}

fn ends_raw(rest: &str, hashes: usize) -> bool {
    rest.strip_prefix('"').is_some_and(|after| after.chars().take_while(|c| *c == '#').count() >= hashes)
}

/// The length of a character literal; `None` for a lifetime.
fn character_literal(rest: &str) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        let (_, _escaped) = chars.next()?;
        return chars.find(|(_, c)| *c == '\'').map(|(at, _)| at + 1);
    }
    let (at, end) = chars.next()?;
    (end == '\'').then_some(at + 1)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> String {
        without_comments(source).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_of_every_kind_disappear() {
        assert_eq!(words("a // b\nc /* d /* e */ f */ g\n/// h\n//! i\nj"), "a c g j");
    }

    #[test]
    fn what_looks_like_a_comment_in_a_string_stays() {
        assert_eq!(words(r#"f("// x", "\" /* y") // z"#), r#"f("// x", "\" /* y")"#);
        assert_eq!(words(r##"r#"a " // b"# // c"##), r##"r#"a " // b"#"##);
    }

    #[test]
    fn a_quote_character_starts_no_string() {
        assert_eq!(words(r#"'"' '\'' '\u{1F600}' // a"#), r#"'"' '\'' '\u{1F600}'"#);
        assert_eq!(words("fn f<'a>(x: &'a str) {} // b"), "fn f<'a>(x: &'a str) {}");
    }

    #[test]
    fn line_numbers_stay() {
        let source = "a /*\n\n*/ b\nc";
        assert_eq!(without_comments(source).lines().count(), source.lines().count());
    }
}
