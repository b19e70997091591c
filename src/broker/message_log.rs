//! The log of a vhost's persistent messages: publishes, settlements and moves, in files of one folder.
//!
//! The owner appends under its own lock and never waits for the disk. A thread writes the gathered records.
//! If somebody waits, it makes them durable with one fsync. It reports up to which [`LogPosition`] everything
//! is durable. The log finds a message by its queue and position; the owner needs no places in files.
//!
//! The owner's duties:
//! - a [`QueueNumber`] is never given to a second queue, a position never to a second message of that queue;
//! - a message is appended before it can be settled. If its places become known over several turns, or if it
//!   belongs to a transaction, they are gathered in a [`MessageGroup`]. Settlements of that time are
//!   remembered;
//! - a dead letter and the settlement of its message are one [`MessageGroup`], so that a full disk or a crash loses
//!   neither;
//! - a body may leave memory when its append is durable.

mod clean_stop;
mod durable_end;
mod error;
mod frame;
mod freeze;
mod group;
mod head;
mod index;
mod pending;
mod read;
mod record;
mod recover;
mod repair;
mod segments;
mod shared;
mod thread;
mod writer;

use std::{
    fs::File,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::sync::watch;

pub use self::{
    error::MessageLogError,
    freeze::{FrozenFile, FrozenLog},
    group::MessageGroup,
    head::MessageHead,
    read::{ReadLimits, StoredMessage},
    repair::{DamagedPlace, LogReport, check, repair},
};
use self::{
    pending::{LogOperation, QueueChange},
    shared::{DurableCall, Shared},
};
use super::message::Message;
use crate::disk::FolderDisk;

/// Counts the appends of this run of the process: up to which number is everything durable?
pub type LogPosition = u64;

/// Names a queue in the log, for ever.
pub type QueueNumber = u64;

/// Where a message was routed to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QueuePlace {
    /// The queue.
    pub queue: QueueNumber,
    /// The position in the queue.
    pub position: u64,
    /// When it expires there, in ms since 1970.
    pub deadline: Option<u64>,
}

/// How a log works.
#[derive(Clone, Copy, Debug)]
pub struct MessageLogOptions {
    /// A segment that is larger is followed by a new one.
    pub segment_bytes: u64,
    /// Records that no answer depends on are durable after this time at the latest.
    pub sync_interval: Duration,
    /// Pause before the next write after the disk was full.
    pub retry_interval: Duration,
    /// Bytes kept free for settlements when the disk is full: settlements make room.
    pub reserve_bytes: u64,
}

impl Default for MessageLogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            sync_interval: Duration::from_millis(200),
            retry_interval: Duration::from_millis(500),
            reserve_bytes: 4 << 20,
        }
    }
}

/// Whether a log takes messages.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum MessageLogState {
    /// It does.
    #[default]
    Ready,
    /// The disk is full. Appended records wait in memory and are written when there is space. Block
    /// publishers.
    Full,
    /// A write or fsync failed. It is unknown which records are durable: nothing more is written or becomes
    /// durable.
    Failed(Arc<str>),
}

/// How a log is doing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MessageLogStats {
    /// Bytes of all segments.
    pub bytes: u64,
    /// Bytes of them that are still needed.
    pub live_bytes: u64,
    /// Messages that are still needed, each counted once.
    pub live_messages: u64,
    /// Segments.
    pub segments: usize,
    /// Memory that the index takes, about.
    pub index_bytes: u64,
    /// Bytes that wait to be written.
    pub pending_bytes: u64,
    /// Bytes written by this process.
    pub written_bytes: u64,
    /// Bytes of live messages moved out of old segments.
    pub moved_bytes: u64,
    /// Calls of fsync.
    pub syncs: u64,
    /// How long the last one took.
    pub last_sync: Duration,
}

