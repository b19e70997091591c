//! Up to where messages are durable together with the queues that they are in.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use crate::broker::durable::TopologyJournal;

/// A message is of no use without its queue: it counts as durable when both are.
#[derive(Debug)]
pub(super) struct DurableMark {
    journal: Arc<TopologyJournal>,
    /// What confirms wait for.
    durable: Arc<AtomicU64>,
    /// The log of messages is durable up to here.
    written: AtomicU64,
    /// The topology waited for space when the log advanced.
    is_behind: AtomicBool,
}

impl DurableMark {
    pub(super) fn new(journal: Arc<TopologyJournal>, durable: Arc<AtomicU64>) -> Self {
        Self {
            journal,
            durable,
            written: AtomicU64::new(0),
            is_behind: AtomicBool::new(false),
        }
    }

    /// The log of messages is durable up to a position. True when more counts as durable. Called by the log's thread,
    /// which must not wait for space: what it writes may make some.
    pub(super) fn advance(&self, position: u64) -> bool {
        self.written.store(position, SeqCst);
        if self.journal.sync() {
            self.publish(position);
            return true;
        }
        self.is_behind.store(true, SeqCst);
        // The topology may have been committed in between, and then it saw no reason to catch up.
        let is_late = !self.journal.is_full() && self.journal.sync();
        if is_late {
            self.publish(position);
        }
        is_late
    }

    /// The topology was committed. Called by its thread.
    pub(super) fn catch_up(&self) {
        if !self.is_behind.swap(false, SeqCst) {
            return;
        }
        // Before the sync: what the log reaches during it may be in queues that the sync does not cover.
        let position = self.written.load(SeqCst);
        match self.journal.sync_committed() {
            true => self.publish(position),
            false => self.is_behind.store(true, SeqCst),
        }
    }

    fn publish(&self, position: u64) {
        self.durable.fetch_max(position, SeqCst);
        self.journal.on_durable(position);
    }
}
