//! The end of the log: where commits are written, and up to where they are durable.

use std::{io, sync::Arc};

use super::{
    StoreError,
    durable_end::SyncedEnd,
    frame::{HEADER, seal},
    recover::{StoredSegment, segment_name},
    snapshot::StoredSnapshot,
    writes::Writes,
};
use crate::disk::{Disk, DiskFile};

/// The end of the log and the files behind it.
#[derive(Debug)]
pub(super) struct LogEnd {
    pub(super) active: StoredSegment,
    /// Segments that no snapshot covers, oldest first.
    pub(super) sealed: Vec<StoredSegment>,
    pub(super) snapshot: Option<StoredSnapshot>,
    /// The number of the newest commit.
    pub(super) newest: u64,
    /// The number of the newest durable commit.
    pub(super) synced: u64,
    /// Sealed segments whose end is not durable yet.
    unsynced: Vec<Arc<dyn DiskFile>>,
    /// A new segment's name is not durable yet.
    is_name_unsynced: bool,
    /// The last write met a full disk.
    pub(super) is_full: bool,
    /// Why nothing is taken any more.
    pub(super) failed: Option<Arc<str>>,
}

/// The files that must be synced to make the commits up to a number durable.
#[derive(Debug)]
pub(super) struct Unsynced {
    pub(super) newest: u64,
    files: Vec<Arc<dyn DiskFile>>,
    with_names: bool,
}

impl Unsynced {
    pub(super) fn sync(&self, disk: &dyn Disk) -> io::Result<()> {
        for file in &self.files {
            file.sync()?;
        }
        if self.with_names {
            disk.sync()?;
        }
        Ok(())
    }
}

impl LogEnd {
    pub(super) fn new(
        active: StoredSegment,
        sealed: Vec<StoredSegment>,
        snapshot: Option<StoredSnapshot>,
        newest: u64,
    ) -> Self {
        Self {
            active,
            unsynced: sealed.iter().map(|one| Arc::clone(&one.file)).collect(),
            sealed,
            snapshot,
            newest,
            synced: 0,
            is_name_unsynced: true,
            is_full: false,
            failed: None,
        }
    }

    /// Writes one commit to the operating system.
    pub(super) fn commit(&mut self, writes: &mut Writes) -> Result<u64, StoreError> {
        if let Some(why) = &self.failed {
            return Err(StoreError::Failed(Arc::clone(why)));
        }
        let number = self.newest + 1;
        let sealed = seal(&mut writes.frame, number, self.synced);
        sealed.map_err(|error| StoreError::Failed(error.to_string().into()))?;
        self.append(&writes.frame)?;
        self.newest = number;
        Ok(number)
    }

    /// Notes that everything is durable, so that later damage to it is not taken for a torn write.
    pub(super) fn mark(&mut self) -> Result<(), StoreError> {
        if self.failed.is_some() || self.is_full || self.synced != self.newest {
            return Ok(());
        }
        let mut marker = [0; HEADER];
        if seal(&mut marker, self.newest, self.synced).is_err() {
            return Ok(());
        }
        match self.append(&marker) {
            // It holds nothing: without it the log is the same.
            Err(StoreError::Full) => Ok(()),
            appended => appended,
        }
    }

    fn append(&mut self, frame: &[u8]) -> Result<(), StoreError> {
        let Err(error) = self.active.file.write_at(frame, self.active.len) else {
            self.active.len += frame.len() as u64;
            self.is_full = false;
            return Ok(());
        };
        // A part of it may be there; the next frame must begin where this one did.
        let cut = self.active.file.set_len(self.active.len);
        if is_full(&error) && cut.is_ok() {
            self.is_full = true;
            return Err(StoreError::Full);
        }
        Err(self.fail(&format!(
            "writing {} failed: {error}",
            segment_name(self.active.number)
        )))
    }

    /// Begins the next segment. When it cannot be made, the active one grows further.
    pub(super) fn rotate(&mut self, disk: &dyn Disk) {
        // Of two new names a loss of power may leave the later one only, as if a file were missing.
        if self.is_name_unsynced {
            return;
        }
        let number = self.active.number + 1;
        let Ok(file) = disk.create_new(&segment_name(number)) else {
            return;
        };
        let next = StoredSegment {
            number,
            file,
            len: 0,
        };
        let sealed = std::mem::replace(&mut self.active, next);
        self.unsynced.push(Arc::clone(&sealed.file));
        self.sealed.push(sealed);
        self.is_name_unsynced = true;
    }

    /// The files that must be synced now; none when everything is durable.
    pub(super) fn unsynced(&self) -> Option<Unsynced> {
        if self.synced == self.newest && self.unsynced.is_empty() && !self.is_name_unsynced {
            return None;
        }
        let mut files = self.unsynced.clone();
        files.push(Arc::clone(&self.active.file));
        Some(Unsynced {
            newest: self.newest,
            files,
            with_names: self.is_name_unsynced,
        })
    }

    /// Notes that `what` is durable. No other sync may have come between.
    pub(super) fn synced(&mut self, what: &Unsynced) {
        self.synced = self.synced.max(what.newest);
        // The last of the files was the active one and may have been sealed since.
        let sealed = what.files.len() - 1;
        self.unsynced.drain(..sealed);
        if what.with_names && self.unsynced.is_empty() {
            self.is_name_unsynced = false;
        }
    }

    /// The newest commit that is durable.
    pub(super) fn durable_end(&self) -> SyncedEnd {
        SyncedEnd {
            segment: self.active.number,
            number: self.synced,
        }
    }

    /// The names of the segments up to this one are durable.
    pub(super) fn names_synced(&mut self, up_to: u64) {
        if self.active.number <= up_to {
            self.is_name_unsynced = false;
        }
    }

    /// Refuses all commits from now on: it is unknown which ones are durable.
    pub(super) fn fail(&mut self, why: &str) -> StoreError {
        let why = Arc::clone(self.failed.get_or_insert_with(|| why.into()));
        StoreError::Failed(why)
    }
}

/// Whether an error says that space is missing, which may return.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
