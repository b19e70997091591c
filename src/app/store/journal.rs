//! The registry's journal on the store.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::{
    registry::{Batch, Commit, Journal, Lost, Rows},
    store::{Store, StoreError, Writes},
};

/// Writes each batch as one commit of the store. A commit is written when it is polled: poll it on a thread that may
/// block.
#[derive(Debug)]
pub(super) struct StoreJournal {
    store: Store,
    events_max: usize,
    /// Kept from batch to batch for its memory.
    writes: Arc<Mutex<Writes>>,
}

impl StoreJournal {
    pub(super) fn new(store: Store, events_max: usize) -> Self {
        Self {
            store,
            events_max,
            writes: Arc::default(),
        }
    }
}

impl Journal for StoreJournal {
    fn commit(&mut self, batch: Batch<'_>) -> Commit {
        if batch.records.is_empty() {
            return Commit::Done(Ok(()));
        }
        let batch = batch.to_owned();
        let (store, events_max) = (self.store.clone(), self.events_max);
        let writes = Arc::clone(&self.writes);
        Commit::Later(Box::pin(async move {
            let mut writes = writes.lock();
            writes.clear();
            batch.write(events_max, &mut *writes);
            let committed = store.commit_as_configured(&mut writes);
            committed.map(drop).map_err(lost)
        }))
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
