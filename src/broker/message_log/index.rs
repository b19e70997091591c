//! Where each message of each queue is, and how much of each segment is needed. Only the writer changes it.

mod queue;
mod slot;

use std::{
    collections::{HashMap, hash_map::Entry},
    ops::RangeInclusive,
};

pub(super) use self::{
    queue::{QueuePlaces, RemovedPlace},
    slot::{Slot, Spot},
};
use super::{
    QueueNumber, RecoveredQueue, StoredPlace,
    record::{RecordedPlace, SegmentNumber},
    segments::SegmentTable,
};

/// Where each message of each queue is, and how much of each segment is needed.
#[derive(Debug, Default)]
pub(super) struct MessageIndex {
    queues: HashMap<QueueNumber, QueuePlaces>,
    /// Messages that are in several places, and in how many.
    shared: HashMap<Spot, u32>,
    /// The memory that the queues take, about.
    bytes: u64,
    pub(super) segments: SegmentTable,
}

/// A place that was taken out, as it is put back.
#[derive(Clone, Copy, Debug)]
pub(super) struct TakenMessage {
    pub(super) queue: QueueNumber,
    pub(super) position: u64,
    pub(super) taken: RemovedPlace,
    /// The message was in no other place.
    was_last: bool,
}

impl MessageIndex {
    /// A message was written, with these places; older entries of them are removed.
    pub(super) fn add(&mut self, slot: Slot, places: &[RecordedPlace]) {
        self.segments.hold(slot);
        if let Ok(count @ 2..) = u32::try_from(places.len()) {
            self.shared.insert(slot.spot(), count);
        }
        for recorded in places {
            let place = recorded.place;
            // At a start, the copy of a message comes before the fact that the original is settled.
            self.take(place.queue, place.position);
            let slot = slot.at_place(recorded);
            self.change_or_add(place.queue, |places| {
                places.insert(place.position, slot, recorded.returns);
            });
        }
    }

    /// Changes the places of a queue, and counts them.
    fn change<T>(
        &mut self,
        queue: QueueNumber,
        change: impl FnOnce(&mut QueuePlaces) -> T,
    ) -> Option<T> {
        let places = self.queues.get_mut(&queue)?;
        let before = places.bytes();
        let changed = change(places);
        self.bytes = (self.bytes + places.bytes()).saturating_sub(before);
        Some(changed)
    }

    fn change_or_add(&mut self, queue: QueueNumber, change: impl FnOnce(&mut QueuePlaces)) {
        if let Entry::Vacant(vacant) = self.queues.entry(queue) {
            self.bytes += vacant.insert(QueuePlaces::default()).bytes();
        }
        self.change(queue, change);
    }

    /// A message has left a queue.
    pub(super) fn take(&mut self, queue: QueueNumber, position: u64) -> Option<TakenMessage> {
        let taken = self.change(queue, |places| places.remove(position))??;
        let was_last = self.release(taken.slot);
        Some(TakenMessage {
            queue,
            position,
            taken,
            was_last,
        })
    }

    /// Takes the first messages with these positions, at most so many.
    pub(super) fn take_range(
        &mut self,
        queue: QueueNumber,
        positions: RangeInclusive<u64>,
        count: usize,
    ) -> Vec<TakenMessage> {
        let Some(places) = self.queues.get(&queue) else {
            return Vec::new();
        };
        let found = places.positions(positions, count);
        found
            .into_iter()
            .filter_map(|position| self.take(queue, position))
            .collect()
    }

    /// Puts back a removed message.
    pub(super) fn put_back(&mut self, message: &TakenMessage) {
        if message.was_last {
            self.segments.hold(message.taken.slot);
        } else {
            let count = self.shared.entry(message.taken.slot.spot()).or_insert(1);
            *count += 1;
        }
        self.change_or_add(message.queue, |places| {
            places.restore(message.position, &message.taken);
        });
    }

    /// Gives a message another position; returns its old place.
    pub(super) fn requeue(
        &mut self,
        queue: QueueNumber,
        from: u64,
        position: u64,
        returns: u32,
    ) -> Option<RemovedPlace> {
        self.change(queue, |places| places.requeue(from, position, returns))?
    }

