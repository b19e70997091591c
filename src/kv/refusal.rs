//! Why a request is refused.

use std::sync::Arc;

use uuid::Uuid;

use super::KEY_BYTES_MAX;
use crate::registry::Lost;

/// Why a request was refused. Nothing has changed then.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KvRefusal {
    /// There is no key.
    #[error("Missing key name")]
    NoKey,
    /// The key is too long.
    #[error("the key has {bytes} bytes, at most {KEY_BYTES_MAX} are allowed")]
    KeyTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The value is too large.
    #[error(
        "Value for key \"{key}\" is too large ({bytes} > {max} bytes): consul.kv_value_max is the limit"
    )]
    ValueTooLarge {
        /// The key.
        key: Arc<str>,
        /// The size of the value.
        bytes: usize,
        /// `consul.kv_value_max`.
        max: usize,
    },
    /// There are as many keys as the limit allows.
    #[error(
        "key \"{key}\" is not stored: there are {max} keys, the limit of consul.kv_keys_max; delete some first"
    )]
    KeysFull {
        /// The key.
        key: Arc<str>,
        /// `consul.kv_keys_max`.
        max: usize,
    },
    /// All keys and values are as large as the limit allows.
    #[error(
        "key \"{key}\" is not stored: all keys and values would have more than {max} bytes, the limit of consul.kv_bytes_max; delete some first"
    )]
    BytesFull {
        /// The key.
        key: Arc<str>,
        /// `consul.kv_bytes_max`.
        max: usize,
    },
    /// The operations of a transaction read more than everything that may be kept.
    #[error(
        "the operations read more than {bytes} bytes or {keys} keys, the limits of consul.kv_bytes_max and consul.kv_keys_max: read in several transactions"
    )]
    ReadsTooMuch {
        /// `consul.kv_bytes_max`.
        bytes: usize,
        /// `consul.kv_keys_max`.
        keys: usize,
    },
    /// There are as many sessions as the limit allows.
    #[error(
        "there are {max} sessions, the limit of consul.sessions_max; destroy some first, or create them with a TTL"
    )]
    SessionsFull {
        /// `consul.sessions_max`.
        max: usize,
    },
    /// No session has this id.
    #[error("invalid session \"{0}\": it does not exist, or has ended")]
    InvalidSession(Uuid),
    /// A value of the request is not right.
    #[error("{0}")]
    Invalid(Arc<str>),
    /// The identity of the caller may not do this.
    #[error("Permission denied: {0}")]
    Forbidden(Arc<str>),
    /// The disk is full.
    #[error("the disk of store.path is full: nothing is changed until it has space again")]
    NoSpace,
    /// The store did not take the change.
    #[error("the change was not committed: {0}")]
    NotCommitted(Arc<str>),
    /// The daemon stops.
    #[error("the daemon is stopping")]
    Stopping,
}

impl KvRefusal {
    /// The HTTP status code that says the same.
    pub fn status(&self) -> u16 {
        match self {
            Self::NoKey | Self::KeyTooLong { .. } | Self::InvalidSession(_) | Self::Invalid(_) => {
                400
            }
            Self::Forbidden(_) => 403,
            Self::ValueTooLarge { .. } | Self::ReadsTooMuch { .. } => 413,
            Self::NotCommitted(_) | Self::Stopping => 503,
            Self::KeysFull { .. }
            | Self::BytesFull { .. }
            | Self::SessionsFull { .. }
            | Self::NoSpace => 507,
        }
    }
}

impl From<Lost> for KvRefusal {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::NoSpace => Self::NoSpace,
            Lost::Failed(why) => Self::NotCommitted(why),
        }
    }
}