/// A queue as a start finds it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RecoveredQueue {
    /// The queue.
    pub queue: QueueNumber,
    /// Its messages.
    pub messages: u64,
    /// The length of their bodies together.
    pub body_bytes: u64,
    /// Above every position that the log knows, and at least 2^63.
    pub next_position: u64,
    /// Above every position below 2^63 that the log knows: where requeued messages of quorum queues go.
    pub next_return: u64,
    /// Messages below this position were there when a run ended without a clean stop: each may have been given to a
    /// consumer, although the log does not know it.
    pub returned_below: u64,
}

/// A message in a queue, without its content.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StoredPlace {
    /// Its position.
    pub position: u64,
    /// The length of its body.
    pub body_len: u32,
    /// Its priority; the queue caps it.
    pub priority: u8,
    /// How often it was requeued.
    pub returns: u32,
    /// Whether it was given to a consumer before.
    pub redelivered: bool,
    /// Whether it expires: [`StoredMessage::deadline`] says when.
    pub expires: bool,
}

/// The end of the log that a crash left unfinished. It was never acknowledged as durable.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DroppedTail {
    /// The file.
    pub file: PathBuf,
    /// Where the last whole record ends.
    pub offset: u64,
    /// Bytes that were dropped.
    pub bytes: u64,
}

/// The content that a start finds.
#[derive(Clone, Debug, Default)]
pub struct RecoveredMessages {
    /// The queues, by number; also those without messages, while the log knows positions of them. Numbers of queues
    /// that no longer exist are for [`MessageLog::delete_queue`].
    pub queues: Vec<RecoveredQueue>,
    /// An unfinished end.
    pub dropped: Option<DroppedTail>,
}

/// A cheap, cloneable handle to an open log. The last one that is dropped ends it, without waiting.
#[derive(Clone, Debug)]
pub struct MessageLog {
    shared: Arc<Shared>,
    thread: Arc<thread::WriterThread>,
}

impl MessageLog {
    /// Opens the log in a folder, or makes a new one. An end that a crash left unfinished is cut off and reported.
    /// Reads every segment once, but keeps no content in memory. Blocks.
    ///
    /// # Errors
    /// The folder cannot be used, somebody else uses it, it is damaged, or a later version wrote it.
    pub fn open(
        folder: &Path,
        options: MessageLogOptions,
    ) -> Result<(Self, RecoveredMessages), MessageLogError> {
        let (disk, lock) = lock(folder)?;
        let opened = recover::open(Box::new(disk), folder, options)?;
        let shared = opened.writer.shared();
        let thread = thread::WriterThread::start(opened.writer, lock)?;
        let log = Self {
            shared,
            thread: Arc::new(thread),
        };
        Ok((log, opened.recovered))
    }

    /// Appends a message with the places it was routed to, at least one. Does not wait.
    pub fn append(&self, message: &Arc<Message>, places: &[QueuePlace]) -> LogPosition {
        self.shared.append(message, places)
    }

    /// A message has left a queue for good. Does not wait.
    pub fn settle(&self, queue: QueueNumber, position: u64) -> LogPosition {
        self.settle_all(queue, position..=position)
    }

    /// All messages of a queue with these positions have left it for good. Does not wait.
    pub fn settle_all(&self, queue: QueueNumber, positions: RangeInclusive<u64>) -> LogPosition {
        self.change(QueueChange::settled(queue, positions))
    }

    /// A queue and all its messages are gone. Does not wait.
    pub fn delete_queue(&self, queue: QueueNumber) -> LogPosition {
        self.change(QueueChange::Deleted { queue })
    }

    /// A message was given to a consumer, or by `basic.get`: it is `redelivered` after a restart, and
    /// [`held`](StoredMessage::held) until it is requeued. Does not wait.
    pub fn deliver(&self, queue: QueueNumber, position: u64) -> LogPosition {
        self.change(QueueChange::delivered(queue, position))
    }

    /// A message was requeued at a position, the same or another, for the `returns`-th time. Does not wait.
    pub fn requeue(
        &self,
        queue: QueueNumber,
        from: u64,
        position: u64,
        returns: u32,
    ) -> LogPosition {
        self.change(QueueChange::Requeued {
            queue,
            from,
            position,
            returns,
        })
    }

