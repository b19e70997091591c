//! A log line as text: time, level, target, message, fields. What a value holds cannot end the line.

use std::fmt::{self, Write};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext,
        format::{FormatEvent, FormatFields, Writer},
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

use crate::telemetry::escape::Escaping;

/// Formats events as text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    /// Whether levels have colours.
    pub(super) coloured: bool,
}

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write(&mut out, event, self.coloured)
    }
}

/// Writes an event as one line.
pub(super) fn write(out: &mut Writer<'_>, event: &Event<'_>, coloured: bool) -> fmt::Result {
    let (level, target) = (*event.metadata().level(), event.metadata().target());
    begin(out, level, target, coloured)?;
    let mut parts = LineParts::default();
    event.record(&mut parts);
    out.write_str(&parts.message)?;
    for (name, value) in &parts.fields {
        if !mentions(&parts.message, value) {
            write!(out, " {name}={value}")?;
        }
    }
    out.write_char('\n')
}

/// Everything before the message.
fn begin(out: &mut Writer<'_>, level: Level, target: &str, coloured: bool) -> fmt::Result {
    SystemTime.format_time(out)?;
    let colour = match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    };
    if coloured {
        write!(out, " \x1b[{colour}m{level:>5}\x1b[0m {target}: ")
    } else {
        write!(out, " {level:>5} {target}: ")
    }
}

/// A line about the log itself, which is no event of the code.
pub(super) fn own(text: &str) -> Vec<u8> {
    let mut line = String::new();
    // Writing to a string can't fail.
    let _ = begin(
        &mut Writer::new(&mut line),
        Level::WARN,
        "musterd::log",
        false,
    );
    (line + text + "\n").into_bytes()
}

/// The same as JSON.
pub(super) fn own_json(text: &str) -> Vec<u8> {
    let mut time = String::new();
    // Writing to a string can't fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    let line = serde_json::json!({
        "timestamp": time, "level": "WARN", "message": text, "target": "musterd::log",
    });
    format!("{line}\n").into_bytes()
}

/// Whether a message has this value in it as a word: then the line does not repeat it. JSON lines have all fields.
fn mentions(message: &str, value: &str) -> bool {
    let value = value.trim_matches('"');
    // A number may be a part of an address or of another number.
    let joins: &[char] = match value.parse::<f64>() {
        Ok(_) => &['_', '.', ':', '-'],
        Err(_) => &['_'],
    };
    let is_apart = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || joins.contains(&c));
    !value.is_empty()
        && message.match_indices(value).any(|(at, _)| {
            is_apart(message[..at].chars().next_back())
                && is_apart(message[at + value.len()..].chars().next())
        })
}

/// The message and the fields of an event, escaped.
#[derive(Debug, Default)]
struct LineParts {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for LineParts {
    fn record_str(&mut self, field: &Field, value: &str) {
        // Writing to a string can't fail.
        if field.name() == "message" {
            let _ = Escaping(&mut self.message).write_str(value);
        } else {
            self.fields.push((field.name(), format!("{value:?}")));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(Escaping(&mut self.message), "{value:?}");
        } else {
            let mut text = String::new();
            let _ = write!(Escaping(&mut text), "{value:?}");
            self.fields.push((field.name(), text));
        }
    }
}

#[cfg(test)]
mod tests;
