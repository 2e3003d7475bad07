//! The same for people.

use std::fmt::Write as _;

use bootwright_core::engine::{DeploymentStatus, Status};

/// Several lines: what runs, what waits, what one can go back to, and what needs attention.
pub fn text(status: &Status, program: &str) -> String {
    let mut out = String::new();
    if status.booted.is_none() && status.default.is_none() {
        let _ = writeln!(out, "This system was not installed by {program}.");
        return out;
    }
    head(&mut out, status);
    for (role, one) in roles(status) {
        describe(&mut out, status, role, one);
    }
    attention(&mut out, status, program);
    out
}

fn head(out: &mut String, status: &Status) {
    let Some(system) = &status.system else { return };
    let verity = if system.allow_missing_verity { ", verification not enforced" } else { "" };
    let _ = writeln!(out, "Backend {}, bootloader {}{verity}", system.backend, system.bootloader);
}

fn roles(status: &Status) -> Vec<(&'static str, &DeploymentStatus)> {
    let staged = if status.staged_on_hold { "downloaded" } else { "staged" };
    let rollback = if status.rollback_queued { "rollback, boots next" } else { "rollback" };
    let named = [(staged, &status.staged), ("booted", &status.booted), (rollback, &status.rollback)];
    let named = named.into_iter().filter_map(|(role, one)| Some((role, one.as_ref()?)));
    named.chain(status.others.iter().map(|one| ("other", one))).collect()
}

fn describe(out: &mut String, status: &Status, role: &str, one: &DeploymentStatus) {
    let is_booted = status.booted.as_ref().is_some_and(|b| b.deployment.id == one.deployment.id);
    let mark = if is_booted { '*' } else { ' ' };
    let image = &one.deployment.image;
    let _ = writeln!(out, "\n{mark} {role}: {}", one.deployment.origin);
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "    {name:<11} {value}");
    };
    let version = [image.version.as_deref(), image.created.as_deref()].into_iter().flatten();
    let version = version.collect::<Vec<_>>().join(", ");
    if !version.is_empty() {
        line("version", &version);
    }
    line("digest", image.manifest_digest.as_str());
    line("deployment", one.deployment.id.as_str());
    line("root", if one.deployment.verified { "verified by the kernel" } else { "not verified" });
    if one.is_pinned() {
        line("pinned", "yes");
    }
    if !one.record.user_args.is_empty() {
        line("arguments", &one.record.user_args.to_string());
    }
    for (name, value) in conditions(one) {
        line(name, &value);
    }
}

/// What is not as it should be with one deployment.
fn conditions(one: &DeploymentStatus) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    match one.entry.as_ref().and_then(|entry| entry.tries_left) {
        Some(0) => found.push(("tries", "none left: it never reached a good boot".to_owned())),
        Some(n) => found.push(("tries", format!("{n} left until it must have reached a good boot"))),
        None => {}
    }
    if let Some(problem) = one.entry.as_ref().and_then(|entry| entry.problem.as_ref()) {
        found.push(("problem", problem.clone()));
    }
    if !one.record.etc_conflicts.is_empty() {
        let paths = one.record.etc_conflicts.join(", ");
        found.push(("conflicts", format!("the local file won over the image's in /etc: {paths}")));
    }
    found
}

fn attention(out: &mut String, status: &Status, program: &str) {
    let mut notes = Vec::new();
    if status.finalization_missed {
        notes.push(format!(
            "The last shutdown did not finish: the staged deployment does not boot yet. Reboot, or run `{program} upgrade`."
        ));
    }
    if status.staged_on_hold {
        notes.push(format!("The downloaded deployment waits for `{program} upgrade`."));
    }
    if let Some(intent) = &status.interrupted {
        notes.push(format!(
            "An interrupted {} will be recovered by the next command that writes.",
            intent.operation
        ));
    }
    for left in &status.abandoned {
        let version = left.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        notes.push(format!(
            "The image{version} ({}) {} ({}). `{program} upgrade` waits for another one; with --retry it tries this one again.",
            left.image_digest.short(),
            left.reason,
            left.when,
        ));
    }
    if let Some(choice) = &status.choice {
        notes.push(format!(
            "{} boots by default, whatever is first here: {} says so. To undo that: {}.",
            choice.entry, choice.by, choice.undo
        ));
    }
    if !status.foreign.is_empty() {
        notes.push(format!("Boot entries of others, left alone: {}", status.foreign.join(", ")));
    }
    if !notes.is_empty() {
        let _ = write!(out, "\n{}\n", notes.join("\n"));
    }
}
