//! When sessions end that are not renewed.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

/// The end of each session with a time to live, in milliseconds on the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    ends: BTreeMap<Uuid, u64>,
    order: BTreeSet<(u64, Uuid)>,
}

impl Deadlines {
    /// A session ends then, unless it is renewed.
    pub(super) fn set(&mut self, id: Uuid, at_ms: u64) {
        self.remove(id);
        self.ends.insert(id, at_ms);
        self.order.insert((at_ms, id));
    }

    /// A session has ended.
    pub(super) fn remove(&mut self, id: Uuid) {
        if let Some(at_ms) = self.ends.remove(&id) {
            self.order.remove(&(at_ms, id));
        }
    }

    /// Whether a session has an end.
    pub(super) fn has(&self, id: Uuid) -> bool {
        self.ends.contains_key(&id)
    }

    /// The next end.
    pub(super) fn next(&self) -> Option<u64> {
        self.order.first().map(|(at_ms, _)| *at_ms)
    }

    /// The sessions that end by now, at most `max`.
    pub(super) fn due(&self, now_ms: u64, max: usize) -> Vec<Uuid> {
        let due = self.order.iter().take_while(|(at_ms, _)| *at_ms <= now_ms);
        due.take(max).map(|(_, id)| *id).collect()
    }
}
