//! Shows progress: bars on a terminal, lines elsewhere, JSON lines for programs.

mod bars;
mod json;
mod lines;

use std::{fs::OpenOptions, io::IsTerminal, sync::Arc};

use bootwright_core::{
    IoContext, Result,
    model::{NoProgress, Progress, ProgressEvent},
};

use crate::args::GlobalOptions;

/// The progress display that the options ask for.
///
/// # Errors
/// `NotFound` if the file descriptor of `--progress-fd` is not open.
pub fn choose(options: &GlobalOptions) -> Result<Arc<dyn Progress>> {
    let for_people: Arc<dyn Progress> = if options.quiet {
        Arc::new(NoProgress)
    } else if std::io::stderr().is_terminal() {
        Arc::new(bars::Bars::new())
    } else {
        Arc::new(lines::Lines::new(std::io::stderr()))
    };
    let Some(fd) = options.progress_fd else { return Ok(for_people) };
    // By its path, not by its number: no claim on a descriptor that something else in this process may use.
    let path = format!("/proc/self/fd/{fd}");
    let file = OpenOptions::new()
        .append(true)
        .open(&path)
        .context_io(|| format!("write progress to file descriptor {fd}"))?;
    Ok(Arc::new(Both(for_people, Arc::new(json::JsonLines::new(file)))))
}

/// Tells two displays.
#[derive(Debug)]
struct Both(Arc<dyn Progress>, Arc<dyn Progress>);

impl Progress for Both {
    fn report(&self, event: ProgressEvent) {
        self.0.report(event.clone());
        self.1.report(event);
    }
}

/// Full 256-bit digests say no more to people than their first digits.
fn shorten(text: &str) -> String {
    let shorter = |word: &str| match word.rsplit_once(':').map_or(word, |(_, hex)| hex) {
        hex if hex.len() >= 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
            hex.chars().take(12).collect()
        }
        _ => word.to_owned(),
    };
    text.split(' ').map(shorter).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_shortened_and_other_words_are_not() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        assert_eq!(shorten(&format!("layer {digest} of 3")), "layer abababababab of 3");
        assert_eq!(shorten("docker://host:5000/x:1"), "docker://host:5000/x:1");
    }
}
