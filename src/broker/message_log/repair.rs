//! Looks for damage in a log, and keeps the sound records.
//!
//! Each record is complete, so it can be kept without those around it. Messages that a lost record settled
//! come back.

mod rewrite;
mod walk;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use self::{
    rewrite::Rewrite,
    walk::{FrameWalk, WalkedPart},
};
use super::{
    DroppedTail, MessageLogError, MessageLogOptions, clean_stop,
    durable_end::{DURABLE, DurableEnd},
    frame::{FORMAT, FrameContent, PROLOGUE, Prologue},
    lock,
    record::{SegmentNumber, SegmentStart},
    recover,
    segments::{parse_segment_name, segment_name},
};
use crate::disk::{Disk, DiskFile};

/// The faults and the content of a log.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LogReport {
    /// Files.
    pub segments: usize,
    /// Messages in queues; unknown while it is damaged.
    pub messages: Option<u64>,
    /// Places that cannot be read.
    pub damaged: Vec<DamagedPlace>,
    /// Files that should be there and are not.
    pub missing: Vec<PathBuf>,
    /// The unfinished write of a crash at the end; the next start cuts it off.
    pub unfinished: Option<DroppedTail>,
}

/// A place of a file that cannot be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DamagedPlace {
    /// The file.
    pub file: PathBuf,
    /// Where it begins.
    pub offset: u64,
    /// Its length; 0 where records are missing.
    pub bytes: u64,
}

impl LogReport {
    /// Whether the log can be opened, without loss of anything that was durable.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.missing.is_empty()
    }
}

/// Reads a whole log and changes nothing.
///
/// # Errors
/// It is open, or a file cannot be read, or a later version wrote it.
pub fn check(folder: &Path) -> Result<LogReport, MessageLogError> {
    let (disk, _lock) = lock(folder)?;
    check_on(&disk, folder)
}

/// Repairs a damaged log so that it can be opened; every sound record is kept. Damaged records are lost;
/// messages whose settlement was damaged come back. The damaged files are kept, with `.damaged` at the end of
/// their names. Returns the faults and the number of messages that are left.
///
/// # Errors
/// It is open, or a file cannot be read or written, or a later version wrote it.
pub fn repair(folder: &Path) -> Result<LogReport, MessageLogError> {
    let (disk, _lock) = lock(folder)?;
    repair_on(Box::new(disk), folder)
}

pub(super) fn check_on(disk: &dyn Disk, folder: &Path) -> Result<LogReport, MessageLogError> {
    match recover::look(disk, folder) {
        Ok(report) => Ok(report),
        Err(MessageLogError::Damaged { .. } | MessageLogError::Missing { .. }) => {
            BrokenLog::read(disk, folder)?.report()
        }
        Err(error) => Err(error),
    }
}

pub(super) fn repair_on(disk: Box<dyn Disk>, folder: &Path) -> Result<LogReport, MessageLogError> {
    let mut report = check_on(&*disk, folder)?;
    if !report.is_sound() {
        BrokenLog::read(&*disk, folder)?.repair()?;
        let opened = recover::open(disk, folder, MessageLogOptions::default())?;
        let queues = &opened.recovered.queues;
        report.messages = Some(queues.iter().map(|queue| queue.messages).sum());
    }
    Ok(report)
}

fn u64_in(file: &dyn DiskFile, at: u64) -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    file.read_at(&mut bytes, at)?;
    Ok(u64::from_le_bytes(bytes))
}

/// A log that is damaged.
struct BrokenLog<'a> {
    disk: &'a dyn Disk,
    folder: &'a Path,
    mark: u64,
    segments: BTreeMap<SegmentNumber, BrokenSegment>,
}

struct BrokenSegment {
    file: Arc<dyn DiskFile>,
    len: u64,
    has_prologue: bool,
}

