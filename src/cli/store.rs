//! `musterd store`: checks and repairs the folder of a stopped daemon, and shows its numbers.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{
    ask::{Daemon, items, shown},
    outcome::{CliError, finish},
};
use crate::{
    app::{
        StoreError, StoreReport, chain, check_store,
        message_log::{self, LogReport, MessageLogError},
        repair_store,
    },
    config::Config,
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: CliCommand,
    /// The folder; by default store.path
    #[arg(long, global = true, value_name = "FOLDER")]
    path: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::Subcommand)]
enum CliCommand {
    /// Read everything and report each fault; exit code 0 means sound
    Check,
    /// Keep what is sound of a damaged store, and report what was dropped
    Repair,
    /// Show files, commits and rows; of a running daemon's store, what the daemon reports
    Stats,
}

/// The folder that a command works on.
pub(super) fn folder(path: Option<PathBuf>, config: &Config) -> Result<PathBuf, String> {
    match path.or_else(|| config.store.path.clone()) {
        None => Ok("data".into()),
        Some(path) if path.as_os_str().is_empty() => {
            Err("store.path is empty: name the folder with --path".to_owned())
        }
        Some(path) => Ok(path),
    }
}

pub(super) fn run(arguments: Arguments, config: &Config, daemon: &Daemon<'_>) -> ExitCode {
    let folder = folder(arguments.path, config).map_err(CliError::from);
    let done = folder.and_then(|path| match arguments.command {
        CliCommand::Check => check(&path).map_err(CliError::from),
        CliCommand::Repair => repair(&path).map_err(CliError::from),
        CliCommand::Stats => stats(&path, daemon),
    });
    finish(done, daemon.output.json)
}

fn check(path: &Path) -> Result<String, String> {
    let report = check_store(path).map_err(|error| chain(&error))?;
    let messages = of_messages(path, message_log::check)?;
    let damage = messages.as_ref().map(message_faults).unwrap_or_default();
    if !report.faults.is_empty() || !damage.is_empty() {
        return Err([faults(&report), damage].join("\n").trim().to_owned());
    }
    let messages = messages.as_ref().map(message_words).unwrap_or_default();
    Ok(format!("{}{messages}sound\n", words(&report)))
}

fn repair(path: &Path) -> Result<String, String> {
    let repaired = repair_store(path).map_err(|error| chain(&error))?;
    let messages = of_messages(path, message_log::repair)?;
    let damage = messages.as_ref().map(message_faults).unwrap_or_default();
    let words = words(&repaired.before) + &messages.as_ref().map(message_words).unwrap_or_default();
    if repaired.kept.is_none() && damage.is_empty() {
        return Ok(format!("{words}sound: nothing to repair\n"));
    }
    let dropped = [faults(&repaired.before), damage].join("\n");
    let mut text = format!("dropped:\n{}\nkept:\n{words}", dropped.trim());
    if let Some(kept) = repaired.kept {
        // Writing to a string can't fail.
        let _ = writeln!(text, "the files as they were are in {}", kept.display());
    }
    Ok(text)
}

/// Works on the messages of the broker, if the store has any.
fn of_messages(
    path: &Path,
    work: fn(&Path) -> Result<LogReport, MessageLogError>,
) -> Result<Option<LogReport>, String> {
    let folder = path.join("messages");
    let report = folder.is_dir().then(|| work(&folder)).transpose();
    report.map_err(|error| chain(&error))
}

fn message_words(report: &LogReport) -> String {
    let messages = report.messages.unwrap_or_default();
    let mut text = format!(
        "messages: {} files, {messages} in queues\n",
        report.segments
    );
    if let Some(dropped) = &report.unfinished {
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "messages: an unfinished write at the end, which the next start drops: {} bytes",
            dropped.bytes
        );
    }
    text
}

/// What is wrong with the messages; a repair keeps the damaged files beside the others.
fn message_faults(report: &LogReport) -> String {
    let damaged = report.damaged.iter().map(|place| {
        let file = place.file.display();
        format!(
            "{file} is damaged: {} bytes from byte {} on",
            place.bytes, place.offset
        )
    });
    let missing = report.missing.iter();
    let missing = missing.map(|file| format!("{} is missing", file.display()));
    damaged.chain(missing).collect::<Vec<_>>().join("\n")
}

fn stats(path: &Path, daemon: &Daemon<'_>) -> Result<String, CliError> {
    match check_store(path) {
        Ok(report) => Ok(words(&report)),
        Err(StoreError::Locked { .. }) => running(daemon),
        Err(error) => Err(chain(&error).into()),
    }
}

/// What the daemon that has the store open says of it.
fn running(daemon: &Daemon<'_>) -> Result<String, CliError> {
    let url = &daemon.url;
    let answer = daemon.ask(("GET", "/ready"), None, "checks")?;
    let parts = items(&answer.body, "checks").iter();
    let store = parts.clone().find(|part| part["name"] == "store");
    match store {
        Some(store) => Ok(format!("in use: {}\n", shown(store, "detail"))),
        None => Err(format!("{url} has no store: another daemon uses the folder").into()),
    }
}

fn words(report: &StoreReport) -> String {
    let mut text = format!(
        "{}: {} files, {} bytes, commit {}\n",
        report.path.display(),
        report.files,
        report.bytes,
        report.newest
    );
    for (table, rows) in &report.tables {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{table:<28} {rows} rows");
    }
    text
}

fn faults(report: &StoreReport) -> String {
    let lines: Vec<_> = report.faults.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
