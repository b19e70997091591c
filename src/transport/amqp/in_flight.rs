//! Events on their way over the broker: when each left, and which the broker does not have to deliver back.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::model::Revision;

/// How many departures are remembered: as many as a log has entries by default.
const DEPARTURES_MAX: usize = 16_384;

/// When each event left; shared by the sender and the consumer of the daemon's own events.
#[derive(Clone, Debug, Default)]
pub(super) struct InFlight(Arc<Mutex<Departures>>);

#[derive(Debug, Default)]
struct Departures {
    departures: VecDeque<(Revision, Instant)>,
    resynced: Revision,
}

impl InFlight {
    /// These are about to be sent, in order.
    pub(super) fn left(&self, revisions: impl Iterator<Item = Revision>) {
        let now = Instant::now();
        let mut inner = self.0.lock();
        for revision in revisions {
            // A message that is sent again counts from the first time.
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

    /// It arrived: when it was sent, if that is known. Messages that were sent before it are forgotten.
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
