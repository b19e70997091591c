//! Applies the frames of a log, one after the other.

use std::{collections::BTreeSet, io};

use super::FoundSegment;
use crate::broker::message_log::{
    frame::{FoundFrame, FrameContent, FrameScan, u64_at},
    index::{MessageIndex, Slot, Spot},
    record::{
        Fact, RecordedPlace, SegmentNumber, SegmentStart, Spread, priority, take_facts, take_places,
    },
};

/// The content of a frame.
#[derive(Debug)]
enum Said {
    Message(Slot, Vec<RecordedPlace>),
    Facts(SegmentNumber, Vec<Fact>),
}

/// A group whose end has not been read.
#[derive(Debug)]
struct OpenGroup {
    segment: SegmentNumber,
    at: u64,
    /// The number of its first frame.
    first: u64,
    said: Vec<Said>,
}

/// A segment that should be there and is not.
#[derive(Clone, Copy, Debug)]
pub(super) struct MissingSegment {
    pub(super) segment: SegmentNumber,
    /// Whether anything in it was durable once.
    pub(super) was_durable: bool,
}

/// The log as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) index: MessageIndex,
    pub(super) mark: Option<u64>,
    pub(super) segments: Vec<FoundSegment>,
    /// The number of the last frame.
    pub(super) newest: u64,
    /// The highest number that is known to be durable.
    pub(super) synced: u64,
    group: Option<OpenGroup>,
    /// The list of earlier segments in the newest one.
    start: Option<SegmentStart>,
    /// Segments of which a fact says that nothing in them is needed.
    removed: BTreeSet<SegmentNumber>,
}

impl Replay {
    pub(super) fn of(segments: &BTreeSet<SegmentNumber>) -> Self {
        let mut replay = Self::default();
        for segment in segments {
            replay.index.segments.add(*segment);
        }
        replay
    }

    /// A segment follows.
    pub(super) fn begin(&mut self, segment: FoundSegment) {
        let (number, len) = (segment.number, segment.len);
        self.index.segments.extend(number, len);
        self.segments.push(segment);
    }

    pub(super) fn last_number(&self) -> SegmentNumber {
        self.segments.last().map_or(0, |last| last.number)
    }

    /// Reads a segment; whether it was whole. Otherwise the scan is before the first frame that is not.
    pub(super) fn read(&mut self, scan: &mut FrameScan<'_>) -> io::Result<bool> {
        let mut is_first = true;
        loop {
            let at = scan.at;
            match scan.next()? {
                // An empty one is nothing.
                None => return Ok(!is_first),
                Some(Ok(frame)) if self.take(&frame, is_first).is_some() => (),
                Some(_) => {
                    scan.at = at;
                    return Ok(false);
                }
            }
            is_first = false;
            if let Some(last) = self.segments.last_mut() {
                last.newest = self.newest;
            }
        }
    }

    /// Takes in a frame; none where it does not belong there.
    fn take(&mut self, frame: &FoundFrame, is_first: bool) -> Option<()> {
        let header = &frame.header;
        let segment = self.last_number();
        let is_start = header.content == FrameContent::Start;
        if is_start != is_first || !self.follows(header.number, is_first) {
            return None;
        }
        let said = match header.content {
            FrameContent::Start => {
                let start = SegmentStart::take(frame.head.clone())?;
                self.start = Some(start).filter(|start| start.segment == segment);
                self.start.as_ref()?;
                None
            }
            FrameContent::Gap => None,
            FrameContent::Message => Some(message(segment, frame)?),
            FrameContent::Changes => Some(Said::Facts(segment, take_facts(frame.head.clone())?)),
        };
        self.newest = match header.content {
            FrameContent::Gap => u64_at(&frame.head, 0).max(header.number),
            _ => header.number,
        };
        self.note_synced(header.synced);
        if let Some(said) = said {
            self.gather(said, segment, frame);
        }
        Some(())
    }

    /// Everything up to this number was durable once.
    pub(super) fn note_synced(&mut self, number: u64) {
        self.synced = self.synced.max(number);
    }

    /// Whether a frame of this number is the next one. Segments between two others may be removed.
    fn follows(&self, number: u64, is_first: bool) -> bool {
        let count = self.segments.len();
        let before = count.checked_sub(2).and_then(|at| self.segments.get(at));
        let is_next = before.is_none_or(|before| before.number + 1 == self.last_number());
        match is_first && (before.is_none() || !is_next) {
            true => number > self.newest,
            false => number == self.newest + 1,
        }
    }

    /// Takes effect at once, or with its group.
    fn gather(&mut self, said: Said, segment: SegmentNumber, frame: &FoundFrame) {
        if !frame.header.more && self.group.is_none() {
            self.apply(said);
            return;
        }
        let group = self.group.get_or_insert_with(|| OpenGroup {
            segment,
            at: frame.at,
            first: frame.header.number,
            said: Vec::new(),
        });
        group.said.push(said);
        if !frame.header.more
            && let Some(group) = self.group.take()
        {
            group.said.into_iter().for_each(|said| self.apply(said));
        }
    }

