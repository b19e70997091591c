//! `musterd broker definitions`: the topology of the running daemon's broker as RabbitMQ's definitions file.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use hyper::StatusCode;
use serde_json::Value;

use super::super::{
    ask::{Daemon, HttpReply, download, encoded, items, json_text, shown},
    outcome::CliError,
};

/// The longest file that is read; the daemon takes `http.body_max`.
const FILE_BYTES_MAX: u64 = 1 << 30;
const PATH: &str = "/broker/definitions";

#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum DefinitionsCommand {
    /// Write the definitions, for rabbitmqctl import_definitions or musterd broker definitions import
    Export {
        /// The file to write; - or nothing for standard output
        file: Option<PathBuf>,
        /// Only of this virtual host, whose name is then left out
        #[arg(long)]
        vhost: Option<String>,
    },
    /// Declare what a file defines, all of it or, if anything is wrong, nothing
    Import {
        /// A file that rabbitmqctl export_definitions or musterd wrote; - for standard input
        file: PathBuf,
        /// The virtual host of a file that names none
        #[arg(long)]
        vhost: Option<String>,
    },
}

pub(super) fn run(command: &DefinitionsCommand, daemon: &Daemon<'_>) -> Result<String, CliError> {
    match command {
        DefinitionsCommand::Export { file, vhost } => {
            export(daemon, file.as_deref(), vhost.as_deref())
        }
        DefinitionsCommand::Import { file, vhost } => {
            import(daemon, file, vhost.as_deref()).map(|answer| match daemon.output.json {
                true => json_text(&answer),
                false => words(&answer),
            })
        }
    }
}

/// The path, for one vhost or for all.
fn path(vhost: Option<&str>) -> String {
    match vhost {
        None => PATH.to_owned(),
        Some(vhost) => format!("{PATH}?vhost={}", encoded(vhost)),
    }
}

fn is_standard(file: &Path) -> bool {
    file == Path::new("-")
}

fn export(
    daemon: &Daemon<'_>,
    file: Option<&Path>,
    vhost: Option<&str>,
) -> Result<String, CliError> {
    let mut text = Vec::new();
    download(daemon, &path(vhost), "application/json", |piece| {
        text.extend_from_slice(piece);
        Ok(())
    })?;
    match file.filter(|file| !is_standard(file)) {
        None => {
            let written = io::stdout().write_all(&text);
            written.map_err(|error| format!("standard output: {error}"))?;
            Ok(String::new())
        }
        Some(file) => {
            let written = fs::write(file, &text);
            written.map_err(|error| format!("{}: {error}", file.display()))?;
            Ok(format!("{}: {} bytes\n", file.display(), text.len()))
        }
    }
}

fn import(daemon: &Daemon<'_>, file: &Path, vhost: Option<&str>) -> Result<Value, CliError> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let text = read(file).map_err(|error| failed(&error))?;
    let definitions: Value = serde_json::from_slice(&text).map_err(|error| failed(&error))?;
    let asked = ("POST", &*path(vhost));
    let HttpReply { status, body } = daemon.ask(asked, Some(&definitions), "made")?;
    if status == StatusCode::OK {
        return Ok(body);
    }
    Err(refusal(status, &body).into())
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    match is_standard(file) {
        true => io::stdin().take(FILE_BYTES_MAX).read_to_end(&mut text)?,
        false => fs::File::open(file)?
            .take(FILE_BYTES_MAX)
            .read_to_end(&mut text)?,
    };
    Ok(text)
}

/// Each reason in a line.
fn refusal(status: StatusCode, body: &Value) -> String {
    let mut text = format!("refused with {}, nothing was changed:", status.as_u16());
    let errors = items(body, "errors");
    if errors.is_empty() {
        let _ = write!(text, " {}", shown(body, "detail"));
    }
    for error in errors {
        let (field, message) = (shown(error, "field"), shown(error, "message"));
        let _ = write!(text, "\n{field}: {message}");
    }
    text
}

fn words(report: &Value) -> String {
    let mut text = String::new();
    for what in ["exchanges", "queues", "bindings", "users"] {
        let (made, present) = (
            shown(&report["made"], what),
            shown(&report["present"], what),
        );
        let _ = writeln!(text, "{what:<10} {made} made, {present} there before");
    }
    for ignored in items(report, "ignored") {
        let of = |field| shown(ignored, field);
        let vhost = match ignored["vhost"].as_str() {
            Some(vhost) => format!(" in vhost \"{vhost}\""),
            None => String::new(),
        };
        let _ = writeln!(
            text,
            "ignored    {} \"{}\"{vhost}: {}",
            of("what"),
            of("name"),
            of("reason")
        );
    }
    text
}
