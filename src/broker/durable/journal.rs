//! Changes of a topology that wait for their commit, and the thread that commits them, all that wait at once.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::time::Instant;

use super::{
    TopologyChange, TopologyFault, TopologyStore, TopologyTable, UnreadableTopologyRow,
    reader::{RowReader, put_u64},
};

/// The first number of a row; those below are for predeclared exchanges.
pub(in crate::broker) const FIRST_NUMBER: u64 = 1 << 10;
/// So many numbers are reserved at each start: more than one run uses.
const RESERVED: u64 = 1 << 32;
/// The pause before another attempt on a full disk.
const PAUSE: Duration = Duration::from_millis(250);

/// The changes of all vhosts, in order.
#[derive(Debug)]
pub struct TopologyJournal {
    store: Arc<dyn TopologyStore>,
    /// The row of numbers, where the disk was full at the start.
    unstored: Mutex<Option<TopologyChange>>,
    pending: Mutex<PendingChanges>,
    /// Wakes the thread.
    appended: Condvar,
    /// Wakes the threads that wait for a commit.
    progressed: Condvar,
    /// So many changes are committed.
    committed: AtomicU64,
    next_number: AtomicU64,
    deleted: Mutex<DeletedNotes>,
}

/// Queues noted as deleted.
#[derive(Debug, Default)]
struct DeletedNotes {
    /// The position in the log of messages that ends the note, and the queue.
    notes: VecDeque<(u64, u64)>,
    /// How many copies need every note.
    holders: usize,
    /// The log of messages is durable up to here.
    durable: u64,
}

#[derive(Debug, Default)]
struct PendingChanges {
    changes: Vec<TopologyChange>,
    /// How many there were so far.
    appended: u64,
    /// So many of them survive the loss of power.
    synced: u64,
    /// The disk is full: what waits is not committed yet.
    is_full: bool,
    is_closing: bool,
    has_ended: bool,
}

impl TopologyJournal {
    /// A journal on a store, with numbers that the store has not seen. A full disk is no error.
    ///
    /// # Errors
    /// The store cannot be read, or has failed.
    pub fn open(store: Arc<dyn TopologyStore>) -> Result<Self, TopologyFault> {
        let table = TopologyTable::Numbers;
        let mut first = FIRST_NUMBER;
        store.read(table, &mut |number, value: Bytes| {
            let row = RowReader::new(value).u64();
            first = row.ok_or(UnreadableTopologyRow { table, number })?;
            Ok(())
        })?;
        let unstored = match store.commit(&[numbers_up_to(first + RESERVED)]) {
            Ok(()) => None,
            Err(TopologyFault::Full) => {
                // What this run uses is stored with its first row. Until then only the clock keeps the next run, and
                // messages that this one writes, from meeting the same numbers.
                first = first.max(number_by_clock());
                Some(numbers_up_to(first + RESERVED))
            }
            Err(fault) => return Err(fault),
        };
        Ok(Self {
            store,
            unstored: Mutex::new(unstored),
            pending: Mutex::default(),
            appended: Condvar::new(),
            progressed: Condvar::new(),
            committed: AtomicU64::new(0),
            next_number: AtomicU64::new(first),
            deleted: Mutex::default(),
        })
    }

    /// Adds a row: its number.
    pub fn put(&self, table: TopologyTable, row: Vec<u8>) -> u64 {
        let number = self.next_number.fetch_add(1, SeqCst);
        self.append(table, number, Some(row));
        number
    }

    /// Deletes a row.
    pub fn delete(&self, table: TopologyTable, number: u64) {
        self.append(table, number, None);
    }

    /// Notes a queue as deleted; call it before its row is deleted.
    pub fn note_deleted(&self, queue: u64) {
        self.append(TopologyTable::DeletedQueues, queue, Some(Vec::new()));
    }

    /// The note is needed until the log of messages is durable up to this position.
    pub fn forget_deleted(&self, queue: u64, when_durable: u64) {
        self.deleted.lock().notes.push_back((when_durable, queue));
    }

    /// The log of messages is durable up to this position.
    pub fn on_durable(&self, position: u64) {
        let mut deleted = self.deleted.lock();
        deleted.durable = deleted.durable.max(position);
        self.forget_durable(&mut deleted);
    }

    fn forget_durable(&self, deleted: &mut DeletedNotes) {
        while let Some((needed, queue)) = deleted.notes.front().copied()
            && needed <= deleted.durable
            && deleted.holders == 0
        {
            deleted.notes.pop_front();
            self.append(TopologyTable::DeletedQueues, queue, None);
        }
    }

    /// Keeps every note of a deleted queue until [`Self::release_notes`].
    pub fn hold_notes(&self) {
        self.deleted.lock().holders += 1;
    }

    /// Ends one [`Self::hold_notes`].
    pub fn release_notes(&self) {
        let mut deleted = self.deleted.lock();
        deleted.holders = deleted.holders.saturating_sub(1);
        self.forget_durable(&mut deleted);
    }

    fn append(&self, table: TopologyTable, number: u64, value: Option<Vec<u8>>) {
        let mut pending = self.pending.lock();
        pending.changes.push(TopologyChange {
            table,
            number,
            value,
        });
        pending.appended += 1;
        if pending.changes.len() == 1 {
            self.appended.notify_one();
        }
    }

