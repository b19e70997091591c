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
pub struct Horizon {
    limit: Arc<watch::Sender<Option<Revision>>>,
}

impl Default for Horizon {
    /// Everything is visible.
    fn default() -> Self {
        Self {
            limit: Arc::new(watch::Sender::new(None)),
        }
    }
}

impl Horizon {
    /// The last visible revision; none when all are.
    pub fn limit(&self) -> Option<Revision> {
        *self.limit.borrow()
    }

    /// Tells of every change.
    pub fn follow(&self) -> watch::Receiver<Option<Revision>> {
        self.limit.subscribe()
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
