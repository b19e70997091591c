//! The frames that are written at once, and how they are undone when there is no space for them.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use tokio::time::Instant;

use super::{ActiveSegment, LogWriter, WriteFault, chunk::Chunk};
use crate::broker::message_log::{
    LogPosition, QueueNumber,
    frame::FrameContent,
    index::{RemovedPlace, Slot, Spot, TakenMessage},
    pending::{LogOperation, QueueChange},
    record::{Fact, NewMessage, RecordedPlace, SegmentNumber, priority, put_message, put_places},
};

/// The frames that are written at once.
#[derive(Debug, Default)]
pub(super) struct WriteBatch {
    pub(super) chunk: Chunk,
    /// Where it will be.
    pub(super) segment: SegmentNumber,
    start: u64,
    /// Facts for its last frame.
    pub(super) facts: Vec<Fact>,
    /// Facts that are in frames already.
    framed: Vec<Fact>,
    /// The delivered messages; for those that are settled in the same batch nothing is noted.
    pub(super) delivered: Vec<QueueChange>,
    /// The operations in it, in their order.
    pub(super) done: Vec<(LogPosition, LogOperation)>,
    /// The bytes of the completed operations.
    pub(super) bytes: u64,
    /// Its changes of the index, in their order.
    pub(super) undo: Vec<Undo>,
}

/// A change of the index, as it is undone.
#[derive(Debug)]
pub(super) enum Undo {
    Added {
        queue: QueueNumber,
        position: u64,
    },
    Taken(TakenMessage),
    Requeued {
        queue: QueueNumber,
        positions: (u64, u64),
        before: RemovedPlace,
    },
    Delivered {
        queue: QueueNumber,
        position: u64,
    },
}

impl WriteBatch {
    fn begin(&mut self, segment: SegmentNumber, start: u64) {
        self.segment = segment;
        self.start = start;
        self.facts.clear();
        self.framed.clear();
        self.delivered.clear();
        self.done.clear();
        self.bytes = 0;
        self.undo.clear();
    }

    /// The bytes that it will take, about.
    pub(super) fn len(&self) -> u64 {
        self.chunk.len() + (self.facts.len() * size_of::<Fact>()) as u64
    }

    /// Appends a message's frame.
    pub(super) fn message(
        &mut self,
        put_head: impl FnOnce(&mut Vec<u8>),
        body: &Bytes,
        priority: u8,
        more: bool,
    ) -> Result<Slot, WriteFault> {
        let at = self.start + self.chunk.len();
        let head_len = self
            .chunk
            .frame(FrameContent::Message, more, put_head, body);
        let spot = Spot::new(self.segment, at);
        let spot = spot.ok_or_else(|| WriteFault::Failed("a group above 32 GiB".into()))?;
        let body_len = u32::try_from(body.len()).unwrap_or(u32::MAX);
        Ok(Slot::new(spot, head_len, body_len, priority))
    }

    /// Puts its facts into a frame, the last one of a group.
    pub(super) fn frame_facts(&mut self) {
        let facts = &self.facts;
        let put = |out: &mut Vec<u8>| facts.iter().for_each(|fact| fact.put(out));
        self.chunk
            .frame(FrameContent::Changes, false, put, &Bytes::new());
        self.framed.append(&mut self.facts);
    }
}

impl LogWriter {
    /// Begins a batch; in a new segment, if the last one is full.
    pub(super) fn begin_batch(&mut self) -> Result<(), WriteFault> {
        let segment_bytes = self.shared.options.segment_bytes;
        let active = self.tip.active.as_ref();
        if active.is_none_or(|active| active.len >= segment_bytes || self.is_to_be_left(active)) {
            self.rotate()?;
        }
        let tip = &self.tip;
        self.batch
            .chunk
            .begin(self.shared.mark, tip.newest, tip.synced);
        let (segment, len) = tip
            .active
            .as_ref()
            .map_or((0, 0), |active| (active.number, active.len));
        self.batch.begin(segment, len);
        Ok(())
    }

