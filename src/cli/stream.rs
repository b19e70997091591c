//! `musterd watch` and `musterd events`: the stream of changes, and lists that are shown again after each change.

use std::{
    io::{self, IsTerminal},
    panic::resume_unwind,
    thread::{scope, sleep},
    time::Duration,
};

use clap::ValueEnum;
use serde_json::Value;

use super::{
    ask::{Daemon, download, items, shown},
    discover::add,
    outcome::{CliError, CommandOutput, NOT_FOUND, put},
};
use crate::telemetry::escaped_json;

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
    follow(daemon, &path, arguments.since.clone(), |messages| {
        print_messages(daemon, messages, &[])
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
    match put(&text).map_err(StreamEnd::from) {
        Err(StreamEnd::Failed(error) | StreamEnd::Lost(error)) => return Err(error),
        Err(StreamEnd::Closed) => return Ok(CommandOutput::default()),
        Ok(()) => {}
    }
    let mut path = "/watch".to_owned();
    if let Some(service) = &arguments.service {
        add(&mut path, "service", service);
    }
    let cursor = answer["cursor"].as_str().map(str::to_owned);
    follow(daemon, &path, cursor, |messages| {
        print_messages(daemon, messages, &arguments.kinds)
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
        return json_line(event);
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

fn print_messages(
    daemon: &Daemon<'_>,
    messages: &[StreamMessage],
    kinds: &[KindArgument],
) -> Result<(), StreamEnd> {
    for message in messages {
        let data = serde_json::from_str(&message.data).map_err(io::Error::other)?;
        let data = daemon.readable(data);
        if message.event == "snapshot" && kinds.is_empty() {
            put(&snapshot(daemon, &data))?;
        } else if data.get("event").is_some() && wanted(&data, kinds) {
            put(&line(daemon, &data))?;
        }
    }
    Ok(())
}

/// One object per line.
fn json_line(value: &Value) -> String {
    escaped_json(&value.to_string()).into_owned() + "\n"
}

/// A snapshot as a line for each instance.
fn snapshot(daemon: &Daemon<'_>, data: &Value) -> String {
    if daemon.output.json {
        return json_line(data);
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

/// Why messages of a stream are not taken any more.
#[derive(Debug)]
enum StreamEnd {
    /// Nobody reads what is shown.
    Closed,
    /// Another attempt would fail too.
    Failed(CliError),
    /// The daemon may answer later.
    Lost(CliError),
}

impl From<io::Error> for StreamEnd {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(error.to_string().into()),
        }
    }
}

/// Follows a stream for as long as somebody reads: after a loss it connects again and continues at its cursor. `take` gets
/// the messages that have come together.
fn follow(
    daemon: &Daemon<'_>,
    path: &str,
    mut cursor: Option<String>,
    mut take: impl FnMut(&[StreamMessage]) -> Result<(), StreamEnd>,
) -> Result<CommandOutput, CliError> {
    let mut pause = PAUSES[0];
    let mut connected = false;
    loop {
        let mut from = path.to_owned();
        if let Some(cursor) = &cursor {
            add(&mut from, "since", cursor);
        }
        let mut reader = StreamReader::default();
        let mut end = None;
        let ended = download(daemon, &from, "text/event-stream", |bytes| {
            connected = true;
            let messages = reader.take(bytes)?;
            if messages.is_empty() {
                return Ok(());
            }
            if let Err(why) = take(&messages) {
                end = Some(why);
                return Err(io::Error::other("the messages are not taken"));
            }
            pause = PAUSES[0];
            let ids = messages.iter().map(|message| &message.id);
            if let Some(id) = ids.rev().find(|id| !id.is_empty()) {
                cursor = Some(id.clone());
            }
            Ok(())
        });
        let why = match (end, ended) {
            (Some(StreamEnd::Closed), _) => return Ok(CommandOutput::default()),
            (Some(StreamEnd::Failed(error)), _) => return Err(error),
            (Some(StreamEnd::Lost(error)), _) => error.message,
            (None, Ok(())) => "it ended".to_owned(),
            (None, Err(error)) if !connected || !error.may_pass() => return Err(error),
            (None, Err(error)) => error.message,
        };
        if !daemon.output.quiet {
            let why = why.lines().next().unwrap_or_default();
            super::print_error(&format!("the stream is lost ({why}); connecting again"));
        }
        sleep(pause);
        pause = (pause * 2).min(PAUSES[1]);
    }
}

/// Shows a list now and after each change of the stream, until it is interrupted.
pub(super) fn redraw(
    daemon: &Daemon<'_>,
    path: &str,
    list: impl Fn() -> Result<String, CliError> + Sync,
) -> Result<CommandOutput, CliError> {
    let clears = io::stdout().is_terminal();
    follow(daemon, path, None, |_| {
        // A request runs a runtime, and this thread runs that of the stream.
        let listed = scope(|scope| scope.spawn(&list).join());
        let text = match listed.unwrap_or_else(|panic| resume_unwind(panic)) {
            Ok(text) => text,
            // The last instance is gone: the list is empty until there is one again.
            Err(error) if error.code == NOT_FOUND => error.message + "\n",
            Err(error) if error.may_pass() => return Err(StreamEnd::Lost(error)),
            Err(error) => return Err(StreamEnd::Failed(error)),
        };
        let clear = if clears { "\u{1b}[H\u{1b}[2J" } else { "" };
        let end = if clears { "" } else { "\n" };
        Ok(put(&format!("{clear}{text}{end}"))?)
    })
}

#[cfg(test)]
mod tests;
