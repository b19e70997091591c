//! Time as texts carry it: points of the wall clock, and durations.

use std::{fmt, str::FromStr, time::Duration};

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
        f.write_str(&PRINTER.timestamp_to_string(&self.civil()))
    }
}

/// A duration as people write it: `5s`, `500ms`, `5m`, `1h`, `2d`; a bare number counts seconds.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Span(pub Duration);

/// The text is no duration.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("\"{0}\" is not a duration: write it as \"5s\", \"500ms\", \"5m\" or \"1h\"")]
pub struct InvalidSpan(pub Box<str>);

/// Longer than any clock of the process runs; keeps sums of spans from overflowing.
const SPAN_MS_MAX: f64 = 1e15;

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        let invalid = || InvalidSpan(text.chars().take(40).collect());
        let trimmed = text.trim();
        let digits = trimmed
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let scale: f64 = match unit.trim_start() {
            "ms" => 1.0,
            "" | "s" => 1e3,
            "m" => 60e3,
            "h" => 3600e3,
            "d" => 86_400e3,
            _ => return Err(invalid()),
        };
        let number: f64 = number.parse().map_err(|_| invalid())?;
        let millis = (number * scale).round();
        if millis > SPAN_MS_MAX {
            return Err(invalid());
        }
        Duration::try_from_secs_f64(millis / 1e3)
            .map(|span| Self(Duration::from_millis(rounded_ms(span))))
            .map_err(|_| invalid())
    }
}

/// Milliseconds, rounded to the next one: seconds as a float are a few nanoseconds off.
fn rounded_ms(span: Duration) -> u64 {
    let half = Duration::from_micros(500);
    u64::try_from((span + half).as_millis()).unwrap_or(u64::MAX)
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
