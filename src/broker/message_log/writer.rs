//! Writes the appended operations in their order, and removes segments that nothing needs.
//!
//! One turn:
//! - take the appended operations and write them;
//! - move a slice of a mostly empty segment;
//! - note which segments are empty;
//! - make all of that durable if somebody waits for it, and report it;
//! - remove the empty segments.

mod apply;
mod batch;
mod chunk;
mod clean;
mod reserve;
mod tip;

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    sync::{
        Arc,
        atomic::Ordering::{Relaxed, SeqCst},
    },
    time::Duration,
};

use tokio::time::Instant;

pub(super) use self::tip::{ActiveSegment, LogTip};
use self::{batch::WriteBatch, clean::Cleaning, reserve::Reserve};
use super::{
    LogPosition, MessageLogState,
    clean_stop::{self, ReturnedBelow},
    durable_end::{DurableEnd, DurableEndFile},
    error::is_full,
    pending::{LogOperation, PendingOperations, QueueChange},
    record::{Fact, SegmentNumber},
    segments::segment_name,
    shared::Shared,
};

/// Why something was not written.
#[derive(Debug)]
pub(super) enum WriteFault {
    /// There is no space. Nothing has changed.
    Full,
    /// The content of the disk is unknown.
    Failed(String),
}

impl WriteFault {
    fn of(what: &str, error: &io::Error) -> Self {
        match is_full(error) {
            true => Self::Full,
            false => Self::failed(what, error),
        }
    }

    fn failed(what: &str, error: &io::Error) -> Self {
        Self::Failed(format!("{what} failed: {error}"))
    }
}

/// When the writer has to do something next, if nothing is appended before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NextTurn {
    Now,
    After(Duration),
    WhenAsked,
}

