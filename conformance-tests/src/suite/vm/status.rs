//! From `status --json` to what cases compare.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::suite::{Left, Shown, SystemStatus};

/// Reads the document.
///
/// # Errors
/// When it is not JSON.
pub fn parse(text: &str) -> Result<SystemStatus> {
    let document: Value = serde_json::from_str(text).with_context(|| format!("not JSON: {text}"))?;
    let at = |pointer: &str| document.pointer(pointer).filter(|value| !value.is_null());
    let slot = |name: &str| at(&format!("/status/{name}")).map(shown);
    let flag = |pointer: &str| at(pointer).and_then(Value::as_bool).unwrap_or_default();
    let word = |pointer: &str| at(pointer).and_then(Value::as_str).map(str::to_owned);
    let list = |pointer: &str| at(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    Ok(SystemStatus {
        booted: slot("booted"),
        staged: slot("staged"),
        on_hold: flag("/status/staged/downloadOnly"),
        rollback: slot("rollback"),
        rollback_queued: flag("/status/rollbackQueued"),
        finalization_missed: flag("/status/bootwright/finalizationMissed"),
        others: list("/status/otherDeployments").iter().map(shown).collect(),
        default: word("/status/bootwright/default"),
        abandoned: list("/status/bootwright/abandoned").iter().map(left).collect(),
        foreign: words(&list("/status/bootwright/foreignEntries")),
        chosen: word("/status/bootwright/chosenEntry"),
        interrupted: word("/status/bootwright/interrupted"),
    })
}

fn words(list: &[Value]) -> Vec<String> {
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn left(entry: &Value) -> Left {
    let word = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    Left { version: word("version"), reason: word("message") }
}

fn shown(entry: &Value) -> Shown {
    let word = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let flag = |pointer: &str| entry.pointer(pointer).and_then(Value::as_bool).unwrap_or_default();
    let tries = entry.pointer("/bootwright/triesLeft").and_then(Value::as_u64);
    let conflicts = entry.pointer("/bootwright/etcConflicts").and_then(Value::as_array);
    Shown {
        id: word("/bootwright/deploymentId").unwrap_or_default(),
        version: word("/image/version").unwrap_or_default(),
        pinned: flag("/pinned"),
        tries_left: tries.and_then(|tries| u32::try_from(tries).ok()),
        problem: word("/bootwright/problem"),
        verified: flag("/bootwright/verified"),
        etc_conflicts: conflicts.map(|list| words(list)).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_staged_deployment_on_hold_is_seen() {
        let text = r#"{"status":{"staged":{"downloadOnly":true,"pinned":false,"image":{"version":"v2"},
            "bootwright":{"deploymentId":"d","triesLeft":3}},"booted":null,"rollbackQueued":false}}"#;
        let status = parse(text).unwrap();
        let staged = status.staged.unwrap();
        assert!(status.on_hold && status.booted.is_none());
        assert_eq!((staged.id.as_str(), staged.version.as_str(), staged.tries_left), ("d", "v2", Some(3)));
    }
}
