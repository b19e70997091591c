//! How far into the log callbacks and webhooks may see: all of it, or what has come over the broker.

use std::sync::Arc;

use tokio::sync::watch;

use crate::model::Revision;

/// A cheap handle to the line between what may be delivered and what has still to come.
///
/// In mode `queue` the broker feeds callbacks and webhooks: an event becomes visible to them when it has
/// come back from there. Each of them keeps its cursor, so that whatever the mode does meanwhile none
/// sees an event twice or out of order.
#[derive(Clone, Debug)]
pub struct HighWatermark {
    limit: Arc<watch::Sender<Option<Revision>>>,
    /// How many look at it.
    viewers: Arc<watch::Sender<usize>>,
}

/// Where the horizon is, for one who sees no further, and who counts as a viewer meanwhile.
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

    /// For one more who sees no further.
    pub fn reader(&self) -> HighWatermarkReader {
        self.viewers.send_modify(|viewers| *viewers += 1);
        HighWatermarkReader {
            limit: self.limit.subscribe(),
            viewers: Arc::clone(&self.viewers),
        }
    }

    /// How many see no further: while there is none, nobody needs it to be raised.
    pub(super) fn viewers(&self) -> watch::Receiver<usize> {
        self.viewers.subscribe()
    }

    /// Everything is visible from now on.
    pub fn lift(&self) {
        self.limit.send_if_modified(|limit| limit.take().is_some());
    }

    /// Nothing behind `revision` is visible until it is raised; one that stands already stays.
    pub(super) fn hold(&self, revision: Revision) {
        self.limit.send_if_modified(|limit| {
            let free = limit.is_none();
            limit.get_or_insert(revision);
            free
        });
    }

    /// Everything up to `revision` has come over the broker. Never goes back.
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

    /// Waits until the horizon is elsewhere than when it was last asked for; false when it is for ever
    /// where it was.
    pub(super) async fn changed(&mut self) -> bool {
        self.limit.changed().await.is_ok()
    }
}

impl Drop for HighWatermarkReader {
    fn drop(&mut self) {
        self.viewers.send_modify(|viewers| *viewers -= 1);
    }
}
