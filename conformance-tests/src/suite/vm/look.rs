//! Answers of the guest's program, read as a person reads them.

use bootwright_core::ErrorKind;

use crate::{
    suite::{FsckFindings, Refusal, Trouble, Upgraded},
    vm::Output,
};

/// What the program refused, from its first line: `error (kind): …`.
pub fn refusal(output: &Output) -> Trouble {
    let text = output.stderr_text();
    let named = text.lines().find_map(|line| line.strip_prefix("error (")?.split_once("): "));
    let kind = named.and_then(|(kind, _)| ErrorKind::ALL.into_iter().find(|known| known.as_str() == kind));
    match kind {
        Some(kind) => Trouble::Refused(Refusal { kind, text }),
        None => Trouble::World(anyhow::anyhow!(
            "`{}` ended with {} and said no kind of error: {text}",
            output.command,
            output.status
        )),
    }
}

/// What an upgrade did, from its first word.
///
/// # Errors
/// `World` if it is none of the known ones.
pub fn upgraded(output: &Output) -> Result<Upgraded, Trouble> {
    let text = output.stdout_text();
    let outcomes = [
        ("No change", Upgraded::UpToDate),
        ("Available", Upgraded::Available),
        ("Not staged", Upgraded::Abandoned),
        ("Staged", Upgraded::Staged),
        ("Downloaded", Upgraded::Downloaded),
    ];
    let found = outcomes.into_iter().find(|(word, _)| text.lines().any(|line| line.starts_with(word)));
    found
        .map(|(_, outcome)| outcome)
        .ok_or_else(|| Trouble::World(anyhow::anyhow!("an upgrade said nothing known: {text}")))
}

/// The lines of `fsck` before the sum.
pub fn findings(output: &Output) -> FsckFindings {
    let text = output.stdout_text();
    let sum = |line: &&str| !line.contains(" objects checked, ");
    FsckFindings { problems: text.lines().filter(sum).map(str::to_owned).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(status: i32, stdout: &str, stderr: &str) -> Output {
        let (stdout, stderr) = (stdout.as_bytes().to_vec(), stderr.as_bytes().to_vec());
        Output { command: "bootwright".to_owned(), status, stdout, stderr }
    }

    #[test]
    fn the_kind_of_a_refusal_is_read_from_its_first_line() {
        let said = output(1, "", "a warning\nerror (no space): the ESP has 1 MiB free\nnothing was changed");
        let Trouble::Refused(refusal) = refusal(&said) else { panic!("not a refusal") };
        assert_eq!(refusal.kind, ErrorKind::NoSpace);
    }

    #[test]
    fn a_crash_is_not_taken_for_a_refusal() {
        assert!(matches!(refusal(&output(101, "", "thread panicked")), Trouble::World(_)));
    }

    #[test]
    fn problems_are_all_lines_but_the_sum() {
        let said = output(1, "objects/aa: changed (needed by d)\n10 objects checked, 1 problems\n", "");
        assert_eq!(findings(&said).problems, ["objects/aa: changed (needed by d)"]);
    }
}