    /// Undoes a [`Self::requeue`].
    pub(super) fn undo_requeue(
        &mut self,
        queue: QueueNumber,
        (from, position): (u64, u64),
        before: &RemovedPlace,
    ) {
        self.change(queue, |places| {
            places.remove(position);
            places.restore(from, before);
        });
    }

    /// Notes that messages were delivered: the positions of those for which that is new.
    pub(super) fn deliver(
        &mut self,
        queue: QueueNumber,
        positions: RangeInclusive<u64>,
    ) -> Vec<u64> {
        let places = self.queues.get_mut(&queue);
        places.map_or_else(Vec::new, |places| places.deliver(positions))
    }

    /// Undoes a [`Self::deliver`] of one message.
    pub(super) fn undo_deliver(&mut self, queue: QueueNumber, position: u64) {
        if let Some(places) = self.queues.get_mut(&queue) {
            places.undo_deliver(position);
        }
    }

    /// The entry of a message that a segment has at this position, and its present position.
    pub(super) fn present(&self, queue: QueueNumber, origin: u64) -> Option<(u64, RemovedPlace)> {
        let places = self.queues.get(&queue)?;
        let position = places.present(origin);
        let known = places.look(position)?;
        (known.origin == origin).then_some((position, known))
    }

    /// Forgets the positions of a queue that has no messages.
    pub(super) fn forget(&mut self, queue: QueueNumber) {
        if self.queues.get(&queue).is_some_and(QueuePlaces::is_empty)
            && let Some(gone) = self.queues.remove(&queue)
        {
            self.bytes = self.bytes.saturating_sub(gone.bytes());
        }
    }

    /// The places of a queue.
    pub(super) fn queue(&self, queue: QueueNumber) -> Option<&QueuePlaces> {
        self.queues.get(&queue)
    }

    /// Nothing in a segment is needed: it may be one whose removal was not durable.
    pub(super) fn drop_segment(&mut self, segment: SegmentNumber) {
        if self.segments.has_messages(segment) {
            self.drop_messages(segment);
        }
        self.segments.remove(segment);
    }

    fn drop_messages(&mut self, segment: SegmentNumber) {
        let of = |places: &QueuePlaces| places.positions_in(segment);
        let found: Vec<(u64, Vec<u64>)> = self
            .queues
            .iter()
            .map(|(queue, places)| (*queue, of(places)))
            .collect();
        for (queue, positions) in found {
            for position in positions {
                self.take(queue, position);
            }
        }
    }

    pub(super) fn places(
        &self,
        queue: QueueNumber,
        positions: RangeInclusive<u64>,
        count: usize,
    ) -> Vec<StoredPlace> {
        let places = self.queues.get(&queue);
        places.map_or_else(Vec::new, |places| places.stored(positions, count))
    }

    /// The queues, by number.
    pub(super) fn recovered(&self) -> Vec<RecoveredQueue> {
        let mut all: Vec<_> = self
            .queues
            .iter()
            .map(|(queue, places)| places.recovered(*queue))
            .collect();
        all.sort_unstable_by_key(|recovered| recovered.queue);
        all
    }

    /// The memory that it takes, about.
    pub(super) fn bytes(&self) -> u64 {
        let shared = self.shared.capacity() * (size_of::<(Spot, u32)>() + 1);
        self.bytes + shared as u64
    }

    /// Whether the queues were counted as they are.
    #[cfg(test)]
    pub(super) fn is_counted(&self) -> bool {
        self.bytes == self.queues.values().map(QueuePlaces::bytes).sum::<u64>()
    }

    /// One place less of a message; whether it was the last one.
    fn release(&mut self, slot: Slot) -> bool {
        let spot = slot.spot();
        match self.shared.get_mut(&spot) {
            Some(count) if *count > 2 => *count -= 1,
            Some(_) => {
                self.shared.remove(&spot);
            }
            None => {
                self.segments.release(slot);
                return true;
            }
        }
        false
    }
}
