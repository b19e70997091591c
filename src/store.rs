//! The store, which survives a crash: tables of ordered byte keys, changed by atomic commits. It does not
//! know the meaning of keys and values.
//!
//! A commit is one frame at the end of a log. In the background the log is merged into a snapshot, a sorted
//! file that is written once. Neither stays in memory: owners read their tables at the start and keep what
//! they need.

mod archive;
mod backup;
mod config;
mod contents;
mod durable_end;
mod error;
mod format;
mod frame;
mod log;
mod open;
mod recover;
mod repair;
mod snapshot;
mod snapshots;
mod sync;
mod writes;

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::watch;

pub use self::{
    backup::{BackupFile, restore, verify},
    config::{Config, SyncChoice},
    contents::{Contents, TableEntries},
    error::StoreError,
    format::FORMAT,
    open::TornTail,
    repair::{StoreFault, StoreRepair, StoreReport, check, repair},
    writes::Writes,
};
use self::{
    durable_end::{SyncedEnd, SyncedEndFile},
    log::{LogEnd, is_full},
    open::Folder,
    recover::StoredSegment,
    snapshots::Merges,
    sync::Syncer,
};
use crate::disk::{Disk, FolderDisk};

/// A file that is written to find out whether there is space.
const PROBE: &str = "space.tmp";
/// More than a commit takes as a rule.
const PROBE_BYTES: usize = 64 << 10;

/// When commits of the registry become durable, that is, survive the loss of power.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SyncMode {
    /// Before they are answered.
    Always,
    /// At most so much later.
    Interval(Duration),
    /// When the operating system writes them.
    Os,
}

/// How a store works.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// When commits become durable by themselves.
    pub sync: SyncMode,
    /// A segment of the log that is larger is merged into the snapshot.
    pub segment_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            sync: SyncMode::Interval(Duration::from_millis(50)),
            segment_bytes: 16 << 20,
        }
    }
}

/// A cheap, cloneable handle to an open store. It blocks on the disk, so it is not for async threads.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<StoreInner>,
}

#[derive(Debug)]
struct StoreInner {
    path: PathBuf,
    options: StoreOptions,
    disk: Box<dyn Disk>,
    log: Mutex<LogEnd>,
    /// Held during an fsync. A thread that waits for this lock often finds its commits already synced.
    syncing: Mutex<SyncedEndFile>,
    syncer: Arc<Syncer>,
    counts: StoreCounts,
    merges: Arc<Merges>,
    is_closing: AtomicBool,
    failed: watch::Sender<Option<Arc<str>>>,
    /// Held as long as the store is open.
    _lock: Option<File>,
}

#[derive(Debug, Default)]
struct StoreCounts {
    commits: AtomicU64,
    syncs: AtomicU64,
    last_sync_us: AtomicU64,
    snapshots: AtomicU64,
    /// Milliseconds since 1970; 0 before the first.
    last_snapshot_ms: AtomicU64,
    /// Why the last snapshot was not written.
    snapshot_failed: Mutex<Option<Arc<str>>>,
}

/// How a store is doing.
#[derive(Clone, Debug, Default)]
pub struct StoreStats {
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes of the log that no snapshot covers.
    pub log_bytes: u64,
    /// Files.
    pub files: usize,
    /// The number of the newest commit since the store was made.
    pub newest: u64,
    /// Commits of this process.
    pub commits: u64,
    /// Calls of fsync for commits.
    pub syncs: u64,
    /// How long the last one took.
    pub last_sync: Duration,
    /// Snapshots written by this process.
    pub snapshots: u64,
    /// When the last one was written, in milliseconds since 1970.
    pub last_snapshot_ms: Option<u64>,
    /// The fault: a full disk, a snapshot that could not be written, a failure.
    pub degraded: Option<Arc<str>>,
}

impl Store {
    /// Opens the store in a folder, or makes a new one. An unfinished write of a crash at the end of the log
    /// is cut off and reported.
    ///
    /// # Errors
    /// The folder cannot be used, another process uses it, or it is damaged.
    pub fn open(
        path: &Path,
        options: StoreOptions,
    ) -> Result<(Self, Option<TornTail>), StoreError> {
        let (disk, lock) = lock(path)?;
        Self::open_on(Box::new(disk), Some(lock), path, options)
    }

