//! What is published, for core.

use bootwright_core::{
    Result,
    boot_files::{addon_cmdline, removable_path},
    context::BootContext,
    efi::load_option::variable_name,
    fs::Root,
    model::{BootState, KernelCmdline, PublishedEntry},
    uki::UkiInfo,
};

use crate::{
    names::{FOLDER, UkiName},
    removable::Removable,
    seen::{Listed, Seen},
};

/// Reads files and variables.
pub fn read(context: &BootContext) -> Result<BootState> {
    let seen = Seen::load(context)?;
    let mut state = BootState { generation: seen.generation(), ..BootState::default() };
    for listed in seen.entries() {
        state.entries.push(published(&context.esp, &seen, &listed)?);
    }
    if let (true, Removable::Ours { name, .. }) = (seen.by_order || seen.armed().is_some(), &seen.removable) {
        state.also_bootable.insert(name.deployment.clone());
    }
    if let Some(firmware) = &seen.firmware {
        let once = firmware.next.filter(|number| firmware.order.contains(number));
        state.one_shot =
            once.and_then(|n| firmware.ours.get(&n)).map(|option| option.name.id()).transpose()?;
        let current = firmware.current.and_then(|number| firmware.ours.get(&number));
        state.started = current.map(|option| option.name.deployment.clone());
        let name = |(number, text): (&u16, &String)| {
            format!("{} {text}", variable_name(*number)).trim_end().to_owned()
        };
        state.foreign.extend(firmware.foreign.iter().map(name));
    }
    state.foreign.extend(foreign_files(&context.esp)?);
    Ok(state)
}

fn published(esp: &Root, seen: &Seen, listed: &Listed) -> Result<PublishedEntry> {
    // Where the removable-media path decides, its copy is what boots.
    let is_default = seen.base.first().is_some_and(|first| first.name == listed.name);
    let path = if is_default && !seen.by_order && listed.tries.is_none() {
        removable_path()
    } else {
        listed.name.path()
    };
    let (cmdline, unreadable) = match look(esp, &path) {
        Ok((_, line)) => (Some(line), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let (title, version) = describe(esp, seen, &listed.name);
    Ok(PublishedEntry {
        id: listed.name.id()?,
        deployment: listed.name.deployment.clone(),
        title,
        version,
        cmdline,
        tries_left: listed.tries.map(|tries| tries.left),
        tries_done: listed.tries.map(|tries| tries.done),
        problem: listed.problem.clone().or(unreadable),
    })
}

/// Title and version of a UKI: as noted when it was published, else as it says itself, else as its boot option says.
pub fn describe(esp: &Root, seen: &Seen, name: &UkiName) -> (String, Option<String>) {
    if let Some(note) = seen.notes.line(name) {
        return (note.title.clone(), note.version.clone());
    }
    let info = look(esp, &name.path()).ok().map(|(info, _)| info);
    let value = |key| info.as_ref().and_then(|info: &UkiInfo| info.os_release_value(key));
    let option = || {
        let firmware = seen.firmware.as_ref()?;
        Some(firmware.ours.get(&firmware.option_for(name)?)?.title.clone())
    };
    (value("PRETTY_NAME").or_else(option).unwrap_or_else(|| name.stem()), value("IMAGE_VERSION"))
}

/// What a UKI says about itself, and the command line with what its addons append.
fn look(esp: &Root, path: &str) -> Result<(UkiInfo, KernelCmdline)> {
    let missing = || bootwright_core::Error::not_found(format!("{path} is missing"));
    let mut file = esp.open_file(path)?.ok_or_else(missing)?;
    let info = UkiInfo::from_reader(&mut file)?;
    let mut line = info.cmdline();
    addon_cmdline(esp, path)?.iter().for_each(|arg| line.push(arg.clone()));
    Ok((info, line))
}

fn foreign_files(esp: &Root) -> Result<Vec<String>> {
    let visible = |file: &String| !file.starts_with('.') && file.to_ascii_lowercase().ends_with(".efi");
    let foreign =
        esp.list(FOLDER)?.into_iter().filter(|file| visible(file) && UkiName::parse_file(file).is_none());
    Ok(foreign.map(|file| format!("{FOLDER}/{file}")).collect())
}
