//! The checks of a registration.

mod write;

use std::net::IpAddr;

use serde_json::value::RawValue;

pub(super) use self::write::write;
use super::{
    limits::{self, Defaults},
    read::{self, Entries, ObjectFields},
    registration::{absolute_url, host_text, label, url_text},
};
use crate::model::{Check, CheckKind, CheckOptions, CodeRange, HttpCheck, REDIRECTS_MAX, Standing};

/// The fields that only some types of check have.
const OF_SOME_TYPES: [&str; 11] = [
    "url",
    "path",
    "method",
    "headers",
    "expected",
    "tls_skip_verify",
    "redirects",
    "address",
    "service",
    "service_id",
    "tls",
];

/// Warns of known fields that mean nothing for this type of check.
fn warn_of_unused(fields: &mut ObjectFields<'_>, kind: &CheckKind) {
    let is_unused = |(name, value): (&str, &RawValue)| {
        let known = OF_SOME_TYPES.into_iter().find(|known| *known == name);
        known.filter(|_| value.get() != "null")
    };
    let unused: Vec<_> = fields.unread().filter_map(is_unused).collect();
    let message = format!("is not used by a {} check and was ignored", kind.as_str());
    for name in unused {
        fields.warn(name, &message);
    }
    let has_url = fields.get("url").is_some();
    if matches!(kind, CheckKind::Http(_)) && has_url && fields.get("path").is_some() {
        fields.warn("path", "was ignored, because \"url\" is set");
    }
}

/// Where the instance listens: the target of a check without an address.
struct ListenAddress<'a> {
    host: &'a str,
    port: u16,
}

/// Reads the list of checks of the instance at `host` and `port`.
pub(super) fn read<'a>(
    fields: &mut ObjectFields<'a>,
    host: &str,
    port: u16,
    defaults: &Defaults,
) -> Box<[Check]> {
    let items = fields.optional("checks", |value| read::list(value, defaults.checks_max));
    let place = ListenAddress { host, port };
    let mut checks: Vec<Check> = Vec::new();
    for (at, item) in items.unwrap_or_default().into_iter().enumerate() {
        let name = format!("checks[{at}]");
        checks.extend(fields.nested(&name, item, &OF_SOME_TYPES, |fields| {
            check(fields, &place, &checks, defaults)
        }));
    }
    checks.into()
}

/// Reads one check that says everything itself: it belongs to no instance here.
pub(super) fn read_one(fields: &mut ObjectFields<'_>) -> Option<Check> {
    if fields.get("path").is_some() {
        fields.add("path", "needs an instance: write \"url\"");
    }
    if fields.get("address").is_none() && has_address(fields) {
        fields.add("address", "is required");
    }
    // Omitted fields have the defaults of a registration; the prober judges what may be sent.
    let place = ListenAddress {
        host: "localhost",
        port: 1,
    };
    let defaults = Defaults {
        unsafe_requests: true,
        ..Defaults::default()
    };
    check(fields, &place, &[], &defaults)
}

fn has_address(fields: &mut ObjectFields<'_>) -> bool {
    let kind = fields.get("type").and_then(|kind| read::text(kind).ok());
    kind.is_some_and(|kind| {
        matches!(
            &*kind.to_ascii_lowercase(),
            "tcp" | "grpc" | "udp" | "h2ping"
        )
    })
}

