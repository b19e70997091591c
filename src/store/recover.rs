//! Reads the files of a folder at the start: which ones exist, whether they are whole, and where the log
//! ends.

use std::{io, sync::Arc};

use super::{frame::LogFrames, open::RESTORING};
use crate::disk::{Disk, DiskFile};

/// The folder in which the broker keeps messages.
const MESSAGES: &str = "messages";

/// The files of a store, by kind and number.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Numbers of segments of the log that no snapshot covers, rising.
    pub(super) segments: Vec<u64>,
    /// The newest snapshot: it holds everything up to the segment of this number.
    pub(super) snapshot: Option<u64>,
    /// Files that a snapshot has replaced, and files that were never finished.
    pub(super) leftovers: Vec<String>,
    /// There is a folder with the messages of the broker: it is made after the store.
    pub(super) has_messages: bool,
    /// A restore of a backup has not ended.
    pub(super) is_restoring: bool,
}

pub(super) fn segment_name(number: u64) -> String {
    format!("log-{number:010}")
}

pub(super) fn snapshot_name(number: u64) -> String {
    format!("snapshot-{number:010}")
}

impl Files {
    pub(super) fn of(disk: &dyn Disk) -> io::Result<Self> {
        let names = disk.names()?;
        let has = |wanted| names.iter().any(|name| name == wanted);
        let mut snapshots = numbers(&names, "snapshot-", snapshot_name);
        let snapshot = snapshots.pop();
        let covered = snapshot.unwrap_or(0);
        let (old, segments) = numbers(&names, "log-", segment_name)
            .into_iter()
            .partition(|n| *n <= covered);
        let old: Vec<u64> = old;
        let unfinished = names.iter().filter(|name| name.ends_with(".tmp")).cloned();
        let leftovers = snapshots.into_iter().map(snapshot_name);
        let leftovers = leftovers.chain(old.into_iter().map(segment_name));
        Ok(Self {
            segments,
            snapshot,
            leftovers: leftovers.chain(unfinished).collect(),
            has_messages: has(MESSAGES),
            is_restoring: has(RESTORING),
        })
    }

    /// Whether there is nothing of a store.
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.snapshot.is_none() && !self.has_messages
    }

    /// A file that should be there and is not. A store always has a segment of the log behind its snapshot: its name is
    /// durable before that of the snapshot, and before the format of a new store.
    pub(super) fn missing(&self) -> Option<String> {
        let first = self.snapshot.unwrap_or(0) + 1;
        let oldest = self.segments.first().copied().unwrap_or(first);
        if self.snapshot.is_none() && oldest > first {
            return Some(snapshot_name(oldest - 1));
        }
        let last = self.segments.last().copied().unwrap_or(first);
        let mut expected = first..=last.max(first);
        let missing = expected.find(|number| self.segments.binary_search(number).is_err());
        missing.map(segment_name)
    }
}

/// The numbers of the files of one kind, rising.
fn numbers(names: &[String], prefix: &str, name_of: fn(u64) -> String) -> Vec<u64> {
    let parse = |name: &String| {
        let number = name.strip_prefix(prefix)?.parse().ok()?;
        (name_of(number) == *name).then_some(number)
    };
    let mut numbers: Vec<_> = names.iter().filter_map(parse).collect();
    numbers.sort_unstable();
    numbers
}

/// A segment of the log, open.
#[derive(Clone, Debug)]
pub(super) struct StoredSegment {
    pub(super) number: u64,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) len: u64,
}

/// The log as it was found.
#[derive(Debug, Default)]
pub(super) struct FoundLog {
    pub(super) segments: Vec<StoredSegment>,
    /// The number of the newest whole commit; 0 without one.
    pub(super) newest: u64,
    /// Where it ends before its end: a torn write, or damage.
    pub(super) broken: Option<DamagedFrame>,
}

/// The place behind which the log is not whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct DamagedFrame {
    /// Index of the segment.
    pub(super) segment: usize,
    /// Where the unreadable frame begins.
    pub(super) at: u64,
    /// Bytes from there on, of all segments.
    pub(super) bytes: u64,
    /// Whether a commit from there on was durable once: then this is no torn write.
    pub(super) was_durable: bool,
}

/// Opens and checks all segments. `covered` is the number of the newest commit of the snapshot, 0 without one.
pub(super) fn read_log(disk: &dyn Disk, numbers: &[u64], covered: u64) -> io::Result<FoundLog> {
    let mut log = FoundLog {
        newest: covered,
        ..FoundLog::default()
    };
    for number in numbers {
        let file = disk.open(&segment_name(*number))?;
        let len = file.len()?;
        let segment = StoredSegment {
            number: *number,
            file,
            len,
        };
        check(&mut log, &segment)?;
        log.segments.push(segment);
    }
    Ok(log)
}

fn check(log: &mut FoundLog, segment: &StoredSegment) -> io::Result<()> {
    let mut frames = LogFrames::new(&*segment.file, 0, segment.len);
    if log.broken.is_none() {
        let at = loop {
            match frames.next()? {
                None => return Ok(()),
                Some(Err(damage)) => break damage.at,
                Some(Ok(frame)) => {
                    let follows = frame.number == log.newest || frame.number == log.newest + 1;
                    if !follows {
                        break frame.at;
                    }
                    log.newest = frame.number;
                }
            }
        };
        frames.at = at;
        log.broken = Some(DamagedFrame {
            segment: log.segments.len(),
            at,
            bytes: 0,
            was_durable: false,
        });
    }
    let newest = log.newest;
    let Some(broken) = &mut log.broken else {
        return Ok(());
    };
    broken.bytes += segment.len - frames.at;
    let mut durable = |synced| broken.was_durable |= synced > newest;
    if let Some(Ok(frame)) = frames.next()? {
        durable(frame.synced);
    }
    while let Some(frame) = frames.resume()? {
        durable(frame.synced);
        while let Some(Ok(frame)) = frames.next()? {
            durable(frame.synced);
        }
    }
    Ok(())
}