impl<'a> BrokenLog<'a> {
    fn read(disk: &'a dyn Disk, folder: &'a Path) -> Result<Self, MessageLogError> {
        let unusable = |error| MessageLogError::unusable(folder, error);
        let names = disk.names().map_err(unusable)?;
        let mut segments = BTreeMap::new();
        let (mut mark, mut likely) = (None, Vec::new());
        for number in names.iter().filter_map(|name| parse_segment_name(name)) {
            let file = disk.open(&segment_name(number)).map_err(unusable)?;
            let len = file.len().map_err(unusable)?;
            let prologue = Prologue::read(&*file).map_err(unusable)?;
            match prologue {
                Prologue::Sound(sound) => mark = Some(sound),
                Prologue::Damaged(damaged) => {
                    // The first frame has it too.
                    likely.push(damaged);
                    likely.push(u64_in(&*file, PROLOGUE as u64).map_err(unusable)?);
                }
                Prologue::Unwritten => (),
                Prologue::Newer(found) => {
                    return Err(MessageLogError::Newer {
                        path: folder.join(segment_name(number)),
                        found,
                        known: FORMAT,
                    });
                }
            }
            let segment = BrokenSegment {
                file,
                len,
                has_prologue: matches!(prologue, Prologue::Sound(_)),
            };
            segments.insert(number, segment);
        }
        let mut broken = Self {
            disk,
            folder,
            mark: mark.unwrap_or_default(),
            segments,
        };
        for likely in likely {
            if mark.is_none() {
                broken.mark = likely;
                mark = broken.finds_frames().map_err(unusable)?.then_some(likely);
            }
        }
        Ok(broken)
    }

