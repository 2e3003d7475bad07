//! What somebody chose to boot by default, over the order of the entries.
//!
//! The loader takes the first of these that names an entry: the variable `LoaderEntryOneShot`, the variable `LoaderEntryDefault`, and `default` in
//! `loader.conf`; then the first entry that has tries left (systemd, `config_select_default_entry` in src/boot/boot.c). The second is set by the key `d` in
//! its menu and by `bootctl set-default`.

use bootwright_core::{
    Result,
    context::BootContext,
    efi::{self, EfiVariables, LOADER_VENDOR},
    fs::Root,
    model::{BootChoice, DeploymentId},
};

use crate::{menu::Menu, names::EntryStem, state::variable_entry};

/// The variable of the key `d`.
const DEFAULT: &str = "LoaderEntryDefault";
/// What was started last; stands for itself where `@saved` is the default.
const LAST: &str = "LoaderEntryLastBooted";
const SAVED: &str = "@saved";
const CONF: &str = "loader/loader.conf";

/// The choice that is in force, if it is not what the order says.
///
/// An entry that is not there is none to the loader, so one of ours that is gone is no choice; whether there is one of somebody else cannot be seen here.
pub fn choice(context: &BootContext, menu: &Menu) -> Result<Option<BootChoice>> {
    let efi = &*context.efi;
    let first = menu.ours.iter().find(|found| found.listed).map(|found| found.item.name.id());
    let first = first.unwrap_or_default();
    for (pattern, by, undo) in candidates(context)? {
        let pattern = if pattern == SAVED { read(efi, LAST)?.unwrap_or_default() } else { pattern };
        if pattern.is_empty() || is_gone(menu, &pattern) {
            continue;
        }
        let same = same(&pattern, &first);
        return Ok((!same).then(|| BootChoice { entry: pattern, by: by.to_owned(), undo: undo.to_owned() }));
    }
    Ok(None)
}

/// Pattern, what it comes from, and how to undo it.
fn candidates(context: &BootContext) -> Result<Vec<(String, &'static str, &'static str)>> {
    let variable = read(&*context.efi, DEFAULT)?;
    let conf = context.esp.read_text(CONF).ok().flatten().unwrap_or_default();
    let variable =
        variable.map(|text| (text, "the firmware variable LoaderEntryDefault", "`bootctl set-default ''`"));
    let line = default_of(&conf)
        .map(|text| (text, "`default` in loader/loader.conf on the ESP", "remove that line"));
    Ok(variable.into_iter().chain(line).collect())
}

fn read(efi: &dyn EfiVariables, name: &str) -> Result<Option<String>> {
    let text = efi::read_text(efi, LOADER_VENDOR, name)?;
    Ok(text.map(|text| text.to_ascii_lowercase()).filter(|text| !text.is_empty()))
}

/// The last `default` counts.
fn default_of(conf: &str) -> Option<String> {
    let mut lines = conf.lines().filter_map(|line| line.trim().split_once(char::is_whitespace));
    lines.rfind(|(key, _)| *key == "default").map(|(_, value)| value.trim().to_ascii_lowercase())
}

fn is_gone(menu: &Menu, name: &str) -> bool {
    let ours = EntryStem::parse(name.strip_suffix(".conf").unwrap_or(name)).is_some();
    ours && !menu.ours.iter().any(|found| found.item.name.id() == name)
}

/// Whether a pattern takes the entry that comes first anyway. Of one with wildcards only the beginning is compared: it may take less.
fn same(pattern: &str, first: &str) -> bool {
    let first = first.to_ascii_lowercase();
    match pattern.find(['*', '?', '[']) {
        Some(end) => first.starts_with(pattern.get(..end).unwrap_or_default()),
        None => pattern == first,
    }
}

/// Takes back the choice of one of our entries, when another deployment is published as the default: whoever published it wants that one to boot.
///
/// # Crash
/// Either the choice is in force, and what is published comes after it; or it is gone.
pub fn give_up(efi: &dyn EfiVariables, root: &Root, published: &DeploymentId) -> Result<()> {
    let Some(id) = variable_entry(efi, DEFAULT)? else { return Ok(()) };
    match Menu::load(root)?.by_id(&id) {
        Some(found) if found.deployment() != published => efi.delete(LOADER_VENDOR, DEFAULT),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_default_line_counts() {
        assert_eq!(
            default_of("timeout 3\ndefault A.conf\n default  b*  \n#default c\n").as_deref(),
            Some("b*")
        );
        assert_eq!(default_of("# default a\ntimeout 0\n"), None);
    }

    #[test]
    fn a_pattern_is_no_choice_where_it_takes_the_first_entry() {
        assert!(same("bootwright-2-abc.conf", "bootwright-2-ABC.conf"));
        assert!(same("bootwright-*", "bootwright-2-abc.conf"));
        assert!(!same("bootwright-1-abc.conf", "bootwright-2-abc.conf"));
        assert!(!same("fedora-*", "bootwright-2-abc.conf"));
    }
}
