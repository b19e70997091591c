//! Rows that survive a restart. The composition root says where they are kept.

use std::fmt;

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};

use super::{Policy, Start, Subscriber};
use crate::{
    model::{Cursor, Epoch, Revision},
    registry::{Lost, Registry},
};

/// A row that is set or removed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RowChange {
    /// Its table.
    pub table: &'static str,
    /// Its key.
    pub key: Vec<u8>,
    /// Its new value; none removes it.
    pub value: Option<Vec<u8>>,
}

/// Keeps rows. A commit takes effect as a whole or not at all.
pub trait TransportRows: fmt::Debug + Send + Sync {
    /// Commits changes; they survive the end of the process once it is done. It is done also if the future is
    /// dropped after its first poll.
    ///
    /// # Errors
    /// Nothing was changed.
    fn commit(&self, changes: Vec<RowChange>) -> BoxFuture<'static, Result<(), Lost>>;

    /// Whether another run finds them.
    fn are_kept(&self) -> bool;
}

/// Rows of an earlier run: keys and values in order.
pub type StoredRows = Vec<(Bytes, Bytes)>;

/// Keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRows;

impl TransportRows for NoRows {
    fn commit(&self, _: Vec<RowChange>) -> BoxFuture<'static, Result<(), Lost>> {
        Box::pin(ready(Ok(())))
    }

    fn are_kept(&self) -> bool {
        false
    }
}

/// A subscriber's place in the log, as it is stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct StoredCursor {
    cursor: Cursor,
    /// It needs a snapshot first.
    is_lost: bool,
}

const CURSOR_BYTES: usize = 17;

impl StoredCursor {
    pub(super) fn of(subscriber: &Subscriber) -> Self {
        Self {
            cursor: subscriber.cursor(),
            is_lost: subscriber.is_lost(),
        }
    }

    /// In place of a cursor that is not stored.
    pub(super) fn lost() -> Self {
        Self {
            cursor: Cursor {
                epoch: Epoch(0),
                revision: Revision::default(),
            },
            is_lost: true,
        }
    }

    pub(super) fn encode(self) -> Vec<u8> {
        let mut row = Vec::with_capacity(CURSOR_BYTES);
        row.extend_from_slice(&self.cursor.epoch.0.to_be_bytes());
        row.extend_from_slice(&self.cursor.revision.0.to_be_bytes());
        row.push(u8::from(self.is_lost));
        row
    }

    /// None when it is not a cursor.
    pub(super) fn read(row: &[u8]) -> Option<Self> {
        let (epoch, rest) = row.split_first_chunk()?;
        let (revision, rest) = rest.split_first_chunk()?;
        let &[is_lost @ (0 | 1)] = rest else {
            return None;
        };
        Some(Self {
            cursor: Cursor {
                epoch: Epoch(u64::from_be_bytes(*epoch)),
                revision: Revision(u64::from_be_bytes(*revision)),
            },
            is_lost: is_lost == 1,
        })
    }

    /// The subscriber continues where it was.
    pub(super) fn subscriber(self, registry: &Registry, policy: Policy) -> Subscriber {
        let start = match self.is_lost {
            true => Start::Snapshot,
            false => Start::After(self.cursor),
        };
        start.subscriber(registry, policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let cursor = Cursor {
            epoch: Epoch(u64::MAX - 3),
            revision: Revision(1 << 40),
        };
        for is_lost in [false, true] {
            let stored = StoredCursor { cursor, is_lost };
            let row = stored.encode();
            assert_eq!(StoredCursor::read(&row), Some(stored));
            assert_eq!(StoredCursor::read(&row[1..]), None);
            assert_eq!(StoredCursor::read(&[&row[..], &[0]].concat()), None);
        }
        assert_eq!(StoredCursor::read(&[2; CURSOR_BYTES]), None);
    }
}