    fn open_on(
        disk: Box<dyn Disk>,
        lock: Option<File>,
        path: &Path,
        options: StoreOptions,
    ) -> Result<(Self, Option<TornTail>), StoreError> {
        let folder = Folder { path, disk: &*disk };
        let (log, torn) = folder.open()?;
        let inner = Arc::new(StoreInner {
            path: path.to_owned(),
            options,
            disk,
            log: Mutex::new(log),
            syncing: Mutex::default(),
            syncer: Arc::default(),
            counts: StoreCounts::default(),
            merges: Arc::default(),
            is_closing: AtomicBool::new(false),
            failed: watch::Sender::new(None),
            _lock: lock,
        });
        let store = Self { inner };
        // The found commits may still be in memory of the operating system: they count as durable only after
        // a sync.
        store.sync()?;
        if let SyncMode::Interval(interval) = options.sync {
            sync::start(&store, interval)?;
        }
        Ok((store, torn))
    }

    /// Commits, written to the operating system: the end of the process loses nothing from now on. Answers with the
    /// commit's number. `writes` can be cleared and used again.
    ///
    /// # Errors
    /// [`StoreError::Full`]: nothing has changed, and the next commit may succeed. [`StoreError::Failed`]: this one
    /// and all later ones are lost.
    pub fn commit(&self, writes: &mut Writes) -> Result<u64, StoreError> {
        let inner = &*self.inner;
        let mut log = inner.log.lock();
        let number = log
            .commit(writes)
            .inspect_err(|error| self.record_failure(error))?;
        let snapshot = log.snapshot.as_ref().map_or(0, |snapshot| snapshot.len);
        let must_rotate = log.active.len >= inner.options.segment_bytes.max(snapshot / 4);
        if must_rotate {
            log.rotate(&*inner.disk);
        }
        let must_merge = must_rotate && !log.sealed.is_empty();
        drop(log);
        inner.counts.commits.fetch_add(1, Ordering::Relaxed);
        if matches!(inner.options.sync, SyncMode::Interval(_)) {
            inner.syncer.wake();
        }
        if must_merge {
            snapshots::start(self);
        }
        Ok(number)
    }

    /// Commits, and makes it durable where [`StoreOptions::sync`] says so.
    ///
    /// # Errors
    /// Those of [`Self::commit`] and [`Self::sync`].
    pub fn commit_as_configured(&self, writes: &mut Writes) -> Result<u64, StoreError> {
        let number = self.commit(writes)?;
        if self.inner.options.sync == SyncMode::Always {
            self.sync()?;
        }
        Ok(number)
    }

    /// Makes everything durable that was committed before the call. Calls at the same time share one fsync.
    ///
    /// # Errors
    /// fsync failed: it is unknown which commits are durable, so the store refuses all further ones.
    pub fn sync(&self) -> Result<(), StoreError> {
        let inner = &*self.inner;
        let wanted = inner.log.lock().newest;
        let mut noted = inner.syncing.lock();
        let unsynced = {
            let log = inner.log.lock();
            if let Some(why) = &log.failed {
                return Err(StoreError::Failed(Arc::clone(why)));
            }
            // Another call did it while this one waited.
            let done = log.synced >= wanted && log.synced > 0;
            log.unsynced().filter(|_| !done)
        };
        let Some(unsynced) = unsynced else {
            return Ok(());
        };
        let start = tokio::time::Instant::now();
        let result = unsynced.sync(&*inner.disk);
        let took_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        inner.counts.syncs.fetch_add(1, Ordering::Relaxed);
        inner.counts.last_sync_us.store(took_us, Ordering::Relaxed);
        let mut log = inner.log.lock();
        if let Err(error) = result {
            // Not tried again: the kernel may have dropped the pages and report success the next time.
            let failed = log.fail(&format!("fsync failed: {error}"));
            self.record_failure(&failed);
            return Err(failed);
        }
        log.synced(&unsynced);
        // What was asked for is durable, whatever becomes of the marks.
        let _ = log.mark().inspect_err(|error| self.record_failure(error));
        let end = log.durable_end();
        drop(log);
        self.note(&mut noted, end);
        Ok(())
    }

    /// Notes what is durable, so that a later loss of it is found. On a full disk the frames say it before them.
    fn note(&self, noted: &mut SyncedEndFile, end: SyncedEnd) {
        let inner = &*self.inner;
        if let Err(error) = noted.write(&*inner.disk, end)
            && !is_full(&error)
        {
            let why = format!("noting what is durable failed: {error}");
            let failed = inner.log.lock().fail(&why);
            self.record_failure(&failed);
        }
    }

