//! Reads a log at the start: the messages of each queue, whether the files are whole, and where the log ends.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use super::{
    DroppedTail, LogReport, MessageLogError, MessageLogOptions, MessageLogState, RecoveredMessages,
    clean_stop,
    durable_end::DurableEnd,
    frame::{FORMAT, FrameScan, PROLOGUE, Prologue},
    record::SegmentNumber,
    segments::{parse_segment_name, segment_name},
    shared::Shared,
    writer::{ActiveSegment, LogTip, LogWriter},
};

mod replay;

use self::replay::Replay;
use crate::disk::{Disk, DiskFile};

/// A log that was read.
#[derive(Debug)]
pub(super) struct OpenedLog {
    pub(super) writer: LogWriter,
    pub(super) recovered: RecoveredMessages,
}

/// Opens a log; an unfinished write of a crash is cut off.
pub(super) fn open(
    disk: Box<dyn Disk>,
    folder: &Path,
    options: MessageLogOptions,
) -> Result<OpenedLog, MessageLogError> {
    let files = LogFolder {
        disk: &*disk,
        folder,
    };
    let (mut replay, dropped) = files.read()?;
    let unneeded = replay.remove_unneeded();
    let mut tip = files.tip(&mut replay)?;
    let synced = tip.sync(&*disk);
    // The found records may still be in memory of the operating system: they count as durable only after a
    // sync.
    synced.map_err(|error| MessageLogError::unusable(folder, error))?;
    for segment in unneeded {
        files.remove(segment)?;
    }
    let mut queues = replay.index.recovered();
    let stopped = clean_stop::read(&*disk, replay.mark);
    let stopped = stopped.map_err(|error| MessageLogError::unusable(folder, error))?;
    let returned = clean_stop::returned(stopped, &queues);
    for queue in &mut queues {
        queue.returned_below = returned.get(&queue.queue).copied().unwrap_or(0);
    }
    // Before the first delivery of this run.
    let begun = clean_stop::remove(&*disk);
    begun.map_err(|error| MessageLogError::unusable(folder, error))?;
    let recovered = RecoveredMessages { queues, dropped };
    let mark = match replay.mark {
        Some(mark) => mark,
        None => new_mark().map_err(|error| MessageLogError::unusable(folder, error))?,
    };
    let shared = Arc::new(Shared {
        folder: folder.to_owned(),
        options,
        disk,
        mark,
        pending: Mutex::default(),
        woken: parking_lot::Condvar::new(),
        pending_bytes: 0.into(),
        durable: 0.into(),
        frozen: 0.into(),
        index: Mutex::new(replay.index),
        state: tokio::sync::watch::Sender::new(MessageLogState::Ready),
        on_durable: arc_swap::ArcSwapOption::empty(),
        counts: super::shared::LogCounts::default(),
    });
    let mut writer = LogWriter::new(shared, tip, returned);
    let begun = writer.begin();
    begun.map_err(|error| MessageLogError::unusable(folder, error))?;
    Ok(OpenedLog { writer, recovered })
}

fn new_mark() -> io::Result<u64> {
    let random = getrandom::u64().map_err(io::Error::other)?;
    // A crash leaves zeros.
    Ok(random | 1)
}

/// The files of a log, with errors that name them.
#[derive(Debug)]
struct LogFolder<'a> {
    disk: &'a dyn Disk,
    folder: &'a Path,
}