    fn apply(&mut self, said: Said) {
        match said {
            Said::Message(slot, places) => self.index.add(slot, &places),
            Said::Facts(holder, facts) => {
                self.index.segments.count_facts(holder, &facts);
                for fact in facts {
                    self.fact(fact);
                }
            }
        }
    }

    fn fact(&mut self, fact: Fact) {
        match fact {
            Fact::Settled(spread) => {
                for position in self.index.present_in(&spread) {
                    self.index.take(spread.queue, position);
                }
            }
            Fact::Delivered(spread) => {
                for position in self.index.present_in(&spread) {
                    self.index.deliver(spread.queue, position..=position);
                }
            }
            Fact::Requeued {
                queue,
                segment,
                origin,
                position,
                returns,
            } => {
                let known = self.index.present(queue, origin);
                let known = known.filter(|(_, known)| known.slot.segment() == segment);
                if let Some((present, known)) = known
                    && known.returns <= returns
                {
                    self.index.requeue(queue, present, position, returns);
                }
            }
            Fact::Removed(segment) => {
                self.removed.insert(segment);
            }
        }
    }

    /// Where the group begins that has no end.
    pub(super) fn open_group(&self) -> Option<(SegmentNumber, u64)> {
        self.group.as_ref().map(|group| (group.segment, group.at))
    }

    /// The number of the last frame that takes effect.
    pub(super) fn whole_until(&self) -> u64 {
        let group = self.group.as_ref();
        group.map_or(self.newest, |group| group.first - 1)
    }

    pub(super) fn has_segment(&self, number: SegmentNumber) -> bool {
        self.segments.iter().any(|one| one.number == number)
    }

    /// Forgets the group that has no end: where it began.
    pub(super) fn drop_group(&mut self) -> Option<(SegmentNumber, u64)> {
        let group = self.group.take()?;
        self.newest = group.first - 1;
        let mut segments = self.segments.iter_mut();
        if let Some(its) = segments.find(|one| one.number == group.segment) {
            its.newest = self.newest;
        }
        Some((group.segment, group.at))
    }

    /// The last segment ends earlier.
    pub(super) fn cut_last(&mut self, len: u64) {
        if let Some(last) = self.segments.last_mut() {
            last.len = len;
            self.index.segments.extend(last.number, len);
        }
    }

    /// The last segment is no more.
    pub(super) fn forget_last(&mut self) {
        if let Some(last) = self.segments.pop() {
            self.index.segments.remove(last.number);
        }
    }

    /// The first segment that should be there and is not.
    pub(super) fn missing(&self) -> Option<MissingSegment> {
        let start = self.start.as_ref()?;
        let is_found = |number: &SegmentNumber| {
            self.removed.contains(number) || self.segments.iter().any(|one| one.number == *number)
        };
        let segment = *start.earlier.iter().find(|number| !is_found(number))?;
        let before = self.segments.iter().rfind(|one| one.number < segment);
        Some(MissingSegment {
            segment,
            was_durable: self.synced > before.map_or(0, |before| before.newest),
        })
    }

    /// Finds segments that nothing needs, and forgets them.
    pub(super) fn remove_unneeded(&mut self) -> Vec<SegmentNumber> {
        let mut unneeded = self.removed.clone();
        if let Some(start) = &self.start {
            let numbers = self.segments.iter().map(|one| one.number);
            let earlier = numbers.filter(|number| *number < start.segment);
            unneeded.extend(earlier.filter(|number| !start.earlier.contains(number)));
        }
        let is_unneeded = |one: &FoundSegment| unneeded.contains(&one.number);
        let removed: Vec<_> = self
            .segments
            .extract_if(.., |one| is_unneeded(one))
            .map(|one| one.number)
            .collect();
        for segment in &removed {
            self.index.drop_segment(*segment);
        }
        removed
    }

    /// Segments whose end may not be durable.
    pub(super) fn unsynced(&self) -> Vec<SegmentNumber> {
        let unsynced = self.segments.iter().filter(|one| one.newest > self.synced);
        unsynced.map(|one| one.number).collect()
    }

    /// The last segment, at whose end the log continues. The others are complete.
    pub(super) fn end(&mut self) -> Option<FoundSegment> {
        let (last, sealed) = self.segments.split_last()?;
        for sealed in sealed {
            self.index.segments.seal(sealed.number);
        }
        self.index.segments.extend(last.number, last.len);
        Some(*last)
    }
}

fn message(segment: SegmentNumber, frame: &FoundFrame) -> Option<Said> {
    let mut head = frame.head.clone();
    let places = take_places(&mut head)?;
    let header = &frame.header;
    let spot = Spot::new(segment, frame.at)?;
    let slot = Slot::new(spot, header.head_len, header.body_len, priority(&head));
    Some(Said::Message(slot, places))
}

impl MessageIndex {
    /// The present positions of the messages that a fact is about.
    fn present_in(&self, spread: &Spread) -> Vec<u64> {
        let places = self.queue(spread.queue);
        places.map_or_else(Vec::new, |places| {
            places.present_in(spread.segment, spread.origins.clone())
        })
    }
}
