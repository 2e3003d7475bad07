//! Progress bars on a terminal.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bootwright_core::model::{Progress, ProgressEvent};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::shorten;

const WITH_TOTAL: &str = "{msg:30!} [{bar:30}] {bytes:>10}/{total_bytes:10} {bytes_per_sec:>12} {eta:>4}";
const WITHOUT_TOTAL: &str = "{msg:30!} {spinner} {bytes:>10} {elapsed:>4}";

/// One bar for each step that is under way.
#[derive(Debug)]
pub struct Bars {
    all: MultiProgress,
    steps: Mutex<HashMap<String, ProgressBar>>,
}

impl Bars {
    /// On standard error.
    pub fn new() -> Self {
        Self { all: MultiProgress::new(), steps: Mutex::default() }
    }

    fn start(&self, what: &str, total: Option<u64>) -> ProgressBar {
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let template = if total.is_some() { WITH_TOTAL } else { WITHOUT_TOTAL };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = self.all.add(bar.with_style(style.progress_chars("=> ")));
        bar.set_message(shorten(what));
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

impl Progress for Bars {
    fn report(&self, event: ProgressEvent) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            ProgressEvent::Started { id, what, total } => {
                if let Some(old) = steps.insert(id, self.start(&what, total)) {
                    old.finish_and_clear();
                }
            }
            ProgressEvent::Advanced { id, done } => {
                if let Some(bar) = steps.get(&id) {
                    bar.set_position(done);
                }
            }
            ProgressEvent::Finished { id, .. } => {
                if let Some(bar) = steps.remove(&id) {
                    bar.finish_and_clear();
                    self.all.remove(&bar);
                }
            }
            ProgressEvent::Message(text) => drop(self.all.println(shorten(&text))),
            _ => {}
        }
    }
}
