//! No line of code in core and cli names a plugin: that is what keeps them N + M instead of N x M.
//!
//! Which words those are cargo knows: the crates below `backends/` and `bootloaders/`, and the features of the program that turn
//! one of them on, which are the plugins' registered names (`cli/tests/plugins.rs` holds both together).

use std::{collections::BTreeSet, path::Path};

use super::{Input, code::without_comments, policy::PluginNames};
use crate::workspace::{Metadata, Package, SourceFile};

/// The folders that must not.
const FOLDERS: [&str; 2] = ["core/src/", "cli/src/"];
/// Where plugins are.
const PLUGINS: [&str; 2] = ["backends", "bootloaders"];

/// Lines that do, and exceptions that nothing needs.
pub fn check(input: &Input) -> Vec<String> {
    let words = words(input.workspace.root(), &input.metadata);
    if words.is_empty() {
        return vec!["cargo metadata has no crate of a plugin".to_owned()];
    }
    let names = &input.policy.plugin_names;
    let rust = |file: &&SourceFile| file.is("rs") && FOLDERS.iter().any(|f| file.path.starts_with(f));
    let files = input.sources.iter().filter(rust);
    let found: Vec<_> = files.flat_map(|file| places(file, &words, names)).collect();
    let covered = |place: &Place| names.exceptions.iter().any(|e| e.covers(&place.path, &place.word));
    let mut problems: Vec<_> = found.iter().filter(|place| !covered(place)).map(Place::show).collect();
    for exception in &names.exceptions {
        if !found.iter().any(|place| exception.covers(&place.path, &place.word)) {
            problems
                .push(format!("the exception for {} ({}) covers nothing", exception.path, exception.reason));
        }
    }
    let superfluous = names.terms.iter().filter(|(term, _)| !words.contains(*term));
    problems.extend(superfluous.map(|(term, why)| format!("the term {term} ({why}) is no plugin's name")));
    problems
}

/// Names of crates and plugins, as manifests and as Rust spell them. A number at the end is left out as well: `grub` is `grub2`.
fn words(root: &Path, metadata: &Metadata) -> BTreeSet<String> {
    let is_plugin = |package: &&Package| {
        PLUGINS.iter().any(|folder| package.manifest_path.starts_with(root.join(folder)))
    };
    let crates: Vec<_> = metadata.packages.iter().filter(is_plugin).map(|package| &package.name).collect();
    let ours = metadata.packages.iter().filter(|package| package.source.is_none());
    let features = ours.flat_map(|package| &package.features);
    let turns_on = |wanted: &[String]| {
        let optional = |feature: &String| feature.strip_prefix("dep:").map(str::to_owned);
        wanted.iter().filter_map(optional).any(|dependency| crates.contains(&&dependency))
    };
    let plugins = features.filter(|(_, wanted)| turns_on(wanted)).map(|(name, _)| name);
    let unnumbered = |name: &str| name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-').to_owned();
    let all = crates.iter().copied().chain(plugins).flat_map(|name| [name.clone(), unnumbered(name)]);
    all.flat_map(|name| [name.replace('-', "_"), name]).collect()
}

/// A plugin's name in code.
#[derive(Debug)]
struct Place {
    path: String,
    line: usize,
    word: String,
}

impl Place {
    fn show(&self) -> String {
        format!("{}:{}: names the plugin {}", self.path, self.line, self.word)
    }
}

fn places(file: &SourceFile, words: &BTreeSet<String>, names: &PluginNames) -> Vec<Place> {
    let code = without_comments(&file.text);
    let in_line = |(index, line): (usize, &str)| {
        let found = words.iter().filter(|word| is_named(line, word, names));
        found
            .map(|word| Place { path: file.path.clone(), line: index + 1, word: word.clone() })
            .collect::<Vec<_>>()
    };
    code.lines().enumerate().flat_map(in_line).collect()
}

