//! Merges the log into a new snapshot, in a separate thread.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    thread,
    time::SystemTime,
};

use parking_lot::{Condvar, Mutex};

use super::{
    Contents, Folder, Store, StoreInner, StoredSegment,
    contents::WriteFailed,
    recover::{segment_name, snapshot_name},
};
use crate::disk::DiskFile;

/// How much is written at once.
const CHUNK: usize = 256 << 10;

/// Whether a thread writes a snapshot.
#[derive(Debug, Default)]
pub(super) struct Merges {
    is_on: Mutex<bool>,
    ended: Condvar,
}

impl Merges {
    /// Whether no thread writes one, so that another may begin.
    fn begin(&self) -> bool {
        !std::mem::replace(&mut *self.is_on.lock(), true)
    }

    fn end(&self) {
        *self.is_on.lock() = false;
        self.ended.notify_all();
    }

    #[cfg(test)]
    pub(super) fn is_on(&self) -> bool {
        *self.is_on.lock()
    }

    /// Waits for the end of the thread.
    pub(super) fn wait(&self) {
        let mut is_on = self.is_on.lock();
        while *is_on {
            self.ended.wait(&mut is_on);
        }
    }
}

/// Starts the thread, unless there is one or the store closes.
pub(super) fn start(store: &Store) {
    let inner = Arc::clone(&store.inner);
    let merges = Arc::clone(&inner.merges);
    if !merges.begin() {
        return;
    }
    if inner.is_closing.load(Ordering::Acquire) {
        return merges.end();
    }
    let thread = thread::Builder::new().name("store-snapshot".into());
    let merge = RunningMerge {
        inner: Some(inner),
        merges,
    };
    // Without a thread the closure is dropped, and the merge with it.
    drop(thread.stack_size(512 << 10).spawn(move || merge.run()));
}

/// A merge. When it ends in any way, the store can be closed and the next merge can begin.
struct RunningMerge {
    /// Until the end.
    inner: Option<Arc<StoreInner>>,
    merges: Arc<Merges>,
}

impl RunningMerge {
    fn run(self) {
        if let Some(inner) = &self.inner {
            inner.note(inner.merge());
        }
    }
}

impl Drop for RunningMerge {
    fn drop(&mut self) {
        // Before the end is known: who waits for it may open the folder again, which this would keep locked.
        let inner = self.inner.take();
        if let Some(inner) = inner.filter(|_| thread::panicking()) {
            let why = "no snapshot: the thread that writes it panicked";
            tracing::error!("the store's log grows: {why}");
            *inner.counts.snapshot_failed.lock() = Some(why.into());
        }
        self.merges.end();
    }
}

impl StoreInner {
    fn note(&self, merged: Result<(), WriteFailed>) {
        let why: Option<Arc<str>> = match merged {
            Ok(()) => {
                let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                let now_ms = since.map_or(0, |since| since.as_millis());
                let now_ms = u64::try_from(now_ms).unwrap_or(0);
                let counts = &self.counts;
                counts.last_snapshot_ms.store(now_ms, Ordering::Relaxed);
                counts.snapshots.fetch_add(1, Ordering::Relaxed);
                None
            }
            Err(_) if self.is_closing.load(Ordering::Acquire) => None,
            Err(WriteFailed::Read(error)) => Some(format!("no snapshot: {error}").into()),
            Err(WriteFailed::Write(error)) => Some(format!("no snapshot: {error}").into()),
        };
        if let Some(why) = &why {
            tracing::warn!("the store's log grows: {why}");
        }
        *self.counts.snapshot_failed.lock() = why;
    }

    /// Writes the newest sealed segments and the snapshot before them as the next snapshot, and removes both.
    fn merge(&self) -> Result<(), WriteFailed> {
        let (snapshot, segments, active) = {
            let log = self.log.lock();
            let active = log.active.number;
            (log.snapshot.clone(), log.sealed.clone(), active)
        };
        let Some(number) = segments.last().map(|segment| segment.number) else {
            return Ok(());
        };
        let old = snapshot.as_ref().map(|snapshot| Arc::clone(&snapshot.name));
        let covered: Vec<_> = segments
            .iter()
            .map(|one| segment_name(one.number))
            .collect();
        // The segment behind the snapshot first: a snapshot without it has lost the log.
        self.disk.sync()?;
        self.log.lock().names_synced(active);
        let contents = Contents::of(self.path.clone(), snapshot, segments);
        self.write(&contents.map_err(WriteFailed::Read)?, number)?;
        let folder = Folder {
            path: &self.path,
            disk: &*self.disk,
        };
        let snapshot = folder.snapshot(number).map_err(WriteFailed::Read)?;
        {
            let mut log = self.log.lock();
            log.snapshot = Some(snapshot);
            let is_newer = |segment: &StoredSegment| segment.number > number;
            log.sealed.retain(is_newer);
        }
        for name in covered.iter().map(|name| &**name).chain(old.as_deref()) {
            self.disk.remove(name)?;
        }
        Ok(())
    }

    fn write(&self, contents: &Contents, number: u64) -> io::Result<()> {
        let name = snapshot_name(number);
        let unfinished = format!("{name}.tmp");
        let written = self.disk.create(&unfinished).and_then(|file| {
            let stop = || self.is_closing.load(Ordering::Acquire);
            write(contents, &*file, stop)?;
            file.sync()?;
            self.disk.rename(&unfinished, &name)?;
            self.disk.sync()
        });
        written.inspect_err(|_| {
            // It holds nothing that is not elsewhere; the next start removes it too.
            let _ = self.disk.remove(&unfinished);
        })
    }
}

/// Writes a snapshot into a file, in large pieces.
pub(super) fn write(
    contents: &Contents,
    file: &dyn DiskFile,
    stop: impl Fn() -> bool,
) -> io::Result<()> {
    let mut piece = Vec::with_capacity(CHUNK);
    let mut piece_at = 0;
    let out = |bytes: &[u8], _| {
        piece.extend_from_slice(bytes);
        if piece.len() < CHUNK {
            return Ok(());
        }
        if stop() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        file.write_at(&piece, piece_at)?;
        piece_at += piece.len() as u64;
        piece.clear();
        Ok(())
    };
    match contents.write(out) {
        Ok(_) => file.write_at(&piece, piece_at),
        Err(WriteFailed::Write(error)) => Err(error),
        Err(WriteFailed::Read(error)) => Err(io::Error::other(error)),
    }
}
