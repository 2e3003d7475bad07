//! No line of code in core and cli names a plugin: that is what keeps them N + M instead of N x M.

use super::{Input, code::without_comments, policy::PluginNames};
use crate::workspace::SourceFile;

/// The folders that must not.
const FOLDERS: [&str; 2] = ["core/src/", "cli/src/"];

/// Lines that do, and exceptions that nothing needs.
pub fn check(input: &Input) -> Vec<String> {
    let names = &input.policy.plugin_names;
    let rust = |file: &&SourceFile| file.is("rs") && FOLDERS.iter().any(|f| file.path.starts_with(f));
    let found: Vec<_> = input.sources.iter().filter(rust).flat_map(|file| places(file, names)).collect();
    let covered = |place: &Place| names.exceptions.iter().any(|e| e.covers(&place.path, &place.word));
    let mut problems: Vec<_> = found.iter().filter(|place| !covered(place)).map(Place::show).collect();
    for exception in &names.exceptions {
        if !found.iter().any(|place| exception.covers(&place.path, &place.word)) {
            problems
                .push(format!("the exception for {} ({}) covers nothing", exception.path, exception.reason));
        }
    }
    problems
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

fn places(file: &SourceFile, names: &PluginNames) -> Vec<Place> {
    let code = without_comments(&file.text);
    let in_line = |(index, line): (usize, &str)| {
        let words = names.words.iter().filter(|word| has_word(line, word));
        words
            .map(|word| Place { path: file.path.clone(), line: index + 1, word: word.clone() })
            .collect::<Vec<_>>()
    };
    code.lines().enumerate().flat_map(in_line).collect()
}

/// Whether `word` stands alone in `line`, whatever its case. A longer name such as that of a system package is another word.
fn has_word(line: &str, word: &str) -> bool {
    let line = line.to_ascii_lowercase();
    let inside = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    line.match_indices(&word.to_ascii_lowercase()).any(|(at, found)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + found.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(inside) && !after.is_some_and(inside)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_words_count() {
        assert!(has_word("use some_store as x", "some_store"));
        assert!(has_word(r#"if name == "Store" {"#, "store"));
        assert!(!has_word("stored(store_x, store-efi, restore)", "store"));
    }

    #[test]
    fn a_name_in_a_comment_is_no_problem() {
        let names = PluginNames { words: vec!["grub".to_owned()], exceptions: Vec::new() };
        let file = |text: &str| SourceFile { path: "a.rs".to_owned(), text: text.to_owned() };
        assert!(places(&file("// as grub does\nfn f() {}"), &names).is_empty());
        let found = places(&file("//!\nlet x = \"grub\"; // y"), &names);
        assert_eq!(found.iter().map(|place| place.line).collect::<Vec<_>>(), [2]);
    }
}
