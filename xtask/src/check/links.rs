//! Every relative link in a Markdown file leads to a file that exists, and to a heading in it.

use std::path::{Component, Path};

use super::Input;
use crate::workspace::SourceFile;

/// Links that do not.
pub fn check(input: &Input) -> Vec<String> {
    let markdown = |file: &&SourceFile| file.is("md");
    let broken = |file: &SourceFile| -> Vec<String> {
        let targets = targets(&file.text);
        let broken = targets.into_iter().filter(|target| !resolves(input, file, target));
        broken.map(|target| format!("{}: the link {target:?} leads nowhere", file.path)).collect()
    };
    input.sources.iter().filter(markdown).flat_map(broken).collect()
}

/// What stands in `](…)`, outside code blocks, without links to other sites.
fn targets(text: &str) -> Vec<String> {
    let mut in_block = false;
    let mut found = Vec::new();
    for line in text.lines() {
        in_block ^= line.trim_start().starts_with("```");
        if in_block {
            continue;
        }
        let pieces = line.split("](").skip(1).filter_map(|piece| piece.split_once(')'));
        found.extend(pieces.map(|(target, _)| target.to_owned()).filter(|target| !target.contains("://")));
    }
    found
}

fn resolves(input: &Input, file: &SourceFile, target: &str) -> bool {
    let (path, heading) = target.split_once('#').map_or((target, None), |(path, name)| (path, Some(name)));
    let path = if path.is_empty() { file.path.clone() } else { normalise(&file.path, path) };
    if !input.workspace.root().join(&path).exists() {
        return false;
    }
    let other = input.sources.iter().find(|source| source.path == path);
    heading.is_none_or(|heading| other.is_some_and(|other| has_heading(&other.text, heading)))
}

/// `target` as seen from the folder of `from`, without `.` and `..`.
fn normalise(from: &str, target: &str) -> String {
    let mut parts: Vec<_> = from.split('/').collect();
    parts.pop();
    for component in Path::new(target).components() {
        match component {
            Component::Normal(name) => parts.push(name.to_str().unwrap_or_default()),
            Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    parts.join("/")
}

/// Anchors are made from headings as the usual renderers do: lower case, spaces to hyphens, punctuation dropped.
fn has_heading(text: &str, anchor: &str) -> bool {
    let slug = |heading: &str| -> String {
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
    };
    text.lines().filter(|line| line.starts_with('#')).any(|line| slug(line.trim_start_matches('#')) == anchor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_code_blocks_and_to_other_sites_are_left_alone() {
        let text = "[a](b.md) [c](https://x.test/)\n```\n[d](e.md)\n```\n[f](g.md#h)";
        assert_eq!(targets(text), ["b.md", "g.md#h"]);
    }

    #[test]
    fn targets_are_relative_to_the_file() {
        assert_eq!(normalise("docs/adr/0001.md", "../spec.md"), "docs/spec.md");
        assert_eq!(normalise("README.md", "./docs/"), "docs");
    }

    #[test]
    fn headings_become_anchors() {
        assert!(has_heading("# A\n## What works today, and how", "what-works-today-and-how"));
        assert!(!has_heading("What", "what"));
    }
}
