//! Errors on the terminal: the kind, the message with its causes, what it means for the system, what would help.

use std::fmt::Write as _;

use bootwright_core::{Effect, Error};

/// Context key of an install that failed after its first write: its value is the target.
pub const INCOMPLETE: &str = "incomplete";

/// The text for an error, of several lines, ending without a line feed.
pub fn describe(error: &Error) -> String {
    let mut text = format!("error ({}): {error}", error.kind());
    for (key, value) in error.context() {
        let _ = write!(text, "\n  {key}: {value}");
    }
    if let Some(operation) = error.operation() {
        let _ = write!(text, "\n  during: {operation}");
    }
    let incomplete = error.context().iter().any(|(key, _)| *key == INCOMPLETE);
    let aftermath =
        if incomplete { "the new system is not complete and will not boot" } else { effect(error.effect()) };
    let _ = write!(text, "\n{aftermath}");
    if let Some(hint) = hint(error) {
        let _ = write!(text, "\nhint: {hint}");
    }
    text
}

fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::None => "nothing was changed",
        Effect::Partial => {
            "something was written, but what boots is unchanged; running the command again is safe"
        }
        Effect::Committed => "the new system is what boots next; only work after the switch went wrong",
    }
}

/// The outermost hint, or that of the nearest cause which has one.
fn hint(error: &Error) -> Option<&str> {
    let mut current = Some(error);
    while let Some(error) = current {
        if error.hint().is_some() {
            return error.hint();
        }
        current = std::error::Error::source(error).and_then(|source| source.downcast_ref());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failed_install_nobody_is_told_that_it_boots() {
        let error = Error::internal("x").with_effect(Effect::Committed).with_context(INCOMPLETE, "/dev/x");
        let text = describe(&error);
        assert!(text.contains("will not boot") && !text.contains("what boots next"), "{text}");
    }

    /// spec: BW-807
    #[test]
    fn message_context_effect_and_hint_have_a_line_each() {
        let cause = Error::not_found("no such tag").with_hint("tags: v1");
        let error = Error::integrity("look at the image")
            .with_source(cause)
            .with_context("image", "oci:/x")
            .with_effect(Effect::Partial);
        let text = describe(&error);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "error (integrity): look at the image: no such tag");
        assert_eq!(lines[1], "  image: oci:/x");
        assert!(lines[2].contains("what boots is unchanged"));
        assert_eq!(lines[3], "hint: tags: v1");
    }
}
