//! `musterd services`, `instances` and `show`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    ask::{Daemon, encoded, items, json_text, shown},
    outcome::{CliError, CommandOutput, NOT_FOUND},
    stream,
    table::{Cell, Column, natural},
};

/// The latencies of so many instances are shown: what the daemon answers at once.
const LATENCIES_MAX: usize = 1_000;
/// So many events are read for the last change of each service.
const EVENTS: u32 = 1_000;

#[derive(Debug, clap::Args)]
pub(super) struct ServicesArguments {
    /// Only services with an instance in this status
    #[arg(long)]
    status: Option<String>,
    /// Only services with an instance that has this tag
    #[arg(long)]
    tag: Option<String>,
    /// Only services with an instance in this zone
    #[arg(long)]
    zone: Option<String>,
    /// Show the list again after each change
    #[arg(long)]
    watch: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct InstancesArguments {
    /// The service
    name: String,
    /// Only instances in this status
    #[arg(long)]
    status: Option<String>,
    /// Show the list again after each change
    #[arg(long)]
    watch: bool,
    /// Exit code 5 unless all are healthy
    #[arg(long)]
    exit_code: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ShowArguments {
    /// The instance's id
    id: String,
}

const SERVICES: [Column; 8] = [
    Column::text("NAME"),
    Column::text("STATUS"),
    Column::number("HEALTHY"),
    Column::number("TOTAL"),
    Column::number("ZONES"),
    Column::text("CHANGED"),
    Column::text("TAGS").wide(),
    Column::text("VERSIONS").wide(),
];

const INSTANCES: [Column; 11] = [
    Column::text("ID"),
    Column::text("STATUS"),
    Column::text("ADDRESS"),
    Column::text("VERSION"),
    Column::text("ZONE"),
    Column::number("LEASE"),
    Column::number("LATENCY"),
    Column::number("WEIGHT").wide(),
    Column::text("TAGS").wide(),
    Column::text("OWNER").wide(),
    Column::text("REASON").wide(),
];

pub(super) fn services(
    arguments: &ServicesArguments,
    daemon: &Daemon<'_>,
) -> Result<CommandOutput, CliError> {
    let list = || list_services(arguments, daemon);
    match arguments.watch {
        false => list().map(CommandOutput::from),
        true => stream::redraw(daemon, "/watch", list),
    }
}

fn list_services(arguments: &ServicesArguments, daemon: &Daemon<'_>) -> Result<String, CliError> {
    let mut answer = daemon.get("/services", "")?;
    let has = |instance: &Value| {
        is(instance, "status", arguments.status.as_deref())
            && is(instance, "zone", arguments.zone.as_deref())
            && arguments
                .tag
                .as_deref()
                .is_none_or(|tag| items(instance, "tags").iter().any(|own| own == tag))
    };
    if let Some(services) = answer.as_object_mut() {
        services.retain(|_, instances| list_of(instances).iter().any(has));
    }
    if daemon.output.json {
        return daemon.list(&answer, &SERVICES, Vec::new());
    }
    let changes = daemon.get(&format!("/events?limit={EVENTS}"), "events")?;
    let services = answer.as_object().into_iter().flatten();
    let mut services: Vec<_> = services.collect();
    services.sort_by(|a, b| natural(a.0, b.0));
    let rows = services
        .into_iter()
        .map(|(name, instances)| service_row(name, list_of(instances), &changes));
    daemon.list(&answer, &SERVICES, rows.collect())
}

fn service_row(name: &str, instances: &[Value], changes: &Value) -> Vec<Cell> {
    let healthy = instances
        .iter()
        .filter(|instance| instance["status"] == "healthy");
    let last = items(changes, "events")
        .iter()
        .rev()
        .find(|event| event["service_name"] == name);
    let zones = distinct(instances, "zone");
    let tags: BTreeSet<_> = instances
        .iter()
        .flat_map(|instance| items(instance, "tags"))
        .filter_map(Value::as_str)
        .collect();
    vec![
        name.into(),
        worst(instances).into(),
        count(healthy.count()),
        count(instances.len()),
        count(zones.len()),
        last.map_or_else(|| Cell::from("-"), changed),
        tags.into_iter().collect::<Vec<_>>().join(",").into(),
        distinct(instances, "version").join(",").into(),
    ]
}

/// The worst status of these instances decides.
fn worst(instances: &[Value]) -> String {
    let order = ["unhealthy", "starting", "stopping", "healthy"];
    let worst = order
        .into_iter()
        .find(|status| instances.iter().any(|one| one["status"] == *status));
    worst.unwrap_or("-").to_owned()
}

fn changed(event: &Value) -> Cell {
    let seconds = age(&event["timestamp"]).unwrap_or_default();
    let age = ago(seconds);
    Cell::number(format!("{age} ago {}", shown(event, "event")), seconds)
}

pub(super) fn instances(
    arguments: &InstancesArguments,
    daemon: &Daemon<'_>,
) -> Result<CommandOutput, CliError> {
    let list = || list_instances(arguments, daemon);
    if arguments.watch {
        let path = format!("/watch?service={}", encoded(&arguments.name));
        return stream::redraw(daemon, &path, || list().map(|done| done.text));
    }
    list()
}

fn list_instances(
    arguments: &InstancesArguments,
    daemon: &Daemon<'_>,
) -> Result<CommandOutput, CliError> {
    let mut answer = all_of(daemon, &arguments.name, "")?;
    let all_healthy = items(&answer, "services")
        .iter()
        .all(|instance| instance["status"] == "healthy");
    if let Some(instances) = answer["services"].as_array_mut() {
        instances.retain(|instance| is(instance, "status", arguments.status.as_deref()));
        instances.sort_by(|a, b| natural(&shown(a, "service_id"), &shown(b, "service_id")));
    }
    let instances = items(&answer, "services");
    let latencies = match daemon.output.json {
        true => BTreeMap::new(),
        false => latencies(daemon, &arguments.name),
    };
    let rows = instances.iter().map(|instance| {
        let latency = latencies.get(&shown(instance, "service_id"));
        instance_row(instance, latency.copied())
    });
    let text = daemon.list(&answer, &INSTANCES, rows.collect())?;
    Ok(CommandOutput::from(text).or_no(all_healthy || !arguments.exit_code))
}

/// The instances of a service, whatever their status.
///
/// # Errors
/// There is no such service; the message names the nearest one that exists.
pub(super) fn all_of(daemon: &Daemon<'_>, name: &str, query: &str) -> Result<Value, CliError> {
    let path = format!(
        "/services/discover/{}?healthy_only=false{query}",
        encoded(name)
    );
    let answer = daemon.get(&path, "services")?;
    if items(&answer, "services").is_empty() && query.is_empty() {
        return Err(unknown(daemon, name));
    }
    Ok(answer)
}

/// The error for a service without instances.
pub(super) fn unknown(daemon: &Daemon<'_>, name: &str) -> CliError {
    let known = daemon.get("/services", "").unwrap_or_default();
    let names = known.as_object().into_iter().flatten();
    let near = nearest(name, names.map(|(name, _)| name.as_str()));
    let hint = near.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
    CliError::new(NOT_FOUND, format!("no instance of \"{name}\"{hint}"))
}

/// The name that differs least, if it differs little.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = name.chars().count() / 3 + 1;
    names
        .map(|other| (distance(name, other), other))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, other)| other)
}

