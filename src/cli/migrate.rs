//! `musterd migrate`: shows and controls the running daemon's migration.

use std::{fmt::Write, process::ExitCode};

use serde_json::{Value, json};

use super::ask::{ask, print_answer};
use crate::{
    api::{self, schema},
    config::Config,
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// The daemon; by default where http.listen says
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// Print the daemon's answer as it came
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
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
    /// Go on to the next phase, without waiting for the rest of the soak; the baseline is always measured
    Advance,
    /// Show its status
    Status,
    /// Back to direct
    Rollback,
    /// Stay in this phase
    Pause,
    /// Go on after a pause
    Resume,
}

impl Command {
    /// What is sent; none for those that only look.
    fn body(&self) -> Option<Value> {
        match self {
            Self::Plan | Self::Status => None,
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
            Self::Rollback => Some(json!({"action": "rollback"})),
            Self::Pause => Some(json!({"action": "pause"})),
            Self::Resume => Some(json!({"action": "resume"})),
        }
    }
}

/// As the daemon reads it.
fn soak(text: &str) -> Result<String, String> {
    api::soak(text).map(|_| text.to_owned())
}

pub(super) fn run(arguments: &Arguments, config: &Config) -> ExitCode {
    let listen = || format!("http://{}", super::health::reachable(&config.http.listen));
    let url = arguments.url.clone().unwrap_or_else(listen);
    let body = arguments.command.body();
    let method = if body.is_some() { "POST" } else { "GET" };
    let answer = ask(method, &url, "/migration", body.as_ref());
    let shown = match arguments.command {
        Command::Plan => plan,
        _ => status,
    };
    print_answer(answer, arguments.json, shown)
}

fn plan(migration: &schema::Migration) -> String {
    let mut out = String::new();
    for phase in &migration.phases {
        let schema::MigrationChannels {
            events,
            health,
            discovery,
        } = &phase.channels;
        // Writing to a string can't fail.
        let _ = writeln!(
            out,
            "{:<16} {:<8} {:>6}  health {health}, events {events}, discovery {discovery}",
            phase.name, phase.state, phase.soak
        );
    }
    out
}

fn status(migration: &schema::Migration) -> String {
    let mut out = String::new();
    let phase = migration.phase.as_deref().unwrap_or("none");
    let _ = writeln!(out, "state     {} ({})", migration.state, migration.mode);
    let _ = writeln!(out, "phase     {phase}");
    for what in &migration.waits_for {
        let _ = writeln!(out, "waits for {what}");
    }
    // Without one there is nothing but what a new one would do, which `plan` shows.
    if migration.phase.is_some() {
        out.push_str(&plan(migration));
    }
    for one in &migration.baseline {
        let p95 = value(one.p95_ms, "ms");
        let _ = writeln!(
            out,
            "baseline  {:<20} p95 {p95} of {}",
            one.name, one.samples
        );
    }
    for rule in &migration.guard.rules {
        let state = &rule.state;
        let last = value(rule.value, &rule.unit);
        let max = match rule.threshold {
            None => "?".to_owned(),
            max => format!("at most {}", value(max, &rule.unit)),
        };
        let _ = writeln!(
            out,
            "guard     {:<20} {state:<7} {last} of {max}",
            rule.name
        );
    }
    let canary = &migration.canary;
    let _ = writeln!(
        out,
        "canary    {} runs, {} failed",
        canary.runs, canary.failures
    );
    for step in &canary.steps {
        let verdict = step.error.as_deref().unwrap_or("passed");
        let _ = writeln!(
            out,
            "canary    {:<20} {verdict} ({:.1} ms)",
            step.name, step.took_ms
        );
    }
    for step in &migration.history {
        let _ = writeln!(out, "{} {} {}", step.at, step.event, step.text);
    }
    out
}

fn value(value: Option<f64>, unit: &str) -> String {
    match value {
        None => "-".to_owned(),
        Some(share) if unit == "share" => format!("{:.1} %", share * 100.0),
        Some(value) => format!("{value:.1} {unit}"),
    }
}
