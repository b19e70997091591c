//! The segments of a log: how much of each is needed, and which can be removed.
//!
//! A segment is needed while it holds a message that is in some queue, or a fact about a message in another segment
//! that exists. Facts about its own messages end with it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    MessageLogStats,
    index::Slot,
    record::{Fact, SegmentNumber},
};
use crate::disk::DiskFile;

/// The bytes of a fact.
const FACT_BYTES: u64 = 24;
/// A sealed segment of which less is needed than this part is cleaned.
const CLEANED_BELOW: u64 = 4;

pub(super) fn segment_name(number: SegmentNumber) -> String {
    format!("segment-{number:010}")
}

pub(super) fn parse_segment_name(name: &str) -> Option<SegmentNumber> {
    let number = name.strip_prefix("segment-")?.parse().ok()?;
    (segment_name(number) == name).then_some(number)
}

/// One segment.
#[derive(Debug, Default)]
pub(super) struct SegmentUse {
    pub(super) len: u64,
    live_bytes: u64,
    live_messages: u64,
    /// Facts that it holds about messages in other segments.
    facts: HashMap<SegmentNumber, FactCount>,
    /// It is no longer written.
    is_sealed: bool,
    /// It is written down that nothing in it is needed.
    is_leaving: bool,
    /// It cannot be cleaned, because a needed part of it is damaged.
    is_damaged: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct FactCount {
    settled: u64,
    /// Deliveries and requeues: only the last one of a message is needed.
    others: u64,
}

impl SegmentUse {
    fn needed_bytes(&self) -> u64 {
        let settled: u64 = self.facts.values().map(|count| count.settled).sum();
        self.live_bytes + settled * FACT_BYTES
    }

    fn is_empty(&self) -> bool {
        self.live_messages == 0 && self.facts.is_empty()
    }

    fn is_worth_cleaning(&self) -> bool {
        !self.is_damaged && self.needed_bytes() < self.len / CLEANED_BELOW
    }
}

/// The segments that exist.
#[derive(Debug, Default)]
pub(super) struct SegmentTable {
    all: BTreeMap<SegmentNumber, SegmentUse>,
    /// Those of which less may be needed than before.
    touched: BTreeSet<SegmentNumber>,
    /// Where the log ends: later operations are not written yet.
    pub(super) written: (SegmentNumber, u64),
    files: FileCache,
}

impl SegmentTable {
    /// A segment exists.
    pub(super) fn add(&mut self, number: SegmentNumber) -> &mut SegmentUse {
        self.all.entry(number).or_default()
    }

    /// The end of the log.
    pub(super) fn extend(&mut self, number: SegmentNumber, len: u64) {
        self.add(number).len = len;
        self.written = (number, len);
    }

    /// A segment is no longer written.
    pub(super) fn seal(&mut self, number: SegmentNumber) {
        if let Some(segment) = self.all.get_mut(&number) {
            segment.is_sealed = true;
            self.touched.insert(number);
        }
    }

    /// Whether a message is written already.
    pub(super) fn is_written(&self, slot: &Slot) -> bool {
        (slot.segment(), slot.spot().offset()) < self.written
    }

    /// A message is needed.
    pub(super) fn hold(&mut self, slot: Slot) {
        let segment = self.add(slot.segment());
        segment.live_bytes += slot.len();
        segment.live_messages += 1;
    }

    /// A message is no longer needed.
    pub(super) fn release(&mut self, slot: Slot) {
        if let Some(segment) = self.all.get_mut(&slot.segment()) {
            segment.live_bytes -= slot.len();
            segment.live_messages -= 1;
            self.touched.insert(slot.segment());
        }
    }

    /// A segment holds these facts.
    pub(super) fn count_facts(&mut self, holder: SegmentNumber, facts: &[Fact]) {
        for fact in facts {
            let about = fact.segment();
            if about == holder || !self.exists(about) {
                continue;
            }
            let Some(segment) = self.all.get_mut(&holder) else {
                return;
            };
            let count = segment.facts.entry(about).or_default();
            match fact {
                Fact::Settled(_) => count.settled += 1,
                Fact::Delivered(_) | Fact::Requeued { .. } => count.others += 1,
                // It is redone at the next start where it has not been done.
                Fact::Removed(_) => (),
            }
        }
    }

    /// Whether facts about a segment are needed.
    pub(super) fn exists(&self, number: SegmentNumber) -> bool {
        self.all
            .get(&number)
            .is_some_and(|segment| !segment.is_leaving)
    }