    /// The present content.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn contents(&self) -> Result<Contents, StoreError> {
        let (snapshot, segments) = {
            let log = self.inner.log.lock();
            let mut segments = log.sealed.clone();
            segments.push(log.active.clone());
            (log.snapshot.clone(), segments)
        };
        Contents::of(self.inner.path.clone(), snapshot, segments)
    }

    /// Whether the last write met a full disk.
    pub fn is_full(&self) -> bool {
        self.inner.log.lock().is_full
    }

    /// Finds out whether a disk that was full has space again. To be called now and then, because nothing else may be
    /// written. Blocks.
    pub fn look_for_space(&self) {
        let inner = &*self.inner;
        let is_waiting = || {
            let log = inner.log.lock();
            log.is_full && log.failed.is_none()
        };
        if !is_waiting() {
            return;
        }
        let written = inner.disk.create(PROBE);
        let written = written.and_then(|file| file.write_at(&[0; PROBE_BYTES], 0));
        let removed = inner.disk.remove(PROBE);
        if written.and(removed).is_ok() {
            inner.log.lock().is_full = false;
        }
    }

    /// How it is doing.
    pub fn stats(&self) -> StoreStats {
        let inner = &*self.inner;
        let log = inner.log.lock();
        let sealed: u64 = log.sealed.iter().map(|segment| segment.len).sum();
        let log_bytes = sealed + log.active.len;
        let snapshot = log.snapshot.as_ref();
        let full = || log.is_full.then(|| "the disk is full".into());
        let degraded = log.failed.clone().or_else(full);
        let counts = &inner.counts;
        let last_snapshot_ms = counts.last_snapshot_ms.load(Ordering::Relaxed);
        StoreStats {
            bytes: log_bytes + snapshot.map_or(0, |snapshot| snapshot.len),
            log_bytes,
            files: log.sealed.len() + 1 + usize::from(snapshot.is_some()),
            newest: log.newest,
            commits: counts.commits.load(Ordering::Relaxed),
            syncs: counts.syncs.load(Ordering::Relaxed),
            last_sync: Duration::from_micros(counts.last_sync_us.load(Ordering::Relaxed)),
            snapshots: counts.snapshots.load(Ordering::Relaxed),
            last_snapshot_ms: (last_snapshot_ms > 0).then_some(last_snapshot_ms),
            degraded: degraded.or_else(|| counts.snapshot_failed.lock().clone()),
        }
    }

    /// Becomes `Some(why)` when a write or fsync fails for good.
    pub fn failure(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.inner.failed.subscribe()
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// When commits become durable by themselves.
    pub fn sync_mode(&self) -> SyncMode {
        self.inner.options.sync
    }

    /// Makes everything durable and ends the work in the background. Later commits still succeed.
    ///
    /// # Errors
    /// That of [`Self::sync`].
    pub fn close(&self) -> Result<(), StoreError> {
        self.inner.is_closing.store(true, Ordering::Release);
        let synced = self.sync();
        self.inner.merges.wait();
        if synced.is_ok() {
            let kept = self.inner.syncing.lock().sync(&*self.inner.disk);
            kept.map_err(|error| {
                let why = format!("noting what is durable failed: {error}");
                self.inner.log.lock().fail(&why)
            })?;
        }
        synced
    }

    /// Wakes the tasks that wait for a failure.
    fn record_failure(&self, error: &StoreError) {
        if let StoreError::Failed(why) = error {
            let why = Arc::clone(why);
            self.inner.failed.send_if_modified(|failed| {
                let is_new = failed.is_none();
                failed.get_or_insert(why);
                is_new
            });
        }
    }
}

impl Drop for StoreInner {
    fn drop(&mut self) {
        self.syncer.stop();
    }
}

/// The folder, locked, if it is there.
fn lock_existing(path: &Path) -> Result<(FolderDisk, File), StoreError> {
    if path.is_dir() {
        return lock(path);
    }
    Err(StoreError::Missing {
        file: path.to_owned(),
    })
}

/// The folder, locked.
fn lock(path: &Path) -> Result<(FolderDisk, File), StoreError> {
    let locked = FolderDisk::locked(path).map_err(|error| StoreError::Unusable {
        path: path.to_owned(),
        source: Arc::new(error),
    })?;
    locked.ok_or_else(|| StoreError::Locked {
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests;