fn check(
    fields: &mut ObjectFields<'_>,
    place: &ListenAddress<'_>,
    before: &[Check],
    defaults: &Defaults,
) -> Option<Check> {
    let kind = kind(fields, place, defaults);
    let name = fields.optional("name", label);
    let interval = fields.optional("interval", |v| read::span(v, limits::INTERVAL));
    let timeout = fields.optional("timeout", |v| read::span(v, limits::TIMEOUT));
    if interval.is_some_and(|interval| interval < defaults.interval_min) {
        let least = defaults.interval_min;
        let warning = format!("is below health.interval_min: it is probed every {least:?}");
        fields.warn("interval", &warning);
    }
    if timeout.is_some_and(|timeout| timeout > defaults.timeout_max) {
        let most = defaults.timeout_max;
        let warning = format!("is above health.timeout_max: a probe may take {most:?}");
        fields.warn("timeout", &warning);
    }
    let run = |value| read::whole(value, 1, limits::RUN_MAX);
    let healthy_after = fields.optional("healthy_after", run);
    let unhealthy_after = fields.optional("unhealthy_after", run);
    let options = options(fields);
    let kind = kind?;
    warn_of_unused(fields, &kind);
    if defaults.in_container && reaches_itself(&kind) {
        let mut named = ["url", "path", "address"].into_iter();
        let named = named.find(|field| fields.get(field).is_some());
        fields.warn(named.unwrap_or("type"), ITSELF);
    }
    let name = match name.filter(|name| !name.is_empty()) {
        None => free_name(kind.as_str(), before),
        Some(name) if before.iter().any(|check| check.name == name) => {
            fields.add("name", format!("\"{name}\" is the name of another check"));
            return None;
        }
        Some(name) => name,
    };
    Some(Check {
        name,
        kind,
        interval: interval.unwrap_or(defaults.interval),
        timeout: timeout.unwrap_or(defaults.timeout),
        healthy_after: healthy_after.unwrap_or(defaults.healthy_after),
        unhealthy_after: unhealthy_after.unwrap_or(defaults.unhealthy_after),
        options,
    })
}

/// The warning about a check that probes the daemon's own container.
pub(super) const ITSELF: &str = "is an address of the container that musterd runs in: use the service's own \
                                 name or address, or host.docker.internal for the machine";

fn reaches_itself(kind: &CheckKind) -> bool {
    match kind {
        CheckKind::Http(http) => url_reaches_itself(&http.url),
        CheckKind::Tcp { host, .. }
        | CheckKind::Grpc { host, .. }
        | CheckKind::Udp { host, .. }
        | CheckKind::H2Ping { host, .. } => is_loopback(host),
        CheckKind::Ttl | CheckKind::Alias { .. } | CheckKind::Script { .. } => false,
    }
}

