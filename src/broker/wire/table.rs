//! Field tables and arrays: checked once when they arrive, then read in place.
//!
//! Order and duplicates are kept as they came. The tags are RabbitMQ's, which differ from the
//! specification's: `s` is a signed 16-bit number, `L` is signed like `l`, `x` are bytes.

mod build;
mod read;

use std::fmt;

use bytes::Bytes;

pub use self::{
    build::{ArrayBuilder, TableBuilder},
    read::{ArrayIter, ArrayRef, TableIter, TableRef, ValueRef},
};

/// How deep tables and arrays may be nested in each other.
pub const MAX_DEPTH: usize = 128;

/// Why a table was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TableError {
    /// A tag that RabbitMQ does not know either.
    #[error("unknown field type '{}' in a field table", .0.escape_ascii())]
    UnknownTag(u8),
    /// A length that leads beyond the end.
    #[error("a field table ends in the middle of a field")]
    Truncated,
    /// More levels than [`MAX_DEPTH`].
    #[error("a field table is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// A field table that has been checked.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Table(Bytes);

impl Table {
    /// The table without fields.
    pub const EMPTY: Self = Self(Bytes::new());

    /// Checks the fields in `raw` (without the length before them on the wire).
    ///
    /// # Errors
    /// When a tag is unknown, a length lies or the nesting is too deep.
    pub fn decode(raw: Bytes) -> Result<Self, TableError> {
        read::check_table(&raw)?;
        Ok(Self(raw))
    }

    /// Takes fields which a builder has written or which were checked as a part of something.
    pub(super) fn from_checked(raw: Bytes) -> Self {
        Self(raw)
    }

    /// Its fields as they are on the wire, without the length before them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A view to read from.
    #[must_use]
    pub fn view(&self) -> TableRef<'_> {
        TableRef::new(&self.0)
    }

    /// Its fields in order.
    #[must_use]
    pub fn iter(&self) -> TableIter<'_> {
        self.view().iter()
    }

    /// The first field of this name.
    #[must_use]
    pub fn field(&self, name: &[u8]) -> Option<ValueRef<'_>> {
        self.view().field(name)
    }

    /// Whether there is no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same fields in a separate allocation.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

impl<'a> IntoIterator for &'a Table {
    type Item = (&'a [u8], ValueRef<'a>);
    type IntoIter = TableIter<'a>;

    fn into_iter(self) -> TableIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

#[cfg(test)]
mod tests;
