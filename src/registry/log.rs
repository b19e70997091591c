//! The last changes, in a ring that one writer fills and any number of readers follow without a lock.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
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

/// What readers share: slots found by revision.
#[derive(Debug)]
pub(super) struct Log {
    slots: Box<[ArcSwapOption<Entry>]>,
    /// The newest revision whose slot is filled.
    newest: AtomicU64,
    /// The oldest revision whose slot is still filled; newest + 1 while there is none.
    oldest: AtomicU64,
}

#[derive(Debug)]
struct Entry {
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
        let log = Arc::new(Self {
            slots: (0..entries_max.max(1))
                .map(|_| ArcSwapOption::empty())
                .collect(),
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
        let mut events = Vec::with_capacity(count.min(self.slots.len()));
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
        let mut events = Vec::new();
        let mut revision = last;
        while revision > cursor {
            let entry = self.entry(revision).ok_or_else(|| self.compacted())?;
            events.push(Arc::clone(&entry.event));
            revision = entry.previous;
        }
        events.reverse();
        events.truncate(max);
        Ok(events)
    }

    fn entry(&self, revision: Revision) -> Option<Arc<Entry>> {
        let entry = self.slot(revision).load_full()?;
        // The ring may have come round meanwhile.
        (entry.event.revision == revision).then_some(entry)
    }

    fn slot(&self, revision: Revision) -> &ArcSwapOption<Entry> {
        let len = self.slots.len() as u64;
        let index = usize::try_from(revision.0 % len).unwrap_or(0);
        &self.slots[index]
    }

    fn compacted(&self) -> Compacted {
        Compacted {
            oldest: self.oldest(),
        }
    }
}

impl Writer {
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
            && (self.bytes > self.bytes_max || self.sizes.len() > self.log.slots.len())
        {
            self.drop_oldest(&mut gone);
        }
        let slot = self.log.slot(event.revision);
        slot.store(Some(Arc::new(Entry { event, previous })));
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