/// Letters to change, add or remove (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}

/// The latency of the slowest check of each instance; none if the daemon does not say.
fn latencies(daemon: &Daemon<'_>, name: &str) -> BTreeMap<String, f64> {
    let path = format!("/health/{}?limit={LATENCIES_MAX}", encoded(name));
    let health = daemon.get(&path, "instances").unwrap_or_default();
    let latencies = items(&health, "instances").iter().filter_map(|instance| {
        let checks = items(instance, "checks").iter();
        let slowest = checks
            .filter_map(|check| check["latency_ms"].as_f64())
            .reduce(f64::max);
        Some((shown(instance, "service_id"), slowest?))
    });
    latencies.collect()
}

fn instance_row(instance: &Value, latency: Option<f64>) -> Vec<Cell> {
    let of = |field| shown(instance, field);
    let tags = items(instance, "tags").iter().filter_map(Value::as_str);
    vec![
        of("service_id").into(),
        of("status").into(),
        address(instance).into(),
        of("version").into(),
        of("zone").into(),
        lease(instance),
        latency.map_or_else(
            || Cell::from("-"),
            |ms| Cell::number(format!("{ms:.1} ms"), ms),
        ),
        Cell::number(
            of("weight"),
            instance["weight"].as_f64().unwrap_or_default(),
        ),
        tags.collect::<Vec<_>>().join(",").into(),
        of("owner").into(),
        of("reason").into(),
    ]
}

