//! Why the store cannot be opened, or a commit was not made.

use std::{io, path::PathBuf, sync::Arc};

/// Why the store cannot be opened, read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("the store {path:?} is in use by another process")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The folder cannot be made, read or written.
    #[error("the store {path:?} cannot be used")]
    Unusable {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// A later version of musterd wrote it.
    #[error(
        "the store {path:?} has format {found}, this version of musterd reads format {known}: use a newer one"
    )]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this version reads.
        known: u32,
    },
    /// An earlier version of musterd wrote it, and this one cannot migrate it.
    #[error(
        "the store {path:?} has format {found}, this version of musterd reads format {known}: use the version that wrote it, or move the folder away to start empty"
    )]
    Older {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The oldest format that this version reads.
        known: u32,
    },
    /// The file with the format holds something else.
    #[error(
        "{file:?} does not name the format of a store: restore a backup, keep what is sound with musterd store repair, or move the folder away to start empty"
    )]
    UnknownFormat {
        /// The file.
        file: PathBuf,
    },
    /// Durable data cannot be read.
    #[error(
        "{file:?} is damaged at byte {offset}: restore a backup, or keep what is sound with musterd store repair"
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where the first unreadable frame begins.
        offset: u64,
    },
    /// A restore of a backup was interrupted.
    #[error("the restore into {path:?} was interrupted: run musterd restore again")]
    Restoring {
        /// The folder.
        path: PathBuf,
    },
    /// A file is missing.
    #[error(
        "{file:?} is missing: restore a backup, keep what is left with musterd store repair, or move the folder away to start empty"
    )]
    Missing {
        /// The file.
        file: PathBuf,
    },
    /// The disk is full. Nothing has changed; a later commit may succeed.
    #[error("the disk of the store is full")]
    Full,
    /// A write or fsync failed. It is unknown which commits are durable, so the store refuses all further
    /// ones.
    #[error("the store has failed: {0}")]
    Failed(Arc<str>),
}
