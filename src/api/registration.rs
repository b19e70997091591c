//! A caller's registration of an instance, read leniently.

use std::net::Ipv6Addr;

use serde_json::value::RawValue;

use super::{
    checks,
    limits::{self, Defaults},
    problem::Problem,
    read::{self, ObjectFields},
    warnings::Warnings,
};
use crate::model::{LeaseKind, Metadata, Registration, ServiceId, ServiceName};

/// Fields of answers about an instance that are no fields of a registration.
pub(super) const ANSWERED: [&str; 12] = [
    "owner",
    "status",
    "observed_status",
    "override",
    "reason",
    "registered_at",
    "last_heartbeat",
    "revision",
    "warning",
    "warnings",
    "message",
    "timestamp",
];

/// A registration and what came with it.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The registration.
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
    let (parsed, warnings) = read::request(body, &ANSWERED, |fields| {
        let registration = read_registration(fields, defaults);
        // The answer of a GET may be sent again in any shape: only a number is used.
        let incarnation = fields.get("incarnation");
        let incarnation = incarnation.and_then(|value| read::count(value).ok());
        let registration = registration?;
        let warning = says_nothing_of_its_health(fields, &registration);
        Some(Parsed {
            registration,
            incarnation,
            warnings: warning.map(str::to_owned).into_iter().collect(),
        })
    })?;
    let Warnings(mut warnings) = warnings;
    warnings.extend(parsed.warnings);
    Ok(Parsed { warnings, ..parsed })
}

const TTL_OF_NO_LEASE: &str = "has no effect with \"lease\": \"none\"";

const HEALTHY_BY_ITSELF: &str = "the instance has no check and names no ttl: it counts as healthy until its \
     lease ends, also when it has stopped. Add \"checks\", or set \"ttl\" and send heartbeats";

/// A warning when neither a check nor a lease that the caller chose shows that the instance has stopped.
fn says_nothing_of_its_health(
    fields: &mut ObjectFields<'_>,
    registration: &Registration,
) -> Option<&'static str> {
    let says_nothing =
        !registration.is_checked() && fields.get("ttl").is_none() && fields.get("lease").is_none();
    says_nothing.then_some(HEALTHY_BY_ITSELF)
}

fn read_registration(fields: &mut ObjectFields<'_>, defaults: &Defaults) -> Option<Registration> {
    let service_id = fields.required("service_id", |v| read::name(v, ServiceId::parse));
    let service_name = fields.required("service_name", |v| read::name(v, ServiceName::parse));
    let host = fields.required("host", host);
    let port = fields.required("port", |value| read::whole(value, 1, u16::MAX));
    let metadata = fields.optional("metadata", |v| metadata(v, defaults.metadata_bytes_max));
    let health_check_url = fields.optional("health_check_url", optional_url).flatten();
    let own = health_check_url.as_deref();
    let own = own.filter(|_| defaults.in_container);
    if own.is_some_and(checks::url_reaches_itself) {
        fields.warn("health_check_url", checks::ITSELF);
    }
    let tags = fields.optional("tags", |value| tags(value, defaults.tags_max));
    let version = fields.optional("version", label);
    let ttl = fields.optional("ttl", |value| read::span(value, limits::TTL));
    let leases = LeaseKind::ALL.map(|kind| (kind.as_str(), kind));
    let lease = fields.optional("lease", |value| read::word(value, &leases));
    if ttl.is_some() && lease == Some(LeaseKind::Unlimited) {
        fields.warn("ttl", TTL_OF_NO_LEASE);
    }
    let weight = fields.optional("weight", weight);
    let zone = fields.optional("zone", label);
    // Any address will do to find the faults of checks when the instance's own is one.
    let at = (host.as_deref().unwrap_or("localhost"), port.unwrap_or(1));
    let checks = checks::read(fields, at.0, at.1, defaults);
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
    url_text(url).map(Some)
}

/// A URL that says where to connect to.
pub(super) fn absolute_url(value: &RawValue) -> Result<Box<str>, String> {
    read::line(value, limits::URL_BYTES_MAX).and_then(url_text)
}

/// Checks that a URL says where to connect to.
pub(super) fn url_text(url: Box<str>) -> Result<Box<str>, String> {
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
    Ok(url)
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

/// A share of the traffic.
pub(super) fn weight(value: &RawValue) -> Result<u16, String> {
    read::whole(value, 0, u16::MAX)
}

#[cfg(test)]
pub(super) mod tests;
