//! `musterd watch` and `musterd events`: the stream of changes, and lists that are shown again after each change.

use std::{
    io::{self, IsTerminal, Write},
    thread::sleep,
    time::Duration,
};

use clap::ValueEnum;
use serde_json::Value;

use super::{
    ask::{Daemon, download, items, printable, shown},
    discover::add,
    outcome::{CliError, CommandOutput, FAILED, UNREACHABLE},
};

/// Pauses between two attempts to connect again: they double from the first to the last.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(8)];
/// The longest line of a stream that is kept.
const LINE_BYTES_MAX: usize = 64 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct WatchArguments {
    /// Only this service
    name: Option<String>,
    /// Begin after this cursor, without a snapshot
    #[arg(long, value_name = "CURSOR")]
    since: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct EventsArguments {
    /// Only of this service
    #[arg(long)]
    service: Option<String>,
    /// Only of this kind; may be repeated
    #[arg(long = "kind", value_enum, value_name = "KIND")]
    kinds: Vec<KindArgument>,
    /// Only events after this cursor
    #[arg(long, value_name = "CURSOR")]
    since: Option<String>,
    /// The most events
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// Then show each event when it comes
    #[arg(long, short)]
    follow: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum KindArgument {
    Registered,
    Updated,
    Deregistered,
    Expired,
    Healthy,
    Unhealthy,
    Stopping,
    GuardEngaged,
    GuardReleased,
    RouteSet,
    RouteRemoved,
}

/// One message of a stream of server-sent events.
#[derive(Debug, Default, Eq, PartialEq)]
struct StreamMessage {
    event: String,
    id: String,
    data: String,
}

/// Cuts bytes into messages.
#[derive(Debug, Default)]
struct StreamReader {
    line: Vec<u8>,
    message: StreamMessage,
}

impl StreamReader {
    /// Takes bytes; answers the messages that they complete.
    fn take(&mut self, bytes: &[u8]) -> io::Result<Vec<StreamMessage>> {
        let mut complete = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.len() + self.message.data.len() > LINE_BYTES_MAX {
                return Err(io::Error::other("a message of the stream is too long"));
            }
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                let line = String::from_utf8_lossy(&line);
                complete.extend(self.add(line.trim_end_matches(['\r', '\n'])));
            }
        }
        Ok(complete)
    }

    fn add(&mut self, line: &str) -> Option<StreamMessage> {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() && !self.message.data.is_empty() => {
                return Some(std::mem::take(&mut self.message));
            }
            "event" => value.clone_into(&mut self.message.event),
            "id" => value.clone_into(&mut self.message.id),
            "data" => self.message.data.push_str(value),
            _ => {}
        }
        None
    }
}

pub(super) fn watch(
    arguments: &WatchArguments,
    daemon: &Daemon<'_>,
) -> Result<CommandOutput, CliError> {
    let mut path = "/watch".to_owned();
    if let Some(name) = &arguments.name {
        add(&mut path, "service", name);
    }
    follow(daemon, &path, arguments.since.clone(), |message| {
        print_message(daemon, message, &[])
    })
}

pub(super) fn events(
    arguments: &EventsArguments,
    daemon: &Daemon<'_>,
) -> Result<CommandOutput, CliError> {
    let mut path = "/events".to_owned();
    add(&mut path, "limit", &arguments.limit.to_string());
    if let Some(service) = &arguments.service {
        add(&mut path, "service", service);
    }
    if let Some(since) = &arguments.since {
        add(&mut path, "since", since);
    }
    let answer = daemon.get(&path, "events")?;
    let mut text = String::new();
    for event in items(&answer, "events") {
        if wanted(event, &arguments.kinds) {
            text.push_str(&line(daemon, event));
        }
    }
    if !arguments.follow {
        return Ok(text.into());
    }
    put(&text).map_err(|error| error.to_string())?;
    let mut path = "/watch".to_owned();
    if let Some(service) = &arguments.service {
        add(&mut path, "service", service);
    }
    let cursor = answer["cursor"].as_str().map(str::to_owned);
    follow(daemon, &path, cursor, |message| {
        print_message(daemon, message, &arguments.kinds)
    })
}

fn wanted(event: &Value, kinds: &[KindArgument]) -> bool {
    let is = |kind: &KindArgument| {
        let word = kind.to_possible_value();
        word.is_some_and(|word| event["event"] == word.get_name())
    };
    kinds.is_empty() || kinds.iter().any(is)
}

