//! Durations and sizes as texts. One rule for the configuration, REST and the command line.

use std::time::Duration;

/// The text is no duration.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("\"{0}\" is not a duration: write it as \"5s\", \"500ms\", \"5m\" or \"1h\"")]
pub struct InvalidDuration(pub Box<str>);

/// Longer than any clock of the process runs; keeps sums of durations from overflowing.
const MS_MAX: f64 = 1e15;

/// Reads `5s`, `500ms`, `5m`, `1h`, `2d`, `1h 30m`; a bare number counts seconds.
///
/// Rounded to milliseconds; at most 31,709 years.
///
/// # Errors
/// The text, at most 40 characters of it.
pub fn duration(text: &str) -> Result<Duration, InvalidDuration> {
    let trimmed = text.trim();
    let digits = trimmed
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let scale = match unit.trim_start() {
        "ms" => 1.0,
        "" | "s" => 1e3,
        "m" => 60e3,
        "h" => 3600e3,
        "d" => 86_400e3,
        _ => return in_words(trimmed).ok_or_else(|| invalid(text)),
    };
    let number: f64 = number.parse().map_err(|_| invalid(text))?;
    let millis = (number * scale).round().min(MS_MAX);
    let span = Duration::try_from_secs_f64(millis / 1e3).map_err(|_| invalid(text))?;
    Ok(rounded(span))
}

/// Several units, or their long names.
fn in_words(text: &str) -> Option<Duration> {
    let most = Duration::from_secs(31_709 * 365 * 24 * 60 * 60);
    match humantime::parse_duration(text) {
        Ok(span) => Some(rounded(span.min(most))),
        Err(humantime::DurationError::NumberOverflow) => Some(most),
        Err(_) => None,
    }
}

fn invalid(text: &str) -> InvalidDuration {
    InvalidDuration(text.chars().take(40).collect())
}

/// To the nearest millisecond: seconds as a float are a few nanoseconds off.
fn rounded(span: Duration) -> Duration {
    let half = Duration::from_micros(500);
    Duration::from_millis(u64::try_from((span + half).as_millis()).unwrap_or(u64::MAX))
}

/// Writes a duration in its largest unit that leaves no fraction, such as `90s` or `1d`.
pub fn show_duration(span: Duration) -> String {
    let millis = span.as_millis();
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
    ];
    match units
        .into_iter()
        .find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit))
    {
        Some((unit, name)) => format!("{}{name}", millis / unit),
        None if millis == 0 => "0s".to_owned(),
        None => format!("{millis}ms"),
    }
}

/// Writes a size in its largest unit that leaves no fraction, such as `64KiB`.
pub fn show_size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units
        .into_iter()
        .find(|(log, _)| bytes > 0 && bytes.is_multiple_of(1 << log))
    {
        Some((log, name)) => format!("{}{name}", bytes >> log),
        None => format!("{bytes}B"),
    }
}
