//! The changes of one commit, and how they are written.

use bytes::Bytes;

use super::frame::{HEADER, four};

const PUT: u8 = 1;
const DELETE: u8 = 2;

/// Puts and deletes of one commit, over any tables. They take effect together or not at all.
///
/// A table is a name of at most 255 bytes without NUL; keys are ordered as bytes.
#[derive(Clone, Debug)]
pub struct Writes {
    /// Room for the frame's header, then the operations.
    pub(super) frame: Vec<u8>,
}

impl Default for Writes {
    fn default() -> Self {
        Self {
            frame: vec![0; HEADER],
        }
    }
}

impl Writes {
    /// Sets the value of a key.
    pub fn put(&mut self, table: &str, key: &[u8], value: &[u8]) {
        self.key(PUT, table, key);
        self.sized(value);
    }

    /// Sets the value of a key to the bytes that `write` appends.
    pub fn put_with(&mut self, table: &str, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        self.key(PUT, table, key);
        let at = self.frame.len();
        self.frame.extend_from_slice(&[0; 4]);
        write(&mut self.frame);
        let len = u32::try_from(self.frame.len() - at - 4).unwrap_or(u32::MAX);
        self.frame[at..at + 4].copy_from_slice(&len.to_le_bytes());
    }

    /// Removes a key, whether or not it is there.
    pub fn delete(&mut self, table: &str, key: &[u8]) {
        self.key(DELETE, table, key);
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.frame.len() == HEADER
    }

    /// The bytes that it takes in the log.
    pub fn len(&self) -> usize {
        self.frame.len()
    }

    /// Forgets all changes; the memory is kept for the next ones.
    pub fn clear(&mut self) {
        self.frame.truncate(HEADER);
    }

    fn key(&mut self, operation: u8, table: &str, key: &[u8]) {
        debug_assert!(!table.is_empty() && !table.contains('\0'));
        let len = u8::try_from(table.len()).unwrap_or(u8::MAX);
        self.frame.push(operation);
        self.frame.push(len);
        self.frame
            .extend_from_slice(&table.as_bytes()[..len.into()]);
        self.sized(key);
    }

    fn sized(&mut self, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.frame.extend_from_slice(&len.to_le_bytes());
        self.frame.extend_from_slice(bytes);
    }
}

/// One operation of a payload.
#[derive(Debug)]
pub(super) struct TableWrite {
    pub(super) table: Bytes,
    pub(super) key: Bytes,
    /// None for a delete.
    pub(super) value: Option<Bytes>,
}

/// Takes the next operation off a payload; none at its end, or where it is none.
pub(super) fn next(payload: &mut Bytes) -> Option<TableWrite> {
    let operation = *payload.first()?;
    let table_len = usize::from(*payload.get(1)?);
    let table = payload.get(2..2 + table_len)?;
    let table = payload.slice_ref(table);
    let mut rest = payload.slice(2 + table_len..);
    let key = take_sized(&mut rest)?;
    let value = match operation {
        PUT => Some(take_sized(&mut rest)?),
        DELETE => None,
        _ => return None,
    };
    *payload = rest;
    Some(TableWrite { table, key, value })
}

fn take_sized(bytes: &mut Bytes) -> Option<Bytes> {
    let len = u32::from_le_bytes(four(bytes.get(..4)?)) as usize;
    let taken = bytes.slice_ref(bytes.get(4..4 + len)?);
    *bytes = bytes.slice(4 + len..);
    Some(taken)
}
