//! GRUB's configuration, written anew for each plan: comment lines for us, and a script for GRUB.
//!
//! No `blscfg`: not every distribution's GRUB has that command. No `set fallback=<id>`: GRUB knows only numbers there.

use std::{collections::BTreeMap, fmt::Write as _};

use bootwright_core::{Result, boot_files, model::EntryId};
use serde::{Deserialize, Serialize};

use crate::{
    entry::{Counter, EntryRecord, GOOD, Program},
    places::Place,
    quote::{chainload_words, kernel_words, quoted},
};

/// Begins the comment line that describes the plan.
pub const PLAN_LINE: &str = "#bootwright-plan: ";
/// Begins the comment line that describes an entry.
pub const ENTRY_LINE: &str = "#bootwright-entry: ";
/// The last line: a configuration without it was cut short.
pub const END_LINE: &str = "#bootwright-end";
/// The variable that remembers which plan's one-shot boot has happened.
pub const ONCE: &str = "bw_once";

/// What a plan says besides its entries.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PlanLine {
    /// Its generation.
    pub generation: u64,
    /// How many entries follow: fewer are damage.
    pub entries: usize,
    /// The entry to boot once.
    pub once: Option<EntryId>,
}

const HEAD: &str = "# Written by Bootwright, and replaced whenever it changes what boots.\n\
                    # Settings of your own belong into custom.cfg in this folder.\n";

/// Where the script looks for what an administrator has set, and for a password as `grub2-setpassword` writes it. A password
/// guards the editing of entries and GRUB's command line; booting what is there stays free.
const ADMINISTRATOR: &str = r#"for bw_dir in "($bw_esp)/EFI/bootwright" "($bw_boot)/grub2" "($bw_boot)/grub" "($bw_root)/boot/grub2" "($bw_root)/boot/grub"; do
  if [ -f "$bw_dir/user.cfg" ]; then
    source "$bw_dir/user.cfg"
  fi
  if [ -f "$bw_dir/custom.cfg" ]; then
    source "$bw_dir/custom.cfg"
  fi
done
if [ -n "$GRUB2_PASSWORD" ]; then
  set superusers='root'
  export superusers
  password_pbkdf2 root "$GRUB2_PASSWORD"
fi
"#;

/// Writes the configuration.
///
/// `markers` are the files by which the script finds the file systems that entries are on.
///
/// # Errors
/// `Unsupported` for kernel arguments that GRUB cannot pass on; `Internal` never in practice.
pub fn render(plan: &PlanLine, entries: &[EntryRecord], markers: &BTreeMap<Place, String>) -> Result<String> {
    let mut text = HEAD.to_owned();
    let _ = writeln!(text, "{PLAN_LINE}{}", json(plan)?);
    for entry in entries {
        let _ = writeln!(text, "{ENTRY_LINE}{}", json(entry)?);
    }
    find_places(&mut text, markers);
    load_variables(&mut text, entries);
    choose(&mut text, plan, entries);
    let numbers: Vec<_> = (0..entries.len()).map(|number| number.to_string()).collect();
    let _ = writeln!(text, "set fallback='{}'", numbers.join(" "));
    text.push_str("set timeout_style='hidden'\nset timeout='1'\n");
    text.push_str(ADMINISTRATOR);
    for entry in entries {
        menu_entry(&mut text, entry)?;
    }
    let mut text = boot_files::seal(&text);
    let _ = writeln!(text, "{END_LINE}");
    Ok(text)
}

fn json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| bootwright_core::Error::internal("describe a boot entry").with_source(error))
}

/// The early configuration leaves the ESP in `root`. The other file systems are looked for on its disk first: a copy of the disk may be
/// attached to the same machine.
fn find_places(text: &mut String, markers: &BTreeMap<Place, String>) {
    text.push_str("set bw_esp=\"$root\"\nregexp --set=1:bw_disk '^([^,]*)' \"$root\"\n");
    for (place, marker) in markers.iter().filter(|(place, _)| **place != Place::Esp) {
        let (variable, marker) = (place.variable(), quoted(marker));
        let _ = writeln!(text, "search --no-floppy --file --set={variable} --hint \"$bw_disk,\" {marker}");
    }
}

