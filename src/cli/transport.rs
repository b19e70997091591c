//! `musterd transport`: shows and changes the mode of each channel of the running daemon.

use std::{fmt::Write, process::ExitCode};

use clap::ValueEnum;
use serde_json::{Value, json};

use super::ask::{Daemon, print_answer, shown};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<CliCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum CliCommand {
    /// Show the modes, the counters and the broker (the default command)
    Show,
    /// Change the mode of every channel, or of one
    Set {
        /// Which way
        mode: ModeArgument,
        /// Only this channel
        #[arg(long)]
        channel: Option<ChannelArgument>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeArgument {
    /// Within the process and by HTTP
    Direct,
    /// Both ways; the direct one decides
    Dual,
    /// By way of the broker
    Queue,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ChannelArgument {
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

pub(super) fn run(arguments: &Arguments, daemon: &Daemon<'_>) -> ExitCode {
    let answer = match arguments.command {
        None | Some(CliCommand::Show) => daemon.ask(("GET", "/transport"), None, "channels"),
        Some(CliCommand::Set { mode, channel }) => {
            let body = change(mode, channel);
            daemon.ask(("PUT", "/transport"), Some(&body), "channels")
        }
    };
    print_answer(daemon, answer, words)
}

fn change(mode: ModeArgument, channel: Option<ChannelArgument>) -> Value {
    match channel {
        None => json!({"mode": word(mode)}),
        Some(channel) => json!({"channels": {word(channel): word(mode)}}),
    }
}

fn words(transport: &Value) -> String {
    let mut out = String::new();
    for (name, channel) in transport["channels"].as_object().into_iter().flatten() {
        let of = |field| shown(channel, field);
        // Writing to a string can't fail.
        let _ = writeln!(
            out,
            "{name:<10} {:<7} lag {}, sent {}, failed {}; compared {}: missing {}, late {}, different {}",
            of("mode"),
            of("lag"),
            of("sent"),
            of("failed"),
            of("compared"),
            of("missing"),
            of("late"),
            of("different"),
        );
    }
    let of = |field| shown(&transport["broker"], field);
    let _ = writeln!(
        out,
        "broker     {:<7} {} {}",
        of("state"),
        of("kind"),
        of("url")
    );
    if let Some(error) = transport["broker"]["error"].as_str() {
        let _ = writeln!(out, "           {error}");
    }
    let _ = writeln!(out, "direct     {}", shown(transport, "direct"));
    out
}
