//! `plugins`: what this program can work with, as a table or as JSON.

use std::fmt::Write as _;

use bootwright_core::{
    capability::Capability,
    registry::{self, BackendPlugin, BootloaderPlugin},
};
use serde::Serialize;

/// One plugin, for both forms.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    summary: &'static str,
    capabilities: Vec<Capability>,
    #[serde(rename = "rootFilesystems", skip_serializing_if = "Option::is_none")]
    root_filesystems: Option<&'static [&'static str]>,
}

#[derive(Debug, Serialize)]
struct Listing {
    backends: Vec<Row>,
    bootloaders: Vec<Row>,
}

fn backend(plugin: &BackendPlugin) -> Row {
    Row {
        name: plugin.name,
        summary: plugin.summary,
        capabilities: plugin.capabilities_here().list(),
        root_filesystems: Some(plugin.capabilities.root_filesystems),
    }
}

fn bootloader(plugin: &BootloaderPlugin) -> Row {
    let capabilities = plugin.capabilities.list();
    Row { name: plugin.name, summary: plugin.summary, capabilities, root_filesystems: None }
}

fn listing() -> Listing {
    Listing {
        backends: registry::backends().into_iter().map(backend).collect(),
        bootloaders: registry::bootloaders().into_iter().map(bootloader).collect(),
    }
}

/// As JSON.
///
/// # Errors
/// None in practice: the listing is plain data.
pub fn json() -> bootwright_core::Result<String> {
    super::to_json(&listing())
}

/// For people.
pub fn table() -> String {
    let listing = listing();
    let mut text = String::new();
    for (title, rows) in [("Storage backends", &listing.backends), ("Bootloaders", &listing.bootloaders)] {
        let _ = writeln!(text, "{title}");
        if rows.is_empty() {
            let _ =
                writeln!(text, "  none: a plugin is added by building with the cargo feature of its name");
        }
        for row in rows {
            describe(&mut text, row);
        }
    }
    text
}

fn describe(text: &mut String, row: &Row) {
    let named = |present| {
        let names =
            row.capabilities.iter().filter(move |c| c.present == present).map(|c| c.name.replace('_', "-"));
        names.collect::<Vec<_>>().join(", ")
    };
    let _ = writeln!(text, "  {:<14} {}", row.name, row.summary);
    for (title, names) in [("can", named(true)), ("cannot", named(false))] {
        if !names.is_empty() {
            let _ = writeln!(text, "  {:<14} {title}: {names}", "");
        }
    }
    if let Some(filesystems) = row.root_filesystems {
        let _ = writeln!(text, "  {:<14} root file systems: {}", "", filesystems.join(", "));
    }
}
