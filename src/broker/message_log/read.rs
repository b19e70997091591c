//! Reads messages back, by queue and position.

use std::{ops::RangeInclusive, sync::Arc};

use bytes::Bytes;

use super::{
    MessageHead, MessageLogError, QueueNumber,
    frame::{FrameHeader, HEADER},
    head,
    index::{MessageIndex, RemovedPlace},
    record::{SegmentNumber, take_places},
    segments::segment_name,
    shared::Shared,
};
use crate::disk::DiskFile;

/// Bytes that are read at once, where messages lie next to each other.
const RUN_BYTES: u64 = 1 << 20;
/// Bytes between two messages that are read with them.
const GAP_BYTES: u64 = 16 << 10;

/// How much is read.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits {
    /// Messages, at most.
    pub messages: usize,
    /// Bytes of bodies, at most, but for the first message.
    pub bytes: u64,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            messages: 1024,
            bytes: 1 << 20,
        }
    }
}

/// A message of a queue as it was stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredMessage {
    /// Its position.
    pub position: u64,
    /// Its other parts.
    pub head: MessageHead,
    /// Its body, in a separate allocation.
    pub body: Bytes,
    /// When it expires in this queue, in ms since 1970.
    pub deadline: Option<u64>,
    /// How often it was requeued.
    pub returns: u32,
    /// Whether it was given to a consumer before.
    pub redelivered: bool,
    /// Whether it was given to a consumer since it was last requeued: at a start, to one that is gone.
    pub held: bool,
}

/// A message that is to be read.
#[derive(Debug)]
struct Wanted {
    position: u64,
    known: RemovedPlace,
}

impl Wanted {
    fn at(&self) -> u64 {
        self.known.slot.spot().offset()
    }

    fn end(&self) -> u64 {
        self.at() + self.known.slot.len()
    }
}

/// Messages of one segment that lie next to each other.
#[derive(Debug)]
struct ReadRun {
    segment: SegmentNumber,
    file: Arc<dyn DiskFile>,
    wanted: Vec<Wanted>,
}

/// Reads messages of a queue in the order of their positions.
pub(super) fn read(
    shared: &Shared,
    queue: QueueNumber,
    positions: RangeInclusive<u64>,
    limits: ReadLimits,
) -> Result<Vec<StoredMessage>, MessageLogError> {
    let runs = runs(shared, queue, positions, limits)?;
    let mut found = Vec::new();
    for run in runs {
        read_run(shared, queue, &run, &mut found)?;
    }
    Ok(found)
}

/// Finds them, and opens the files while none of them can be removed.
fn runs(
    shared: &Shared,
    queue: QueueNumber,
    positions: RangeInclusive<u64>,
    limits: ReadLimits,
) -> Result<Vec<ReadRun>, MessageLogError> {
    let mut index = shared.index.lock();
    let wanted = wanted(&index, queue, positions, limits);
    let mut runs: Vec<ReadRun> = Vec::new();
    for next in wanted {
        let segment = next.known.slot.segment();
        if let Some(run) = runs.last_mut().filter(|run| run.takes(&next)) {
            run.wanted.push(next);
            continue;
        }
        let name = segment_name(segment);
        let file = index
            .segments
            .files()
            .get(segment, || shared.disk.open(&name));
        let path = || shared.folder.join(&name);
        runs.push(ReadRun {
            segment,
            file: file.map_err(|error| MessageLogError::unusable(&path(), error))?,
            wanted: vec![next],
        });
    }
    Ok(runs)
}

fn wanted(
    index: &MessageIndex,
    queue: QueueNumber,
    positions: RangeInclusive<u64>,
    limits: ReadLimits,
) -> Vec<Wanted> {
    let Some(places) = index.queue(queue) else {
        return Vec::new();
    };
    let mut wanted = Vec::new();
    let mut bytes = 0;
    for (position, slot) in places.iter(positions) {
        if wanted.len() >= limits.messages.max(1) {
            break;
        }
        if !index.segments.is_written(slot) {
            continue;
        }
        bytes += u64::from(slot.body_len());
        if bytes > limits.bytes && !wanted.is_empty() {
            break;
        }
        let known = places.look(position);
        wanted.extend(known.map(|known| Wanted { position, known }));
    }
    wanted
}

impl ReadRun {
    /// Whether a message is read together with those before it.
    fn takes(&self, next: &Wanted) -> bool {
        let (Some(first), Some(last)) = (self.wanted.first(), self.wanted.last()) else {
            return false;
        };
        self.segment == next.known.slot.segment()
            && next.at() >= last.end()
            && next.at() - last.end() <= GAP_BYTES
            && next.end() - first.at() <= RUN_BYTES
    }
}

fn read_run(
    shared: &Shared,
    queue: QueueNumber,
    run: &ReadRun,
    found: &mut Vec<StoredMessage>,
) -> Result<(), MessageLogError> {
    let (Some(first), Some(last)) = (run.wanted.first(), run.wanted.last()) else {
        return Ok(());
    };
    let path = || shared.folder.join(segment_name(run.segment));
    let unusable = |error| MessageLogError::unusable(&path(), error);
    let start = first.at();
    let bytes = read_bytes(&*run.file, start, last.end() - start).map_err(unusable)?;
    for wanted in &run.wanted {
        let skip = usize::try_from(wanted.at() - start).unwrap_or(usize::MAX);
        let rest = bytes.get(skip..).unwrap_or_default();
        let message = match parse(shared.mark, rest, queue, wanted) {
            Some(message) => Some(message),
            // Its head is longer than the index knows.
            None => whole(shared.mark, &*run.file, wanted.at())
                .map_err(unusable)?
                .and_then(|bytes| parse(shared.mark, &bytes, queue, wanted)),
        };
        found.push(message.ok_or_else(|| MessageLogError::Damaged {
            file: path(),
            offset: wanted.at(),
        })?);
    }
    Ok(())
}

fn read_bytes(file: &dyn DiskFile, at: u64, len: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    let n = file.read_at(&mut bytes, at)?;
    bytes.truncate(n);
    Ok(bytes)
}

/// The frame at a place, by the lengths that its own header has.
fn whole(mark: u64, file: &dyn DiskFile, at: u64) -> std::io::Result<Option<Vec<u8>>> {
    let header = read_bytes(file, at, HEADER as u64)?;
    let Some(len) = FrameHeader::claimed_len(mark, &header) else {
        return Ok(None);
    };
    // Compared with the file before anything is allocated.
    match at + len <= file.len()? {
        true => read_bytes(file, at, len).map(Some),
        false => Ok(None),
    }
}

fn parse(mark: u64, bytes: &[u8], queue: QueueNumber, wanted: &Wanted) -> Option<StoredMessage> {
    let (_, head_bytes, body) = FrameHeader::check(mark, bytes)?;
    let mut head_bytes = Bytes::copy_from_slice(head_bytes);
    let places = take_places(&mut head_bytes)?;
    let known = &wanted.known;
    let here = |place: &super::QueuePlace| place.queue == queue && place.position == known.origin;
    let recorded = places.iter().find(|recorded| here(&recorded.place))?;
    Some(StoredMessage {
        position: wanted.position,
        head: head::decode(&mut head_bytes)?,
        body: Bytes::copy_from_slice(body),
        deadline: recorded.place.deadline,
        returns: known.returns,
        redelivered: known.slot.is_delivered(),
        held: known.is_held,
    })
}
