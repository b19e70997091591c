//! Moves the needed records of a mostly empty segment to the end of the log. So one old message does not keep
//! the space of all others.
//!
//! A slice is one group: copies of messages, and the fact that their places in the old segment are settled. So a crash
//! leaves each message in exactly one of them. Facts about other segments are written again, which does no harm.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::{LogWriter, WriteFault};
use crate::{
    broker::message_log::{
        QueuePlace,
        frame::{FoundFrame, FrameContent, FrameScan, PROLOGUE},
        index::{MessageIndex, Slot, Spot},
        record::{Fact, RecordedPlace, SegmentNumber, Spread, join, take_facts, take_places},
        segments::segment_name,
    },
    disk::DiskFile,
};

/// A segment that is being cleaned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cleaning {
    segment: SegmentNumber,
    /// Up to here it is done.
    at: u64,
}

/// A message that has been moved in this slice.
#[derive(Debug)]
struct Moved {
    slot: Slot,
    places: Vec<RecordedPlace>,
    /// Those of them that were delivered since they were last requeued.
    held: Vec<QueuePlace>,
}

/// Why a segment cannot be cleaned.
#[derive(Debug)]
enum CleanFault {
    Write(WriteFault),
    /// A needed record of the segment cannot be read.
    Damaged(u64),
}

impl From<WriteFault> for CleanFault {
    fn from(fault: WriteFault) -> Self {
        Self::Write(fault)
    }
}

impl LogWriter {
    /// Moves a slice, unless the disk is full.
    pub(super) fn clean_if_possible(&mut self) -> Result<(), WriteFault> {
        if self.full_since.is_some() {
            return Ok(());
        }
        match self.clean() {
            Err(WriteFault::Full) => {
                self.note_full();
                Ok(())
            }
            other => other,
        }
    }

    /// Whether there is more to move.
    pub(super) fn has_to_clean(&self) -> bool {
        let has_more = self.cleaning.is_some() || !self.mostly_empty.is_empty();
        has_more && self.full_since.is_none()
    }

    fn clean(&mut self) -> Result<(), WriteFault> {
        let Some(mut cleaning) = self.next_cleaning() else {
            return Ok(());
        };
        let segment = cleaning.segment;
        match self.clean_slice(&mut cleaning) {
            Ok(true) => self.cleaning = Some(cleaning),
            Ok(false) => self.shared.index.lock().segments.cleaned(segment),
            Err(CleanFault::Write(fault)) => {
                self.cleaning = Some(cleaning);
                return Err(fault);
            }
            Err(CleanFault::Damaged(offset)) => {
                let file = self.shared.folder.join(segment_name(segment));
                tracing::error!(
                    file = %file.display(),
                    offset,
                    "the message log cannot move messages out of {file:?}: it is damaged at byte {offset}"
                );
                self.shared.index.lock().segments.damaged(segment);
            }
        }
        Ok(())
    }

    fn next_cleaning(&mut self) -> Option<Cleaning> {
        let index = self.shared.index.lock();
        let current = self.cleaning.take();
        if let Some(cleaning) = current.filter(|one| index.segments.exists(one.segment)) {
            return Some(cleaning);
        }
        while let Some(segment) = self.mostly_empty.pop_first() {
            if index.segments.is_worth_cleaning(segment) {
                let at = PROLOGUE as u64;
                return Some(Cleaning { segment, at });
            }
        }
        None
    }

    /// Moves the next slice; true if there is more behind it.
    fn clean_slice(&mut self, cleaning: &mut Cleaning) -> Result<bool, CleanFault> {
        self.begin_batch()?;
        let segment = cleaning.segment;
        let damaged = |at| move |_| CleanFault::Damaged(at);
        let (file, len) = self.open_segment(segment).map_err(damaged(0))?;
        let mut scan = FrameScan::new(&*file, self.shared.mark, cleaning.at, len);
        let slice = self.chunk_bytes();
        let mut moved = Vec::new();
        let has_more = loop {
            if scan.at - cleaning.at >= slice || self.batch.len() >= slice {
                break true;
            }
            let at = scan.at;
            match scan.next_unchecked().map_err(damaged(at))? {
                None => break false,
                Some(Err(_)) => return Err(CleanFault::Damaged(at)),
                Some(Ok(frame)) => self.clean_frame(segment, &mut scan, &frame, &mut moved)?,
            }
        };
        let at = scan.at;
        if !moved.is_empty() {
            self.batch.frame_facts();
        }
        let bytes = self.batch.chunk.len();
        self.write_batch()?;
        self.shared.counts.moved_bytes.fetch_add(bytes, Relaxed);
        let mut index = self.shared.index.lock();
        for one in moved {
            index.add(one.slot, &one.places);
            for place in one.held {
                index.deliver(place.queue, place.position..=place.position);
            }
        }
        cleaning.at = at;
        Ok(has_more)
    }

