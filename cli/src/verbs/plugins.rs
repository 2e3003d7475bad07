//! Which plugin does the work: named by the person, by what is installed, by the distribution, or the only one there is.

use bootwright_core::{
    Error, Result,
    registry::{self, BackendPlugin, BootloaderPlugin},
};

/// The backend for a new system.
///
/// # Errors
/// `NotFound` for an unknown name; `InvalidInput`, listing what is compiled in, if there is no telling which.
pub fn backend_for_install(asked: Option<&str>, default: Option<&str>) -> Result<&'static BackendPlugin> {
    match asked.or(default) {
        Some(name) => registry::backend(name),
        None => only(&registry::backends(), |plugin| plugin.name, "storage backend", "--backend"),
    }
}

/// The bootloader for a new system.
///
/// # Errors
/// As [`backend_for_install`].
pub fn bootloader_for_install(
    asked: Option<&str>,
    default: Option<&str>,
) -> Result<&'static BootloaderPlugin> {
    match asked.or(default) {
        Some(name) => registry::bootloader(name),
        None => only(&registry::bootloaders(), |plugin| plugin.name, "bootloader", "--boot"),
    }
}

fn only<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str, what: &str, option: &str) -> Result<T> {
    if let [one] = all {
        return Ok(*one);
    }
    let names: Vec<_> = all.iter().map(|plugin| name(*plugin)).collect();
    if names.is_empty() {
        return Err(Error::unsupported(format!("this program was built without any {what}"))
            .with_hint("build it with the cargo feature of one"));
    }
    Err(Error::invalid(format!("which {what} is to be used was not said"))
        .with_hint(format!("choose one with {option}: {}", names.join(", "))))
}

/// The one plugin that finds its own traces; `None` if none does.
///
/// # Errors
/// `Integrity` if several do: guessing could damage a system.
pub fn detected<T: Copy>(
    all: &[T],
    name: impl Fn(T) -> &'static str,
    what: &str,
    detect: impl Fn(T) -> Result<bool>,
) -> Result<Option<T>> {
    let mut found = Vec::new();
    for plugin in all {
        if detect(*plugin)? {
            found.push(*plugin);
        }
    }
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        several => {
            let names: Vec<_> = several.iter().map(|plugin| name(*plugin)).collect();
            Err(Error::integrity(format!(
                "the system has traces of more than one {what}: {}",
                names.join(", ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use bootwright_core::ErrorKind;

    use super::*;

    #[test]
    fn the_only_plugin_is_the_default_and_two_are_none() {
        assert_eq!(only(&["a"], |name| name, "thing", "--thing").unwrap(), "a");
        let error = only(&["a", "b"], |name| name, "thing", "--thing").unwrap_err();
        assert!(error.hint().unwrap().contains("--thing: a, b"), "{error:?}");
        assert_eq!(only(&[], |name| name, "thing", "--thing").unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn traces_of_two_plugins_are_not_guessed_about() {
        let detect = |all: &[&'static str]| detected(all, |name| name, "thing", |name| Ok(name != "c"));
        assert_eq!(detect(&["a", "c"]).unwrap(), Some("a"));
        assert_eq!(detect(&["c"]).unwrap(), None);
        assert!(detect(&["a", "b"]).unwrap_err().message().contains("a, b"));
    }
}