impl LogFolder<'_> {
    fn path(&self, segment: SegmentNumber) -> PathBuf {
        self.folder.join(segment_name(segment))
    }

    fn unusable(&self, segment: SegmentNumber) -> impl FnOnce(io::Error) -> MessageLogError {
        let path = self.path(segment);
        move |error| MessageLogError::unusable(&path, error)
    }

    fn remove(&self, segment: SegmentNumber) -> Result<(), MessageLogError> {
        let removed = self.disk.remove(&segment_name(segment));
        removed.map_err(self.unusable(segment))
    }

    /// Reads everything; refuses damage and cuts off a torn end.
    fn read(&self) -> Result<(Replay, Option<DroppedTail>), MessageLogError> {
        let FoundSegments { mut replay, broken } = self.whole()?;
        let dropped = match broken {
            Some(broken) => self.drop_tail(&mut replay, broken)?,
            None => None,
        };
        Ok((replay, dropped))
    }

    /// Reads everything, and refuses damage.
    fn whole(&self) -> Result<FoundSegments, MessageLogError> {
        let mut found = FoundSegments::read(self.disk, self.folder, None)?;
        let is_damaged = found.broken.is_some_and(|broken| broken.was_durable);
        if let Some(missing) = found.replay.missing().filter(|_| !is_damaged) {
            if missing.was_durable {
                let file = self.path(missing.segment);
                return Err(MessageLogError::Missing { file });
            }
            // Its directory entry was never durable, nor was anything after it.
            found = FoundSegments::read(self.disk, self.folder, Some(missing.segment))?;
        }
        match found.broken.filter(|broken| broken.was_durable) {
            Some(broken) if !found.replay.has_segment(broken.segment) => {
                let file = self.path(broken.segment);
                Err(MessageLogError::Missing { file })
            }
            Some(broken) => Err(MessageLogError::Damaged {
                file: self.path(broken.segment),
                offset: broken.at,
            }),
            None => Ok(found),
        }
    }

    /// Cuts off a torn end.
    fn drop_tail(
        &self,
        replay: &mut Replay,
        broken: BrokenEnd,
    ) -> Result<Option<DroppedTail>, MessageLogError> {
        // A group that does not end begins before the frame that is torn.
        let (segment, offset) = replay.drop_group().unwrap_or((broken.segment, broken.at));
        let bytes = self.cut(replay, segment, offset)?;
        Ok((bytes > 0).then(|| DroppedTail {
            file: self.path(segment),
            offset,
            bytes,
        }))
    }

    fn cut_file(&self, segment: SegmentNumber, len: u64) -> io::Result<()> {
        let file = self.disk.open(&segment_name(segment))?;
        file.set_len(len)?;
        file.sync()
    }

    /// The end of the log, at which the writer begins.
    fn tip(&self, replay: &mut Replay) -> Result<LogTip, MessageLogError> {
        let open = |number| {
            let file = self.disk.open(&segment_name(number));
            file.map_err(self.unusable(number))
        };
        let unsynced = replay.unsynced().into_iter().map(open);
        let unsynced = unsynced.collect::<Result<_, _>>()?;
        let active = replay.end().map(|last| {
            Ok(ActiveSegment {
                number: last.number,
                file: open(last.number)?,
                len: last.len,
            })
        });
        Ok(LogTip {
            highest: replay.last_number(),
            active: active.transpose()?,
            newest: replay.newest,
            synced: replay.synced,
            unsynced,
            is_name_unsynced: true,
        })
    }

    /// Cuts off the end of a segment and all that follow it: how many bytes.
    fn cut(
        &self,
        replay: &mut Replay,
        segment: SegmentNumber,
        offset: u64,
    ) -> Result<u64, MessageLogError> {
        let mut dropped = 0;
        while let Some(last) = replay.segments.last() {
            let keeps = last.number == segment && offset > PROLOGUE as u64;
            if last.number < segment {
                break;
            }
            if keeps {
                dropped += last.len - offset;
                self.cut_file(segment, offset)
                    .map_err(self.unusable(segment))?;
                replay.cut_last(offset);
                break;
            }
            dropped += last.len;
            self.remove(last.number)?;
            replay.forget_last();
        }
        let synced = self.disk.sync();
        synced.map_err(|error| MessageLogError::unusable(self.folder, error))?;
        Ok(dropped)
    }
}

/// How a log is, without changing it.
pub(super) fn look(disk: &dyn Disk, folder: &Path) -> Result<LogReport, MessageLogError> {
    let files = LogFolder { disk, folder };
    let FoundSegments { mut replay, broken } = files.whole()?;
    let unfinished = broken.map(|broken| {
        let (segment, offset) = replay.drop_group().unwrap_or((broken.segment, broken.at));
        let behind = replay.segments.iter().filter(|one| one.number >= segment);
        DroppedTail {
            file: files.path(segment),
            offset,
            bytes: behind.map(|one| one.len).sum::<u64>() - offset,
        }
    });
    let segments = replay.segments.len();
    replay.remove_unneeded();
    let queues = replay.index.recovered();
    Ok(LogReport {
        segments,
        messages: Some(queues.iter().map(|queue| queue.messages).sum()),
        unfinished,
        ..LogReport::default()
    })
}

/// A segment that was read.
#[derive(Clone, Copy, Debug)]
struct FoundSegment {
    number: SegmentNumber,
    len: u64,
    /// The number of its last frame.
    newest: u64,
}

/// The place behind which the log is not whole.
#[derive(Clone, Copy, Debug)]
struct BrokenEnd {
    segment: SegmentNumber,
    at: u64,
    /// Whether something from there on was durable once: then this is no torn write.
    was_durable: bool,
}

