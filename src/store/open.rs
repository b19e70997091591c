//! Opens the files of a store: format, snapshot, log; removes unfinished files of a crash.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    StoreError,
    log::LogEnd,
    recover::{DamagedFrame, Files, StoredSegment, read_log, segment_name, snapshot_name},
    snapshot::StoredSnapshot,
};
use crate::disk::Disk;

/// The format of the files that this version writes.
pub const FORMAT: u32 = 1;
pub(super) const FORMAT_FILE: &str = "FORMAT";
/// It is there while a restore moves files.
pub(super) const RESTORING: &str = "RESTORING";

/// The content of the file with the format.
pub(super) fn format_text() -> String {
    format!("musterd store format {FORMAT}\n")
}

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
        let list = || Files::of(self.disk).map_err(|error| self.unusable("", error));
        self.format(list()?.is_empty())?;
        let files = list()?;
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
        let active = match segments.pop() {
            Some(active) => active,
            None => self.first_segment(files.snapshot)?,
        };
        Ok((LogEnd::new(active, segments, snapshot, newest), torn))
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
        let log = log.map_err(|error| self.unusable("", error))?;
        Ok((snapshot, log.segments, log.newest, log.broken))
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

    /// Reads the format, or writes it into a new store.
    pub(super) fn format(&self, is_empty: bool) -> Result<(), StoreError> {
        let names = self.disk.names();
        let names = names.map_err(|error| self.unusable("", error))?;
        if names.iter().any(|name| name == RESTORING) {
            let path = self.path.to_owned();
            return Err(StoreError::Restoring { path });
        }
        if !names.iter().any(|name| name == FORMAT_FILE) {
            if !is_empty {
                let file = self.path.join(FORMAT_FILE);
                return Err(StoreError::Missing { file });
            }
            let written = self.write_format();
            return written.map_err(|error| self.unusable(FORMAT_FILE, error));
        }
        let read = || {
            let mut text = [0; 64];
            let n = self.disk.open(FORMAT_FILE)?.read_at(&mut text, 0)?;
            Ok(String::from_utf8_lossy(&text[..n]).into_owned())
        };
        let text = read().map_err(|error| self.unusable(FORMAT_FILE, error))?;
        let number = text.split_whitespace().next_back();
        let Some(found) = number.and_then(|number| number.parse::<u32>().ok()) else {
            return Err(StoreError::Damaged {
                file: self.path.join(FORMAT_FILE),
                offset: 0,
            });
        };
        // There is no older format yet: a later version migrates here, after a backup.
        if found == FORMAT {
            return Ok(());
        }
        Err(StoreError::Newer {
            path: self.path.to_owned(),
            found,
            known: FORMAT,
        })
    }

    fn write_format(&self) -> io::Result<()> {
        let unfinished = "FORMAT.tmp";
        let file = self.disk.create(unfinished)?;
        file.write_at(format_text().as_bytes(), 0)?;
        file.sync()?;
        self.disk.rename(unfinished, FORMAT_FILE)?;
        self.disk.sync()
    }

    fn first_segment(&self, snapshot: Option<u64>) -> Result<StoredSegment, StoreError> {
        let number = snapshot.unwrap_or(0) + 1;
        let name = segment_name(number);
        let file = self.disk.create_new(&name);
        let file = file.map_err(|error| self.unusable(&name, error))?;
        Ok(StoredSegment {
            number,
            file,
            len: 0,
        })
    }

    /// Cuts off a torn end: the rest of its segment, and the segments behind it.
    fn cut(
        &self,
        segments: &mut Vec<StoredSegment>,
        broken: DamagedFrame,
    ) -> Result<(), StoreError> {
        for later in segments.drain(broken.segment + 1..) {
            let name = segment_name(later.number);
            let removed = self.disk.remove(&name);
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
