//! Workflows of continuous integration have the shape that their readers expect, and run commands that exist.
//!
//! Nobody notices a broken workflow before it is needed; what can be seen without running it is seen here. Nor does anybody notice one that
//! is green because it boots nothing: who runs the suite has to run it in virtual machines, and something has to run every test.

use std::collections::BTreeSet;

use clap::CommandFactory as _;
use serde_json::{Map, Value};

use super::Input;
use crate::workspace::SourceFile;

/// Where workflows are, ours and those that others are to copy.
const FOLDERS: [&str; 2] = [".github/workflows/", "docs/ci/"];

/// What ends a command in a shell.
const SEPARATORS: [&str; 5] = ["|", "||", "&&", ";", "&"];

/// What is wrong with them.
pub fn check(input: &Input) -> Vec<String> {
    in_sources(&input.sources)
}

fn in_sources(sources: &[SourceFile]) -> Vec<String> {
    let is_workflow = |file: &&SourceFile| {
        (file.is("yml") || file.is("yaml")) && FOLDERS.iter().any(|folder| file.path.contains(folder))
    };
    let commands = crate::Arguments::command();
    let workflows: Vec<_> = sources.iter().filter(is_workflow).collect();
    if workflows.is_empty() {
        return vec!["there is no workflow at all".to_owned()];
    }
    let in_file = |file: &&SourceFile| {
        let problems = problems(&file.text, &commands);
        problems.into_iter().map(|problem| format!("{}: {problem}", file.path)).collect::<Vec<_>>()
    };
    let mut problems: Vec<_> = workflows.iter().flat_map(in_file).collect();
    let ours = workflows.iter().filter(|file| file.path.starts_with(FOLDERS[0]));
    let parsed: Vec<Value> = ours.filter_map(|file| serde_norway::from_str(&file.text).ok()).collect();
    if !parsed.iter().flat_map(scripts).flat_map(calls).any(|call| is_whole_test(&call)) {
        problems.push(format!("{}: no job runs `cargo xtask test` without --fast", FOLDERS[0]));
    }
    problems
}

/// What all jobs of a workflow run.
fn scripts(workflow: &Value) -> Vec<&str> {
    let jobs = workflow.get("jobs").and_then(Value::as_object).into_iter().flat_map(Map::values);
    let steps = jobs.filter_map(|job| job.get("steps")?.as_array()).flatten();
    steps.filter_map(|step| step.get("run")?.as_str()).collect()
}

fn problems(text: &str, commands: &clap::Command) -> Vec<String> {
    let workflow: Value = match serde_norway::from_str(text) {
        Ok(workflow) => workflow,
        Err(error) => return vec![format!("is not YAML: {error}")],
    };
    let mut problems = Vec::new();
    for key in ["name", "on"] {
        if workflow.get(key).is_none_or(Value::is_null) {
            problems.push(format!("has no {key:?}"));
        }
    }
    let Some(jobs) = workflow.get("jobs").and_then(Value::as_object).filter(|jobs| !jobs.is_empty()) else {
        problems.push("has no jobs".to_owned());
        return problems;
    };
    for (name, job) in jobs {
        let of_job = job_problems(job, jobs, commands);
        problems.extend(of_job.into_iter().map(|problem| format!("job {name} {problem}")));
    }
    problems
}

fn job_problems(job: &Value, jobs: &Map<String, Value>, commands: &clap::Command) -> Vec<String> {
    let mut problems = Vec::new();
    for needed in words(job.get("needs")) {
        if !jobs.contains_key(needed) {
            problems.push(format!("needs the job {needed}, which does not exist"));
        }
    }
    // A job that calls another workflow has neither machine nor steps of its own.
    if job.get("uses").is_some() {
        return problems;
    }
    if words(job.get("runs-on")).is_empty() {
        problems.push("has no runs-on".to_owned());
    }
    let steps = job.get("steps").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if steps.is_empty() {
        problems.push("has no steps".to_owned());
    }
    for (index, step) in steps.iter().enumerate() {
        let of_step = step_problems(step, commands);
        problems.extend(of_step.into_iter().map(|problem| format!("step {}: {problem}", index + 1)));
    }
    problems.extend(machine_problems(steps));
    problems
}

