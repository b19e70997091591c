//! The high watermark: the last event of the log that callbacks and webhooks may receive.

use std::sync::Arc;

use tokio::sync::watch;

use crate::model::Revision;

/// A cheap handle to the high watermark.
///
/// In mode `queue` callbacks and webhooks receive an event after the broker has returned it. Each
/// keeps its own cursor, so that none sees an event twice or out of order when the mode changes.
#[derive(Clone, Debug)]
pub struct HighWatermark {
    limit: Arc<watch::Sender<Option<Revision>>>,
    /// The number of readers.
    viewers: Arc<watch::Sender<usize>>,
}

/// Reads the watermark; counted as a reader until it is dropped.
#[derive(Debug)]
pub struct HighWatermarkReader {
    limit: watch::Receiver<Option<Revision>>,
    viewers: Arc<watch::Sender<usize>>,
}

impl Default for HighWatermark {
    /// Everything is visible.
    fn default() -> Self {
        Self {
            limit: Arc::new(watch::Sender::new(None)),
            viewers: Arc::default(),
        }
    }
}

impl HighWatermark {
    /// The last visible revision; none when all are.
    pub fn limit(&self) -> Option<Revision> {
        *self.limit.borrow()
    }

    /// A new reader.
    pub fn reader(&self) -> HighWatermarkReader {
        self.viewers.send_modify(|viewers| *viewers += 1);
        HighWatermarkReader {
            limit: self.limit.subscribe(),
            viewers: Arc::clone(&self.viewers),
        }
    }

    /// The number of readers: without one, the watermark need not be raised.
    pub(super) fn viewers(&self) -> watch::Receiver<usize> {
        self.viewers.subscribe()
    }

    /// Everything is visible from now on.
    pub fn lift(&self) {
        self.limit.send_if_modified(|limit| limit.take().is_some());
    }

    /// Limits what is visible to `revision`, unless there is a limit already.
    pub(super) fn hold(&self, revision: Revision) {
        self.limit.send_if_modified(|limit| {
            let free = limit.is_none();
            limit.get_or_insert(revision);
            free
        });
    }

    /// The broker has returned everything up to `revision`. Never lowers the limit.
    pub fn raise(&self, revision: Revision) {
        self.limit.send_if_modified(|limit| match limit {
            Some(held) if *held < revision => {
                *held = revision;
                true
            }
            _ => false,
        });
    }
}

impl HighWatermarkReader {
    /// The last visible revision; none when all are.
    pub(super) fn limit(&mut self) -> Option<Revision> {
        *self.limit.borrow_and_update()
    }

    /// Waits until the watermark changes; false when it never will again.
    pub(super) async fn changed(&mut self) -> bool {
        self.limit.changed().await.is_ok()
    }
}

impl Drop for HighWatermarkReader {
    fn drop(&mut self) {
        self.viewers.send_modify(|viewers| *viewers -= 1);
    }
}
