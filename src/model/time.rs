//! Wall-clock time as answers and events carry it.

use std::fmt;

use jiff::fmt::temporal::DateTimePrinter;

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

    /// Appends the RFC 3339 form to `out`.
    pub fn append_to(self, out: &mut Vec<u8>) {
        // Printing to a vector can't fail.
        let _ = PRINTER.print_timestamp(&self.civil(), out);
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&PRINTER.timestamp_to_string(&self.civil()))
    }
}

#[cfg(test)]
mod tests;
