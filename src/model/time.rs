//! Time as texts carry it: points of the wall clock, and durations.

use std::{fmt, str::FromStr, time::Duration};

use jiff::fmt::{StdFmtWrite, temporal::DateTimePrinter};

use crate::quantity::{InvalidDuration, duration};

const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

/// Milliseconds since 1970-01-01 UTC; displays as RFC 3339 with milliseconds,
/// `2026-11-23T14:39:00.123Z`.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The wall clock's time for `millis` since 1970, as far as the calendar can say it.
    fn civil(self) -> jiff::Timestamp {
        let outside = if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        };
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(outside)
    }

    /// Reads RFC 3339, with any offset; finer than milliseconds is cut off.
    pub fn parse(text: &str) -> Option<Self> {
        let read: jiff::Timestamp = text.trim().parse().ok()?;
        Some(Self(read.as_millisecond()))
    }

    /// Appends the RFC 3339 form to `out`.
    pub fn append_to(self, out: &mut Vec<u8>) {
        // Printing to a vector can't fail.
        let _ = PRINTER.print_timestamp(&self.civil(), out);
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let printed = PRINTER.print_timestamp(&self.civil(), StdFmtWrite(f));
        printed.map_err(|_| fmt::Error)
    }
}

/// A duration as people write it: `5s`, `500ms`, `5m`, `1h`, `2d`; a bare number counts seconds.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        duration(text).map(Self)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if millis.is_multiple_of(1000) {
            write!(f, "{}s", millis / 1000)
        } else {
            write!(f, "{millis}ms")
        }
    }
}

#[cfg(test)]
mod tests;