    /// How many changes there were so far.
    pub fn appended(&self) -> u64 {
        self.pending.lock().appended
    }

    /// Whether so many changes are committed.
    pub fn has_committed(&self, changes: u64) -> bool {
        self.committed.load(SeqCst) >= changes
    }

    /// Commits until [`Self::close`], and calls `progressed` after each commit. Blocks on the disk.
    pub fn run(&self, progressed: impl FnMut()) {
        if let Err(error) = self.commit_until_closed(progressed) {
            tracing::error!(%error, "the topology of the broker cannot be stored: {error}");
        }
        self.pending.lock().has_ended = true;
        self.progressed.notify_all();
    }

    fn commit_until_closed(&self, mut progressed: impl FnMut()) -> Result<(), TopologyFault> {
        while let Some((changes, last)) = self.next() {
            if !self.commit(&changes)? {
                return Ok(());
            }
            self.committed.store(last, SeqCst);
            // Between the look at the count and the wait of another thread there must be no notification.
            drop(self.pending.lock());
            self.progressed.notify_all();
            progressed();
        }
        self.store.sync()
    }

    /// Waits for changes: all that there are, and how many there were so far. None: it is closed.
    fn next(&self) -> Option<(Vec<TopologyChange>, u64)> {
        let mut pending = self.pending.lock();
        while pending.changes.is_empty() {
            if pending.is_closing {
                return None;
            }
            self.appended.wait(&mut pending);
        }
        let mut changes: Vec<_> = self.unstored.lock().take().into_iter().collect();
        changes.append(&mut pending.changes);
        Some((changes, pending.appended))
    }

    /// Commits as soon as there is space. False: it was closed before.
    fn commit(&self, changes: &[TopologyChange]) -> Result<bool, TopologyFault> {
        let mut was_full = false;
        loop {
            match self.store.commit(changes) {
                Ok(()) => {
                    if was_full {
                        self.pending.lock().is_full = false;
                        tracing::info!("exchanges, queues and bindings can be stored again");
                    }
                    return Ok(true);
                }
                Err(TopologyFault::Full) => {}
                Err(fault) => return Err(fault),
            }
            if !std::mem::replace(&mut was_full, true) {
                tracing::warn!(
                    "the disk is full: exchanges, queues and bindings are declared when there is space"
                );
            }
            let mut pending = self.pending.lock();
            if pending.is_closing {
                return Ok(false);
            }
            pending.is_full = true;
            self.progressed.notify_all();
            self.appended.wait_for(&mut pending, PAUSE);
        }
    }

    /// Waits until everything that was changed so far is committed. False when it never will be. Blocks.
    pub fn wait_until_committed(&self) -> bool {
        self.wait_until_committed_before(None)
    }

    /// The same, for at most so long.
    pub fn wait_until_committed_for(&self, patience: Duration) -> bool {
        self.wait_until_committed_before(Some(Instant::now() + patience))
    }

    fn wait_until_committed_before(&self, deadline: Option<Instant>) -> bool {
        let mut pending = self.pending.lock();
        let wanted = pending.appended;
        while !self.has_committed(wanted) {
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            if pending.has_ended || left == Some(Duration::ZERO) {
                return false;
            }
            match left {
                Some(left) => drop(self.progressed.wait_for(&mut pending, left)),
                None => self.progressed.wait(&mut pending),
            }
        }
        true
    }

    /// Makes everything that was changed so far survive the loss of power. False when that is impossible, or not
    /// possible while the disk is full. Blocks.
    pub fn sync(&self) -> bool {
        let wanted = {
            let mut pending = self.pending.lock();
            if pending.synced >= pending.appended {
                return true;
            }
            let wanted = pending.appended;
            while !self.has_committed(wanted) {
                if pending.has_ended || pending.is_full {
                    return false;
                }
                self.progressed.wait(&mut pending);
            }
            wanted
        };
        self.sync_up_to(wanted)
    }

    /// The same for the thread of [`Self::run`]: false also when there are changes that it has not committed.
    pub fn sync_committed(&self) -> bool {
        let wanted = self.appended();
        self.has_committed(wanted) && self.sync_up_to(wanted)
    }

    fn sync_up_to(&self, wanted: u64) -> bool {
        if self.store.sync().is_err() {
            return false;
        }
        let mut pending = self.pending.lock();
        pending.synced = pending.synced.max(wanted);
        true
    }

    /// Whether changes wait for space on the disk.
    pub fn is_full(&self) -> bool {
        self.pending.lock().is_full
    }

    /// Makes [`Self::run`] commit the waiting changes and end.
    pub fn close(&self) {
        self.pending.lock().is_closing = true;
        self.appended.notify_one();
    }
}

/// The row that says that the numbers below `end` are in use.
fn numbers_up_to(end: u64) -> TopologyChange {
    let mut value = Vec::new();
    put_u64(&mut value, end);
    TopologyChange {
        table: TopologyTable::Numbers,
        number: 0,
        value: Some(value),
    }
}

/// A number that no earlier run has reached: none takes 1,024 in a microsecond.
fn number_by_clock() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now_us = since.map_or(0, |since| since.as_micros());
    u64::try_from(now_us).unwrap_or(0) << 10
}

#[cfg(test)]
mod tests;