/// True when the host of a URL is a loopback or unspecified address or a name of one.
pub(super) fn url_reaches_itself(url: &str) -> bool {
    let uri = url.parse::<http::Uri>().ok();
    uri.and_then(|uri| uri.host().map(is_loopback))
        .unwrap_or(false)
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches([']', '.']);
    match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(address) => address.is_loopback() || address.is_unspecified(),
        Err(_) => {
            let name = host.to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

/// `http`, or `http-2` and so on when that is taken.
fn free_name(kind: &str, before: &[Check]) -> Box<str> {
    let taken = |name: &str| before.iter().any(|check| *check.name == *name);
    if !taken(kind) {
        return kind.into();
    }
    let numbered = (2..).map(|number: usize| format!("{kind}-{number}"));
    let free = numbered.into_iter().find(|name| !taken(name));
    free.unwrap_or_default().into()
}

fn kind(
    fields: &mut ObjectFields<'_>,
    place: &ListenAddress<'_>,
    defaults: &Defaults,
) -> Option<CheckKind> {
    let kind = fields.required("type", label)?;
    match &*kind.to_ascii_lowercase() {
        "http" | "https" => http(fields, place, defaults.unsafe_requests),
        "tcp" => {
            let (host, port) = address(fields, place)?;
            Some(CheckKind::Tcp { host, port })
        }
        "grpc" => grpc(fields, place),
        "ttl" => Some(CheckKind::Ttl),
        "udp" => {
            let (host, port) = address(fields, place)?;
            Some(CheckKind::Udp { host, port })
        }
        "h2ping" => h2ping(fields, place),
        "alias" => {
            let service_id = fields.required("service_id", label)?;
            Some(CheckKind::Alias { service_id })
        }
        "script" => {
            let message = "\"script\" is for the Consul-compatible API only, with consul.enable_script_checks = true";
            fields.add("type", message);
            None
        }
        _ => {
            let message =
                format!("\"{kind}\" is not one of http, tcp, grpc, ttl, udp, h2ping, alias");
            fields.add("type", message);
            None
        }
    }
}

fn http(
    fields: &mut ObjectFields<'_>,
    place: &ListenAddress<'_>,
    is_unsafe: bool,
) -> Option<CheckKind> {
    let url = fields.optional("url", absolute_url);
    let path = fields.optional("path", |value| path(value, place));
    if fields.get("url").is_none() && fields.get("path").is_none() {
        fields.add(
            "url",
            "is required, or \"path\" for one of the instance's own",
        );
    }
    let method = fields.optional("method", |value| method(value, is_unsafe));
    let headers = fields.optional("headers", |value| headers(value, is_unsafe));
    let expected = fields.optional("expected", expected);
    let tls_skip_verify = fields.optional("tls_skip_verify", read::flag);
    let redirects = fields.optional("redirects", |value| read::whole(value, 0, REDIRECTS_MAX));
    Some(CheckKind::Http(Box::new(HttpCheck {
        url: url.or(path)?,
        method: method.unwrap_or_else(|| "GET".into()),
        headers: headers.unwrap_or_default(),
        expected: expected.unwrap_or_else(|| [200..=299].into()),
        tls_skip_verify: tls_skip_verify.unwrap_or(false),
        redirects: redirects.unwrap_or(0),
    })))
}

fn grpc(fields: &mut ObjectFields<'_>, place: &ListenAddress<'_>) -> Option<CheckKind> {
    let at = address(fields, place);
    let service = fields.optional("service", label);
    let tls = fields.optional("tls", read::flag);
    let tls_skip_verify = fields.optional("tls_skip_verify", read::flag);
    let (host, port) = at?;
    Some(CheckKind::Grpc {
        host,
        port,
        service: service.unwrap_or_default(),
        tls: tls.unwrap_or(false),
        tls_skip_verify: tls_skip_verify.unwrap_or(false),
    })
}

fn h2ping(fields: &mut ObjectFields<'_>, place: &ListenAddress<'_>) -> Option<CheckKind> {
    let at = address(fields, place);
    let tls = fields.optional("tls", read::flag);
    let tls_skip_verify = fields.optional("tls_skip_verify", read::flag);
    let (host, port) = at?;
    Some(CheckKind::H2Ping {
        host,
        port,
        tls: tls.unwrap_or(false),
        tls_skip_verify: tls_skip_verify.unwrap_or(false),
    })
}

/// What only checks in Consul's form have; none when the check has no field of these.
fn options(fields: &mut ObjectFields<'_>) -> Option<Box<CheckOptions>> {
    let of_options = ["title", "notes", "initial", "warning_after", "remove_after"];
    if of_options
        .into_iter()
        .all(|name| fields.get(name).is_none())
    {
        return None;
    }
    let standings = Standing::ALL.map(|one| (one.as_str(), one));
    let notes = |value| read::line(value, limits::REASON_BYTES_MAX);
    let run = |value| read::whole(value, 0, limits::RUN_MAX);
    let title = fields.optional("title", label);
    let notes = fields.optional("notes", notes);
    let initial = fields.optional("initial", |value| read::word(value, &standings));
    let warning_after = fields.optional("warning_after", run);
    let remove_after = fields.optional("remove_after", |v| read::span(v, limits::REMOVE_AFTER));
    Some(Box::new(CheckOptions {
        title: title.unwrap_or_default(),
        notes: notes.unwrap_or_default(),
        initial: initial.unwrap_or(Standing::Critical),
        warning_after: warning_after.unwrap_or(0),
        remove_after,
    }))
}

fn address(fields: &mut ObjectFields<'_>, place: &ListenAddress<'_>) -> Option<(Box<str>, u16)> {
    let Some(value) = fields.get("address") else {
        return Some((place.host.into(), place.port));
    };
    let read = read::line(value, limits::HOST_BYTES_MAX + 8).and_then(|text| host_and_port(&text));
    fields.take("address", read)
}

/// `host:port`, an IPv6 address in brackets.
fn host_and_port(text: &str) -> Result<(Box<str>, u16), String> {
    let wrong = || format!("\"{text}\" is not an address: write it as \"host:port\"");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Err(wrong());
    }
    let port: u16 = port.parse().map_err(|_| wrong())?;
    if port == 0 {
        return Err("port 0 is out of range 1-65535".to_owned());
    }
    Ok((host_text(host)?.into(), port))
}

/// The URL of a path at the instance itself.
fn path(value: &RawValue, place: &ListenAddress<'_>) -> Result<Box<str>, String> {
    let path = read::line(value, limits::URL_BYTES_MAX)?;
    if !path.starts_with('/') {
        return Err(format!("\"{path}\" must start with \"/\""));
    }
    let url = format!("http://{}{path}", joined(place.host, place.port));
    url_text(url.into())
}

/// `host:port`, an IPv6 address in brackets.
fn joined(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn method(value: &RawValue, is_unsafe: bool) -> Result<Box<str>, String> {
    let method = label(value)?.to_ascii_uppercase();
    match http::Method::from_bytes(method.as_bytes()) {
        Ok(http::Method::CONNECT) | Err(_) => Err(format!("\"{method}\" is not a usable method")),
        Ok(_) if !is_unsafe && !HttpCheck::is_safe_method(&method) => Err(format!(
            "\"{method}\" is not GET or HEAD: other methods need health.unsafe_requests = true"
        )),
        Ok(_) => Ok(method.into()),
    }
}

type HeaderList = Box<[(Box<str>, Box<str>)]>;

fn headers(value: &RawValue, is_unsafe: bool) -> Result<HeaderList, String> {
    let wrong = || "must be an object of names and values".to_owned();
    let Entries(entries) = serde_json::from_str(value.get()).map_err(|_| wrong())?;
    if entries.len() > limits::HEADERS_MAX {
        return Err(format!("has more than {} entries", limits::HEADERS_MAX));
    }
    let mut headers = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        let text = read::line(value, limits::HEADER_BYTES_MAX)
            .map_err(|message| format!("\"{name}\" {message}"))?;
        let valid = http::HeaderName::from_bytes(name.as_bytes()).is_ok()
            && http::HeaderValue::from_str(&text).is_ok();
        if !valid {
            return Err(format!("\"{name}\" is not a header HTTP can carry"));
        }
        if let Some(why) = HttpCheck::unsafe_header(&name).filter(|_| !is_unsafe) {
            return Err(format!(
                "\"{name}\" {why}: it needs health.unsafe_requests = true"
            ));
        }
        headers.push((name.into_owned().into(), text));
    }
    Ok(headers.into())
}

fn expected(value: &RawValue) -> Result<Box<[CodeRange]>, String> {
    // One code alone is a list of one.
    let items = if value.get().starts_with('[') {
        read::list(value, limits::EXPECTED_MAX)?
    } else {
        vec![value]
    };
    if items.is_empty() {
        return Err("must name at least one code".to_owned());
    }
    items.into_iter().map(codes).collect()
}

/// `200`, `"2xx"` or `"200-299"`.
fn codes(value: &RawValue) -> Result<CodeRange, String> {
    let wrong = || {
        let quoted = read::quoted(value);
        format!("{quoted} is not a status code: write 200, \"2xx\" or \"200-299\"")
    };
    let text = read::text(value).map_err(|_| wrong())?.to_ascii_lowercase();
    let text = text.trim();
    if let Some(hundred) = text.strip_suffix("xx") {
        let hundred: u16 = hundred.parse().map_err(|_| wrong())?;
        if !(1..=5).contains(&hundred) {
            return Err(wrong());
        }
        return Ok(hundred * 100..=hundred * 100 + 99);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let code = |text: &str| text.trim().parse::<u16>().map_err(|_| wrong());
    let (first, last) = (code(first)?, code(last)?);
    if first < 100 || last > 599 || first > last {
        return Err(wrong());
    }
    Ok(first..=last)
}

#[cfg(test)]
mod tests;