/// Writes the appended operations.
#[derive(Debug)]
pub(super) struct LogWriter {
    shared: Arc<Shared>,
    /// The operations that were taken and are not written.
    todo: VecDeque<(LogPosition, LogOperation)>,
    /// The last position that was taken.
    taken: LogPosition,
    /// Somebody waits until this position is durable.
    wanted: LogPosition,
    groups: GroupCounts,
    /// Changes of messages that an open group may bring.
    parked: Vec<QueueChange>,
    tip: LogTip,
    batch: WriteBatch,
    /// When something was written that is not durable.
    dirty_since: Option<Instant>,
    /// Segments that nothing needs.
    empty: BTreeSet<SegmentNumber>,
    /// Those of which that is written, and soon durable.
    leaving: Vec<SegmentNumber>,
    /// Those of which it is durable.
    removable: Vec<SegmentNumber>,
    /// Segments of which little is needed.
    mostly_empty: BTreeSet<SegmentNumber>,
    cleaning: Option<Cleaning>,
    reserve: Reserve,
    durable_end: DurableEndFile,
    /// What the start has found, for the note of a clean stop.
    returned: ReturnedBelow,
    /// The disk is full; when that was found last.
    full_since: Option<Instant>,
    /// How much of `todo` was searched for settlements since.
    searched: usize,
    has_failed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct GroupCounts {
    open: usize,
    closed: u64,
}

impl LogWriter {
    pub(super) fn new(shared: Arc<Shared>, tip: LogTip, returned: ReturnedBelow) -> Self {
        let reserve = Reserve::new(shared.options.reserve_bytes);
        Self {
            shared,
            todo: VecDeque::new(),
            taken: 0,
            wanted: 0,
            groups: GroupCounts::default(),
            parked: Vec::new(),
            tip,
            batch: WriteBatch::default(),
            dirty_since: None,
            empty: BTreeSet::new(),
            leaving: Vec::new(),
            removable: Vec::new(),
            mostly_empty: BTreeSet::new(),
            cleaning: None,
            reserve,
            durable_end: DurableEndFile::default(),
            returned,
            full_since: None,
            searched: 0,
            has_failed: false,
        }
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Whether something came since the last turn.
    pub(super) fn has_more(&self, pending: &PendingOperations) -> bool {
        let is_asked = !pending.operations.is_empty() || pending.wanted > self.wanted;
        !self.has_failed && (is_asked || self.can_remove_files())
    }

    /// Does the work that is due.
    pub(super) fn turn(&mut self) -> NextTurn {
        if !self.has_failed {
            match self.try_turn(false) {
                Ok(next) => return next,
                Err(fault) => self.fail(fault),
            }
        }
        NextTurn::WhenAsked
    }

    /// Makes everything durable and says so.
    pub(super) fn finish(&mut self) {
        if self.has_failed {
            return;
        }
        let finished = self.try_turn(true).and_then(|_| self.keep_end());
        let finished = finished.and_then(|()| self.note_stop());
        if let Err(fault) = finished {
            self.fail(fault);
        }
    }

    fn fail(&mut self, fault: WriteFault) {
        let why = match fault {
            WriteFault::Full => "the disk is full".to_owned(),
            WriteFault::Failed(why) => why,
        };
        self.has_failed = true;
        self.taken = self.written();
        self.todo.clear();
        self.shared.fail(&why);
    }

    fn try_turn(&mut self, is_last: bool) -> Result<NextTurn, WriteFault> {
        self.take();
        self.write()?;
        self.clean_if_possible()?;
        self.retire()?;
        let has_removed = !self.leaving.is_empty();
        if self.must_sync(is_last) {
            self.sync()?;
        }
        self.remove_files()?;
        Ok(match has_removed || self.has_to_clean() {
            true => NextTurn::Now,
            false => self.next(),
        })
    }

    fn take(&mut self) {
        let mut pending = self.shared.pending.lock();
        self.todo.append(&mut pending.operations);
        self.taken = pending.last;
        self.wanted = pending.wanted;
        let groups = GroupCounts {
            open: pending.open_groups,
            closed: pending.closed_groups,
        };
        drop(pending);
        if groups.closed != self.groups.closed {
            // Their wait may be over: each is tried again, behind later appends.
            let parked = std::mem::take(&mut self.parked).into_iter();
            for change in parked {
                let again = LogOperation::Change(change);
                self.shared.pending_bytes.fetch_add(again.bytes(), Relaxed);
                self.todo.push_back((self.taken, again));
            }
        }
        self.groups = groups;
    }

    /// Writes everything, or only settlements while the disk is full.
    fn write(&mut self) -> Result<(), WriteFault> {
        let retry = self.shared.options.retry_interval;
        if self.full_since.is_none_or(|since| since.elapsed() >= retry) {
            match self.write_all() {
                Ok(()) => {
                    self.full_since = None;
                    self.shared.set_state(MessageLogState::Ready);
                    return Ok(());
                }
                Err(WriteFault::Full) => self.note_full(),
                Err(failed) => return Err(failed),
            }
        }
        self.settle_while_full()
    }

    fn write_all(&mut self) -> Result<(), WriteFault> {
        // After a start there may be no space for it: then publishers are blocked before the first of them publishes.
        let lacks_reserve = self.tip.active.is_some() && self.reserve.is_missing();
        if self.todo.is_empty() && self.full_since.is_none() && !lacks_reserve {
            return Ok(());
        }
        self.reserve.hold(&*self.shared.disk)?;
        while !self.todo.is_empty() {
            self.begin_batch()?;
            self.fill_batch()?;
            self.write_batch()?;
        }
        Ok(())
    }

    fn note_full(&mut self) {
        self.full_since = Some(Instant::now());
        self.searched = 0;
        self.shared.set_state(MessageLogState::Full);
    }

    /// Notes which segments nothing needs.
    fn retire(&mut self) -> Result<(), WriteFault> {
        let (empty, mostly_empty) = self.shared.index.lock().segments.look_at_touched();
        self.empty.extend(empty);
        self.mostly_empty.extend(mostly_empty);
        if self.empty.is_empty() {
            return Ok(());
        }
        match self.with_reserve(Self::write_removals) {
            // Later, when there is space.
            Err(WriteFault::Full) => Ok(()),
            other => other,
        }
    }

    fn write_removals(&mut self) -> Result<(), WriteFault> {
        self.begin_batch()?;
        for segment in &self.empty {
            self.batch.facts.push(Fact::Removed(*segment));
        }
        self.write_batch()?;
        let mut index = self.shared.index.lock();
        for segment in std::mem::take(&mut self.empty) {
            index.segments.leave(segment);
            self.leaving.push(segment);
        }
        Ok(())
    }

    /// Up to here everything is written.
    pub(super) fn written(&self) -> LogPosition {
        match self.todo.front() {
            Some((position, _)) => position - 1,
            None => self.taken,
        }
    }

    fn must_sync(&self, is_last: bool) -> bool {
        let durable = self.shared.durable.load(Relaxed);
        let is_wanted = self.wanted > durable && self.written() > durable;
        let interval = self.shared.options.sync_interval;
        let is_due = match self.dirty_since {
            Some(since) => since.elapsed() >= interval,
            None => self.written() > durable,
        };
        is_last || is_wanted || is_due || !self.leaving.is_empty()
    }

    fn sync(&mut self) -> Result<(), WriteFault> {
        let written = self.written();
        if self.dirty_since.is_some() {
            let start = Instant::now();
            // Not tried again: the kernel may have dropped the pages and report success the next time.
            let synced = self.tip.sync(&*self.shared.disk);
            synced.map_err(|error| WriteFault::failed("fsync", &error))?;
            let took_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.shared.counts.last_sync_us.store(took_us, Relaxed);
            self.shared.counts.syncs.fetch_add(1, Relaxed);
            self.dirty_since = None;
            let noted = self.note_end();
            noted.map_err(|error| WriteFault::failed("noting what is durable", &error))?;
        }
        self.report(written);
        let mut index = self.shared.index.lock();
        for segment in self.leaving.drain(..) {
            index.segments.remove(segment);
            self.removable.push(segment);
        }
        Ok(())
    }

    fn report(&self, durable: LogPosition) {
        if self.shared.durable.swap(durable, Relaxed) == durable {
            return;
        }
        if let Some(call) = self.shared.on_durable.load_full() {
            (call.0)(durable);
        }
    }

    /// Whether there are files that nothing needs and nobody copies.
    fn can_remove_files(&self) -> bool {
        !self.removable.is_empty() && self.shared.frozen.load(SeqCst) == 0
    }

    /// Removes files that nothing needs, unless they are being copied.
    fn remove_files(&mut self) -> Result<(), WriteFault> {
        if !self.can_remove_files() {
            return Ok(());
        }
        for segment in self.removable.drain(..) {
            match self.shared.disk.remove(&segment_name(segment)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(WriteFault::failed("remove", &error));
                }
                _ => (),
            }
        }
        if let Some(since) = &mut self.full_since {
            // There is space now.
            let retry = self.shared.options.retry_interval;
            *since = since.checked_sub(retry).unwrap_or(*since);
        }
        Ok(())
    }

