//! The switch, and what proves it good.

use bootwright_core::{Effect, Error, Result, context::BootContext, fs::ReplaceStyle, model::DeploymentId};

use crate::{
    entry::GOOD,
    menu::{CONFIG, Menu},
    stage::{Token, write_env},
};

/// Makes the staged plan the one that boots.
///
/// # Crash
/// Before the rename: all of the old plan. After it: all of the new one, its one-shot boot included.
pub fn commit(context: &BootContext, token: &Token) -> Result<()> {
    let esp = &context.esp;
    // The rename has happened if it was only the sync after it that failed.
    let effect = |error: Error| {
        let happened = esp.exists(CONFIG) && !esp.exists(&token.temporary);
        error.with_effect(if happened { Effect::Committed } else { Effect::None })
    };
    esp.move_into_place(&token.temporary, CONFIG, ReplaceStyle::Durable).map_err(effect)
}

/// Notes that the entry of `deployment` has proved good. Its last try runs with none left, so that a used up counter is no obstacle.
pub fn confirm(context: &BootContext, deployment: &DeploymentId) -> Result<()> {
    let menu = Menu::load(&context.esp)?;
    let entry = menu.entries.iter().find(|entry| &entry.deployment == deployment);
    let Some(counter) = entry.and_then(|entry| entry.counter.as_ref()) else { return Ok(()) };
    if menu.env.get(&counter.variable) == Some(GOOD) {
        return Ok(());
    }
    let mut env = menu.env.clone();
    env.set(&counter.variable, GOOD);
    write_env(&context.esp, &env)
}