/// A suite that boots nothing, and machines that are made ready for nothing.
fn machine_problems(steps: &[Value]) -> Vec<String> {
    let scripts: Vec<_> = steps.iter().filter_map(|step| step.get("run")?.as_str()).collect();
    let calls: Vec<_> = scripts.iter().flat_map(|script| calls(script)).collect();
    let mut problems = Vec::new();
    let is_suite = |call: &Vec<String>| call.first().is_some_and(|name| name == "conformance");
    if calls.iter().any(|call| is_suite(call) && !boots(call)) {
        problems.push("runs the suite without `--tier vm`: it boots nothing unless it is told to".to_owned());
    }
    if scripts.iter().any(|script| script.contains("/dev/kvm")) && !calls.iter().any(|call| boots(call)) {
        problems.push("prepares /dev/kvm, and boots nothing".to_owned());
    }
    problems
}

/// Whether a call of ours boots virtual machines.
fn boots(call: &[String]) -> bool {
    let of_machines = call.windows(2).any(|pair| pair == ["--tier", "vm"]);
    match call.first().map(String::as_str) {
        Some("conformance") => of_machines || call.iter().any(|word| word == "--tier=vm"),
        Some("demo" | "power-cuts") => true,
        _ => is_whole_test(call),
    }
}

fn is_whole_test(call: &[String]) -> bool {
    call.first().is_some_and(|name| name == "test") && !call.iter().any(|word| word == "--fast")
}

/// One text, or a list of them.
fn words(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(word)) => vec![word],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn step_problems(step: &Value, commands: &clap::Command) -> Vec<String> {
    match (step.get("uses").and_then(Value::as_str), step.get("run").and_then(Value::as_str)) {
        (Some(action), None) if action.contains('@') || action.starts_with("./") => Vec::new(),
        (Some(action), None) => vec![format!("the action {action} has no version")],
        (None, Some(script)) => script_problems(script, commands),
        _ => vec!["has not exactly one of `uses` and `run`".to_owned()],
    }
}

/// Commands and options of ours that do not exist.
fn script_problems(script: &str, commands: &clap::Command) -> Vec<String> {
    calls(script).iter().flat_map(|call| call_problems(call, commands)).collect()
}

/// The words after each `cargo xtask`, up to the end of the command.
fn calls(script: &str) -> Vec<Vec<String>> {
    let script = without_expressions(&script.replace("\\\n", " "));
    let mut found = Vec::new();
    for line in script.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let starts = words.windows(2).enumerate().filter(|(_, pair)| *pair == ["cargo", "xtask"]);
        for (at, _) in starts {
            let rest = words.iter().skip(at + 2).take_while(|word| !SEPARATORS.contains(word));
            found.push(rest.map(|word| (*word).to_owned()).collect());
        }
    }
    found
}

fn call_problems(arguments: &[String], commands: &clap::Command) -> Vec<String> {
    let Some((name, rest)) = arguments.split_first() else {
        return vec!["`cargo xtask` without a command".to_owned()];
    };
    let Some(command) = commands.find_subcommand(name) else {
        return vec![format!("there is no `cargo xtask {name}`")];
    };
    let passes_on = command.get_arguments().any(clap::Arg::is_trailing_var_arg_set);
    // What it does not read itself goes to the suite's own program.
    let suite = passes_on.then(bootwright_conformance::runner::Options::command);
    let mut known: BTreeSet<_> = BTreeSet::from(["help"]);
    for command in std::iter::once(command).chain(&suite) {
        known.extend(command.get_arguments().filter_map(clap::Arg::get_long));
    }
    let options =
        rest.iter().filter_map(|word| word.trim_start_matches(|c| !"-\"".contains(c)).strip_prefix("--"));
    let names =
        options.map(|option| option.split('=').next().unwrap_or_default()).filter(|name| !name.is_empty());
    names
        .filter(|option| !known.contains(option))
        .map(|option| format!("`cargo xtask {name}` has no --{option}"))
        .collect()
}

