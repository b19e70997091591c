//! `musterd discover` and `musterd pick`: what clients of a service use.

use std::fmt::Write;

use clap::ValueEnum;
use hyper::StatusCode;
use serde_json::Value;

use super::{
    ask::{Daemon, accepted, encoded, items, json_text, shown},
    outcome::{CliError, NOT_FOUND},
    services::{address, unknown},
};

#[derive(Debug, clap::Args)]
pub(super) struct DiscoverArguments {
    /// The service
    name: String,
    /// Also instances that are not healthy
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: InstanceSelection,
    /// The most instances
    #[arg(long)]
    limit: Option<u32>,
    /// How each instance is written
    #[arg(long, value_enum, default_value_t = AddressFormat::Address)]
    format: AddressFormat,
}

#[derive(Debug, clap::Args)]
struct InstanceSelection {
    /// Only with this tag; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Only in this zone
    #[arg(long)]
    zone: Option<String>,
    /// Only of this version
    #[arg(long)]
    version: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum AddressFormat {
    /// host:port
    Address,
    /// The daemon's answer
    Json,
    /// NAME_0=host:port, for a shell
    Env,
    /// The lines of an nginx upstream
    Upstream,
}

#[derive(Debug, clap::Args)]
pub(super) struct PickArguments {
    /// The service
    name: String,
    /// How one is chosen
    #[arg(long, value_enum)]
    policy: Option<PolicyArgument>,
    /// What is hashed; the same key gives the same instance
    #[arg(long, required_if_eq("policy", "hash"))]
    key: Option<String>,
    #[command(flatten)]
    filter: InstanceSelection,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum PolicyArgument {
    /// One after the other
    RoundRobin,
    /// By chance
    Random,
    /// By chance, in proportion to the weights
    Weighted,
    /// By a key
    Hash,
}

impl InstanceSelection {
    fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.zone.is_none() && self.version.is_none()
    }

    fn add_to(&self, path: &mut String) {
        for tag in &self.tags {
            add(path, "tag", tag);
        }
        for (name, value) in [("zone", &self.zone), ("version", &self.version)] {
            if let Some(value) = value {
                add(path, name, value);
            }
        }
    }
}

/// Adds a parameter to a path.
pub(super) fn add(path: &mut String, name: &str, value: &str) {
    let joint = if path.contains('?') { '&' } else { '?' };
    // Writing to a string can't fail.
    let _ = write!(path, "{joint}{name}={}", encoded(value));
}

pub(super) fn discover(
    arguments: &DiscoverArguments,
    daemon: &Daemon<'_>,
) -> Result<String, CliError> {
    let mut path = format!("/services/discover/{}", encoded(&arguments.name));
    if arguments.all {
        add(&mut path, "healthy_only", "false");
    }
    arguments.filter.add_to(&mut path);
    if let Some(limit) = arguments.limit {
        add(&mut path, "limit", &limit.to_string());
    }
    let answer = daemon.get(&path, "services")?;
    let instances = items(&answer, "services");
    if instances.is_empty() && arguments.all && arguments.filter.is_empty() {
        return Err(unknown(daemon, &arguments.name));
    }
    let format = match daemon.output.json {
        true => AddressFormat::Json,
        false => arguments.format,
    };
    Ok(match format {
        AddressFormat::Json => json_text(&answer),
        AddressFormat::Address => lines(instances, |_, instance| address(instance)),
        AddressFormat::Env => lines(instances, |at, instance| {
            format!("{}_{at}={}", variable(&arguments.name), address(instance))
        }),
        AddressFormat::Upstream => lines(instances, |_, instance| {
            let weight = shown(instance, "weight");
            format!("server {} weight={weight};", address(instance))
        }),
    })
}

fn lines(instances: &[Value], line: impl Fn(usize, &Value) -> String) -> String {
    let lines = instances.iter().enumerate();
    lines.fold(String::new(), |text, (at, instance)| {
        text + &line(at, instance) + "\n"
    })
}

/// A service's name as a variable of a shell.
fn variable(name: &str) -> String {
    let letters = name.chars().map(|letter| match letter {
        letter if letter.is_ascii_alphanumeric() => letter.to_ascii_uppercase(),
        _ => '_',
    });
    let name: String = letters.collect();
    match name.starts_with(|first: char| first.is_ascii_digit()) {
        true => format!("_{name}"),
        false => name,
    }
}

pub(super) fn pick(arguments: &PickArguments, daemon: &Daemon<'_>) -> Result<String, CliError> {
    let mut path = format!("/services/healthy/{}", encoded(&arguments.name));
    if let Some(policy) = arguments.policy {
        let word = policy.to_possible_value();
        add(
            &mut path,
            "policy",
            word.as_ref().map_or("", |word| word.get_name()),
        );
    }
    if let Some(key) = &arguments.key {
        add(&mut path, "key", key);
    }
    arguments.filter.add_to(&mut path);
    let answer = daemon.ask(("GET", &path), None, "service_id")?;
    if answer.status == StatusCode::NOT_FOUND && arguments.filter.is_empty() {
        let known = format!(
            "/services/discover/{}?healthy_only=false",
            encoded(&arguments.name)
        );
        let all = daemon.get(&known, "services")?;
        return Err(match items(&all, "services").len() {
            0 => unknown(daemon, &arguments.name),
            count => CliError::new(
                NOT_FOUND,
                format!(
                    "none of the {count} instances of \"{}\" is healthy",
                    arguments.name
                ),
            ),
        });
    }
    let instance = accepted(answer)?;
    Ok(match daemon.output.json {
        true => json_text(&instance),
        false => format!("{}\n", address(&instance)),
    })
}

#[cfg(test)]
mod tests;
