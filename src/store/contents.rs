//! The store's content at one moment: the snapshot, with the later log on top.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    StoreError,
    frame::LogFrames,
    recover::{StoredSegment, segment_name},
    snapshot::{SnapshotFileWriter, StoredSnapshot},
    writes,
};

/// Everything that was committed up to one moment. Later commits do not change it.
#[derive(Debug)]
pub struct Contents {
    pub(super) path: PathBuf,
    pub(super) snapshot: Option<StoredSnapshot>,
    segments: Vec<StoredSegment>,
    /// The newest values that are in the log only.
    tail: BTreeMap<Bytes, BTreeMap<Bytes, Option<ValueLocation>>>,
    newest: u64,
}

/// Where a value is.
#[derive(Clone, Copy, Debug)]
struct ValueLocation {
    segment: usize,
    at: u64,
    len: usize,
}

impl Contents {
    /// Reads the keys of the log into memory; values stay in the files.
    pub(super) fn of(
        path: PathBuf,
        snapshot: Option<StoredSnapshot>,
        segments: Vec<StoredSegment>,
    ) -> Result<Self, StoreError> {
        let newest = snapshot.as_ref().map_or(0, |snapshot| snapshot.newest);
        let mut contents = Self {
            path,
            snapshot,
            segments,
            tail: BTreeMap::new(),
            newest,
        };
        for segment in 0..contents.segments.len() {
            contents.index(segment, false)?;
        }
        Ok(contents)
    }

    /// Takes the keys of one segment. Unreadable frames are an error, or skipped where the reader is `lenient`.
    pub(super) fn index(&mut self, segment: usize, lenient: bool) -> Result<(), StoreError> {
        let StoredSegment { number, file, len } = self.segments[segment].clone();
        let name = segment_name(number);
        let mut frames = LogFrames::new(&*file, 0, len);
        loop {
            let frame = match frames.next().map_err(|error| self.unusable(&name, error))? {
                None => return Ok(()),
                Some(Ok(frame)) => frame,
                Some(Err(damage)) if !lenient => return Err(self.damaged(&name, damage.at)),
                Some(Err(_)) => {
                    let next = frames.resume();
                    match next.map_err(|error| self.unusable(&name, error))? {
                        Some(frame) => frame,
                        None => return Ok(()),
                    }
                }
            };
            self.newest = self.newest.max(frame.number);
            let from = frame.at + super::frame::HEADER as u64;
            let whole = frame.payload.len();
            let mut payload = frame.payload;
            while let Some(operation) = writes::next(&mut payload) {
                let place = operation.value.map(|value| ValueLocation {
                    segment,
                    at: from + (whole - payload.len() - value.len()) as u64,
                    len: value.len(),
                });
                // Copies: a key must not keep the chunk that it was read with.
                let key = Bytes::copy_from_slice(&operation.key);
                match self.tail.get_mut(&operation.table) {
                    Some(table) => table.insert(key, place),
                    None => {
                        let table = Bytes::copy_from_slice(&operation.table);
                        self.tail.entry(table).or_default().insert(key, place)
                    }
                };
            }
        }
    }

    /// The folder of the store.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of all tables, sorted.
    pub fn tables(&self) -> Vec<String> {
        let stored = self.snapshot.iter().flat_map(StoredSnapshot::tables);
        let names: BTreeSet<_> = stored.chain(self.tail.keys()).collect();
        let text = |name: &&Bytes| String::from_utf8_lossy(name).into_owned();
        names.iter().map(text).collect()
    }

