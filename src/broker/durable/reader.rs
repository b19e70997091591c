//! Numbers, strings and tables as rows and records have them.

use bytes::Bytes;

use crate::broker::wire::{ShortStr, Table};

/// Appends a number.
pub(in crate::broker) fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_be_bytes());
}

/// Appends a string with its length.
pub(in crate::broker) fn put_short(out: &mut Vec<u8>, text: &ShortStr) {
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(text);
}

/// Reads a row from its start. None: the row is shorter than it should be.
#[derive(Debug)]
pub(in crate::broker) struct RowReader(Bytes);

impl RowReader {
    pub(in crate::broker) fn new(row: Bytes) -> Self {
        Self(row)
    }

    pub(in crate::broker) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(in crate::broker) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?[..].try_into().ok()?))
    }

    pub(in crate::broker) fn short(&mut self) -> Option<ShortStr> {
        let len = self.u8()?;
        ShortStr::copied(&self.take(len.into())?)
    }

    /// The rest, as a field table.
    pub(in crate::broker) fn table(self) -> Option<Table> {
        Table::decode(Bytes::copy_from_slice(&self.0)).ok()
    }

    fn take(&mut self, len: usize) -> Option<Bytes> {
        (self.0.len() >= len).then(|| self.0.split_to(len))
    }
}
