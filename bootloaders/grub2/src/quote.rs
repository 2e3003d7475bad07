//! Text in GRUB's script language, and arguments as GRUB hands them on.

use bootwright_core::{
    Error, Result,
    model::{KernelArg, KernelCmdline},
};

/// Makes one word that stands for exactly `text`: between single quotes nothing has a meaning but the closing one (GRUB manual,
/// "Quoting"). Control characters, which a menu cannot show, become spaces.
pub fn quoted(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("'{}'", clean.replace('\'', "'\\''"))
}

/// The words for GRUB's `linux` command that make the kernel see `cmdline`.
///
/// GRUB puts a word that holds spaces between double quotes, and a backslash before each quote and backslash in it
/// (`grub_create_loader_cmdline` in its lib/cmdline.c), while the kernel knows no backslash. So the quotes of `key="a value"` are left to
/// GRUB, which writes `"key=a value"`: the same to the kernel.
///
/// # Errors
/// `Unsupported` for an argument with a backslash or a single quote, or with double quotes around a part of its value.
pub fn kernel_words(cmdline: &KernelCmdline) -> Result<String> {
    let words: Vec<_> = cmdline.iter().map(kernel_word).collect::<Result<_>>()?;
    Ok(words.join(" "))
}

fn kernel_word(arg: &KernelArg) -> Result<String> {
    let text = arg.as_str();
    let bare = match text.split_once('=') {
        Some((key, value)) => format!("{key}={}", unwrapped(value)),
        None => unwrapped(text).to_owned(),
    };
    let bare = if text.starts_with('"') { unwrapped(text).to_owned() } else { bare };
    if bare.contains(['"', '\'', '\\']) {
        return Err(Error::unsupported(format!("GRUB cannot pass the kernel argument {text} on unchanged"))
            .with_hint(
                "write it without backslashes and single quotes, with double quotes around all of its value",
            ));
    }
    Ok(quoted(&bare))
}

fn unwrapped(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

/// The words for `chainloader` that a UKI sees as `cmdline`: that command joins them with spaces and changes nothing.
pub fn chainload_words(cmdline: &KernelCmdline) -> String {
    let words: Vec<_> = cmdline.iter().map(|arg| quoted(arg.as_str())).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What GRUB reads as one word, by the rules in its manual.
    fn word(script: &str) -> String {
        let (mut out, mut chars, mut quoted) = (String::new(), script.chars(), false);
        while let Some(c) = chars.next() {
            match c {
                '\'' => quoted = !quoted,
                '\\' if !quoted => out.extend(chars.next()),
                c => {
                    assert!(quoted, "{c:?} is not quoted in {script:?}");
                    out.push(c);
                }
            }
        }
        out
    }

    #[test]
    fn quotes_around_a_value_are_left_to_grub() {
        let words = |text: &str| kernel_words(&text.parse().unwrap());
        assert_eq!(words("rw a=\"b c\" d=\"$x\"").unwrap(), "'rw' 'a=b c' 'd=$x'");
        assert_eq!(words("\"a=b c\"").unwrap(), "'a=b c'");
        for bad in ["a=b\\c", "a='b'", "a=x\"b c\"", "a=\"b\"c\"d\""] {
            words(bad).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn quoted_text_is_one_word_with_the_same_meaning(text in "\\PC{0,40}") {
            let script = quoted(&text);
            let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            prop_assert_eq!(word(&script), clean);
            prop_assert!(!script.contains('\n'));
        }
    }
}
