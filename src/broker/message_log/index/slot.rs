//! Where one place of a message is: 16 bytes, because a log may hold many millions.

use crate::broker::message_log::{
    frame::{ALIGN, frame_len},
    record::{RecordedPlace, SegmentNumber},
};

/// Where a message is written.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(in crate::broker::message_log) struct Spot {
    pub(in crate::broker::message_log) segment: SegmentNumber,
    /// The offset in units of [`ALIGN`].
    unit: u32,
}

impl Spot {
    /// None where the offset is too large.
    pub(in crate::broker::message_log) fn new(segment: SegmentNumber, offset: u64) -> Option<Self> {
        let unit = u32::try_from(offset / ALIGN as u64).ok()?;
        Some(Self { segment, unit })
    }

    pub(in crate::broker::message_log) fn offset(self) -> u64 {
        u64::from(self.unit) * ALIGN as u64
    }
}

const DELIVERED: u16 = 1;
const EXPIRES: u16 = 2;
const REQUEUED: u16 = 4;
const FLAGS: u16 = 7;

/// One place of a message in a queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::broker::message_log) struct Slot {
    spot: Spot,
    body_len: u32,
    /// The length of the head, rounded up to a multiple of 8, with the flags in its lowest bits.
    head_and_flags: u16,
    priority: u8,
    /// The lowest bits of the position.
    pub(super) low: u8,
}

impl Slot {
    pub(in crate::broker::message_log) fn new(
        spot: Spot,
        head_len: u32,
        body_len: u32,
        priority: u8,
    ) -> Self {
        let head = u64::from(head_len).next_multiple_of(ALIGN as u64);
        let head = u16::try_from(head).unwrap_or(u16::MAX);
        Self {
            spot,
            body_len,
            head_and_flags: head & !FLAGS,
            priority,
            low: 0,
        }
    }

    /// The same message at this place.
    pub(super) fn at_place(self, recorded: &RecordedPlace) -> Self {
        self.flagged(EXPIRES, recorded.place.deadline.is_some())
            .flagged(REQUEUED, recorded.returns > 0)
            .flagged(DELIVERED, recorded.redelivered)
    }

    pub(in crate::broker::message_log) fn spot(&self) -> Spot {
        self.spot
    }

    pub(in crate::broker::message_log) fn segment(&self) -> SegmentNumber {
        self.spot.segment
    }

    pub(in crate::broker::message_log) fn body_len(&self) -> u32 {
        self.body_len
    }

    pub(super) fn priority(&self) -> u8 {
        self.priority
    }

    /// The length of the frame: a few bytes more where the head was rounded up, and fewer where its length is not
    /// known exactly.
    pub(in crate::broker::message_log) fn len(&self) -> u64 {
        let head = self.head_and_flags & !FLAGS;
        frame_len(head.into(), self.body_len.into())
    }

    pub(in crate::broker::message_log) fn is_delivered(&self) -> bool {
        self.has(DELIVERED)
    }

    pub(super) fn expires(&self) -> bool {
        self.has(EXPIRES)
    }

    pub(super) fn is_requeued(&self) -> bool {
        self.has(REQUEUED)
    }

    pub(super) fn delivered(self, is_so: bool) -> Self {
        self.flagged(DELIVERED, is_so)
    }

    pub(super) fn requeued(self, is_so: bool) -> Self {
        self.flagged(REQUEUED, is_so)
    }

    fn has(&self, flag: u16) -> bool {
        self.head_and_flags & flag != 0
    }

    fn flagged(mut self, flag: u16, is_set: bool) -> Self {
        match is_set {
            true => self.head_and_flags |= flag,
            false => self.head_and_flags &= !flag,
        }
        self
    }
}