    /// The number of the newest commit.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// All entries of a table in the order of their keys; none when there is no such table.
    pub fn table(&self, table: &str) -> TableEntries<'_> {
        self.range(table, b"")
    }

    /// The entries of a table from a key on.
    pub fn range(&self, table: &str, from: &[u8]) -> TableEntries<'_> {
        static NONE: BTreeMap<Bytes, Option<ValueLocation>> = BTreeMap::new();
        let tail = self.tail.get(table.as_bytes()).unwrap_or(&NONE);
        let start = Bytes::copy_from_slice(from);
        let place = self.snapshot.as_ref();
        let place = place.and_then(|snapshot| snapshot.table(table.as_bytes()));
        let frames = self.snapshot.as_ref().zip(place);
        TableEntries {
            contents: self,
            frames: frames.map(|(snapshot, (at, end))| LogFrames::new(&*snapshot.file, at, end)),
            block: Bytes::new(),
            stored: None,
            from: start.clone(),
            tail: tail.range((Bound::Included(start), Bound::Unbounded)),
            newer: None,
            failed: false,
        }
    }

    /// Writes everything as a snapshot; answers with its size.
    pub(super) fn write(
        &self,
        out: impl FnMut(&[u8], u64) -> io::Result<()>,
    ) -> Result<u64, WriteFailed> {
        let mut writer = SnapshotFileWriter::new(out);
        for table in self.tables() {
            let name = Bytes::copy_from_slice(table.as_bytes());
            for entry in self.table(&table) {
                let (key, value) = entry.map_err(WriteFailed::Read)?;
                writer.put(&name, &key, &value)?;
            }
        }
        Ok(writer.finish(self.newest)?)
    }

    fn value(&self, place: ValueLocation) -> Result<Bytes, StoreError> {
        let segment = &self.segments[place.segment];
        let mut value = vec![0; place.len];
        let name = segment_name(segment.number);
        match segment.file.read_at(&mut value, place.at) {
            Ok(n) if n == place.len => Ok(value.into()),
            Ok(_) => Err(self.damaged(&name, place.at)),
            Err(error) => Err(self.unusable(&name, error)),
        }
    }

    fn damaged(&self, name: &str, offset: u64) -> StoreError {
        StoreError::Damaged {
            file: self.path.join(name),
            offset,
        }
    }

    fn unusable(&self, name: &str, error: io::Error) -> StoreError {
        StoreError::Unusable {
            path: self.path.join(name),
            source: Arc::new(error),
        }
    }
}

/// Why no snapshot was written.
#[derive(Debug)]
pub(super) enum WriteFailed {
    /// The snapshot or the log cannot be read.
    Read(StoreError),
    /// The new file cannot be written.
    Write(io::Error),
}

impl From<io::Error> for WriteFailed {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

/// TableEntries of a table, in the order of their keys. After an error there are no more.
#[derive(Debug)]
pub struct TableEntries<'a> {
    contents: &'a Contents,
    frames: Option<LogFrames<'a>>,
    /// The rest of the snapshot's block that was read last.
    block: Bytes,
    /// The next entry of the snapshot.
    stored: Option<(Bytes, Bytes)>,
    from: Bytes,
    tail: btree_map::Range<'a, Bytes, Option<ValueLocation>>,
    /// The next entry of the log.
    newer: Option<(&'a Bytes, Option<ValueLocation>)>,
    failed: bool,
}

impl TableEntries<'_> {
    fn fill(&mut self) -> Result<(), StoreError> {
        if self.newer.is_none() {
            self.newer = self.tail.next().map(|(key, place)| (key, *place));
        }
        while self.stored.is_none() {
            if let Some(entry) = writes::next(&mut self.block) {
                let value = entry.value.unwrap_or_default();
                self.stored = (entry.key >= self.from).then_some((entry.key, value));
                continue;
            }
            let Some((frames, snapshot)) =
                self.frames.as_mut().zip(self.contents.snapshot.as_ref())
            else {
                return Ok(());
            };
            let next = frames.next();
            match next.map_err(|error| self.contents.unusable(&snapshot.name, error))? {
                None => return Ok(()),
                Some(Ok(frame)) => self.block = frame.payload,
                Some(Err(damage)) => return Err(self.contents.damaged(&snapshot.name, damage.at)),
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        loop {
            self.fill()?;
            let newer_first = match (&self.stored, &self.newer) {
                (None, None) => return Ok(None),
                (Some(_), None) => false,
                (None, Some(_)) => true,
                (Some((stored, _)), Some((newer, _))) => *newer <= stored,
            };
            if !newer_first {
                return Ok(self.stored.take());
            }
            let Some((key, place)) = self.newer.take() else {
                continue;
            };
            if self
                .stored
                .as_ref()
                .is_some_and(|(stored, _)| stored == key)
            {
                self.stored = None;
            }
            if let Some(place) = place {
                return Ok(Some((key.clone(), self.contents.value(place)?)));
            }
        }
    }
}

impl Iterator for TableEntries<'_> {
    type Item = Result<(Bytes, Bytes), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let step = self.step();
        self.failed = step.is_err();
        step.transpose()
    }
}
