//! An entry, and the limits of all.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::KvRefusal;

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;

/// A key with its value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KvEntry {
    /// The key.
    pub key: Arc<str>,
    /// The value.
    pub value: Bytes,
    /// A number of the client's own.
    pub flags: u64,
    /// The session that holds the lock.
    pub session: Option<Uuid>,
    /// How many times the lock was acquired.
    pub lock_index: u64,
    /// The index at which the key was created.
    pub create_index: u64,
    /// The index of the last change.
    pub modify_index: u64,
}

impl KvEntry {
    /// The bytes that count towards `consul.kv_bytes_max`.
    pub fn size(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

/// The limits of everything that is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KvLimits {
    /// The most bytes of one value.
    pub value_max: usize,
    /// The most keys.
    pub keys_max: usize,
    /// The most bytes of all keys and values.
    pub bytes_max: usize,
    /// The most sessions.
    pub sessions_max: usize,
}

impl Default for KvLimits {
    fn default() -> Self {
        Self {
            value_max: 512 << 10,
            keys_max: 100_000,
            bytes_max: 64 << 20,
            sessions_max: 10_000,
        }
    }
}

/// Checks a key.
///
/// # Errors
/// It is empty or too long.
pub fn check_key(key: &str) -> Result<(), KvRefusal> {
    if key.is_empty() {
        return Err(KvRefusal::NoKey);
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(KvRefusal::KeyTooLong { bytes: key.len() });
    }
    Ok(())
}
