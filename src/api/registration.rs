//! What a caller says of an instance, read leniently.

use std::{net::Ipv6Addr, time::Duration};

use serde_json::value::RawValue;

use super::{
    checks,
    limits::{self, Defaults},
    problem::Problem,
    read::{self, Faults, Object, Shape},
};
use crate::model::{Check, LeaseKind, Metadata, NameError, Registration, ServiceId, ServiceName};

const SHAPE: Shape = Shape {
    known: &[
        "service_id",
        "service_name",
        "host",
        "port",
        "metadata",
        "health_check_url",
        "tags",
        "version",
        "ttl",
        "lease",
        "weight",
        "zone",
        "checks",
        "incarnation",
    ],
    own: &[
        "status",
        "observed_status",
        "override",
        "reason",
        "registered_at",
        "last_heartbeat",
        "revision",
        "warnings",
        "message",
        "timestamp",
    ],
};

/// A registration and what came with it.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// What the caller says of the instance.
    pub registration: Registration,
    /// Which registration of the id the caller takes itself for, where the body says so.
    pub incarnation: Option<u64>,
    /// Fields that were passed over.
    pub warnings: Vec<String>,
}

/// Reads the body of a registration.
///
/// # Errors
/// A 422 that names every wrong field.
pub fn registration(body: &[u8], defaults: &Defaults) -> Result<Parsed, Problem> {
    let object = Object::body(body, SHAPE)?;
    let mut faults = Faults::default();
    faults.pass_over(&object.unknown);
    let draft = RegistrationReader::read(&object, defaults, &mut faults);
    // The answer of a GET may be sent again in any shape: only a number is used.
    let incarnation = object
        .get("incarnation")
        .and_then(|value| read::count(value).ok());
    match draft {
        Some(registration) if faults.errors.is_empty() => {
            if says_nothing_of_its_health(&object, &registration) {
                faults.warnings.push(HEALTHY_BY_ITSELF.to_owned());
            }
            Ok(Parsed {
                registration,
                incarnation,
                warnings: faults.warnings,
            })
        }
        _ => Err(Problem::invalid(faults.errors)),
    }
}

const HEALTHY_BY_ITSELF: &str = "the instance has no check and names no ttl: it counts as healthy until its \
     lease ends, also when it has stopped. Add \"checks\", or set \"ttl\" and send heartbeats";

/// True when neither a check nor a lease that the caller chose shows that the instance has stopped.
fn says_nothing_of_its_health(object: &Object<'_>, registration: &Registration) -> bool {
    registration.checks.is_empty()
        && registration.health_check_url.is_none()
        && object.get("ttl").is_none()
        && object.get("lease").is_none()
}

struct RegistrationReader;

impl RegistrationReader {
    /// Every field is read, also behind a wrong one, so that all faults are told at once.
    fn read(object: &Object<'_>, defaults: &Defaults, faults: &mut Faults) -> Option<Registration> {
        let service_id =
            faults.required(object, "service_id", |value| name(value, ServiceId::parse));
        let service_name = faults.required(object, "service_name", |value| {
            name(value, ServiceName::parse)
        });
        let host = faults.required(object, "host", host);
        let port = faults.required(object, "port", port);
        let metadata = faults.optional(object, "metadata", |value| {
            metadata(value, defaults.metadata_bytes_max)
        });
        let health_check_url = faults
            .optional(object, "health_check_url", optional_url)
            .flatten();
        let own = health_check_url
            .as_deref()
            .filter(|_| defaults.in_container);
        if own.is_some_and(checks::url_reaches_itself) {
            faults.warn("health_check_url", checks::ITSELF);
        }
        let tags = faults.optional(object, "tags", |value| tags(value, defaults.tags_max));
        let version = faults.optional(object, "version", label);
        let ttl = faults.optional(object, "ttl", ttl);
        let lease = faults.optional(object, "lease", lease);
        let weight = faults.optional(object, "weight", weight);
        let zone = faults.optional(object, "zone", label);
        let checks = match object.get("checks") {
            // Any address will do to find the faults of checks when the instance's own is one.
            Some(value) => {
                let host = host.as_deref().unwrap_or("localhost");
                checks::read(value, host, port.unwrap_or(1), defaults, faults)
            }
            None => Box::default(),
        };
        Some(Registration {
            service_id: service_id?,
            service_name: service_name?,
            host: host?,
            port: port?,
            metadata: metadata.unwrap_or_default(),
            health_check_url,
            tags: tags.unwrap_or_default(),
            version: version.unwrap_or_else(|| "1.0.0".into()),
            ttl: ttl.unwrap_or(defaults.ttl),
            lease: lease.unwrap_or_default(),
            weight: weight.unwrap_or(1),
            zone: zone.filter(|zone| !zone.is_empty()),
            checks,
        })
    }
}

