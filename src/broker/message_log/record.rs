//! The records in frames: the places of a message, facts about messages, the segments that exist.

use std::{ops::RangeInclusive, sync::Arc};

use bytes::{Buf, BufMut, Bytes};

use super::{QueueNumber, QueuePlace, head};
use crate::broker::message::Message;

/// Numbers a segment.
pub(super) type SegmentNumber = u32;

/// Never expires.
const NEVER: u64 = u64::MAX;
/// Besides the number of returns: the message was delivered before.
const REDELIVERED: u32 = 1 << 31;
/// Bytes of a place.
const PLACE: usize = 28;

/// A place of a message in a queue, as a frame has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct RecordedPlace {
    pub(super) place: QueuePlace,
    pub(super) returns: u32,
    pub(super) redelivered: bool,
}

impl RecordedPlace {
    /// A place that no consumer has seen.
    pub(super) fn fresh(place: QueuePlace) -> Self {
        Self {
            place,
            returns: 0,
            redelivered: false,
        }
    }
}

/// Appends the head of a message's frame.
pub(super) fn put_message(places: &[RecordedPlace], message: &Message, out: &mut Vec<u8>) {
    put_places(places, out);
    head::encode(message, out);
}

/// Appends the places of a message's frame.
pub(super) fn put_places(places: &[RecordedPlace], out: &mut Vec<u8>) {
    out.put_u32_le(u32::try_from(places.len()).unwrap_or(u32::MAX));
    for recorded in places {
        let place = recorded.place;
        out.put_u64_le(place.queue);
        out.put_u64_le(place.position);
        out.put_u64_le(place.deadline.unwrap_or(NEVER));
        let redelivered = if recorded.redelivered { REDELIVERED } else { 0 };
        out.put_u32_le(recorded.returns.min(REDELIVERED - 1) | redelivered);
    }
}

/// The places of a message's frame; its [`head`] remains.
pub(super) fn take_places(bytes: &mut Bytes) -> Option<Vec<RecordedPlace>> {
    let count = usize::try_from(bytes.try_get_u32_le().ok()?).ok()?;
    if bytes.len() / PLACE < count {
        return None;
    }
    Some((0..count).map(|_| take_place(bytes)).collect())
}

fn take_place(bytes: &mut Bytes) -> RecordedPlace {
    let (queue, position) = (bytes.get_u64_le(), bytes.get_u64_le());
    let deadline = bytes.get_u64_le();
    let returns = bytes.get_u32_le();
    RecordedPlace {
        place: QueuePlace {
            queue,
            position,
            deadline: (deadline != NEVER).then_some(deadline),
        },
        returns: returns & !REDELIVERED,
        redelivered: returns & REDELIVERED != 0,
    }
}

/// The priority of a message, whose places were taken off.
pub(super) fn priority(head: &Bytes) -> u8 {
    head.first().copied().unwrap_or_default()
}

/// Facts about messages of one queue in one segment. A fact is about the copy of a message in that segment.
/// So it is forgotten with the segment, and may be written twice.
///
/// Positions are those that the segment has; a requeued message may have another one since.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Fact {
    /// They have left the queue.
    Settled(Spread),
    /// They were given to a consumer.
    Delivered(Spread),
    /// It was requeued.
    Requeued {
        queue: QueueNumber,
        segment: SegmentNumber,
        origin: u64,
        position: u64,
        returns: u32,
    },
    /// Nothing in this segment is needed.
    Removed(SegmentNumber),
}

/// Messages of one queue in one segment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Spread {
    pub(super) queue: QueueNumber,
    pub(super) segment: SegmentNumber,
    pub(super) origins: RangeInclusive<u64>,
}

impl Spread {
    pub(super) fn one(queue: QueueNumber, segment: SegmentNumber, origin: u64) -> Self {
        Self {
            queue,
            segment,
            origins: origin..=origin,
        }
    }

    /// Extends the range by the next position; false if it does not follow directly.
    fn extend(&mut self, next: &Self) -> bool {
        let (first, last) = (*self.origins.start(), *self.origins.end());
        let follows = self.queue == next.queue
            && self.segment == next.segment
            && last.checked_add(1) == Some(*next.origins.start());
        if follows {
            self.origins = first..=*next.origins.end();
        }
        follows
    }
}

/// Appends a fact to others, joined with the last one where that says the same.
pub(super) fn join(facts: &mut Vec<Fact>, fact: Fact) {
    let is_joined = match (facts.last_mut(), &fact) {
        (Some(Fact::Settled(last)), Fact::Settled(next))
        | (Some(Fact::Delivered(last)), Fact::Delivered(next)) => last.extend(next),
        _ => false,
    };
    if !is_joined {
        facts.push(fact);
    }
}