    fn open_segment(&self, segment: SegmentNumber) -> std::io::Result<(Arc<dyn DiskFile>, u64)> {
        let mut index = self.shared.index.lock();
        let open = || self.shared.disk.open(&segment_name(segment));
        let file = index.segments.files().get(segment, open)?;
        let len = index.segments.get(segment).map_or(0, |one| one.len);
        Ok((file, len))
    }

    fn clean_frame(
        &mut self,
        segment: SegmentNumber,
        scan: &mut FrameScan<'_>,
        frame: &FoundFrame,
        moved: &mut Vec<Moved>,
    ) -> Result<(), CleanFault> {
        match frame.header.content {
            FrameContent::Message => self.move_message(segment, scan, frame, moved),
            FrameContent::Changes => self.move_facts(segment, frame),
            FrameContent::Start | FrameContent::Gap => Ok(()),
        }
    }

    fn move_message(
        &mut self,
        segment: SegmentNumber,
        scan: &mut FrameScan<'_>,
        frame: &FoundFrame,
        moved: &mut Vec<Moved>,
    ) -> Result<(), CleanFault> {
        let damaged = || CleanFault::Damaged(frame.at);
        let mut head = frame.head.clone();
        let places = take_places(&mut head).ok_or_else(damaged)?;
        let spot = Spot::new(segment, frame.at).ok_or_else(damaged)?;
        let (live, held) = {
            let index = self.shared.index.lock();
            let (mut live, mut held) = (Vec::new(), Vec::new());
            for recorded in places {
                if let Some((present, is_held)) = present_place(&index, spot, recorded) {
                    let origin = recorded.place.position;
                    let spread = Spread::one(recorded.place.queue, segment, origin);
                    join(&mut self.batch.facts, Fact::Settled(spread));
                    live.push(present);
                    held.extend(is_held.then_some(present.place));
                }
            }
            (live, held)
        };
        if live.is_empty() {
            return Ok(());
        }
        let body = scan.body(frame).ok().flatten().ok_or_else(damaged)?;
        let slot = self.put_moved(&live, &head, &body)?;
        for place in &held {
            let spread = Spread::one(place.queue, slot.segment(), place.position);
            join(&mut self.batch.facts, Fact::Delivered(spread));
        }
        moved.push(Moved {
            slot,
            places: live,
            held,
        });
        Ok(())
    }

    fn move_facts(&mut self, segment: SegmentNumber, frame: &FoundFrame) -> Result<(), CleanFault> {
        let facts = take_facts(frame.head.clone());
        let facts = facts.ok_or(CleanFault::Damaged(frame.at))?;
        let index = self.shared.index.lock();
        for fact in facts {
            let about = fact.segment();
            if about != segment && index.segments.exists(about) {
                repeat(&index, fact, &mut self.batch.facts);
            }
        }
        Ok(())
    }
}

/// The present place of what is recorded at a spot, if it is in the queue, and whether a mark in the place does not
/// say that it was delivered since it was last requeued.
fn present_place(
    index: &MessageIndex,
    spot: Spot,
    mut recorded: RecordedPlace,
) -> Option<(RecordedPlace, bool)> {
    let place = recorded.place;
    let (position, known) = index.present(place.queue, place.position)?;
    if known.slot.spot() != spot {
        return None;
    }
    recorded.place.position = position;
    recorded.returns = known.returns;
    recorded.redelivered = known.slot.is_delivered();
    Some((recorded, known.is_held && known.returns > 0))
}

/// Appends what a fact about a segment that exists says and nothing later says.
fn repeat(index: &MessageIndex, fact: Fact, facts: &mut Vec<Fact>) {
    match fact {
        Fact::Settled(_) => join(facts, fact),
        Fact::Delivered(spread) => repeat_delivered(index, &spread, facts),
        Fact::Requeued {
            queue,
            segment,
            origin,
            position,
            returns,
        } => {
            let known = index.present(queue, origin);
            let known = known.filter(|(present, known)| {
                *present == position && known.slot.segment() == segment && known.returns == returns
            });
            if let Some((_, known)) = known {
                facts.push(fact);
                // A delivery comes behind it again.
                let spread = Spread::one(queue, segment, origin);
                facts.extend(known.is_held.then_some(Fact::Delivered(spread)));
            }
        }
        Fact::Removed(_) => (),
    }
}

fn repeat_delivered(index: &MessageIndex, spread: &Spread, facts: &mut Vec<Fact>) {
    let (queue, segment) = (spread.queue, spread.segment);
    let Some(places) = index.queue(queue) else {
        return;
    };
    for position in places.present_in(segment, spread.origins.clone()) {
        if let Some(known) = places.look(position).filter(|known| known.is_held) {
            let one = Spread::one(queue, segment, known.origin);
            join(facts, Fact::Delivered(one));
        }
    }
}
