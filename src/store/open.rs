//! Opens the files of a store: format, snapshot, log; removes unfinished files of a crash.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    StoreError,
    durable_end::{DURABLE, SyncedEnd},
    log::LogEnd,
    recover::{DamagedFrame, Files, StoredSegment, read_log, segment_name, snapshot_name},
    snapshot::StoredSnapshot,
};
use crate::disk::Disk;

/// It is there while a restore moves files.
pub(super) const RESTORING: &str = "RESTORING";

/// The end of the log that a crash left unfinished. It was never acknowledged as durable.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TornTail {
    /// The file.
    pub file: PathBuf,
    /// Where the last whole commit ends.
    pub offset: u64,
    /// Bytes that were dropped.
    pub bytes: u64,
}

/// The files of a folder, with errors that name them.
#[derive(Debug)]
pub(super) struct Folder<'a> {
    pub(super) path: &'a Path,
    pub(super) disk: &'a dyn Disk,
}

impl Folder<'_> {
    pub(super) fn unusable(&self, name: &str, error: io::Error) -> StoreError {
        StoreError::Unusable {
            path: self.path.join(name),
            source: Arc::new(error),
        }
    }

    /// Opens everything. A torn end is cut off.
    pub(super) fn open(&self) -> Result<(LogEnd, Option<TornTail>), StoreError> {
        let mut files = self.list()?;
        if !self.has_store(&files)? {
            self.make_store()?;
            files = self.list()?;
        }
        for name in &files.leftovers {
            let removed = self.disk.remove(name);
            removed.map_err(|error| self.unusable(name, error))?;
        }
        let (snapshot, mut segments, newest, broken) = self.read(&files)?;
        let mut torn = None;
        if let Some(broken) = broken {
            let name = segment_name(segments[broken.segment].number);
            let file = self.path.join(&name);
            if broken.was_durable {
                let offset = broken.at;
                return Err(StoreError::Damaged { file, offset });
            }
            self.cut(&mut segments, broken)?;
            torn = Some(TornTail {
                file,
                offset: broken.at,
                bytes: broken.bytes,
            });
        }
        let Some(active) = segments.pop() else {
            let file = self.path.join(segment_name(1));
            return Err(StoreError::Missing { file });
        };
        Ok((LogEnd::new(active, segments, snapshot, newest), torn))
    }

    /// The files, unless a restore has left them half moved.
    pub(super) fn list(&self) -> Result<Files, StoreError> {
        let files = Files::of(self.disk).map_err(|error| self.unusable("", error))?;
        match files.is_restoring {
            false => Ok(files),
            true => Err(StoreError::Restoring {
                path: self.path.to_owned(),
            }),
        }
    }

    /// Reads the snapshot's end and the whole log, and changes nothing.
    #[expect(clippy::type_complexity, reason = "four results of one reading")]
    pub(super) fn read(
        &self,
        files: &Files,
    ) -> Result<
        (
            Option<StoredSnapshot>,
            Vec<StoredSegment>,
            u64,
            Option<DamagedFrame>,
        ),
        StoreError,
    > {
        let snapshot = files.snapshot.map(|number| self.snapshot(number));
        let snapshot = snapshot.transpose()?;
        if let Some(missing) = files.missing() {
            let file = self.path.join(missing);
            return Err(StoreError::Missing { file });
        }
        let covered = snapshot.as_ref().map_or(0, |snapshot| snapshot.newest);
        let log = read_log(self.disk, &files.segments, covered);
        let mut log = log.map_err(|error| self.unusable("", error))?;
        let end = SyncedEnd::read(self.disk).map_err(|error| self.unusable(DURABLE, error))?;
        if let Some(end) = end.filter(|end| end.number > log.newest) {
            match &mut log.broken {
                Some(broken) => broken.was_durable = true,
                None => return Err(self.lost_end(end, &log.segments)),
            }
        }
        Ok((snapshot, log.segments, log.newest, log.broken))
    }

    /// The log is whole and ends before what was durable once.
    fn lost_end(&self, end: SyncedEnd, segments: &[StoredSegment]) -> StoreError {
        match segments.last().filter(|last| last.number >= end.segment) {
            Some(last) => StoreError::Damaged {
                file: self.path.join(segment_name(last.number)),
                offset: last.len,
            },
            None => StoreError::Missing {
                file: self.path.join(segment_name(end.segment)),
            },
        }
    }

    pub(super) fn snapshot(&self, number: u64) -> Result<StoredSnapshot, StoreError> {
        let name = snapshot_name(number);
        let file = self.disk.open(&name);
        let file = file.map_err(|error| self.unusable(&name, error))?;
        let opened = StoredSnapshot::open(&name, file);
        let opened = opened.map_err(|error| self.unusable(&name, error))?;
        opened.map_err(|offset| StoreError::Damaged {
            file: self.path.join(&name),
            offset,
        })
    }

    /// Cuts off a torn end: the rest of its segment, and the segments behind it.
    fn cut(
        &self,
        segments: &mut Vec<StoredSegment>,
        broken: DamagedFrame,
    ) -> Result<(), StoreError> {
        // The last one first, each durably: a gap would be taken for a file that is missing.
        for later in segments.drain(broken.segment + 1..).rev() {
            let name = segment_name(later.number);
            let removed = self.disk.remove(&name).and_then(|()| self.disk.sync());
            removed.map_err(|error| self.unusable(&name, error))?;
        }
        if let Some(last) = segments.last_mut() {
            let cut = last.file.set_len(broken.at).and_then(|()| last.file.sync());
            cut.map_err(|error| self.unusable(&segment_name(last.number), error))?;
            last.len = broken.at;
        }
        Ok(())
    }
}