    /// Whether nothing in a segment is needed.
    pub(super) fn is_unused(&self, number: SegmentNumber) -> bool {
        self.all.get(&number).is_none_or(SegmentUse::is_empty)
    }

    /// Whether a segment has messages that are in some queue.
    pub(super) fn has_messages(&self, number: SegmentNumber) -> bool {
        let segment = self.all.get(&number);
        segment.is_some_and(|segment| segment.live_messages > 0)
    }

    pub(super) fn get(&self, number: SegmentNumber) -> Option<&SegmentUse> {
        self.all.get(&number)
    }

    /// The segments that exist.
    pub(super) fn numbers(&self) -> Vec<SegmentNumber> {
        let existing = self.all.iter().filter(|(_, segment)| !segment.is_leaving);
        existing.map(|(number, _)| *number).collect()
    }

    /// The segments that exist, and how much of each is written.
    pub(super) fn lens(&self) -> Vec<(SegmentNumber, u64)> {
        let existing = self.all.iter().filter(|(_, segment)| !segment.is_leaving);
        existing
            .map(|(number, segment)| (*number, segment.len))
            .collect()
    }

    /// The messages and facts of this segment were moved: nothing in it is needed.
    pub(super) fn cleaned(&mut self, number: SegmentNumber) {
        if let Some(segment) = self.all.get_mut(&number) {
            segment.facts.clear();
            self.touched.insert(number);
        }
    }

    /// A segment is damaged where it is needed.
    pub(super) fn damaged(&mut self, number: SegmentNumber) {
        self.add(number).is_damaged = true;
    }

    /// Which of the segments whose use has changed are empty, and which are worth cleaning.
    pub(super) fn look_at_touched(&mut self) -> (Vec<SegmentNumber>, Vec<SegmentNumber>) {
        let (mut empty, mut mostly_empty) = (Vec::new(), Vec::new());
        for number in std::mem::take(&mut self.touched) {
            match self.all.get(&number) {
                Some(segment) if !segment.is_sealed || segment.is_leaving => (),
                Some(segment) if segment.is_empty() => empty.push(number),
                Some(segment) if segment.is_worth_cleaning() => mostly_empty.push(number),
                _ => (),
            }
        }
        (empty, mostly_empty)
    }

    /// Whether a segment is still worth cleaning.
    pub(super) fn is_worth_cleaning(&self, number: SegmentNumber) -> bool {
        self.all.get(&number).is_some_and(|segment| {
            segment.is_sealed && !segment.is_leaving && segment.is_worth_cleaning()
        })
    }

    /// It is written down that nothing in it is needed.
    pub(super) fn leave(&mut self, number: SegmentNumber) {
        if let Some(segment) = self.all.get_mut(&number) {
            segment.is_leaving = true;
        }
    }

    /// A segment exists no longer, and no fact about it is needed.
    pub(super) fn remove(&mut self, number: SegmentNumber) {
        self.all.remove(&number);
        self.files.forget(number);
        for (holder, segment) in &mut self.all {
            if segment.facts.remove(&number).is_some() {
                self.touched.insert(*holder);
            }
        }
    }

    pub(super) fn files(&mut self) -> &mut FileCache {
        &mut self.files
    }

    pub(super) fn stats(&self) -> MessageLogStats {
        let sum = |of: fn(&SegmentUse) -> u64| self.all.values().map(of).sum();
        MessageLogStats {
            bytes: sum(|segment| segment.len),
            live_bytes: sum(SegmentUse::needed_bytes),
            live_messages: sum(|segment| segment.live_messages),
            segments: self.all.len(),
            ..MessageLogStats::default()
        }
    }
}

/// How many files are kept open.
const OPEN_FILES: usize = 64;

/// Segments that were read lately, open.
#[derive(Debug, Default)]
pub(super) struct FileCache {
    /// The latest last.
    open: Vec<(SegmentNumber, Arc<dyn DiskFile>)>,
}

impl FileCache {
    /// The file of a segment, opened where it is not open.
    pub(super) fn get<E>(
        &mut self,
        number: SegmentNumber,
        open: impl FnOnce() -> Result<Arc<dyn DiskFile>, E>,
    ) -> Result<Arc<dyn DiskFile>, E> {
        let at = self.open.iter().rposition(|(known, _)| *known == number);
        let entry = match at {
            Some(at) => self.open.remove(at),
            None => (number, open()?),
        };
        if self.open.len() >= OPEN_FILES {
            self.open.remove(0);
        }
        let file = Arc::clone(&entry.1);
        self.open.push(entry);
        Ok(file)
    }

    fn forget(&mut self, number: SegmentNumber) {
        self.open.retain(|(known, _)| *known != number);
    }
}
