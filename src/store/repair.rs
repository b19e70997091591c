//! Checks a store that no daemon has open, and keeps the sound parts of a damaged one.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;

use super::{
    Folder, StoreError, durable_end,
    format::{FORMAT_FILE, FoundFormat},
    frame::{LogFrames, eight},
    lock_existing,
    recover::{Files, segment_name, snapshot_name},
    snapshot::{INDEX, SnapshotFileWriter},
    writes,
};
use crate::disk::DiskFile;

/// The content of a store, and its unreadable parts.
#[derive(Clone, Debug)]
pub struct StoreReport {
    /// The folder.
    pub path: PathBuf,
    /// Its files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The number of the newest commit.
    pub newest: u64,
    /// The number of rows of each table, by name.
    pub tables: Vec<(String, usize)>,
    /// The unreadable parts; empty if the store is sound.
    pub faults: Vec<StoreFault>,
}

/// A part of a file that cannot be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoreFault {
    /// The file.
    pub file: PathBuf,
    /// Where the part begins.
    pub offset: u64,
    /// How long it is; none for a file that is missing.
    pub bytes: Option<u64>,
    /// An unfinished write at the end of the log, which a start drops: it was never acknowledged as durable.
    pub is_torn: bool,
}

impl StoreFault {
    /// A file that is unreadable as a whole, or missing.
    fn of_file(file: PathBuf, bytes: Option<u64>) -> Self {
        Self {
            file,
            offset: 0,
            bytes,
            is_torn: false,
        }
    }
}

impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, offset) = (self.file.display(), self.offset);
        match self.bytes {
            None => write!(f, "{file} is missing"),
            Some(0) => write!(f, "{file} ends at byte {offset}, before what was durable"),
            Some(bytes) if self.is_torn => write!(
                f,
                "{file} ends with an unfinished write: {bytes} bytes from byte {offset} on"
            ),
            Some(bytes) => write!(
                f,
                "{file} is damaged: {bytes} bytes from byte {offset} on cannot be read"
            ),
        }
    }
}

/// The result of a repair.
#[derive(Clone, Debug)]
pub struct StoreRepair {
    /// The store before it.
    pub before: StoreReport,
    /// Where the files are as they were; none when there was nothing to repair.
    pub kept: Option<PathBuf>,
}

type SalvagedRows = BTreeMap<Bytes, BTreeMap<Bytes, Bytes>>;

/// Everything that can be read.
#[derive(Debug, Default)]
struct Salvage {
    rows: SalvagedRows,
    newest: u64,
    files: Vec<String>,
    bytes: u64,
    faults: Vec<StoreFault>,
    has_lost_format: bool,
}

/// Reads a whole store, and changes nothing.
///
/// # Errors
/// A daemon has it open, it is of another format, or its files cannot be read.
pub fn check(path: &Path) -> Result<StoreReport, StoreError> {
    let (disk, _lock) = lock_existing(path)?;
    let salvage = salvage(&Folder { path, disk: &disk })?;
    Ok(salvage.report(path))
}

/// Writes the readable entries as a new snapshot. The old files are kept in a folder beside it.
///
/// # Errors
/// Those of [`check`], or the new files cannot be written; the old ones are still there then.
pub fn repair(path: &Path) -> Result<StoreRepair, StoreError> {
    let (disk, _lock) = lock_existing(path)?;
    let folder = Folder { path, disk: &disk };
    let salvage = salvage(&folder)?;
    let before = salvage.report(path);
    if before.faults.is_empty() {
        return Ok(StoreRepair { before, kept: None });
    }
    let kept = rewrite(&folder, &salvage)?;
    Ok(StoreRepair {
        before,
        kept: Some(kept),
    })
}

fn rewrite(folder: &Folder<'_>, salvage: &Salvage) -> Result<PathBuf, StoreError> {
    let unusable = |error| folder.unusable("", error);
    let kept = keep(folder, salvage).map_err(unusable)?;
    if salvage.has_lost_format {
        folder.write_format()?;
    }
    replace(folder, salvage).map_err(unusable)?;
    Ok(kept)
}

