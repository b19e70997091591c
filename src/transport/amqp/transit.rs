//! What is on its way over the broker: when it left, and what the broker has to bring back.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::model::Revision;

/// So many departures are remembered; a log has no more entries by default.
const DEPARTURES_MAX: usize = 16_384;

/// When each event left; shared by whoever sends and whoever listens.
#[derive(Clone, Debug, Default)]
pub(super) struct Transit(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    departures: VecDeque<(Revision, Instant)>,
    resynced: Revision,
}

impl Transit {
    /// These are about to leave, in order.
    pub(super) fn left(&self, revisions: impl Iterator<Item = Revision>) {
        let now = Instant::now();
        let mut inner = self.0.lock();
        for revision in revisions {
            // What leaves again is as late as it was the first time.
            let again = inner
                .departures
                .back()
                .is_some_and(|(last, _)| *last >= revision);
            if !again {
                inner.departures.push_back((revision, now));
            }
        }
        let surplus = inner.departures.len().saturating_sub(DEPARTURES_MAX);
        inner.departures.drain(..surplus);
    }

    /// Snapshots took the place of everything up to here.
    pub(super) fn resynced(&self, revision: Revision) {
        self.0.lock().resynced = revision;
    }

    /// Up to here snapshots took the place of events.
    pub(super) fn resynced_until(&self) -> Revision {
        self.0.lock().resynced
    }

    /// It arrived: when it left, if that is known. What left before it is forgotten.
    pub(super) fn arrived(&self, revision: Revision) -> Option<Instant> {
        let mut inner = self.0.lock();
        while let Some((first, at)) = inner.departures.front().copied() {
            if first > revision {
                return None;
            }
            inner.departures.pop_front();
            if first == revision {
                return Some(at);
            }
        }
        None
    }
}
