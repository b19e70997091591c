//! `musterd broker`: the embedded broker's lists, and its queues: peek, purge, delete.

mod definitions;
mod users;

use std::fmt::Write;

use serde_json::Value;

use self::definitions::DefinitionsCommand;
use super::{
    ask::{Daemon, encoded, items, shown},
    discover::add,
    outcome::CliError,
    question,
    table::{Cell, Column},
    watchers::{number, said},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum BrokerCommand {
    /// Show the broker in numbers
    Overview,
    /// List the connections
    Connections(ListArguments),
    /// List the channels
    Channels(ListArguments),
    /// List the exchanges
    Exchanges(ListArguments),
    /// List the queues
    Queues(ListArguments),
    /// List the bindings
    Bindings(ListArguments),
    /// List the consumers
    Consumers(ListArguments),
    /// Show the first messages of a queue, without removing them
    Peek {
        #[command(flatten)]
        queue: QueueArguments,
        /// So many
        #[arg(short = 'n', long, default_value_t = 10)]
        count: u32,
    },
    /// Remove all messages that are ready in a queue
    Purge {
        #[command(flatten)]
        queue: QueueArguments,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Delete a queue with its messages and bindings
    Delete {
        #[command(flatten)]
        queue: QueueArguments,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Export or import queues, exchanges, bindings, policies and users in the format of RabbitMQ's definitions files
    #[command(subcommand)]
    Definitions(DefinitionsCommand),
    /// Make, change, show and remove users, and set what they may do
    #[command(subcommand)]
    User(users::UserCommand),
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArguments {
    /// Only of this virtual host
    #[arg(long)]
    vhost: Option<String>,
    /// Only those whose name contains this
    #[arg(long)]
    name: Option<String>,
    /// The most items
    #[arg(long, default_value_t = 1_000)]
    limit: u32,
}

#[derive(Debug, clap::Args)]
pub(super) struct QueueArguments {
    /// The queue
    queue: String,
    /// Its virtual host
    #[arg(long, default_value = "/")]
    vhost: String,
}

impl QueueArguments {
    fn path(&self) -> String {
        format!(
            "/broker/queues/{}/{}",
            encoded(&self.vhost),
            encoded(&self.queue)
        )
    }
}

/// A list: its path and the field of its items.
struct BrokerTable {
    field: &'static str,
    columns: &'static [(Column, &'static str)],
}

const CONNECTIONS: BrokerTable = BrokerTable {
    field: "connections",
    columns: &[
        (Column::number("ID"), "id"),
        (Column::text("PEER"), "peer"),
        (Column::text("USER"), "user"),
        (Column::text("VHOST"), "vhost"),
        (Column::text("STATE"), "state"),
        (Column::number("CHANNELS"), "channels"),
        (Column::number("RECEIVED"), "received_bytes"),
        (Column::number("SENT"), "sent_bytes"),
        (Column::text("NAME").wide(), "name"),
        (Column::text("TLS").wide(), "tls"),
        (Column::number("HEARTBEAT").wide(), "heartbeat_s"),
    ],
};
const CHANNELS: BrokerTable = BrokerTable {
    field: "channels",
    columns: &[
        (Column::number("CONNECTION"), "connection"),
        (Column::number("NUMBER"), "number"),
        (Column::text("VHOST"), "vhost"),
        (Column::number("CONSUMERS"), "consumers"),
        (Column::number("UNACKED"), "messages_unacked"),
        (Column::number("PREFETCH"), "prefetch"),
    ],
};
const EXCHANGES: BrokerTable = BrokerTable {
    field: "exchanges",
    columns: &[
        (Column::text("NAME"), "name"),
        (Column::text("VHOST"), "vhost"),
        (Column::text("TYPE"), "type"),
        (Column::text("DURABLE"), "durable"),
        (Column::number("BINDINGS"), "bindings"),
        (Column::number("PUBLISHED"), "published"),
    ],
};
const QUEUES: BrokerTable = BrokerTable {
    field: "queues",
    columns: &[
        (Column::text("NAME"), "name"),
        (Column::text("VHOST"), "vhost"),
        (Column::text("TYPE"), "type"),
        (Column::number("READY"), "messages_ready"),
        (Column::number("UNACKED"), "messages_unacked"),
        (Column::number("CONSUMERS"), "consumers"),
        (Column::text("DURABLE").wide(), "durable"),
        (Column::number("BYTES").wide(), "message_bytes_ready"),
    ],
};
const BINDINGS: BrokerTable = BrokerTable {
    field: "bindings",
    columns: &[
        (Column::text("SOURCE"), "source"),
        (Column::text("KEY"), "routing_key"),
        (Column::text("DESTINATION"), "destination"),
        (Column::text("KIND"), "destination_type"),
        (Column::text("VHOST"), "vhost"),
    ],
};
const CONSUMERS: BrokerTable = BrokerTable {
    field: "consumers",
    columns: &[
        (Column::text("QUEUE"), "queue"),
        (Column::text("TAG"), "consumer_tag"),
        (Column::text("VHOST"), "vhost"),
        (Column::number("CONNECTION"), "connection"),
        (Column::number("CHANNEL"), "channel"),
        (Column::number("UNACKED"), "unacked"),
        (Column::number("PREFETCH"), "prefetch"),
        (Column::text("ACTIVE").wide(), "active"),
    ],
};

pub(super) fn run(command: &BrokerCommand, daemon: &Daemon<'_>) -> Result<String, CliError> {
    match command {
        BrokerCommand::Overview => {
            let answer = daemon.get("/broker/overview", "queues")?;
            Ok(said(daemon, &answer, || overview(&answer)))
        }
        BrokerCommand::Connections(arguments) => list(&CONNECTIONS, arguments, daemon),
        BrokerCommand::Channels(arguments) => list(&CHANNELS, arguments, daemon),
        BrokerCommand::Exchanges(arguments) => list(&EXCHANGES, arguments, daemon),
        BrokerCommand::Queues(arguments) => list(&QUEUES, arguments, daemon),
        BrokerCommand::Bindings(arguments) => list(&BINDINGS, arguments, daemon),
        BrokerCommand::Consumers(arguments) => list(&CONSUMERS, arguments, daemon),
        BrokerCommand::Peek { queue, count } => {
            let path = format!("{}/messages?count={count}", queue.path());
            let answer = daemon.get(&path, "messages")?;
            Ok(said(daemon, &answer, || messages(&answer)))
        }
        BrokerCommand::Purge { queue, yes } => {
            question::ask(*yes, &format!("purge {}?", ready(queue, daemon)?))?;
            let path = format!("{}/messages", queue.path());
            let answer = daemon.send(("DELETE", &path), None, "purged")?;
            let purged = || format!("{} messages purged\n", shown(&answer, "purged"));
            Ok(said(daemon, &answer, purged))
        }
        BrokerCommand::Delete { queue, yes } => {
            question::ask(*yes, &format!("delete {}?", ready(queue, daemon)?))?;
            let answer = daemon.send(("DELETE", &queue.path()), None, "")?;
            Ok(said(daemon, &answer, || {
                format!("{}: deleted\n", queue.queue)
            }))
        }
        BrokerCommand::Definitions(command) => definitions::run(command, daemon),
        BrokerCommand::User(command) => users::run(command, daemon),
    }
}

/// The queue and how many messages would go.
fn ready(queue: &QueueArguments, daemon: &Daemon<'_>) -> Result<String, CliError> {
    let answer = daemon.get(&queue.path(), "messages_ready")?;
    Ok(format!(
        "{}: {} messages",
        queue.queue,
        shown(&answer, "messages_ready")
    ))
}

fn list(
    list: &BrokerTable,
    arguments: &ListArguments,
    daemon: &Daemon<'_>,
) -> Result<String, CliError> {
    let mut path = format!("/broker/{}?limit={}", list.field, arguments.limit);
    for (name, value) in [("vhost", &arguments.vhost), ("name", &arguments.name)] {
        if let Some(value) = value {
            add(&mut path, name, value);
        }
    }
    let answer = daemon.get(&path, list.field)?;
    let columns: Vec<_> = list.columns.iter().map(|(column, _)| *column).collect();
    let rows = items(&answer, list.field).iter();
    let rows = rows.map(|item| {
        let cells = list.columns.iter();
        cells
            .map(|(_, field)| number(item, field))
            .collect::<Vec<Cell>>()
    });
    let text = daemon.list(&answer, &columns, rows.collect())?;
    let (shown_items, all) = (
        items(&answer, list.field).len(),
        answer["total_count"].as_u64(),
    );
    if let Some(all) = all.filter(|all| *all > shown_items as u64)
        && !daemon.output.json
        && !daemon.output.quiet
    {
        super::print_error(&format!("{shown_items} of {all}: --limit shows more"));
    }
    Ok(text)
}

fn overview(answer: &Value) -> String {
    let of = |field| shown(answer, field);
    let rates = &answer["rates"];
    let rate = |field: &str| rates[field].as_f64().unwrap_or_default();
    let mut out = String::new();
    for field in [
        "connections",
        "channels",
        "exchanges",
        "queues",
        "bindings",
        "consumers",
        "messages_ready",
        "messages_unacked",
        "memory_bytes",
        "memory_high_bytes",
        "memory_alarm",
    ] {
        // Writing to a string can't fail.
        let _ = writeln!(out, "{field:<18} {}", of(field));
    }
    let _ = writeln!(
        out,
        "{:<18} published {:.1}/s, delivered {:.1}/s, acked {:.1}/s",
        "rates",
        rate("published"),
        rate("delivered"),
        rate("acked")
    );
    out
}

/// Each message: a line of what it is, and its body.
fn messages(answer: &Value) -> String {
    let mut out = String::new();
    for message in items(answer, "messages") {
        let of = |field| shown(message, field);
        // Writing to a string can't fail.
        let _ = writeln!(
            out,
            "{} → {}  {} bytes{}{}",
            if of("exchange").is_empty() {
                "(default)".to_owned()
            } else {
                of("exchange")
            },
            of("routing_key"),
            of("body_bytes"),
            if message["persistent"] == true {
                ", persistent"
            } else {
                ""
            },
            if message["redelivered"] == true {
                ", redelivered"
            } else {
                ""
            },
        );
        let _ = writeln!(out, "{}", of("body"));
    }
    out
}