/// `host:port`, with brackets around an IPv6 address.
pub(super) fn address(instance: &Value) -> String {
    let (host, port) = (shown(instance, "host"), shown(instance, "port"));
    match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// What is left of the lease.
fn lease(instance: &Value) -> Cell {
    let kind = shown(instance, "lease");
    let ttl = instance["ttl"].as_str();
    let ttl = ttl.and_then(|text| humantime::parse_duration(text).ok());
    match (kind.as_str(), ttl, age(&instance["last_heartbeat"])) {
        ("ttl", Some(ttl), Some(age)) => {
            let left = (ttl.as_secs_f64() - age).max(0.0);
            Cell::number(format!("{left:.0} s"), left)
        }
        _ => kind.into(),
    }
}

pub(super) fn show(arguments: &ShowArguments, daemon: &Daemon<'_>) -> Result<String, CliError> {
    let path = format!("/services/{}", encoded(&arguments.id));
    let mut instance = daemon.get(&path, "service_id")?;
    let health = daemon.get(&format!("{path}/health"), "checks")?;
    if daemon.output.json {
        instance["health"] = health["checks"].clone();
        return Ok(json_text(&instance));
    }
    Ok(words(&instance, &health))
}

fn words(instance: &Value, health: &Value) -> String {
    let of = |field| shown(instance, field);
    let mut out = String::new();
    // Writing to a string can't fail.
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "{name:<12} {value}");
    };
    line("id", &of("service_id"));
    line("service", &of("service_name"));
    line("address", &address(instance));
    line("status", &of("status"));
    for (field, name) in [("reason", "reason"), ("observed_status", "observed")] {
        if instance[field].is_string() {
            line(name, &of(field));
        }
    }
    for field in ["version", "zone", "owner"] {
        if instance[field].is_string() {
            line(field, &of(field));
        }
    }
    let tags = items(instance, "tags").iter().filter_map(Value::as_str);
    let tags = tags.collect::<Vec<_>>().join(", ");
    if !tags.is_empty() {
        line("tags", &tags);
    }
    line("weight", &of("weight"));
    let left = lease_words(instance);
    line("lease", &left);
    line("registered", &of("registered_at"));
    line("incarnation", &of("incarnation"));
    for (key, value) in instance["metadata"].as_object().into_iter().flatten() {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        line("metadata", &format!("{key} = {text}"));
    }
    for check in items(health, "checks") {
        line("check", &check_line(check));
        for result in items(check, "results") {
            let verdict = if result["passed"] == true {
                "passed"
            } else {
                "failed"
            };
            let (at, message) = (shown(result, "at"), shown(result, "message"));
            line(
                "",
                &format!("{at} {verdict} {} {message}", milliseconds(result)),
            );
        }
    }
    out
}

fn lease_words(instance: &Value) -> String {
    match shown(instance, "lease").as_str() {
        "ttl" => {
            let age = age(&instance["last_heartbeat"]).map(ago);
            let age = age.map_or_else(String::new, |age| format!(", renewed {age} ago"));
            format!("{}{age}", shown(instance, "ttl"))
        }
        other => other.to_owned(),
    }
}

/// One check in a line.
pub(super) fn check_line(check: &Value) -> String {
    let of = |field| shown(check, field);
    let message = items(check, "results")
        .first()
        .map_or_else(String::new, |result| shown(result, "message"));
    let (name, kind, status) = (of("name"), of("type"), of("status"));
    format!("{name} ({kind}) {status} {} {message}", milliseconds(check))
}

fn milliseconds(of: &Value) -> String {
    let ms = of["latency_ms"].as_f64();
    ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"))
}

fn is(instance: &Value, field: &str, wanted: Option<&str>) -> bool {
    wanted.is_none_or(|wanted| instance[field] == wanted)
}

fn list_of(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn distinct(instances: &[Value], field: &str) -> Vec<String> {
    let values = instances
        .iter()
        .filter_map(|instance| instance[field].as_str());
    let values: BTreeSet<_> = values.collect();
    values.into_iter().map(str::to_owned).collect()
}

/// A number that is counted.
pub(super) fn count(number: usize) -> Cell {
    // A count of items on one machine is exact in a float.
    let value = u32::try_from(number).map_or(f64::MAX, f64::from);
    Cell::number(number.to_string(), value)
}

/// Seconds since a time of an answer.
fn age(time: &Value) -> Option<f64> {
    let time: Timestamp = time.as_str()?.parse().ok()?;
    let seconds = Timestamp::now().duration_since(time).as_secs_f64();
    Some(seconds.max(0.0))
}

/// A time span as people say it.
pub(super) fn ago(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds).map_or(0, |span| span.as_secs());
    match whole {
        0..60 => format!("{whole} s"),
        60..3_600 => format!("{} min", whole / 60),
        3_600..86_400 => format!("{} h", whole / 3_600),
        _ => format!("{} d", whole / 86_400),
    }
}

#[cfg(test)]
mod tests;
