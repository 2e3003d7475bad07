//! Progress from many threads to the one that shows it.

use tokio::sync::mpsc;

use crate::{
    error::Result,
    model::{Progress, ProgressEvent},
};

/// How many bytes pass between two events of one layer.
const STEP: u64 = 1 << 20;

/// Where workers report to. Events are lost if nobody listens any more.
#[derive(Debug, Clone)]
pub struct Events(mpsc::UnboundedSender<ProgressEvent>);

/// A sender for workers, and the other end.
pub fn channel() -> (Events, mpsc::UnboundedReceiver<ProgressEvent>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Events(sender), receiver)
}

/// Runs `work`, which reports to the events that it is given, and shows them meanwhile.
///
/// # Errors
/// Those of `work`.
pub async fn follow<T>(progress: &dyn Progress, work: impl AsyncFnOnce(&Events) -> Result<T>) -> Result<T> {
    let (events, mut arriving) = channel();
    let work = async {
        // Moved in, so that the channel ends with the work.
        let events = events;
        work(&events).await
    };
    let show = async {
        while let Some(event) = arriving.recv().await {
            progress.report(event);
        }
    };
    tokio::join!(work, show).0
}

impl Events {
    /// A line for people.
    pub fn message(&self, text: impl Into<String>) {
        self.send(ProgressEvent::Message(text.into()));
    }

    /// The store has this layer already.
    pub fn skipped(&self, id: &str) {
        self.send(ProgressEvent::Finished { id: id.to_owned(), skipped: true });
    }

    /// A layer begins.
    pub fn layer(&self, id: &str, total: u64) -> LayerProgress {
        let short = id.split_once(':').map_or(id, |(_, hex)| hex).get(..12).unwrap_or(id);
        self.send(ProgressEvent::Started {
            id: id.to_owned(),
            what: format!("layer {short}"),
            total: Some(total),
        });
        LayerProgress { events: self.clone(), id: id.to_owned(), done: 0, reported: 0 }
    }

    fn send(&self, event: ProgressEvent) {
        let _ = self.0.send(event);
    }
}

/// One layer on its way.
#[derive(Debug)]
pub struct LayerProgress {
    events: Events,
    id: String,
    done: u64,
    reported: u64,
}

impl LayerProgress {
    /// So many bytes more were read.
    pub fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        if self.done - self.reported >= STEP {
            self.reported = self.done;
            self.events.send(ProgressEvent::Advanced { id: self.id.clone(), done: self.done });
        }
    }

    /// It is in the store.
    pub fn finish(self) {
        self.events.send(ProgressEvent::Advanced { id: self.id.clone(), done: self.done });
        self.events.send(ProgressEvent::Finished { id: self.id, skipped: false });
    }
}
