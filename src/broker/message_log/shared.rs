//! The state that appenders, readers and the writer share.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::{
    LogPosition, MessageGroup, MessageLogOptions, MessageLogState, MessageLogStats, QueuePlace,
    index::MessageIndex,
    pending::{LogOperation, PendingOperations, records},
};
use crate::{broker::message::Message, disk::Disk};

/// The function that is called when more is durable.
pub(super) struct DurableCall(pub(super) Box<dyn Fn(LogPosition) + Send + Sync>);

impl fmt::Debug for DurableCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DurableCall")
    }
}

/// The state that appenders, readers and the writer share. No lock is held while the disk is written.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) folder: PathBuf,
    pub(super) options: MessageLogOptions,
    pub(super) disk: Box<dyn Disk>,
    /// The secret by which frames are known.
    pub(super) mark: u64,
    pub(super) pending: Mutex<PendingOperations>,
    pub(super) woken: Condvar,
    pub(super) pending_bytes: AtomicU64,
    pub(super) durable: AtomicU64,
    /// How many copies are being made: no file is removed meanwhile.
    pub(super) frozen: AtomicUsize,
    pub(super) index: Mutex<MessageIndex>,
    pub(super) state: watch::Sender<MessageLogState>,
    pub(super) on_durable: ArcSwapOption<DurableCall>,
    pub(super) counts: LogCounts,
}

/// The writer's progress.
#[derive(Debug, Default)]
pub(super) struct LogCounts {
    pub(super) written_bytes: AtomicU64,
    pub(super) moved_bytes: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) last_sync_us: AtomicU64,
}

impl Shared {
    /// Appends a message.
    pub(super) fn append(&self, message: &Arc<Message>, places: &[QueuePlace]) -> LogPosition {
        let mut pending = self.pending.lock();
        let bytes: u64 = records(message, places)
            .map(|record| pending.push(LogOperation::Message(record)))
            .sum();
        self.appended(&mut pending, bytes)
    }

    /// Appends an operation.
    pub(super) fn push(&self, operation: LogOperation) -> LogPosition {
        let mut pending = self.pending.lock();
        let bytes = pending.push(operation);
        self.appended(&mut pending, bytes)
    }

    /// Appends the operations that a group has gathered.
    pub(super) fn commit(&self, mut group: MessageGroup) -> LogPosition {
        let content = std::mem::take(&mut group.content);
        self.push(LogOperation::Group(Box::new(content)))
    }

    fn appended(&self, pending: &mut PendingOperations, bytes: u64) -> LogPosition {
        self.pending_bytes.fetch_add(bytes, Relaxed);
        self.wake(pending);
        pending.last
    }

    /// Somebody waits until this position is durable.
    pub(super) fn request_durable(&self, position: LogPosition) {
        let mut pending = self.pending.lock();
        pending.wanted = pending.wanted.max(position.min(pending.last));
        self.wake(&mut pending);
    }

    /// Nothing more is written. Only the first reason counts.
    pub(super) fn fail(&self, why: &str) {
        let dropped = {
            let mut pending = self.pending.lock();
            pending.has_failed = true;
            std::mem::take(&mut pending.operations)
        };
        drop(dropped);
        self.pending_bytes.store(0, Relaxed);
        self.state.send_if_modified(|state| {
            let is_new = !matches!(state, MessageLogState::Failed(_));
            if is_new {
                *state = MessageLogState::Failed(why.into());
            }
            is_new
        });
    }

    /// The disk is full, or is so no longer.
    pub(super) fn set_state(&self, new: MessageLogState) {
        self.state.send_if_modified(|state| {
            let is_new = *state != new && !matches!(state, MessageLogState::Failed(_));
            if is_new {
                *state = new;
            }
            is_new
        });
    }

    /// Wakes the writer if it sleeps.
    pub(super) fn wake(&self, pending: &mut PendingOperations) {
        if std::mem::take(&mut pending.is_asleep) {
            self.woken.notify_one();
        }
    }

    pub(super) fn stats(&self) -> MessageLogStats {
        let index = self.index.lock();
        let counts = &self.counts;
        MessageLogStats {
            pending_bytes: self.pending_bytes.load(Relaxed),
            written_bytes: counts.written_bytes.load(Relaxed),
            moved_bytes: counts.moved_bytes.load(Relaxed),
            syncs: counts.syncs.load(Relaxed),
            last_sync: Duration::from_micros(counts.last_sync_us.load(Relaxed)),
            index_bytes: index.bytes(),
            ..index.segments.stats()
        }
    }
}
