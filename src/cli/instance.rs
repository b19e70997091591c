//! Commands that change instances: register, deregister, heartbeat, check, drain, disable, enable.

use std::{fmt::Write, fs, io::Read, path::PathBuf, thread::sleep, time::Duration};

use serde_json::{Map, Value, json};

use super::{
    ask::{Daemon, encoded, items, json_text, shown},
    outcome::{CliError, CommandOutput, MISCONFIGURED, NOT_FOUND},
    question, services,
};
use crate::quantity::{duration as parse_duration, show_duration};

/// The longest registration that is read from a file.
const FILE_BYTES_MAX: u64 = 16 << 20;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  musterd register web --port 8080 --check http:/health --tag blue
  musterd register -f web.json")]
pub(super) struct RegisterArguments {
    /// The service
    #[arg(required_unless_present = "file")]
    name: Option<String>,
    /// The port at which it listens
    #[arg(long, required_unless_present = "file")]
    port: Option<u16>,
    #[command(flatten)]
    instance: InstanceArguments,
    /// How long it stays without a heartbeat or a passing check, such as 30s
    #[arg(long)]
    ttl: Option<String>,
    /// The registration as JSON, as POST /services/register takes it, or a list of them; - for standard input
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["name", "port", "id"])]
    file: Option<PathBuf>,
}

/// What a registration says besides the service and the port.
#[derive(Debug, clap::Args)]
pub(super) struct InstanceArguments {
    /// The instance's id; by default NAME-HOST-PORT
    #[arg(long)]
    id: Option<String>,
    /// The host under which others reach it
    #[arg(long, default_value = "127.0.0.1")]
    pub(super) host: String,
    /// http:/path, http://other/url, tcp, grpc or ttl; may be repeated
    #[arg(long = "check", value_name = "CHECK", value_parser = check_of)]
    checks: Vec<Value>,
    /// A tag; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// The zone
    #[arg(long)]
    zone: Option<String>,
    /// The version
    #[arg(long)]
    version: Option<String>,
    /// An entry of the metadata; may be repeated
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = super::pair)]
    metadata: Vec<(String, String)>,
}

impl InstanceArguments {
    /// The id of an instance of this service at this port.
    pub(super) fn service_id(&self, name: &str, port: u16) -> String {
        let made = || format!("{name}-{}-{port}", self.host);
        self.id.clone().unwrap_or_else(made)
    }

