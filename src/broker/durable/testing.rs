//! A topology store in memory, for tests.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{EachRow, TopologyChange, TopologyFault, TopologyStore, TopologyTable};

/// Its rows stay when the broker that uses it is dropped.
#[derive(Debug, Default)]
pub(in crate::broker) struct MemoryTopology {
    rows: Mutex<BTreeMap<(&'static str, u64), Vec<u8>>>,
    pub(in crate::broker) is_full: AtomicBool,
    pub(in crate::broker) commits: AtomicUsize,
    pub(in crate::broker) syncs: AtomicUsize,
    /// Queues that were ever noted as deleted.
    pub(in crate::broker) notes: AtomicUsize,
}

impl MemoryTopology {
    /// How many rows a table has.
    pub(in crate::broker) fn count(&self, table: TopologyTable) -> usize {
        let rows = self.rows.lock();
        rows.keys()
            .filter(|(name, _)| *name == table.name())
            .count()
    }

    /// The rows of a table.
    pub(in crate::broker) fn rows(&self, table: TopologyTable) -> Vec<(u64, Vec<u8>)> {
        let rows = self.rows.lock();
        let of_table = rows.iter().filter(|((name, _), _)| *name == table.name());
        of_table
            .map(|((_, number), value)| (*number, value.clone()))
            .collect()
    }

    /// Loses the rows of a table.
    pub(in crate::broker) fn clear(&self, table: TopologyTable) {
        self.rows
            .lock()
            .retain(|(name, _), _| *name != table.name());
    }
}

impl TopologyStore for MemoryTopology {
    fn commit(&self, changes: &[TopologyChange]) -> Result<(), TopologyFault> {
        if self.is_full.load(SeqCst) {
            return Err(TopologyFault::Full);
        }
        let mut rows = self.rows.lock();
        for change in changes {
            let is_note = change.table == TopologyTable::DeletedQueues && change.value.is_some();
            self.notes.fetch_add(is_note.into(), SeqCst);
            let key = (change.table.name(), change.number);
            match &change.value {
                Some(value) => rows.insert(key, value.clone()),
                None => rows.remove(&key),
            };
        }
        self.commits.fetch_add(1, SeqCst);
        Ok(())
    }

    fn sync(&self) -> Result<(), TopologyFault> {
        self.syncs.fetch_add(1, SeqCst);
        Ok(())
    }

    fn read(&self, table: TopologyTable, each: &mut EachRow<'_>) -> Result<(), TopologyFault> {
        let rows = self.rows.lock().clone();
        let of_table = rows.iter().filter(|((name, _), _)| *name == table.name());
        for ((_, number), value) in of_table {
            each(*number, Bytes::copy_from_slice(value))?;
        }
        Ok(())
    }
}