/// Gives the files as they are a second name in a folder of their own.
fn keep(folder: &Folder<'_>, salvage: &Salvage) -> io::Result<PathBuf> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now_ms = since.map_or(0, |since| since.as_millis());
    let kept = folder.path.join(format!("damaged-{now_ms}"));
    fs::create_dir(&kept)?;
    for name in &salvage.files {
        let file = folder.path.join(name);
        // A second name of the same file, or a copy where the file system has no such names.
        fs::hard_link(&file, kept.join(name))
            .or_else(|_| fs::copy(&file, kept.join(name)).map(drop))?;
    }
    if salvage.has_lost_format && folder.path.join(FORMAT_FILE).exists() {
        fs::copy(folder.path.join(FORMAT_FILE), kept.join(FORMAT_FILE))?;
    }
    Ok(kept)
}

/// Replaces the files by one snapshot of what could be read, with an empty log behind it.
fn replace(folder: &Folder<'_>, salvage: &Salvage) -> io::Result<()> {
    let files = Files::of(folder.disk)?;
    let newest_file = files.segments.last().copied().max(files.snapshot);
    let number = newest_file.unwrap_or(0) + 1;
    // First, because a snapshot without the log behind it has lost it.
    folder.disk.create(&segment_name(number + 1))?;
    folder.disk.sync()?;
    let name = snapshot_name(number);
    let unfinished = format!("{name}.tmp");
    let file = folder.disk.create(&unfinished)?;
    let mut writer = SnapshotFileWriter::new(|bytes: &[u8], at| file.write_at(bytes, at));
    for (table, rows) in &salvage.rows {
        for (key, value) in rows {
            writer.put(table, key, value)?;
        }
    }
    writer.finish(salvage.newest)?;
    file.sync()?;
    // From here on the new snapshot counts, and the files that it replaces are leftovers.
    folder.disk.rename(&unfinished, &name)?;
    folder.disk.sync()?;
    durable_end::forget(folder.disk)?;
    for name in &salvage.files {
        folder.disk.remove(name)?;
    }
    folder.disk.sync()
}

fn salvage(folder: &Folder<'_>) -> Result<Salvage, StoreError> {
    let files = folder.list()?;
    let mut salvage = Salvage::default();
    salvage.format(folder, &files)?;
    if let Some(number) = files.snapshot {
        salvage.take(folder, &snapshot_name(number), true)?;
    }
    if let Some(missing) = files.missing() {
        let missing = folder.path.join(missing);
        salvage.faults.push(StoreFault::of_file(missing, None));
    }
    for number in &files.segments {
        salvage.take(folder, &segment_name(*number), false)?;
    }
    salvage.note_end(folder, &files);
    Ok(salvage)
}

impl Salvage {
    /// Notes a format that is lost. Where there is nothing else either, there is no store.
    fn format(&mut self, folder: &Folder<'_>, files: &Files) -> Result<(), StoreError> {
        let found = folder.found_format()?;
        found.check_version(folder.path)?;
        let file = folder.path.join(FORMAT_FILE);
        let bytes = match found {
            FoundFormat::Known(_) => return Ok(()),
            FoundFormat::Unknown(bytes) => Some(bytes),
            FoundFormat::Missing if files.is_empty() => return Err(StoreError::Missing { file }),
            FoundFormat::Missing => None,
        };
        self.has_lost_format = true;
        self.faults.push(StoreFault::of_file(file, bytes));
        Ok(())
    }

    /// Takes every whole frame of a file.
    fn take(
        &mut self,
        folder: &Folder<'_>,
        name: &str,
        is_snapshot: bool,
    ) -> Result<(), StoreError> {
        let read = || -> io::Result<(Arc<dyn DiskFile>, u64)> {
            let file = folder.disk.open(name)?;
            let len = file.len()?;
            Ok((file, len))
        };
        let (file, len) = read().map_err(|error| folder.unusable(name, error))?;
        self.files.push(name.to_owned());
        self.bytes += len;
        // A snapshot ends with the place of its last frame.
        let end = len.saturating_sub(if is_snapshot { 8 } else { 0 });
        let mut frames = LogFrames::new(&*file, 0, end);
        let taken = self.frames(&mut frames, &folder.path.join(name), end, is_snapshot);
        taken.map_err(|error| folder.unusable(name, error))?;
        if is_snapshot {
            self.check_end(folder, name)?;
        }
        Ok(())
    }

