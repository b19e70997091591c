//! The places of one queue, by position.

use std::{collections::BTreeMap, ops::RangeInclusive};

use super::slot::Slot;
use crate::broker::{
    message_log::{QueueNumber, RecoveredQueue, StoredPlace, record::SegmentNumber},
    queue::FIRST_POSITION,
};

/// The bits of a position that distinguish the places of one chunk.
const LOW_BITS: u32 = 7;
const LOW: u64 = (1 << LOW_BITS) - 1;
/// The memory of an entry of a map, about: its nodes are seldom full.
const MAP_ENTRY: usize = 32;

/// The places of one queue, by position.
#[derive(Debug, Default)]
pub(in crate::broker::message_log) struct QueuePlaces {
    /// By the upper bits of the position; each chunk is sorted and holds one at least.
    chunks: BTreeMap<u64, Vec<Slot>>,
    len: usize,
    body_bytes: u64,
    /// The position in the segment, of messages that were requeued at another since.
    origins: BTreeMap<u64, u64>,
    /// The other way.
    moved: BTreeMap<u64, u64>,
    /// Those that were requeued.
    returns: BTreeMap<u64, ReturnedPlace>,
    next_position: u64,
    next_return: u64,
}

/// A message that was requeued.
#[derive(Clone, Copy, Debug)]
struct ReturnedPlace {
    /// How often.
    count: u32,
    /// Whether it was delivered since.
    is_held: bool,
}

/// What a queue knew of a place.
#[derive(Clone, Copy, Debug)]
pub(in crate::broker::message_log) struct RemovedPlace {
    pub(in crate::broker::message_log) slot: Slot,
    /// The position in the segment.
    pub(in crate::broker::message_log) origin: u64,
    pub(in crate::broker::message_log) returns: u32,
    /// Whether it was delivered since it was last requeued.
    pub(in crate::broker::message_log) is_held: bool,
}

impl QueuePlaces {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many messages are in it.
    pub(in crate::broker::message_log) fn count(&self) -> usize {
        self.len
    }

    pub(in crate::broker::message_log) fn get(&self, position: u64) -> Option<&Slot> {
        let chunk = self.chunks.get(&(position >> LOW_BITS))?;
        let at = chunk.binary_search_by_key(&low(position), |slot| slot.low);
        at.ok().and_then(|at| chunk.get(at))
    }

    fn get_mut(&mut self, position: u64) -> Option<&mut Slot> {
        let chunk = self.chunks.get_mut(&(position >> LOW_BITS))?;
        let at = chunk.binary_search_by_key(&low(position), |slot| slot.low);
        at.ok().and_then(|at| chunk.get_mut(at))
    }

    /// The entry of a position.
    pub(in crate::broker::message_log) fn look(&self, position: u64) -> Option<RemovedPlace> {
        self.get(position).map(|slot| RemovedPlace {
            slot: *slot,
            origin: self.origin(position),
            returns: self.returns_of(slot, position),
            is_held: self.is_held(slot, position),
        })
    }

    /// The present position of the message that a segment has at this one.
    pub(in crate::broker::message_log) fn present(&self, origin: u64) -> u64 {
        self.moved.get(&origin).copied().unwrap_or(origin)
    }

    fn origin(&self, position: u64) -> u64 {
        self.origins.get(&position).copied().unwrap_or(position)
    }

    fn returns_of(&self, slot: &Slot, position: u64) -> u32 {
        self.returned(slot, position).map_or(0, |one| one.count)
    }

    fn returned(&self, slot: &Slot, position: u64) -> Option<&ReturnedPlace> {
        let returned = slot.is_requeued().then(|| self.returns.get(&position));
        returned.flatten()
    }

    fn is_held(&self, slot: &Slot, position: u64) -> bool {
        let returned = self.returned(slot, position);
        returned.map_or_else(|| slot.is_delivered(), |one| one.is_held)
    }

    /// Puts a message in where there is none. One that was requeued is not held.
    pub(super) fn insert(&mut self, position: u64, mut slot: Slot, returns: u32) {
        self.note(position);
        slot.low = low(position);
        if slot.is_requeued() {
            let (count, is_held) = (returns, false);
            self.returns
                .insert(position, ReturnedPlace { count, is_held });
        }
        let chunk = self.chunks.entry(position >> LOW_BITS).or_default();
        if let Err(at) = chunk.binary_search_by_key(&slot.low, |slot| slot.low) {
            chunk.insert(at, slot);
            self.len += 1;
            self.body_bytes += u64::from(slot.body_len());
        }
    }

    /// Takes a message out.
    pub(super) fn remove(&mut self, position: u64) -> Option<RemovedPlace> {
        let key = position >> LOW_BITS;
        let chunk = self.chunks.get_mut(&key)?;
        let at = chunk.binary_search_by_key(&low(position), |slot| slot.low);
        let slot = chunk.remove(at.ok()?);
        if chunk.is_empty() {
            self.chunks.remove(&key);
        }
        self.len -= 1;
        self.body_bytes -= u64::from(slot.body_len());
        let is_held = self.is_held(&slot, position);
        let returned = slot.is_requeued().then(|| self.returns.remove(&position));
        let origin = self.origins.remove(&position);
        if let Some(origin) = origin {
            self.moved.remove(&origin);
        }
        Some(RemovedPlace {
            slot,
            origin: origin.unwrap_or(position),
            returns: returned.flatten().map_or(0, |one| one.count),
            is_held,
        })
    }

