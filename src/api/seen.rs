//! The cursor or index that a returning or waiting caller sends.

use crate::model::{Cursor, Revision};

/// How far a caller has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seen {
    /// Up to a cursor.
    Cursor(Cursor),
    /// Up to a revision of this epoch.
    Revision(Revision),
    /// Not a cursor of this registry.
    Unreadable,
}

impl Seen {
    /// Reads a cursor, or a revision alone. Never an error: who can't be placed starts over.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(cursor) => Self::Cursor(cursor),
            Err(_) if digits => text
                .parse()
                .map_or(Self::Unreadable, |number| Self::Revision(Revision(number))),
            Err(_) => Self::Unreadable,
        }
    }
}

#[cfg(test)]
mod tests;