    /// Continues after a start: everything that was found is durable.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        self.reserve.take_over(&*self.shared.disk)?;
        self.note_end()
    }

    /// Notes what is durable, so that a later loss of it is not taken for a torn write.
    fn note_end(&mut self) -> io::Result<()> {
        let Some(active) = &self.tip.active else {
            return Ok(());
        };
        let end = DurableEnd {
            mark: self.shared.mark,
            segment: active.number,
            number: self.tip.synced,
        };
        match self.durable_end.write(&*self.shared.disk, &end) {
            Err(error) if !is_full(&error) => Err(error),
            // Without it the frames say what was durable before them.
            _ => Ok(()),
        }
    }

    /// Makes durable what [`Self::note_end`] has written.
    fn keep_end(&mut self) -> Result<(), WriteFault> {
        let noted = self.note_end();
        let kept = noted.and_then(|()| self.durable_end.sync(&*self.shared.disk));
        kept.map_err(|error| WriteFault::failed("noting what is durable", &error))
    }

    /// Notes that the run has ended in good order.
    fn note_stop(&mut self) -> Result<(), WriteFault> {
        if !self.todo.is_empty() {
            // The disk is full: what waits is lost.
            return Ok(());
        }
        let index = self.shared.index.lock();
        let is_used = |queue| index.queue(queue).is_some_and(|places| places.count() > 0);
        self.returned.retain(|queue, _| is_used(*queue));
        drop(index);
        match clean_stop::write(&*self.shared.disk, self.shared.mark, &self.returned) {
            Err(error) if !is_full(&error) => {
                Err(WriteFault::failed("noting the clean stop", &error))
            }
            _ => Ok(()),
        }
    }

    fn next(&self) -> NextTurn {
        let options = &self.shared.options;
        let after = |since: Instant, pause: Duration| pause.saturating_sub(since.elapsed());
        let pauses = [
            self.full_since
                .map(|since| after(since, options.retry_interval)),
            self.dirty_since
                .map(|since| after(since, options.sync_interval)),
        ];
        match pauses.into_iter().flatten().min() {
            None => NextTurn::WhenAsked,
            Some(Duration::ZERO) => NextTurn::Now,
            Some(pause) => NextTurn::After(pause),
        }
    }
}