    /// Begins a group of changes that are recovered as a whole or not at all. See [`Self::commit`].
    pub fn group(&self) -> MessageGroup {
        MessageGroup::new(&self.shared)
    }

    /// Appends a group. Does not wait. A group that is dropped instead changes nothing.
    pub fn commit(&self, group: MessageGroup) -> LogPosition {
        self.shared.commit(group)
    }

    /// Whether a group is neither committed nor dropped: its messages have no position yet.
    pub fn has_open_groups(&self) -> bool {
        self.shared.pending.lock().open_groups > 0
    }

    /// Somebody waits until this position is durable. Without a request it is so after
    /// [`MessageLogOptions::sync_interval`]. Does not wait.
    pub fn request_durable(&self, position: LogPosition) {
        self.shared.request_durable(position);
    }

    /// Everything up to here is durable.
    pub fn durable(&self) -> LogPosition {
        self.shared.durable.load(Relaxed)
    }

    /// Is called by the log's thread, without a lock, each time that more is durable: with the new position. Replaces
    /// an earlier one.
    pub fn on_durable(&self, call: impl Fn(LogPosition) + Send + Sync + 'static) {
        self.shared
            .on_durable
            .store(Some(Arc::new(DurableCall(Box::new(call)))));
    }

    /// Bytes that wait to be written: where there are too many, publishers should wait.
    pub fn pending_bytes(&self) -> u64 {
        self.shared.pending_bytes.load(Relaxed)
    }

    /// Memory that the index takes, about.
    pub fn index_bytes(&self) -> u64 {
        self.shared.index.lock().bytes()
    }

    /// Whether it takes messages.
    pub fn state(&self) -> watch::Receiver<MessageLogState> {
        self.shared.state.subscribe()
    }

    /// Reads one message; none when the log has no such message, or has not written it yet. Blocks.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn read(
        &self,
        queue: QueueNumber,
        position: u64,
    ) -> Result<Option<StoredMessage>, MessageLogError> {
        let mut found = self.read_from(queue, position..=position, ReadLimits::default())?;
        Ok(found.pop())
    }

    /// Reads messages of a queue in the order of their positions, as far as the limits allow, at least one.
    /// Messages that are not written yet are left out. Blocks.
    ///
    /// # Errors
    /// A file cannot be read or is damaged.
    pub fn read_from(
        &self,
        queue: QueueNumber,
        positions: RangeInclusive<u64>,
        limits: ReadLimits,
    ) -> Result<Vec<StoredMessage>, MessageLogError> {
        read::read(&self.shared, queue, positions, limits)
    }

    /// The first messages of a queue with these positions, in order, without their content. Does not read the disk.
    pub fn places(
        &self,
        queue: QueueNumber,
        positions: RangeInclusive<u64>,
        count: usize,
    ) -> Vec<StoredPlace> {
        self.shared.index.lock().places(queue, positions, count)
    }

    /// Its files as they are now, to copy them while it is used.
    pub fn freeze(&self) -> FrozenLog {
        FrozenLog::new(&self.shared)
    }

    /// How it is doing.
    pub fn stats(&self) -> MessageLogStats {
        self.shared.stats()
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }

    /// Writes the appended records, makes them durable and ends the thread. Later appends are lost. Blocks.
    ///
    /// # Errors
    /// The disk is full or has failed: records that were not durable are lost.
    pub fn close(&self) -> Result<(), MessageLogError> {
        self.thread.close()
    }

    fn change(&self, change: QueueChange) -> LogPosition {
        self.shared.push(LogOperation::Change(change))
    }
}

/// The folder, locked.
fn lock(folder: &Path) -> Result<(FolderDisk, File), MessageLogError> {
    let locked = FolderDisk::locked(folder);
    let locked = locked.map_err(|error| MessageLogError::unusable(folder, error))?;
    locked.ok_or_else(|| MessageLogError::Locked {
        path: folder.to_owned(),
    })
}

#[cfg(test)]
mod tests;
