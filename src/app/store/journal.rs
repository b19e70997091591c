//! The registry's journal on the store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    registry::{Batch, Commit, Journal, Lost, Rows},
    store::{Store, StoreError, SyncMode, Writes},
};

/// A commit that took longer is a sign that the disk is slow.
const SLOW: Duration = Duration::from_millis(5);
/// After a slow commit so many are made by the thread that waits for the disk.
const CAREFUL: u32 = 1024;

/// Writes each batch as one commit of the store. With an fsync for each, or while the disk is slow, the commit is
/// written when it is polled: poll it on a thread that may block.
#[derive(Debug)]
pub(super) struct StoreJournal {
    store: Store,
    events_max: usize,
    /// Kept from batch to batch for its memory.
    writes: Arc<Mutex<Writes>>,
    /// How many more commits the thread that waits for the disk makes.
    careful: Arc<AtomicU32>,
}

impl StoreJournal {
    pub(super) fn new(store: Store, events_max: usize) -> Self {
        Self {
            store,
            events_max,
            writes: Arc::default(),
            careful: Arc::default(),
        }
    }

    /// Whether a commit takes microseconds: it ends in the operating system's memory.
    fn is_brief(&self) -> bool {
        let careful = self.careful.load(Relaxed);
        self.careful.store(careful.saturating_sub(1), Relaxed);
        careful == 0 && self.store.sync_mode() != SyncMode::Always
    }
}

impl Journal for StoreJournal {
    fn commit(&mut self, batch: Batch<'_>) -> Commit {
        if batch.records.is_empty() {
            return Commit::Done(Ok(()));
        }
        let is_brief = self.is_brief();
        let batch = batch.to_owned();
        let (store, events_max) = (self.store.clone(), self.events_max);
        let (writes, careful) = (Arc::clone(&self.writes), Arc::clone(&self.careful));
        let commit = move || {
            let began = Instant::now();
            let mut writes = writes.lock();
            writes.clear();
            batch.write(events_max, &mut *writes);
            let committed = store.commit_as_configured(&mut writes);
            if began.elapsed() > SLOW {
                careful.store(CAREFUL, Relaxed);
            }
            committed.map(drop).map_err(lost)
        };
        match is_brief {
            true => Commit::Brief(Box::new(commit)),
            false => Commit::Later(Box::pin(async move { commit() })),
        }
    }
}

/// Why a commit did not happen.
pub(super) fn lost(error: StoreError) -> Lost {
    match error {
        StoreError::Full => Lost::NoSpace,
        error => Lost::Failed(error.to_string().into()),
    }
}

impl Rows for Writes {
    fn put(&mut self, table: &str, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        self.put_with(table, key, write);
    }

    fn delete(&mut self, table: &str, key: &[u8]) {
        Self::delete(self, table, key);
    }
}
