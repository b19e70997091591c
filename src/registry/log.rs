//! The last changes, in a ring that one writer fills and any number of readers follow without a lock.

use std::{
    collections::VecDeque,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwapOption;

use crate::model::{Event, Revision, ServiceName};

/// The reader fell behind the log and must start from a snapshot.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("changes before revision {oldest} are no longer in the log")]
pub struct Compacted {
    /// The oldest revision still in the log.
    pub oldest: Revision,
}

/// Slots that are made together, when the first of them is filled: a page of memory.
const CHUNK: usize = 512;

/// The part that readers share: slots found by revision.
#[derive(Debug)]
pub(super) struct Log {
    chunks: Box<[OnceLock<Box<[LogSlot]>>]>,
    /// The slots of all chunks.
    slots: usize,
    /// The newest revision whose slot is filled.
    newest: AtomicU64,
    /// The oldest revision whose slot is still filled; newest + 1 while there is none.
    oldest: AtomicU64,
}

type LogSlot = ArcSwapOption<LogEntry>;

#[derive(Debug)]
struct LogEntry {
    event: Arc<Event>,
    /// The change of the same service before this one.
    previous: Revision,
}

/// The writer's side: counts bytes and drops the oldest.
#[derive(Debug)]
pub(super) struct Writer {
    log: Arc<Log>,
    sizes: VecDeque<usize>,
    bytes: usize,
    bytes_max: usize,
}

impl Log {
    pub(super) fn new(entries_max: usize, bytes_max: usize) -> (Arc<Self>, Writer) {
        let slots = entries_max.max(1);
        let log = Arc::new(Self {
            chunks: (0..slots.div_ceil(CHUNK))
                .map(|_| OnceLock::new())
                .collect(),
            slots,
            newest: AtomicU64::new(0),
            oldest: AtomicU64::new(1),
        });
        let writer = Writer {
            log: Arc::clone(&log),
            sizes: VecDeque::new(),
            bytes: 0,
            bytes_max,
        };
        (log, writer)
    }

    pub(super) fn newest(&self) -> Revision {
        Revision(self.newest.load(Ordering::Acquire))
    }

    pub(super) fn oldest(&self) -> Revision {
        Revision(self.oldest.load(Ordering::Acquire))
    }

    /// At most `max` events after `cursor`, oldest first.
    pub(super) fn since(&self, cursor: Revision, max: usize) -> Result<Vec<Arc<Event>>, Compacted> {
        let newest = self.newest();
        let available = newest.0.saturating_sub(cursor.0);
        let count = usize::try_from(available).unwrap_or(usize::MAX).min(max);
        let mut events = Vec::with_capacity(count.min(self.slots));
        for revision in (cursor.0 + 1..=newest.0).take(max) {
            let entry = self
                .entry(Revision(revision))
                .ok_or_else(|| self.compacted())?;
            events.push(Arc::clone(&entry.event));
        }
        Ok(events)
    }

    /// At most `max` events after `cursor` of the one service whose last change was `last`.
    pub(super) fn chain(
        &self,
        last: Revision,
        cursor: Revision,
        max: usize,
    ) -> Result<Vec<Arc<Event>>, Compacted> {
        // At most `max` revisions are kept while the chain is walked back.
        let mut oldest = VecDeque::new();
        let mut revision = last;
        while revision > cursor {
            if oldest.len() >= max {
                oldest.pop_front();
            }
            oldest.push_back(revision);
            let previous = self.previous(revision);
            revision = previous.ok_or_else(|| self.compacted())?;
        }
        let event = |revision| self.entry(revision).map(|entry| Arc::clone(&entry.event));
        let events = oldest.into_iter().rev().take(max).map(event);
        let events: Option<Vec<_>> = events.collect();
        events.ok_or_else(|| self.compacted())
    }

    /// The change of the same service before this one, 0 where it was the first; none when it is not in
    /// the log.
    pub(super) fn previous(&self, revision: Revision) -> Option<Revision> {
        let slot = self.filled(revision)?.load();
        let entry = slot.as_ref()?;
        (entry.event.revision == revision).then_some(entry.previous)
    }

    fn entry(&self, revision: Revision) -> Option<Arc<LogEntry>> {
        let entry = self.filled(revision)?.load_full()?;
        // The ring may have wrapped since.
        (entry.event.revision == revision).then_some(entry)
    }

    /// The slot of a revision; none if no slot of its chunk was ever filled.
    fn filled(&self, revision: Revision) -> Option<&LogSlot> {
        let index = self.index(revision);
        Some(&self.chunks[index / CHUNK].get()?[index % CHUNK])
    }

    fn slot(&self, revision: Revision) -> &LogSlot {
        let index = self.index(revision);
        let chunk = self.chunks[index / CHUNK]
            .get_or_init(|| (0..CHUNK).map(|_| ArcSwapOption::empty()).collect());
        &chunk[index % CHUNK]
    }

    fn index(&self, revision: Revision) -> usize {
        usize::try_from(revision.0 % self.slots as u64).unwrap_or(0)
    }

    fn compacted(&self) -> Compacted {
        Compacted {
            oldest: self.oldest(),
        }
    }
}

impl Writer {
    /// Begins with the event behind `revision`. Nothing may have been appended before.
    pub(super) fn begin_after(&self, revision: Revision) {
        self.log.newest.store(revision.0, Ordering::Release);
        let oldest = revision.next().0;
        self.log.oldest.store(oldest, Ordering::Release);
    }

    /// Appends the next event, not yet counted as newest; `previous` is the change of the same service
    /// before it. Calls `gone` with the service and revision of each event that leaves the log for it.
    pub(super) fn append(
        &mut self,
        event: Arc<Event>,
        previous: Revision,
        mut gone: impl FnMut(&ServiceName, Revision),
    ) {
        let size = event.size();
        self.bytes += size;
        self.sizes.push_back(size);
        while self.sizes.len() > 1
            && (self.bytes > self.bytes_max || self.sizes.len() > self.log.slots)
        {
            self.drop_oldest(&mut gone);
        }
        let slot = self.log.slot(event.revision);
        slot.store(Some(Arc::new(LogEntry { event, previous })));
    }

    /// Lets the event that was appended last count as newest.
    pub(super) fn publish(&self, revision: Revision) {
        self.log.newest.store(revision.0, Ordering::Release);
    }

    /// Entries and bytes in the log.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.sizes.len(), self.bytes)
    }

    fn drop_oldest(&mut self, gone: &mut impl FnMut(&ServiceName, Revision)) {
        let oldest = self.log.oldest();
        self.log.oldest.store(oldest.0 + 1, Ordering::Release);
        self.bytes -= self.sizes.pop_front().unwrap_or(0);
        let Some(entry) = self.log.slot(oldest).swap(None) else {
            return;
        };
        if let Some(name) = &entry.event.service_name {
            gone(name, oldest);
        }
    }
}

#[cfg(test)]
mod tests;
