//! Operations of a transaction, and their results.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{KvEntry, KvRefusal};

/// An operation on a key or a prefix.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KvOperation {
    /// The key, or the prefix of a tree.
    pub key: Arc<str>,
    /// What is done.
    pub verb: KvVerb,
}

/// What an operation does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KvVerb {
    /// Sets the value and the flags; a lock stays.
    Set(Bytes, u64),
    /// The same, if the key was last changed at this index; 0 is for a key that does not exist.
    Cas(Bytes, u64, u64),
    /// Sets the value and the flags, and acquires the lock for a session.
    Lock(Bytes, u64, Uuid),
    /// Sets the value and the flags, and releases the lock of a session.
    Unlock(Bytes, u64, Uuid),
    /// Reads a key that exists.
    Get,
    /// Reads a key.
    GetOrEmpty,
    /// Reads all keys with a prefix.
    GetTree,
    /// Fails unless the key was last changed at this index.
    CheckIndex(u64),
    /// Fails unless this session holds the lock.
    CheckSession(Option<Uuid>),
    /// Fails if the key exists.
    CheckNotExists,
    /// Deletes a key, if it exists.
    Delete,
    /// The same, if it was last changed at this index.
    DeleteCas(u64),
    /// Deletes all keys with a prefix.
    DeleteTree,
}

impl KvVerb {
    /// Whether it can change something.
    pub fn writes(&self) -> bool {
        match self {
            Self::Set(..)
            | Self::Cas(..)
            | Self::Lock(..)
            | Self::Unlock(..)
            | Self::Delete
            | Self::DeleteCas(_)
            | Self::DeleteTree => true,
            Self::Get
            | Self::GetOrEmpty
            | Self::GetTree
            | Self::CheckIndex(_)
            | Self::CheckSession(_)
            | Self::CheckNotExists => false,
        }
    }

    /// Whether the key is a prefix.
    pub fn is_tree(&self) -> bool {
        matches!(self, Self::GetTree | Self::DeleteTree)
    }
}

/// What an operation found or made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KvFound {
    /// The entry.
    pub entry: Arc<KvEntry>,
    /// Whether its value was asked for.
    pub with_value: bool,
}

impl KvFound {
    /// The bytes that an answer shows of it.
    pub(super) fn bytes(&self) -> usize {
        match self.with_value {
            true => self.entry.size(),
            false => self.entry.key.len(),
        }
    }
}

/// A condition that is not met.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KvUnmet {
    /// The key is not there.
    #[error("key \"{0}\" doesn't exist")]
    Missing(Arc<str>),
    /// The key is there.
    #[error("key \"{0}\" exists")]
    Exists(Arc<str>),
    /// Another index than that of the last change.
    #[error("failed to set key \"{0}\", index is stale")]
    StaleSet(Arc<str>),
    /// The same, for a deletion.
    #[error("failed to delete key \"{0}\", index is stale")]
    StaleDelete(Arc<str>),
    /// Another session holds the lock.
    #[error("failed to lock key \"{0}\", lock is already held")]
    Held(Arc<str>),
    /// A session that held the lock has ended shortly before.
    #[error("failed to lock key \"{0}\" due to lock delay")]
    Delayed(Arc<str>),
    /// The session does not hold the lock.
    #[error("failed to unlock key \"{0}\", lock isn't held, or is held by another session")]
    NotHeld(Arc<str>),
    /// Another index than that of the last change, in a check.
    #[error("failed index check for key \"{key}\", current modify index {current} != {wanted}")]
    Index {
        /// The key.
        key: Arc<str>,
        /// The index of its last change.
        current: u64,
        /// The index of the check.
        wanted: u64,
    },
    /// Another session than that of the lock, in a check.
    #[error(
        "failed session check for key \"{key}\", current session \"{current}\" != \"{wanted}\""
    )]
    Session {
        /// The key.
        key: Arc<str>,
        /// The session that holds the lock.
        current: String,
        /// The session of the check.
        wanted: String,
    },
}

/// Why a transaction changed nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TransactionFault {
    /// A condition is not met.
    #[error(transparent)]
    Unmet(#[from] KvUnmet),
    /// The operation is refused.
    #[error(transparent)]
    Refused(#[from] KvRefusal),
}