/// Only our variables: a block that somebody else has filled must not set any other.
fn load_variables(text: &mut String, entries: &[EntryRecord]) {
    text.push_str("set bw_env=\"($bw_esp)/EFI/bootwright/grubenv\"\nload_env --file \"$bw_env\" ");
    let counters = entries.iter().filter_map(|entry| entry.counter.as_ref());
    let names: Vec<_> = std::iter::once(ONCE).chain(counters.map(|c| c.variable.as_str())).collect();
    let _ = writeln!(text, "{}", names.join(" "));
}

/// Sets `default` to the first entry that may be booted. What cannot be counted is not tried: it could be tried for ever.
fn choose(text: &mut String, plan: &PlanLine, entries: &[EntryRecord]) {
    text.push_str("set bw_pick=''\n");
    if let Some(id) = &plan.once {
        let (generation, id) = (plan.generation, quoted(id.as_str()));
        let _ = writeln!(
            text,
            "if [ \"${ONCE}\" != '{generation}' ]; then\n  set {ONCE}='{generation}'\n  \
             if save_env --file \"$bw_env\" {ONCE}; then\n    set bw_pick={id}\n  fi\nfi"
        );
    }
    for entry in entries {
        let id = quoted(entry.id.as_str());
        let usable = match entry.program {
            Program::Uki { .. } => "[ -z \"$bw_pick\" -a \"$grub_platform\" = 'efi' ]",
            Program::Linux { .. } => "[ -z \"$bw_pick\" ]",
        };
        let _ = writeln!(text, "if {usable}; then");
        match &entry.counter {
            None => {
                let _ = writeln!(text, "  set bw_pick={id}");
            }
            Some(counter) => try_once(text, counter, &id),
        }
        text.push_str("fi\n");
    }
    if let Some(first) = entries.first() {
        let id = quoted(first.id.as_str());
        let _ = writeln!(text, "if [ -z \"$bw_pick\" ]; then\n  set bw_pick={id}\nfi");
    }
    text.push_str("set default=\"$bw_pick\"\n");
}

fn try_once(text: &mut String, counter: &Counter, id: &str) {
    let Counter { variable, tries } = counter;
    let _ = writeln!(
        text,
        "  set bw_count=''\n  if [ -z \"${variable}\" ]; then\n    set {variable}='{tries}'\n  fi\n  \
         if [ \"${variable}\" = '{GOOD}' ]; then\n    set bw_pick={id}"
    );
    for left in 1..=*tries {
        let after = left - 1;
        let _ = writeln!(
            text,
            "  elif [ \"${variable}\" = '{left}' ]; then\n    set {variable}='{after}'\n    set bw_count='1'"
        );
    }
    let _ = writeln!(
        text,
        "  fi\n  if [ -n \"$bw_count\" ]; then\n    if save_env --file \"$bw_env\" {variable}; then\n      \
         set bw_pick={id}\n    fi\n  fi"
    );
}

fn menu_entry(text: &mut String, entry: &EntryRecord) -> Result<()> {
    let title = match &entry.version {
        Some(version) if !entry.title.contains(version) => format!("{} ({version})", entry.title),
        _ => entry.title.clone(),
    };
    let (title, id, device) = (quoted(&title), quoted(entry.id.as_str()), entry.place.variable());
    let _ = writeln!(text, "menuentry {title} --id {id} --unrestricted {{\n  set root=\"${device}\"");
    match &entry.program {
        Program::Linux { kernel, initrds, devicetree } => {
            let _ = writeln!(text, "  linux {} {}", quoted(kernel), kernel_words(&entry.cmdline)?);
            if !initrds.is_empty() {
                let initrds: Vec<_> = initrds.iter().map(|path| quoted(path)).collect();
                let _ = writeln!(text, "  initrd {}", initrds.join(" "));
            }
            if let Some(path) = devicetree {
                let _ = writeln!(text, "  devicetree {}", quoted(path));
            }
        }
        Program::Uki { path, with_arguments } => {
            let words = if *with_arguments { chainload_words(&entry.cmdline) } else { String::new() };
            let _ = writeln!(text, "  chainloader {} {words}", quoted(path));
        }
    }
    text.push_str("}\n");
    Ok(())
}