/// A term that core has for something else names the plugin only where it is a whole string, as in `open("…")`.
fn is_named(line: &str, word: &str, names: &PluginNames) -> bool {
    if names.terms.contains_key(word) { line.contains(&format!("\"{word}\"")) } else { has_word(line, word) }
}

/// Whether `word` stands alone in `line`, whatever its case, or is a part of a longer name of Rust: between underscores, or up to the next
/// capital letter. What a hyphen joins, such as the name of a system package, is another word.
fn has_word(line: &str, word: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || c == '-';
    let lower = line.to_ascii_lowercase();
    lower.match_indices(&word.to_ascii_lowercase()).any(|(at, found)| {
        let (before, rest) = line.split_at(at);
        let capital = rest.starts_with(char::is_uppercase);
        let ends_before = |c: char| !inside(c) || (capital && c.is_lowercase());
        let begins_after = |c: char| !inside(c) || (c.is_uppercase() && !is_shouted(rest, found));
        before.chars().next_back().is_none_or(ends_before)
            && rest.chars().nth(found.len()).is_none_or(begins_after)
    })
}

/// Whether the word is in capital letters only: then the next capital letter begins no new one.
fn is_shouted(rest: &str, word: &str) -> bool {
    !rest.chars().take(word.len()).any(char::is_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_and_cli_of_this_repository_name_no_plugin() {
        let found = check(&Input::read(&crate::workspace::Workspace::find()).unwrap());
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    #[test]
    fn only_whole_words_count() {
        assert!(has_word("use some_store as x", "some_store"));
        assert!(has_word(r#"if name == "Store" {"#, "store"));
        assert!(!has_word("stored(store-efi, restore, STORES)", "store"));
    }

    #[test]
    fn a_name_in_a_longer_name_of_rust_counts() {
        for line in ["store_options()", "is_store(x)", "STORE_ROOT", "StoreOptions", "MyStore"] {
            assert!(has_word(line, "store"), "{line}");
        }
        assert!(has_word("bootwright_loader_store::X", "bootwright_loader_store"));
        assert!(!has_word("RESTORE_ALL", "store"));
    }

    #[test]
    fn the_words_are_those_of_crates_and_of_the_features_that_turn_them_on() {
        let text = r#"{"packages":[
            {"name":"loader-x3","version":"1.0.0","manifest_path":"/top/bootloaders/x3/Cargo.toml","features":{"odd":["dep:other"]}},
            {"name":"program","version":"1.0.0","manifest_path":"/top/cli/Cargo.toml","features":{"x-3":["dep:loader-x3"],"colour":["dep:other"]}}]}"#;
        let metadata: Metadata = serde_json::from_str(text).unwrap();
        let found = words(Path::new("/top"), &metadata);
        let expected = ["loader-x", "loader-x3", "loader_x", "loader_x3", "x", "x-3", "x_3"];
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    }

    fn file(text: &str) -> SourceFile {
        SourceFile { path: "a.rs".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_name_in_a_comment_is_no_problem() {
        let words = BTreeSet::from(["grub".to_owned()]);
        assert!(places(&file("// as grub does\nfn f() {}"), &words, &PluginNames::default()).is_empty());
        let found = places(&file("//!\nlet x = \"grub\"; // y"), &words, &PluginNames::default());
        assert_eq!(found.iter().map(|place| place.line).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_term_of_core_names_the_plugin_where_it_is_a_whole_string() {
        let words = BTreeSet::from(["uki".to_owned()]);
        let terms = std::collections::BTreeMap::from([("uki".to_owned(), "a format".to_owned())]);
        let names = PluginNames { terms, exceptions: Vec::new() };
        let text = "let uki = read_uki(\"the UKI\");\nif loader.name == \"uki\" {}";
        let found = places(&file(text), &words, &names);
        assert_eq!(found.iter().map(|place| place.line).collect::<Vec<_>>(), [2]);
    }
}