    fn frames(
        &mut self,
        frames: &mut LogFrames<'_>,
        file: &Path,
        end: u64,
        is_snapshot: bool,
    ) -> io::Result<()> {
        loop {
            let frame = match frames.next()? {
                None => return Ok(()),
                Some(Ok(frame)) => frame,
                Some(Err(damage)) => {
                    let next = frames.resume()?;
                    let until = next.as_ref().map_or(end, |frame| frame.at);
                    self.faults.push(StoreFault {
                        file: file.to_owned(),
                        offset: damage.at,
                        bytes: Some(until - damage.at),
                        is_torn: false,
                    });
                    match next {
                        Some(frame) => frame,
                        None => return Ok(()),
                    }
                }
            };
            self.apply(frame.payload);
            if !is_snapshot {
                self.newest = self.newest.max(frame.number);
            }
        }
    }

    fn apply(&mut self, mut payload: Bytes) {
        while let Some(write) = writes::next(&mut payload) {
            if *write.table == *INDEX.as_bytes() {
                // The end of a snapshot.
                if write.key.is_empty() {
                    let newest = u64::from_le_bytes(eight(&write.value.unwrap_or_default()));
                    self.newest = self.newest.max(newest);
                }
                continue;
            }
            let rows = self.rows.entry(write.table).or_default();
            match write.value {
                Some(value) => rows.insert(write.key, value),
                None => rows.remove(&write.key),
            };
        }
    }

    /// Whether a start could find the tables of a snapshot whose frames are whole.
    fn check_end(&mut self, folder: &Folder<'_>, name: &str) -> Result<(), StoreError> {
        let number = name
            .rsplit('-')
            .next()
            .and_then(|digits| digits.parse().ok());
        match folder.snapshot(number.unwrap_or(0)) {
            Ok(_) => Ok(()),
            Err(StoreError::Damaged { file, offset }) => {
                if !self.faults.iter().any(|fault| fault.file == file) {
                    self.faults.push(StoreFault {
                        file,
                        offset,
                        bytes: Some(8),
                        is_torn: false,
                    });
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Marks the unfinished write at the end of the log, or notes that its end is lost.
    fn note_end(&mut self, folder: &Folder<'_>, files: &Files) {
        let (segments, broken) = match folder.read(files) {
            Ok((_, segments, _, Some(broken))) => (segments, broken),
            Ok(_) => return,
            Err(StoreError::Missing { file }) => {
                return self.note_lost(StoreFault::of_file(file, None));
            }
            Err(StoreError::Damaged { file, offset }) => {
                return self.note_lost(StoreFault {
                    file,
                    offset,
                    bytes: Some(0),
                    is_torn: false,
                });
            }
            Err(_) => return,
        };
        if broken.was_durable {
            return;
        }
        let file = folder
            .path
            .join(segment_name(segments[broken.segment].number));
        let is_it = |fault: &&mut StoreFault| fault.file == file && fault.offset == broken.at;
        if let Some(fault) = self.faults.iter_mut().find(is_it) {
            fault.is_torn = true;
        }
    }

    fn note_lost(&mut self, lost: StoreFault) {
        if !self.faults.iter().any(|fault| fault.file == lost.file) {
            self.faults.push(lost);
        }
    }

    fn report(&self, path: &Path) -> StoreReport {
        let name = |table: &Bytes| String::from_utf8_lossy(table).into_owned();
        let tables = self.rows.iter().filter(|(_, rows)| !rows.is_empty());
        StoreReport {
            path: path.to_owned(),
            files: self.files.len(),
            bytes: self.bytes,
            newest: self.newest,
            tables: tables
                .map(|(table, rows)| (name(table), rows.len()))
                .collect(),
            faults: self.faults.clone(),
        }
    }
}