    /// Whether there is a frame with the mark.
    fn finds_frames(&self) -> std::io::Result<bool> {
        for segment in self.segments.values() {
            let mut walk = self.walk(segment);
            while let Some(part) = walk.next()? {
                if let WalkedPart::Frame(_) = part {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn path(&self, number: SegmentNumber) -> PathBuf {
        self.folder.join(segment_name(number))
    }

    fn walk<'s>(&self, segment: &'s BrokenSegment) -> FrameWalk<'s> {
        FrameWalk::new(&*segment.file, self.mark, segment.len)
    }

    /// The fault.
    fn report(&self) -> Result<LogReport, MessageLogError> {
        let mut report = LogReport {
            segments: self.segments.len(),
            ..LogReport::default()
        };
        let mut expected = Vec::new();
        for (number, segment) in &self.segments {
            let damaged = self.look(*number, segment, &mut expected);
            let path = self.path(*number);
            let damaged = damaged.map_err(|error| MessageLogError::unusable(&path, error))?;
            report.damaged.extend(damaged);
        }
        let missing = expected
            .iter()
            .filter(|one| !self.segments.contains_key(one));
        report.missing = missing.map(|number| self.path(*number)).collect();
        let lost = self.report_lost_end(&mut report);
        lost.map_err(|error| MessageLogError::unusable(self.folder, error))?;
        Ok(report)
    }

    /// What is missing behind the last record.
    fn report_lost_end(&self, report: &mut LogReport) -> std::io::Result<()> {
        let end = DurableEnd::read(self.disk)?;
        let is_its = |end: &DurableEnd| self.segments.is_empty() || end.mark == self.mark;
        let Some(end) = end.filter(is_its) else {
            return Ok(());
        };
        let last = self.segments.last_key_value();
        let Some((number, last)) = last.filter(|(number, _)| **number >= end.segment) else {
            report.missing.push(self.path(end.segment));
            return Ok(());
        };
        if report.damaged.is_empty() && self.last_number(last)? < end.number {
            report.damaged.push(DamagedPlace {
                file: self.path(*number),
                offset: last.len,
                bytes: 0,
            });
        }
        Ok(())
    }

    /// The damaged places of a segment. `expected` becomes what it says of the earlier ones.
    fn look(
        &self,
        number: SegmentNumber,
        segment: &BrokenSegment,
        expected: &mut Vec<SegmentNumber>,
    ) -> std::io::Result<Vec<DamagedPlace>> {
        let place = |offset, bytes| DamagedPlace {
            file: self.path(number),
            offset,
            bytes,
        };
        let mut places = Vec::new();
        if !segment.has_prologue {
            places.push(place(0, segment.len.min(PROLOGUE as u64)));
        }
        let mut walk = self.walk(segment);
        let mut last = None;
        while let Some(part) = walk.next()? {
            match part {
                WalkedPart::Damaged(from, to) => places.push(place(from, to - from)),
                WalkedPart::Frame(frame) => {
                    if frame.header.content == FrameContent::Start
                        && let Some(start) = SegmentStart::take(frame.head.clone())
                    {
                        *expected = start.earlier;
                    }
                    last = Some(frame.header.number);
                }
            }
        }
        let follows = self.first_number(number + 1)?;
        if let (Some(last), Some(follows), true) = (last, follows, places.is_empty())
            && follows != last + 1
        {
            places.push(place(segment.len, 0));
        }
        Ok(places)
    }

    /// The earlier segments that a segment knows and that exist; all of them where it cannot say.
    fn earlier(
        &self,
        number: SegmentNumber,
        segment: &BrokenSegment,
    ) -> std::io::Result<Vec<SegmentNumber>> {
        let existing = self.segments.keys().copied();
        let existing = existing.filter(|earlier| *earlier < number);
        let start = match self.walk(segment).next()? {
            Some(WalkedPart::Frame(first)) if first.header.content == FrameContent::Start => {
                SegmentStart::take(first.head)
            }
            _ => None,
        };
        Ok(match start {
            Some(start) => existing
                .filter(|number| start.earlier.contains(number))
                .collect(),
            None => existing.collect(),
        })
    }

    /// The number of the first frame of a segment.
    fn first_number(&self, number: SegmentNumber) -> std::io::Result<Option<u64>> {
        let Some(segment) = self.segments.get(&number) else {
            return Ok(None);
        };
        let first = self.walk(segment).next()?;
        Ok(first.and_then(|part| match part {
            WalkedPart::Frame(frame) if frame.header.content == FrameContent::Start => {
                Some(frame.header.number)
            }
            _ => None,
        }))
    }

    /// Writes each damaged segment again, and the last one, which says which others exist.
    fn repair(&self) -> Result<(), MessageLogError> {
        let mut newest = 0;
        for (number, segment) in &self.segments {
            let path = self.path(*number);
            let unusable = |error| MessageLogError::unusable(&path, error);
            let damaged = self.look(*number, segment, &mut Vec::new());
            let is_damaged = !damaged.map_err(unusable)?.is_empty();
            let is_last = self.segments.keys().next_back() == Some(number);
            newest = match is_damaged || is_last {
                true => self.rewrite(*number, segment, newest).map_err(unusable)?,
                false => self.last_number(segment).map_err(unusable)?.max(newest),
            };
        }
        let forgotten = self.forget_end().and_then(|()| self.disk.sync());
        forgotten.map_err(|error| MessageLogError::unusable(self.folder, error))
    }

    /// The end that was durable is no longer that of the log. Last, so that a repair that is interrupted is done again.
    fn forget_end(&self) -> std::io::Result<()> {
        clean_stop::remove(self.disk)?;
        self.disk.sync()?;
        match self.disk.remove(DURABLE) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn last_number(&self, segment: &BrokenSegment) -> std::io::Result<u64> {
        let mut walk = self.walk(segment);
        let mut last = 0;
        while let Some(part) = walk.next()? {
            if let WalkedPart::Frame(frame) = part {
                last = frame.header.number;
            }
        }
        Ok(last)
    }

    /// Writes the sound frames of a segment into a new file in its place. Returns the number of the last
    /// frame.
    fn rewrite(
        &self,
        number: SegmentNumber,
        segment: &BrokenSegment,
        newest: u64,
    ) -> std::io::Result<u64> {
        let name = segment_name(number);
        let (kept, unfinished) = (format!("{name}.damaged"), format!("{name}.tmp"));
        rewrite::copy(&*segment.file, segment.len, &*self.disk.create(&kept)?)?;
        let to = self.disk.create(&unfinished)?;
        let start = SegmentStart {
            segment: number,
            earlier: self.earlier(number, segment)?,
        };
        let mut rewrite = Rewrite::begin(&*to, self.mark, newest, &start)?;
        let mut walk = self.walk(segment);
        while let Some(part) = walk.next()? {
            match part {
                WalkedPart::Damaged(..) => rewrite.interrupt(),
                WalkedPart::Frame(frame) => {
                    let body = walk.body(&frame)?;
                    rewrite.put(frame, body)?;
                }
            }
        }
        let follows = self.first_number(number + 1)?;
        let newest = rewrite.finish(follows)?;
        to.sync()?;
        self.disk.rename(&unfinished, &name)?;
        Ok(newest)
    }
}
