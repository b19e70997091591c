//! `musterd migrate`: shows and controls the running daemon's migration.

use std::{fmt::Write, io, process::ExitCode, thread::sleep, time::Duration};

use serde_json::{Value, json};

use super::{
    ask::{Daemon, accepted, items, shown},
    outcome::{CliError, CommandOutput, finish, put},
    question,
    watchers::said,
};
use crate::api;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, clap::Subcommand)]
enum CliCommand {
    /// Show which phases a start would go through
    Plan,
    /// Begin with the baseline
    Start {
        /// Wait for `advance` at the end of each phase
        #[arg(long)]
        step: bool,
        /// How long each phase lasts at least, such as 30s
        #[arg(long, value_name = "DURATION", value_parser = soak)]
        soak: Option<String>,
    },
    /// Continue with the next phase, without waiting for the rest of the soak; the baseline is always measured
    Advance,
    /// Show its status
    Status {
        /// Show it again every second until it ends
        #[arg(long)]
        watch: bool,
        /// Exit code 5 unless it is completed
        #[arg(long)]
        exit_code: bool,
    },
    /// Switch back to direct
    Rollback {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Stay in this phase
    Pause,
    /// Continue after a pause
    Resume,
}

impl CliCommand {
    /// The body of the request; none for commands that only read.
    fn body(&self) -> Option<Value> {
        match self {
            Self::Plan | Self::Status { .. } => None,
            Self::Start { step, soak } => {
                let mut body = json!({"action": "start"});
                if *step {
                    body["mode"] = "step".into();
                }
                if let Some(soak) = soak {
                    body["soak"] = soak.as_str().into();
                }
                Some(body)
            }
            Self::Advance => Some(json!({"action": "advance"})),
            Self::Rollback { .. } => Some(json!({"action": "rollback"})),
            Self::Pause => Some(json!({"action": "pause"})),
            Self::Resume => Some(json!({"action": "resume"})),
        }
    }
}

/// As the daemon reads it.
fn soak(text: &str) -> Result<String, String> {
    api::soak(text).map(|_| text.to_owned())
}

/// How often `status --watch` asks.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

pub(super) fn run(arguments: &Arguments, daemon: &Daemon<'_>) -> ExitCode {
    finish(act(&arguments.command, daemon), daemon.output.json)
}

fn act(command: &CliCommand, daemon: &Daemon<'_>) -> Result<CommandOutput, CliError> {
    if let CliCommand::Rollback { yes } = command {
        question::ask(*yes, "roll back: every channel becomes direct?")?;
    }
    let body = command.body();
    let method = if body.is_some() { "POST" } else { "GET" };
    let ask = || accepted(daemon.ask((method, "/migration"), body.as_ref(), "phases")?);
    let mut answer = ask()?;
    if let CliCommand::Status { watch: true, .. } = command {
        while matches!(answer["state"].as_str(), Some("running" | "rolling_back")) {
            match put(&format!("{}\n", status(&answer))) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok(CommandOutput::default());
                }
                written => written.map_err(|error| error.to_string())?,
            }
            sleep(WATCH_PAUSE);
            answer = ask()?;
        }
    }
    let words = match command {
        CliCommand::Plan => plan,
        _ => status,
    };
    let done = CommandOutput::from(said(daemon, &answer, || words(&answer)));
    Ok(match command {
        CliCommand::Status {
            exit_code: true, ..
        } => done.or_no(answer["state"] == "completed"),
        _ => done,
    })
}

fn plan(migration: &Value) -> String {
    let mut out = String::new();
    for phase in items(migration, "phases") {
        let of = |field| shown(phase, field);
        let mode = |channel| shown(&phase["channels"], channel);
        // Writing to a string can't fail.
        let _ = writeln!(
            out,
            "{:<16} {:<8} {:>6}  health {}, events {}, discovery {}",
            of("name"),
            of("state"),
            of("soak"),
            mode("health"),
            mode("events"),
            mode("discovery"),
        );
    }
    out
}

fn status(migration: &Value) -> String {
    let mut out = String::new();
    let of = |field| shown(migration, field);
    let phase = migration["phase"].as_str();
    let _ = writeln!(out, "state     {} ({})", of("state"), of("mode"));
    let _ = writeln!(out, "phase     {}", phase.unwrap_or("none"));
    for what in items(migration, "waits_for") {
        let _ = writeln!(out, "waits for {}", what.as_str().unwrap_or_default());
    }
    // Without a phase the list has the phases of a start, which `plan` shows.
    if phase.is_some() {
        out.push_str(&plan(migration));
    }
    for one in items(migration, "baseline") {
        let p95 = value(&one["p95_ms"], "ms");
        let (name, samples) = (shown(one, "name"), shown(one, "samples"));
        let _ = writeln!(out, "baseline  {name:<20} p95 {p95} of {samples}");
    }
    for rule in items(&migration["guard"], "rules") {
        let (name, state, unit) = (
            shown(rule, "name"),
            shown(rule, "state"),
            shown(rule, "unit"),
        );
        let last = value(&rule["value"], &unit);
        let max = match &rule["threshold"] {
            Value::Null => "?".to_owned(),
            max => format!("at most {}", value(max, &unit)),
        };
        let _ = writeln!(out, "guard     {name:<20} {state:<7} {last} of {max}");
    }
    let canary = &migration["canary"];
    let (runs, failures) = (shown(canary, "runs"), shown(canary, "failures"));
    let _ = writeln!(out, "canary    {runs} runs, {failures} failed");
    for step in items(canary, "steps") {
        let verdict = step["error"].as_str().unwrap_or("passed");
        let (name, took) = (shown(step, "name"), value(&step["took_ms"], "ms"));
        let _ = writeln!(out, "canary    {name:<20} {verdict} ({took})");
    }
    for step in items(migration, "history") {
        let of = |field| shown(step, field);
        let _ = writeln!(out, "{} {} {}", of("at"), of("event"), of("text"));
    }
    out
}

fn value(value: &Value, unit: &str) -> String {
    match value.as_f64() {
        None => "-".to_owned(),
        Some(share) if unit == "share" => format!("{:.1} %", share * 100.0),
        Some(value) => format!("{value:.1} {unit}"),
    }
}
