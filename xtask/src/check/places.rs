//! No source file names the host of a package registry, or a path that exists on one machine only.
//!
//! Mirrors and registries are the user's choice, and what works only on the machine of its author works nowhere.

use super::Input;
use crate::workspace::SourceFile;

/// Cargo's own records, which name its registry in every entry.
const LOCKS: [&str; 2] = ["Cargo.lock", "fuzz/Cargo.lock"];

/// Hosts, taken apart so that this file passes its own check.
const HOSTS: [(&str, &str); 14] = [
    ("crates", "io"),
    ("docker", "io"),
    ("quay", "io"),
    ("ghcr", "io"),
    ("gcr", "io"),
    ("registry.npmjs", "org"),
    ("pypi", "org"),
    ("deb.debian", "org"),
    ("ftp.debian", "org"),
    ("security.debian", "org"),
    ("archive.ubuntu", "com"),
    ("fedoraproject", "org"),
    ("proxy.golang", "org"),
    ("public.ecr", "aws"),
];

/// Folders of developers: a source file has no business there. `~/.…` of root as well.
const FOLDERS: [(&str, &str); 4] = [("/wor", "k/"), ("/hom", "e/"), ("/root", "/."), ("/Use", "rs/")];

/// Lines that do.
pub fn check(input: &Input) -> Vec<String> {
    let needles = needles();
    let files = input.sources.iter().filter(|file| !LOCKS.contains(&file.path.as_str()));
    files.flat_map(|file| in_file(file, &needles)).collect()
}

fn needles() -> Vec<String> {
    let hosts = HOSTS.iter().map(|(name, domain)| format!("{name}.{domain}"));
    hosts.chain(FOLDERS.iter().map(|(start, end)| format!("{start}{end}"))).collect()
}

fn in_file(file: &SourceFile, needles: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for needle in needles.iter().filter(|needle| stands_alone(line, needle)) {
            problems.push(format!("{}:{}: names {needle}", file.path, index + 1));
        }
    }
    problems
}

/// A needle at the start of a name or path, not in the middle of a longer one: such a folder below another is no problem.
fn stands_alone(line: &str, needle: &str) -> bool {
    line.match_indices(needle).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|c| {
            c.is_alphanumeric() || c == '-' || (needle.starts_with('/') && "}_.".contains(c))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> usize {
        let file = SourceFile { path: "a".to_owned(), text: text.to_owned() };
        in_file(&file, &needles()).len()
    }

    #[test]
    fn hosts_are_found_inside_addresses() {
        assert_eq!(problems(&["docker://quay.", "io/a/b"].concat()), 1);
        assert_eq!(problems(&["https://index.crates.", "io/"].concat()), 1);
        assert_eq!(problems("docker://registry.test/a\nregistry.example"), 0);
    }

    #[test]
    fn folders_of_one_machine_are_found() {
        assert_eq!(problems(&["see /hom", "e/me/x\n/wor", "k/y"].concat()), 2);
        assert_eq!(problems(&["/var/hom", "e/core, {folder}/wor", "k/x"].concat()), 0);
    }
}
