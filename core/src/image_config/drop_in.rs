//! Folders of TOML files that are read in the order of their names.

use serde::de::DeserializeOwned;

use crate::{
    error::{Error, Result},
    model::KernelCmdline,
    transport::architecture,
    tree::{TreeReader, TreeReaderExt},
};

/// Path and text of each `*.toml` in a folder of the image, in the order of names (by byte, as bootc sorts them).
pub(super) async fn read(tree: &dyn TreeReader, folder: &str) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    let mut names = tree.list(folder).await?;
    names.sort();
    // An exact suffix, as bootc wants it: `.TOML` is another file.
    for name in names.iter().filter(|name| name.strip_suffix(".toml").is_some_and(|stem| !stem.is_empty())) {
        let path = format!("{folder}/{name}");
        if let Some(text) = tree.read_text(&path).await? {
            files.push((path, text));
        }
    }
    Ok(files)
}

/// Reads a TOML file and warns about keys that are not in `known` (dotted paths).
///
/// # Errors
/// `InvalidInput`, naming file and line.
pub(super) fn parse<T: DeserializeOwned>(file: &str, text: &str, known: &[&str]) -> Result<T> {
    let parsed = toml::from_str(text).map_err(|error| malformed(file, text, &error))?;
    for key in unknown_keys(text, known) {
        tracing::warn!(file, key, "unknown key in the image's configuration: it has no effect");
    }
    Ok(parsed)
}

fn malformed(file: &str, text: &str, error: &toml::de::Error) -> Error {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| before.matches('\n').count() + 1);
    Error::invalid(format!("{file}, line {line}: {}", error.message()))
}

/// Dotted paths of keys that are neither known nor lead to known ones.
pub(super) fn unknown_keys(text: &str, known: &[&str]) -> Vec<String> {
    let mut unknown = Vec::new();
    if let Ok(table) = text.parse::<toml::Table>() {
        collect_unknown(&table, "", known, &mut unknown);
    }
    unknown
}

fn collect_unknown(table: &toml::Table, prefix: &str, known: &[&str], unknown: &mut Vec<String>) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        if known.contains(&path.as_str()) {
            continue;
        }
        let inside =
            |known: &&str| known.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('.'));
        match value {
            toml::Value::Table(table) if known.iter().any(inside) => {
                collect_unknown(table, &path, known, unknown);
            }
            _ => unknown.push(path),
        }
    }
}

/// Whether a file with this `match-architectures` is meant for `wanted`; one without it always is.
pub(super) fn matches(architectures: Option<&[String]>, wanted: &str) -> bool {
    architectures.is_none_or(|names| names.iter().any(|name| architecture::same(name, wanted)))
}

/// The arguments of a `kargs` list. One string may hold several, as it does in practice.
///
/// # Errors
/// `InvalidInput`, naming the file.
pub(super) fn arguments(file: &str, kargs: &[String]) -> Result<KernelCmdline> {
    let mut all = KernelCmdline::new();
    for text in kargs {
        let some: KernelCmdline = text
            .parse()
            .map_err(|error: Error| Error::invalid(format!("{file}: kargs")).with_source(error))?;
        for arg in some.iter() {
            all.push(arg.clone());
        }
    }
    Ok(all)
}
