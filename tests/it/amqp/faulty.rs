//! Threads on which the broker panics when it logs a word.

use std::fmt::Debug;

use tokio::runtime::{Builder, Runtime};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// A runtime on whose threads a log line of the broker's sessions with this word panics.
pub(super) fn runtime(word: &'static str) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all().on_thread_start(move || {
        // As long as the thread runs.
        std::mem::forget(tracing::subscriber::set_default(PanicAt(word)));
    });
    builder.build().unwrap()
}

struct PanicAt(&'static str);

impl Subscriber for PanicAt {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("musterd::broker::session")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut WordFinder(self.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct WordFinder(&'static str);

impl Visit for WordFinder {
    fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        assert!(!text.contains(self.0), "a fault of the broker");
    }
}