/// One event in a line.
fn line(daemon: &Daemon<'_>, event: &Value) -> String {
    if daemon.output.json {
        return format!("{event}\n");
    }
    let of = |field| shown(event, field);
    let subject = match event["route"]["route_id"].as_str() {
        Some(route) => format!("route {route}"),
        None => format!("{} {}", of("service_name"), of("service_id")),
    };
    let status = match event["status"].as_str() {
        Some(status) => format!("  {} → {status}", of("previous_status")),
        None => String::new(),
    };
    let reason = event["reason"].as_str();
    let reason = reason.map_or_else(String::new, |reason| format!("  ({reason})"));
    format!(
        "{}  {:<14} {subject}{status}{reason}\n",
        of("timestamp"),
        of("event")
    )
}

fn print_message(
    daemon: &Daemon<'_>,
    message: &StreamMessage,
    kinds: &[KindArgument],
) -> io::Result<()> {
    let data: Value = serde_json::from_str(&message.data).map_err(io::Error::other)?;
    let data = printable(data);
    if message.event == "snapshot" && kinds.is_empty() {
        return put(&snapshot(daemon, &data));
    }
    if data.get("event").is_some() && wanted(&data, kinds) {
        return put(&line(daemon, &data));
    }
    Ok(())
}

/// A snapshot as a line for each instance.
fn snapshot(daemon: &Daemon<'_>, data: &Value) -> String {
    if daemon.output.json {
        return format!("{data}\n");
    }
    let services = data["services"].as_object().into_iter().flatten();
    let instances = services.flat_map(|(_, instances)| instances.as_array().into_iter().flatten());
    instances.fold(String::new(), |text, instance| {
        let of = |field| shown(instance, field);
        let (name, id, status) = (of("service_name"), of("service_id"), of("status"));
        text + &format!(
            "{:<24}  {:<14} {name} {id}  {status}\n",
            of("registered_at"),
            "present"
        )
    })
}

/// Follows a stream for as long as somebody reads: after a loss it connects again and continues at its cursor.
fn follow(
    daemon: &Daemon<'_>,
    path: &str,
    mut cursor: Option<String>,
    mut take: impl FnMut(&StreamMessage) -> io::Result<()>,
) -> Result<CommandOutput, CliError> {
    let mut pause = PAUSES[0];
    let mut connected = false;
    loop {
        let mut from = path.to_owned();
        if let Some(cursor) = &cursor {
            add(&mut from, "since", cursor);
        }
        let mut reader = StreamReader::default();
        let mut closed = false;
        let ended = download(daemon, &from, "text/event-stream", |bytes| {
            (connected, pause) = (true, PAUSES[0]);
            for message in reader.take(bytes)? {
                if !message.id.is_empty() {
                    cursor = Some(message.id.clone());
                }
                take(&message).inspect_err(|error| {
                    closed = error.kind() == io::ErrorKind::BrokenPipe;
                })?;
            }
            Ok(())
        });
        match ended {
            _ if closed => return Ok(CommandOutput::default()),
            Err(error) if !connected || is_refusal(&error) => return Err(error),
            ended => {
                if !daemon.output.quiet {
                    let why = ended
                        .err()
                        .map_or_else(|| "it ended".to_owned(), |error| error.message);
                    let why = why.lines().next().unwrap_or_default().to_owned();
                    super::print_error(&format!("the stream is lost ({why}); connecting again"));
                }
                sleep(pause);
                pause = (pause * 2).min(PAUSES[1]);
            }
        }
    }
}

/// Whether the daemon said no, which another attempt does not change.
fn is_refusal(error: &CliError) -> bool {
    let status = error
        .problem
        .as_ref()
        .and_then(|problem| problem["status"].as_u64());
    error.code != UNREACHABLE && status.is_some_and(|status| status < 500 && status != 429)
}

/// Shows a list now and after each change of the stream, until it is interrupted.
pub(super) fn redraw(
    daemon: &Daemon<'_>,
    path: &str,
    mut list: impl FnMut() -> Result<String, CliError>,
) -> Result<CommandOutput, CliError> {
    let clears = io::stdout().is_terminal();
    let mut failed = None;
    let ended = follow(daemon, path, None, |_| {
        let text = match list() {
            Ok(text) => text,
            // The last instance is gone: the list is empty until there is one again.
            Err(error) if error.code == super::outcome::NOT_FOUND => error.message + "\n",
            Err(error) => {
                let message = error.message.clone();
                failed = Some(error);
                return Err(io::Error::other(message));
            }
        };
        match clears {
            true => put(&format!("\u{1b}[H\u{1b}[2J{text}")),
            false => put(&format!("{text}\n")),
        }
    });
    match failed {
        Some(error) if error.code == FAILED => Err(error),
        _ => ended,
    }
}

/// Writes and flushes, so that a pipe has each line at once.
fn put(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests;
