//! `musterd store`: checks and repairs the folder of a stopped daemon, and shows its numbers.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{
    FAILED,
    ask::{ask, items, shown},
    print, print_error,
};
use crate::{
    app::{StoreError, StoreReport, chain, check_store, repair_store},
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

pub(super) fn run(arguments: Arguments, config: &Config) -> ExitCode {
    let done = folder(arguments.path, config).and_then(|path| match arguments.command {
        CliCommand::Check => check(&path),
        CliCommand::Repair => repair(&path),
        CliCommand::Stats => stats(&path, config),
    });
    match done {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(message) => {
            print_error(&message);
            ExitCode::from(FAILED)
        }
    }
}

fn check(path: &Path) -> Result<String, String> {
    let report = check_store(path).map_err(|error| chain(&error))?;
    if report.faults.is_empty() {
        return Ok(format!("{}sound\n", words(&report)));
    }
    Err(faults(&report))
}

fn repair(path: &Path) -> Result<String, String> {
    let repaired = repair_store(path).map_err(|error| chain(&error))?;
    let Some(kept) = repaired.kept else {
        return Ok(format!(
            "{}sound: nothing to repair\n",
            words(&repaired.before)
        ));
    };
    let mut text = format!("dropped:\n{}\nkept:\n", faults(&repaired.before));
    text.push_str(&words(&repaired.before));
    // Writing to a string can't fail.
    let _ = writeln!(text, "the files as they were are in {}", kept.display());
    Ok(text)
}

fn stats(path: &Path, config: &Config) -> Result<String, String> {
    match check_store(path) {
        Ok(report) => Ok(words(&report)),
        Err(StoreError::Locked { .. }) => running(config),
        Err(error) => Err(chain(&error)),
    }
}

/// What the daemon that has the store open says of it.
fn running(config: &Config) -> Result<String, String> {
    let url = format!("http://{}", super::health::reachable(&config.http.listen));
    let answer = ask("GET", &url, "/ready", None)?;
    let parts = items(&answer.body, "checks").iter();
    let store = parts.clone().find(|part| part["name"] == "store");
    match store {
        Some(store) => Ok(format!("in use: {}\n", shown(store, "detail"))),
        None => Err(format!(
            "{url} has no store: another daemon uses the folder"
        )),
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
