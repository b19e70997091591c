//! Numbers of changes, and a reader's place among them.

use std::{fmt, str::FromStr};

/// Counts every change of the registry; starts at 1, never goes back, never reused within an epoch.
/// 0 is the place before the first change.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision that follows.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names the registry that counts the revisions, written as lower-case hexadecimal. A registry whose state is
/// lost gets a new one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// How far a reader has come: `<epoch>-<revision>`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cursor {
    /// The epoch that the revision belongs to.
    pub epoch: Epoch,
    /// The last change the reader has seen.
    pub revision: Revision,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.revision)
    }
}

/// The text is no cursor.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be a cursor \"<epoch>-<revision>\" as an answer or a stream gave it")]
pub struct InvalidCursor;

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (epoch, revision) = text.split_once('-').ok_or(InvalidCursor)?;
        let signed = |part: &str| part.starts_with('+') || part.starts_with('-');
        if signed(epoch) || signed(revision) {
            return Err(InvalidCursor);
        }
        Ok(Self {
            epoch: Epoch(u64::from_str_radix(epoch, 16).map_err(|_| InvalidCursor)?),
            revision: Revision(revision.parse().map_err(|_| InvalidCursor)?),
        })
    }
}

#[cfg(test)]
mod tests;
