//! Why a log of messages cannot be opened, read or written.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why a log of messages cannot be opened, read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MessageLogError {
    /// Another process, or another part of this one, has it open.
    #[error("the message log {path:?} is in use by another process")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// A file or the folder cannot be made, read or written.
    #[error("the message log {path:?} cannot be used")]
    Unusable {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// A later version of musterd wrote it.
    #[error(
        "the message log {path:?} has format {found}, this version of musterd reads format {known}: use a newer one"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this version reads.
        known: u32,
    },
    /// Durable data cannot be read.
    #[error(
        "{file:?} is damaged at byte {offset}: restore a copy of the folder, or keep what is sound with `musterd store repair`"
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where the first unreadable record begins.
        offset: u64,
    },
    /// A file is missing.
    #[error(
        "{file:?} is missing: restore a copy of the folder, or keep what is sound with `musterd store repair`"
    )]
    Missing {
        /// The file.
        file: PathBuf,
    },
    /// The disk is full: the last appends are not written.
    #[error("the disk of the message log {path:?} is full")]
    Full {
        /// The folder.
        path: PathBuf,
    },
    /// A write or fsync failed. It is unknown which records are durable, so the log refuses all further ones.
    #[error("the message log has failed: {0}")]
    Failed(Arc<str>),
}

impl MessageLogError {
    pub(super) fn unusable(path: &Path, error: io::Error) -> Self {
        Self::Unusable {
            path: path.to_owned(),
            source: Arc::new(error),
        }
    }
}

/// Whether there is no space, and may be later.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}
