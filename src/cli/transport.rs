//! `musterd transport`: shows and changes the mode of each channel of the running daemon.

use std::{fmt::Write, process::ExitCode};

use clap::ValueEnum;
use serde_json::{Value, json};

use super::ask::{ask, print_answer};
use crate::{api::schema, config::Config};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The daemon; by default where http.listen says
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// Print the daemon's answer as it came
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the modes, the counters and the broker (the default command)
    Show,
    /// Change the mode of every channel, or of one
    Set {
        /// Which way
        mode: Mode,
        /// Only this channel
        #[arg(long)]
        channel: Option<Channel>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// Within the process and by HTTP
    Direct,
    /// Both ways; the direct one decides
    Dual,
    /// By way of the broker
    Queue,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Channel {
    /// Changes of the registry
    Events,
    /// Health checks
    Health,
    /// Commands and discovery requests
    Discovery,
}

/// The contract's word for it.
fn word(value: impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

pub(super) fn run(arguments: &Arguments, config: &Config) -> ExitCode {
    let listen = || format!("http://{}", super::health::reachable(&config.http.listen));
    let url = arguments.url.clone().unwrap_or_else(listen);
    let answer = match arguments.command {
        None | Some(Command::Show) => ask("GET", &url, "/transport", None),
        Some(Command::Set { mode, channel }) => {
            ask("PUT", &url, "/transport", Some(&change(mode, channel)))
        }
    };
    print_answer(answer, arguments.json, shown)
}

fn change(mode: Mode, channel: Option<Channel>) -> Value {
    match channel {
        None => json!({"mode": word(mode)}),
        Some(channel) => json!({"channels": {word(channel): word(mode)}}),
    }
}

fn shown(transport: &schema::Transport) -> String {
    let mut out = String::new();
    for (name, channel) in &transport.channels {
        let lag = channel
            .lag
            .map_or_else(|| "-".to_owned(), |lag| lag.to_string());
        // Writing to a string can't fail.
        let _ = writeln!(
            out,
            "{name:<10} {:<7} lag {lag}, sent {}, failed {}; compared {}: missing {}, late {}, different {}",
            channel.mode,
            channel.sent,
            channel.failed,
            channel.compared,
            channel.missing,
            channel.late,
            channel.different,
        );
    }
    let broker = &transport.broker;
    let _ = writeln!(
        out,
        "broker     {:<7} {} {}",
        broker.state, broker.kind, broker.url
    );
    if let Some(error) = &broker.error {
        let _ = writeln!(out, "           {error}");
    }
    let _ = writeln!(out, "direct     {}", transport.direct);
    out
}