const SETTLED_ONE: u8 = 1;
const SETTLED: u8 = 2;
const DELIVERED: u8 = 3;
const REQUEUED: u8 = 4;
const REMOVED: u8 = 5;

impl Fact {
    /// The segment that it is about.
    pub(super) fn segment(&self) -> SegmentNumber {
        match self {
            Self::Settled(spread) | Self::Delivered(spread) => spread.segment,
            Self::Requeued { segment, .. } | Self::Removed(segment) => *segment,
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Settled(spread) if spread.origins.start() == spread.origins.end() => {
                out.put_u8(SETTLED_ONE);
                out.put_u64_le(spread.queue);
                out.put_u32_le(spread.segment);
                out.put_u64_le(*spread.origins.start());
            }
            Self::Settled(spread) => put_spread(SETTLED, spread, out),
            Self::Delivered(spread) => put_spread(DELIVERED, spread, out),
            Self::Requeued {
                queue,
                segment,
                origin,
                position,
                returns,
            } => {
                out.put_u8(REQUEUED);
                out.put_u64_le(*queue);
                out.put_u32_le(*segment);
                out.put_u64_le(*origin);
                out.put_u64_le(*position);
                out.put_u32_le(*returns);
            }
            Self::Removed(segment) => {
                out.put_u8(REMOVED);
                out.put_u32_le(*segment);
            }
        }
    }

    /// The next of the facts; none where it is no fact.
    pub(super) fn take(bytes: &mut Bytes) -> Option<Self> {
        Some(match bytes.try_get_u8().ok()? {
            SETTLED_ONE => {
                let (queue, segment) = take_address(bytes)?;
                Self::Settled(Spread::one(queue, segment, bytes.try_get_u64_le().ok()?))
            }
            SETTLED => Self::Settled(take_spread(bytes)?),
            DELIVERED => Self::Delivered(take_spread(bytes)?),
            REQUEUED => {
                let (queue, segment) = take_address(bytes)?;
                Self::Requeued {
                    queue,
                    segment,
                    origin: bytes.try_get_u64_le().ok()?,
                    position: bytes.try_get_u64_le().ok()?,
                    returns: bytes.try_get_u32_le().ok()?,
                }
            }
            REMOVED => Self::Removed(bytes.try_get_u32_le().ok()?),
            _ => return None,
        })
    }
}

fn put_spread(code: u8, spread: &Spread, out: &mut Vec<u8>) {
    out.put_u8(code);
    out.put_u64_le(spread.queue);
    out.put_u32_le(spread.segment);
    out.put_u64_le(*spread.origins.start());
    out.put_u64_le(*spread.origins.end());
}

fn take_address(bytes: &mut Bytes) -> Option<(QueueNumber, SegmentNumber)> {
    Some((bytes.try_get_u64_le().ok()?, bytes.try_get_u32_le().ok()?))
}

fn take_spread(bytes: &mut Bytes) -> Option<Spread> {
    let (queue, segment) = take_address(bytes)?;
    let (first, last) = (bytes.try_get_u64_le().ok()?, bytes.try_get_u64_le().ok()?);
    Some(Spread {
        queue,
        segment,
        origins: first..=last,
    })
}

/// All facts of a frame; none where there is something else between them.
pub(super) fn take_facts(mut bytes: Bytes) -> Option<Vec<Fact>> {
    let mut facts = Vec::new();
    while !bytes.is_empty() {
        facts.push(Fact::take(&mut bytes)?);
    }
    Some(facts)
}

/// The head of a segment's first frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct SegmentStart {
    pub(super) segment: SegmentNumber,
    /// The earlier segments that exist.
    pub(super) earlier: Vec<SegmentNumber>,
}

impl SegmentStart {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.put_u32_le(self.segment);
        for segment in &self.earlier {
            out.put_u32_le(*segment);
        }
    }

    pub(super) fn take(mut bytes: Bytes) -> Option<Self> {
        let segment = bytes.try_get_u32_le().ok()?;
        let earlier = bytes
            .chunks_exact(4)
            .map(|four| super::frame::u32_at(four, 0));
        Some(Self {
            segment,
            earlier: earlier.collect(),
        })
    }
}

/// A message that waits to be written.
#[derive(Clone, Debug)]
pub(super) struct NewMessage {
    pub(super) message: Arc<Message>,
    pub(super) places: NewPlaces,
}

/// Where a new message goes: mostly one place, which needs no allocation.
#[derive(Clone, Debug)]
pub(super) enum NewPlaces {
    One(QueuePlace),
    Many(Box<[QueuePlace]>),
}

impl NewPlaces {
    pub(super) fn of(places: &[QueuePlace]) -> Self {
        match places {
            [one] => Self::One(*one),
            many => Self::Many(many.into()),
        }
    }

    pub(super) fn as_slice(&self) -> &[QueuePlace] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}