/// The script without `${{ … }}`, which is replaced before the shell sees it and may hold blanks.
fn without_expressions(script: &str) -> String {
    let mut rest = script;
    let mut text = String::new();
    while let Some((before, expression)) = rest.split_once("${{") {
        text.push_str(before);
        text.push('x');
        rest = expression.split_once("}}").map_or("", |(_, after)| after);
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_job(job: &str) -> Vec<String> {
        problems(&format!("name: x\non: push\njobs:\n  a:\n{job}"), &crate::Arguments::command())
    }

    #[test]
    fn the_workflows_of_this_repository_hold() {
        let found = in_sources(&crate::workspace::Workspace::find().sources().unwrap());
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    #[test]
    fn a_good_workflow_has_no_problems() {
        let job = "    runs-on: [self-hosted, kvm]\n    steps:\n      - uses: actions/checkout@v4\n      \
                   - run: |\n          sudo env \"PATH=$PATH\" cargo xtask test \\\n            --fast && echo --unknown\n";
        assert!(of_job(job).is_empty(), "{:?}", of_job(job));
        assert!(of_job("    uses: ./.github/workflows/b.yml\n").is_empty());
    }

    #[test]
    fn what_is_missing_is_named() {
        let found =
            of_job("    needs: [b]\n    steps:\n      - name: nothing\n      - uses: actions/checkout\n");
        let found = found.join("; ");
        for part in
            ["needs the job b", "no runs-on", "step 1: has not exactly one", "checkout has no version"]
        {
            assert!(found.contains(part), "{part}: {found}");
        }
        assert_eq!(problems("jobs: {}", &crate::Arguments::command()).len(), 3);
        assert!(problems("a: [", &crate::Arguments::command())[0].contains("not YAML"));
    }

    #[test]
    fn a_job_that_runs_the_suite_or_prepares_machines_has_to_boot_some() {
        let run = |script: &str| of_job(&format!("    runs-on: x\n    steps:\n      - run: {script}\n"));
        assert!(run("cargo xtask conformance --shard 1/4")[0].contains("without `--tier vm`"));
        assert!(run("cargo xtask conformance --tier loop --case vm")[0].contains("without `--tier vm`"));
        assert!(run("cargo xtask conformance --tier fakes --tier vm --ci").is_empty());
        assert!(run("test -w /dev/kvm && cargo xtask test --fast")[0].contains("boots nothing"));
        assert!(run("test -w /dev/kvm && cargo xtask test").is_empty());
    }

    #[test]
    fn some_job_of_ours_has_to_run_every_test() {
        let workflow = |path: &str, script: &str| SourceFile {
            path: path.to_owned(),
            text: format!(
                "name: x\non: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - run: {script}\n"
            ),
        };
        let ours = ".github/workflows/a.yml";
        assert_eq!(in_sources(&[workflow(ours, "cargo xtask test")]), Vec::<String>::new());
        assert!(in_sources(&[workflow(ours, "cargo xtask test --fast")])[0].contains("without --fast"));
        let of_others = workflow("examples/x/.github/workflows/a.yml", "cargo xtask test");
        assert_eq!(in_sources(&[workflow(ours, "cargo xtask check"), of_others]).len(), 1);
    }

    #[test]
    fn a_command_or_option_that_does_not_exist_is_found() {
        let run = |script: &str| of_job(&format!("    runs-on: x\n    steps:\n      - run: {script}\n"));
        assert!(run("${{ env.AS_ROOT }} cargo xtask tset --fast")[0].contains("no `cargo xtask tset`"));
        assert!(run("cargo xtask test --shard ${{ matrix.shard }}/4 --fast")[0].contains("no --shard"));
        assert!(run("cargo xtask test ${X:+--slow \"$X\"}")[0].contains("no --slow"));
        assert!(run("echo cargo && cargo xtask check").is_empty());
    }
}