    /// The registration, as the daemon takes it.
    pub(super) fn body(&self, name: &str, port: u16, ttl: Option<&str>) -> Value {
        let mut body = json!({
            "service_id": self.service_id(name, port), "service_name": name, "host": self.host, "port": port,
            "tags": self.tags, "checks": self.checks,
        });
        let (zone, version) = (self.zone.as_deref(), self.version.as_deref());
        for (field, value) in [("zone", zone), ("version", version), ("ttl", ttl)] {
            if let Some(value) = value {
                body[field] = value.into();
            }
        }
        let metadata = self.metadata.iter().cloned();
        let metadata: Map<_, _> = metadata.map(|(key, value)| (key, value.into())).collect();
        if !metadata.is_empty() {
            body["metadata"] = metadata.into();
        }
        body
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct DeregisterArguments {
    /// The instances' ids
    #[arg(required = true)]
    ids: Vec<String>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Only if this is the current registration
    #[arg(long)]
    incarnation: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub(super) struct HeartbeatArguments {
    /// The instances' ids
    #[arg(required = true)]
    ids: Vec<String>,
    /// Again and again, at this interval, such as 10s
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    every: Option<Duration>,
}

#[derive(Debug, clap::Args)]
pub(super) struct CheckArguments {
    /// The instance's id
    id: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct OverrideArguments {
    /// The instances' ids
    #[arg(required = true)]
    ids: Vec<String>,
    /// Why; others see it
    #[arg(long)]
    reason: String,
    /// Return only after this time, so that clients have stopped using them, such as 30s
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    wait: Option<Duration>,
}

#[derive(Debug, clap::Args)]
pub(super) struct EnableArguments {
    /// The instances' ids
    #[arg(required = true)]
    ids: Vec<String>,
}

/// A duration as the configuration writes it.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

/// A check of the command line as one of the contract.
pub(super) fn check_of(text: &str) -> Result<Value, String> {
    let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
    match (kind, rest) {
        ("tcp" | "grpc" | "ttl", "") => Ok(json!({"type": kind})),
        ("http" | "https", url) if url.starts_with("//") => {
            Ok(json!({"type": "http", "url": text}))
        }
        ("http", path) if path.starts_with('/') => Ok(json!({"type": "http", "path": path})),
        _ => Err("write it as http:/path, http://host:port/path, tcp, grpc or ttl".to_owned()),
    }
}

pub(super) fn register(
    arguments: &RegisterArguments,
    daemon: &Daemon<'_>,
) -> Result<String, CliError> {
    let bodies = match &arguments.file {
        Some(file) => read(file)?,
        None => vec![body(arguments)],
    };
    let mut out = String::new();
    for body in &bodies {
        let asked = ("POST", "/services/register");
        let answer = daemon.ask(asked, Some(body), "service_id")?;
        let answer = explained(answer)?;
        if daemon.output.json {
            out.push_str(&json_text(&answer));
            continue;
        }
        let of = |field| shown(&answer, field);
        let _ = writeln!(
            out,
            "registered {}, {}, incarnation {}",
            of("service_id"),
            of("status"),
            of("incarnation")
        );
        for warning in items(&answer, "warnings") {
            super::print_error(&format!(
                "warning: {}",
                warning.as_str().unwrap_or_default()
            ));
        }
    }
    Ok(out)
}

/// A refusal with each field in a line.
fn explained(answer: super::ask::HttpReply) -> Result<Value, CliError> {
    super::ask::accepted(answer).map_err(|mut error| {
        let problem = error.problem.clone().unwrap_or_default();
        for one in items(&problem, "errors") {
            let (field, message) = (shown(one, "field"), shown(one, "message"));
            // Writing to a string can't fail.
            let _ = write!(error.message, "\n  {field}: {message}");
        }
        error
    })
}

fn read(file: &PathBuf) -> Result<Vec<Value>, CliError> {
    let failed = |error: &dyn std::fmt::Display| {
        CliError::new(MISCONFIGURED, format!("{}: {error}", file.display()))
    };
    let mut text = Vec::new();
    let reader: Box<dyn Read> = match file.as_os_str() == "-" {
        true => Box::new(std::io::stdin()),
        false => Box::new(fs::File::open(file).map_err(|error| failed(&error))?),
    };
    let read = reader.take(FILE_BYTES_MAX).read_to_end(&mut text);
    read.map_err(|error| failed(&error))?;
    match serde_json::from_slice(&text).map_err(|error| failed(&error))? {
        Value::Array(bodies) => Ok(bodies),
        body => Ok(vec![body]),
    }
}

fn body(arguments: &RegisterArguments) -> Value {
    let name = arguments.name.as_deref().unwrap_or_default();
    let port = arguments.port.unwrap_or_default();
    arguments
        .instance
        .body(name, port, arguments.ttl.as_deref())
}

pub(super) fn deregister(
    arguments: &DeregisterArguments,
    daemon: &Daemon<'_>,
) -> Result<String, CliError> {
    let ids = &arguments.ids;
    question::ask(
        arguments.yes,
        &format!("deregister {}: clients stop finding it?", ids.join(", ")),
    )?;
    let query = arguments
        .incarnation
        .map_or_else(String::new, |number| format!("?incarnation={number}"));
    each(daemon, ids, "deregistered", |id| {
        let path = format!("/services/{}{query}", encoded(id));
        daemon.send(("DELETE", &path), None, "service_id")
    })
}

pub(super) fn heartbeat(
    arguments: &HeartbeatArguments,
    daemon: &Daemon<'_>,
) -> Result<String, CliError> {
    let mut renewed = false;
    loop {
        let body = json!({"service_ids": arguments.ids});
        let answer = daemon.send(("POST", "/services/heartbeat"), Some(&body), "results");
        let answer = match (answer, arguments.every) {
            // The next one may get through: the instances are still there.
            (Err(error), Some(every)) if renewed && error.may_pass() => {
                super::print_error(&error.message);
                sleep(every);
                continue;
            }
            (answer, _) => answer?,
        };
        renewed = true;
        let refused = items(&answer, "results").iter();
        let refused: Vec<_> = refused.filter(|result| result["ok"] != true).collect();
        if !refused.is_empty() {
            let lines = refused.iter().map(|result| {
                let (id, detail) = (shown(result, "service_id"), shown(result, "detail"));
                format!("{id}: {detail}")
            });
            let lines = lines.collect::<Vec<_>>().join("\n");
            return Err(CliError::new(NOT_FOUND, lines));
        }
        let Some(every) = arguments.every else {
            return Ok(match daemon.output.json {
                true => json_text(&answer),
                false => format!("{} renewed\n", shown(&answer, "received")),
            });
        };
        sleep(every);
    }
}

pub(super) fn check(
    arguments: &CheckArguments,
    daemon: &Daemon<'_>,
) -> Result<CommandOutput, CliError> {
    let path = format!("/services/{}/check", encoded(&arguments.id));
    let answer = daemon.send(("POST", &path), None, "checks")?;
    let checks = items(&answer, "checks");
    let passed = checks.iter().all(|check| {
        items(check, "results")
            .first()
            .is_none_or(|last| last["passed"] == true)
    });
    let text = match daemon.output.json {
        true => json_text(&answer),
        false => checks.iter().fold(String::new(), |text, check| {
            text + &services::check_line(check) + "\n"
        }),
    };
    Ok(CommandOutput::from(text).or_no(passed))
}

/// Sets a status over what checks say.
pub(super) fn set_override(
    arguments: &OverrideArguments,
    status: &str,
    daemon: &Daemon<'_>,
) -> Result<String, CliError> {
    let body = json!({"status": status, "reason": arguments.reason});
    let done = each(daemon, &arguments.ids, status, |id| {
        let path = format!("/services/{}/override", encoded(id));
        daemon.send(("PUT", &path), Some(&body), "service_id")
    })?;
    if let Some(wait) = arguments.wait {
        if !daemon.output.quiet {
            super::print_error(&format!("waiting for {}", show_duration(wait)));
        }
        sleep(wait);
    }
    Ok(done)
}

pub(super) fn enable(arguments: &EnableArguments, daemon: &Daemon<'_>) -> Result<String, CliError> {
    each(daemon, &arguments.ids, "enabled", |id| {
        let path = format!("/services/{}/override", encoded(id));
        daemon.send(("DELETE", &path), None, "service_id")
    })
}

/// Does the same for each id. The first refusal ends it; what was done before is said.
fn each(
    daemon: &Daemon<'_>,
    ids: &[String],
    done: &str,
    mut act: impl FnMut(&str) -> Result<Value, CliError>,
) -> Result<String, CliError> {
    let mut out = String::new();
    for (at, id) in ids.iter().enumerate() {
        let answer = act(id).map_err(|error| CliError {
            message: match at {
                0 => format!("{id}: {}", error.message),
                _ => format!(
                    "{id}: {} ({} before it: {done})",
                    error.message,
                    ids[..at].join(", ")
                ),
            },
            ..error
        })?;
        match daemon.output.json {
            true => out.push_str(&json_text(&answer)),
            // Writing to a string can't fail.
            false => drop(writeln!(out, "{id}: {done}")),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