/// All segments, read up to where they are whole.
#[derive(Debug)]
struct FoundSegments {
    replay: Replay,
    broken: Option<BrokenEnd>,
}

impl FoundSegments {
    /// Reads them; those behind `end` are read as if they were torn.
    fn read(
        disk: &dyn Disk,
        folder: &Path,
        end: Option<SegmentNumber>,
    ) -> Result<Self, MessageLogError> {
        let unusable = |error| MessageLogError::unusable(folder, error);
        let names = disk.names().map_err(unusable)?;
        let numbers: BTreeSet<_> = names
            .iter()
            .filter_map(|name| parse_segment_name(name))
            .collect();
        let mut found = Self {
            replay: Replay::of(&numbers),
            broken: None,
        };
        for number in numbers {
            if end.is_some_and(|end| number > end) {
                found.break_at(number, 0);
            }
            let path = folder.join(segment_name(number));
            let unusable = |error| MessageLogError::unusable(&path, error);
            let file = disk.open(&segment_name(number)).map_err(unusable)?;
            let len = file.len().map_err(unusable)?;
            let segment = FoundSegment {
                number,
                len,
                newest: 0,
            };
            match Prologue::read(&*file).map_err(unusable)? {
                Prologue::Newer(found) => {
                    let known = FORMAT;
                    return Err(MessageLogError::Newer { path, found, known });
                }
                prologue => found.segment(segment, &*file, prologue).map_err(unusable)?,
            }
        }
        if found.broken.is_none()
            && let Some((segment, at)) = found.replay.open_group()
        {
            // Its end was never written.
            found.broken = Some(BrokenEnd {
                segment,
                at,
                was_durable: false,
            });
        }
        found.compare(DurableEnd::read(disk).map_err(unusable)?);
        Ok(found)
    }

    /// Whether the log ends before what was durable once.
    fn compare(&mut self, end: Option<DurableEnd>) {
        let mark = self.replay.mark;
        // A copy of another log may be beside it.
        let Some(end) = end.filter(|end| mark.is_none_or(|mark| mark == end.mark)) else {
            return;
        };
        self.replay.note_synced(end.number);
        if end.number <= self.replay.whole_until() {
            return;
        }
        let last = self.replay.segments.last();
        let (segment, at) = last
            .filter(|last| last.number >= end.segment)
            .map_or((end.segment, 0), |last| (last.number, last.len));
        let broken = self.broken.get_or_insert(BrokenEnd {
            segment,
            at,
            was_durable: true,
        });
        broken.was_durable = true;
    }

    /// Reads one segment, behind those before it.
    fn segment(
        &mut self,
        segment: FoundSegment,
        file: &dyn DiskFile,
        prologue: Prologue,
    ) -> io::Result<()> {
        let mark = match prologue {
            Prologue::Sound(mark) if self.replay.mark.is_none_or(|known| known == mark) => mark,
            _ => {
                self.break_at(segment.number, 0);
                if let Some(broken) = &mut self.broken {
                    // A write of so few bytes is not torn.
                    broken.was_durable |= prologue != Prologue::Unwritten;
                }
                self.replay.begin(segment);
                return Ok(());
            }
        };
        self.replay.mark = Some(mark);
        let mut scan = FrameScan::new(file, mark, PROLOGUE as u64, segment.len);
        self.replay.begin(segment);
        if self.broken.is_none() && !self.replay.read(&mut scan)? {
            let number = self.replay.last_number();
            // Without its first frame a segment is nothing.
            let at = if scan.at == PROLOGUE as u64 {
                0
            } else {
                scan.at
            };
            self.break_at(number, at);
        }
        if self.broken.is_some() {
            self.look_for_durable(&mut scan)?;
        }
        Ok(())
    }

    fn break_at(&mut self, segment: SegmentNumber, at: u64) {
        self.broken.get_or_insert(BrokenEnd {
            segment,
            at,
            was_durable: false,
        });
    }

    /// Whether a frame from here on says that something was durable that cannot be read.
    fn look_for_durable(&mut self, scan: &mut FrameScan<'_>) -> io::Result<()> {
        let mut synced = 0;
        if let Some(Ok(frame)) = scan.next_unchecked()? {
            synced = frame.header.synced;
        }
        while let Some(frame) = scan.resume()? {
            synced = synced.max(frame.header.synced);
            while let Some(Ok(frame)) = scan.next_unchecked()? {
                synced = synced.max(frame.header.synced);
            }
        }
        let newest = self.replay.newest;
        self.replay.note_synced(synced);
        if let Some(broken) = &mut self.broken {
            broken.was_durable |= synced > newest;
        }
        Ok(())
    }
}