    /// Puts back a removed entry.
    pub(super) fn restore(&mut self, position: u64, taken: &RemovedPlace) {
        self.insert(position, taken.slot, taken.returns);
        if let Some(returned) = self.returns.get_mut(&position) {
            returned.is_held = taken.is_held;
        }
        if taken.origin != position {
            self.origins.insert(position, taken.origin);
            self.moved.insert(taken.origin, position);
        }
    }

    /// Gives a message another position, or the same; returns its old entry. None if there is no such
    /// message, or another one at the position.
    pub(super) fn requeue(
        &mut self,
        from: u64,
        position: u64,
        returns: u32,
    ) -> Option<RemovedPlace> {
        if from != position && self.get(position).is_some() {
            return None;
        }
        let before = self.remove(from)?;
        let slot = before.slot.delivered(true).requeued(returns > 0);
        let after = RemovedPlace {
            slot,
            returns,
            is_held: false,
            ..before
        };
        self.restore(position, &after);
        Some(before)
    }

    /// Notes that messages were delivered: the positions of those for which that is new.
    pub(super) fn deliver(&mut self, positions: RangeInclusive<u64>) -> Vec<u64> {
        let mut found = self.positions(positions, usize::MAX);
        found.retain(|position| self.hold(*position, true));
        found
    }

    pub(super) fn undo_deliver(&mut self, position: u64) {
        self.hold(position, false);
    }

    /// Notes whether a message was delivered since it was last requeued; whether that is new.
    fn hold(&mut self, position: u64, is_held: bool) -> bool {
        let Some(known) = self.look(position) else {
            return false;
        };
        if let Some(returned) = self.returns.get_mut(&position) {
            returned.is_held = is_held;
        } else if let Some(slot) = self.get_mut(position) {
            *slot = slot.delivered(is_held);
        }
        known.is_held != is_held
    }

    /// The slots with these positions, in order.
    pub(in crate::broker::message_log) fn iter(
        &self,
        positions: RangeInclusive<u64>,
    ) -> impl Iterator<Item = (u64, &Slot)> {
        let (first, last) = positions.into_inner();
        let chunks = (first <= last).then(|| {
            let keys = first >> LOW_BITS..=last >> LOW_BITS;
            self.chunks.range(keys)
        });
        let all = chunks.into_iter().flatten().flat_map(|(key, chunk)| {
            let position = move |slot: &Slot| key << LOW_BITS | u64::from(slot.low);
            chunk.iter().map(move |slot| (position(slot), slot))
        });
        all.skip_while(move |(position, _)| *position < first)
            .take_while(move |(position, _)| *position <= last)
    }

    /// The first of these positions where there is a message.
    pub(super) fn positions(&self, positions: RangeInclusive<u64>, count: usize) -> Vec<u64> {
        let found = self.iter(positions).take(count);
        found.map(|(position, _)| position).collect()
    }

    /// The present positions of the messages that a segment has at these positions.
    pub(in crate::broker::message_log) fn present_in(
        &self,
        segment: SegmentNumber,
        origins: RangeInclusive<u64>,
    ) -> Vec<u64> {
        let moved = self
            .moved
            .range(origins.clone())
            .map(|(_, present)| *present);
        let moved = moved.filter(|present| self.is_in(segment, *present));
        let others = self.iter(origins);
        let others = others.filter(|(position, slot)| {
            slot.segment() == segment && !self.origins.contains_key(position)
        });
        moved.chain(others.map(|(position, _)| position)).collect()
    }

    fn is_in(&self, segment: SegmentNumber, position: u64) -> bool {
        self.get(position)
            .is_some_and(|slot| slot.segment() == segment)
    }

    /// The positions of all messages in a segment.
    pub(super) fn positions_in(&self, segment: SegmentNumber) -> Vec<u64> {
        let all = self.iter(0..=u64::MAX);
        let found = all.filter(|(_, slot)| slot.segment() == segment);
        found.map(|(position, _)| position).collect()
    }

    pub(super) fn stored(&self, positions: RangeInclusive<u64>, count: usize) -> Vec<StoredPlace> {
        let found = self.iter(positions).take(count);
        let stored = found.map(|(position, slot)| StoredPlace {
            position,
            body_len: slot.body_len(),
            priority: slot.priority(),
            returns: self.returns_of(slot, position),
            redelivered: slot.is_delivered(),
            expires: slot.expires(),
        });
        stored.collect()
    }

    pub(super) fn recovered(&self, queue: QueueNumber) -> RecoveredQueue {
        RecoveredQueue {
            queue,
            messages: self.len as u64,
            body_bytes: self.body_bytes,
            next_position: self.next_position.max(FIRST_POSITION),
            next_return: self.next_return,
            returned_below: 0,
        }
    }

    /// The memory that it takes, about.
    pub(super) fn bytes(&self) -> u64 {
        let maps = self.chunks.len() + self.origins.len() + self.moved.len() + self.returns.len();
        (size_of::<Self>() + maps * MAP_ENTRY + self.len * size_of::<Slot>() * 3 / 2) as u64
    }

    fn note(&mut self, position: u64) {
        let next = match position < FIRST_POSITION {
            true => &mut self.next_return,
            false => &mut self.next_position,
        };
        *next = (*next).max(position.saturating_add(1));
    }
}

fn low(position: u64) -> u8 {
    u8::try_from(position & LOW).unwrap_or_default()
}