/// A name by the model's rules.
pub(super) fn name<T>(
    value: &RawValue,
    parse: impl FnOnce(&str) -> Result<T, NameError>,
) -> Result<T, String> {
    parse(&read::text(value)?).map_err(|error| error.to_string())
}

fn host(value: &RawValue) -> Result<Box<str>, String> {
    host_text(&read::line(value, limits::HOST_BYTES_MAX)?).map(Into::into)
}

/// A name or an address; brackets around an IPv6 address are taken off.
pub(super) fn host_text(text: &str) -> Result<&str, String> {
    let text = text.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    if bare.is_empty() {
        return Err("must not be empty".to_owned());
    }
    let stray = |c: char| c.is_whitespace() || c.is_control() || "/?#@[]\\\"<>".contains(c);
    if let Some(stray) = bare.chars().find(|c| stray(*c)) {
        return Err(format!(
            "must be a host name or an address, without {stray:?}"
        ));
    }
    // Only an IPv6 address has colons, and only it may name a zone behind "%".
    let address = bare.split_once('%').map_or(bare, |(address, _)| address);
    if bare.contains([':', '%']) && address.parse::<Ipv6Addr>().is_err() {
        return Err(format!(
            "\"{bare}\" must be a host name or an address, without a port: write it in the field \"port\""
        ));
    }
    Ok(bare)
}

fn port(value: &RawValue) -> Result<u16, String> {
    let port = read::whole(value, 1, 65_535)?;
    u16::try_from(port).map_err(|error| error.to_string())
}

/// An object of limited size.
pub(super) fn metadata(value: &RawValue, bytes_max: usize) -> Result<Metadata, String> {
    let text = value.get();
    if text.len() > bytes_max {
        return Err(format!(
            "is {} bytes long, at most {bytes_max} are allowed",
            text.len()
        ));
    }
    Metadata::parse(text).map_err(|error| error.to_string())
}

fn optional_url(value: &RawValue) -> Result<Option<Box<str>>, String> {
    let url = read::line(value, limits::URL_BYTES_MAX)?;
    if url.is_empty() {
        return Ok(None);
    }
    absolute_url(&url)?;
    Ok(Some(url))
}

/// Checks that a URL says where to connect to.
pub(super) fn absolute_url(url: &str) -> Result<(), String> {
    let wrong = |why: &str| {
        let short: String = url.chars().take(80).collect();
        format!("\"{short}\" {why}: write it as \"http://host:port/path\" or \"https://…\"")
    };
    let uri: http::Uri = url.parse().map_err(|_| wrong("is not a URL"))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        Some(_) => return Err(wrong("has another scheme than http or https")),
        None => return Err(wrong("is not absolute")),
    }
    let authority = uri.authority().ok_or_else(|| wrong("has no host"))?;
    if authority.host().is_empty() {
        return Err(wrong("has no host"));
    }
    if authority.as_str().contains('@') {
        return Err(wrong("must not carry a user or a password"));
    }
    let after_host = &authority.as_str()[authority.host().len()..];
    if !after_host.is_empty() && authority.port_u16().is_none_or(|port| port == 0) {
        return Err(wrong("has a port out of range 1-65535"));
    }
    Ok(())
}

/// Labels, each once.
pub(super) fn tags(value: &RawValue, tags_max: usize) -> Result<Box<[Box<str>]>, String> {
    let mut tags = Vec::new();
    for (at, item) in read::list(value, tags_max)?.into_iter().enumerate() {
        let tag = label(item).map_err(|message| format!("item {at} {message}"))?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    Ok(tags.into())
}

/// A short text.
pub(super) fn label(value: &RawValue) -> Result<Box<str>, String> {
    read::line(value, limits::LABEL_BYTES_MAX)
}

fn ttl(value: &RawValue) -> Result<Duration, String> {
    read::span(value, limits::TTL)
}

fn lease(value: &RawValue) -> Result<LeaseKind, String> {
    let word = read::text(value)?.to_ascii_lowercase();
    LeaseKind::parse(&word).ok_or_else(|| {
        let quoted = read::quoted(value);
        format!("{quoted} is not one of ttl, connection, none")
    })
}

/// A share of the traffic.
pub(super) fn weight(value: &RawValue) -> Result<u16, String> {
    let weight = read::whole(value, 0, 65_535)?;
    u16::try_from(weight).map_err(|error| error.to_string())
}

/// Checks in full form, as a registration keeps them.
pub(super) type CheckList = Box<[Check]>;

#[cfg(test)]
pub(super) mod tests;