    /// Whether a segment is given up early, because the disk is full and nothing in it is needed.
    fn is_to_be_left(&self, active: &ActiveSegment) -> bool {
        self.full_since.is_some()
            && active.len >= self.chunk_bytes()
            && self.shared.index.lock().segments.is_unused(active.number)
    }

    fn rotate(&mut self) -> Result<(), WriteFault> {
        let shared = &self.shared;
        let earlier = shared.index.lock().segments.numbers();
        let last = self.tip.active.as_ref().map(|last| last.number);
        self.tip.rotate(&*shared.disk, shared.mark, earlier)?;
        let mut index = shared.index.lock();
        if let Some(last) = last {
            index.segments.seal(last);
        }
        if let Some(active) = &self.tip.active {
            index.segments.extend(active.number, active.len);
        }
        Ok(())
    }

    /// How much is written at once.
    pub(super) fn chunk_bytes(&self) -> u64 {
        (self.shared.options.segment_bytes / 4).clamp(4 << 10, 1 << 20)
    }

    /// Writes the batch, or undoes it.
    pub(super) fn write_batch(&mut self) -> Result<(), WriteFault> {
        self.deliver_all();
        if !self.batch.facts.is_empty() {
            self.batch.frame_facts();
        }
        if self.batch.chunk.is_empty() {
            self.count_done();
            return Ok(());
        }
        if let Err(fault) = self.tip.append(&self.batch.chunk) {
            self.undo_batch();
            return Err(fault);
        }
        self.dirty_since.get_or_insert_with(Instant::now);
        let len = self.batch.chunk.len();
        self.shared.counts.written_bytes.fetch_add(len, Relaxed);
        let batch = &mut self.batch;
        let mut index = self.shared.index.lock();
        index.segments.extend(batch.segment, batch.start + len);
        index.segments.count_facts(batch.segment, &batch.framed);
        drop(index);
        self.count_done();
        Ok(())
    }

    fn count_done(&mut self) {
        self.batch.done.clear();
        self.batch.undo.clear();
        let bytes = std::mem::take(&mut self.batch.bytes);
        self.shared.pending_bytes.fetch_sub(bytes, Relaxed);
    }

    fn undo_batch(&mut self) {
        let mut index = self.shared.index.lock();
        for undo in self.batch.undo.drain(..).rev() {
            match undo {
                Undo::Added { queue, position } => {
                    index.take(queue, position);
                }
                Undo::Taken(message) => index.put_back(&message),
                Undo::Requeued {
                    queue,
                    positions,
                    before,
                } => index.undo_requeue(queue, positions, &before),
                Undo::Delivered { queue, position } => index.undo_deliver(queue, position),
            }
        }
        drop(index);
        self.batch.bytes = 0;
        while let Some(operation) = self.batch.done.pop() {
            self.todo.push_front(operation);
        }
    }

    /// Appends a new message to the batch.
    pub(super) fn put_new(&mut self, new: &NewMessage, more: bool) -> Result<(), WriteFault> {
        let places = new.places.as_slice().iter().copied();
        let places: Vec<_> = places.map(RecordedPlace::fresh).collect();
        let message = &new.message;
        let slot = self.batch.message(
            |out| put_message(&places, message, out),
            &message.body,
            message.priority,
            more,
        )?;
        self.shared.index.lock().add(slot, &places);
        let added = places.iter().map(|recorded| Undo::Added {
            queue: recorded.place.queue,
            position: recorded.place.position,
        });
        self.batch.undo.extend(added);
        Ok(())
    }

    /// Appends a message that lies elsewhere to the batch.
    pub(super) fn put_moved(
        &mut self,
        places: &[RecordedPlace],
        head: &Bytes,
        body: &Bytes,
    ) -> Result<Slot, WriteFault> {
        let put_head = |out: &mut Vec<u8>| {
            put_places(places, out);
            out.extend_from_slice(head);
        };
        self.batch.message(put_head, body, priority(head), true)
    }
}
