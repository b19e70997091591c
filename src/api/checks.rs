//! The checks of a registration.

mod write;

use std::net::IpAddr;

use serde_json::value::RawValue;

pub(super) use self::write::write;
use super::{
    limits::{self, Defaults},
    read::{self, Faults, Object, Shape},
    registration::{CheckList, absolute_url, host_text, label},
};
use crate::model::{Check, CheckKind, CodeRange, HttpCheck, REDIRECTS_MAX};

const SHAPE: Shape = Shape {
    known: &[
        "type",
        "name",
        "url",
        "path",
        "method",
        "headers",
        "expected",
        "address",
        "service",
        "tls",
        "tls_skip_verify",
        "redirects",
        "interval",
        "timeout",
        "healthy_after",
        "unhealthy_after",
    ],
    own: &[],
};

/// The fields that every type of check has.
const COMMON: [&str; 6] = [
    "type",
    "name",
    "interval",
    "timeout",
    "healthy_after",
    "unhealthy_after",
];

/// The fields that only some types of check have.
fn fields_of(kind: &CheckKind) -> &'static [&'static str] {
    match kind {
        CheckKind::Http(_) => &[
            "url",
            "path",
            "method",
            "headers",
            "expected",
            "tls_skip_verify",
            "redirects",
        ],
        CheckKind::Tcp { .. } => &["address"],
        CheckKind::Grpc { .. } => &["address", "service", "tls", "tls_skip_verify"],
        CheckKind::Ttl => &[],
    }
}

/// Warns of known fields that mean nothing for this type of check.
fn warn_of_unused(object: &Object<'_>, kind: &CheckKind, faults: &mut Faults) {
    let fields = fields_of(kind);
    for name in object.names() {
        if !COMMON.contains(&name) && !fields.contains(&name) {
            let kind = kind.as_str();
            faults.warn(
                name,
                &format!("is not used by a {kind} check and was ignored"),
            );
        }
    }
    if object.get("url").is_some() && fields.contains(&"path") && object.get("path").is_some() {
        faults.warn("path", "was ignored, because \"url\" is set");
    }
}

/// Where the instance listens: what a check without an address of its own asks.
struct ListenAddress<'a> {
    host: &'a str,
    port: u16,
}

/// Reads the list of checks of the instance at `host` and `port`.
pub(super) fn read(
    value: &RawValue,
    host: &str,
    port: u16,
    defaults: &Defaults,
    faults: &mut Faults,
) -> CheckList {
    let items = faults.take("checks", read::list(value, defaults.checks_max));
    let place = ListenAddress { host, port };
    let mut checks: Vec<Check> = Vec::new();
    for (at, item) in items.unwrap_or_default().into_iter().enumerate() {
        faults.prefix = format!("checks[{at}]");
        match Object::value(item, SHAPE) {
            Err(message) => faults.add("", message),
            Ok(object) => {
                faults.prefix.push('.');
                checks.extend(check(&object, &place, &checks, defaults, faults));
            }
        }
    }
    faults.prefix.clear();
    checks.into()
}

/// Reads one check that says everything itself: it belongs to no instance here.
pub(super) fn read_one(value: &RawValue, faults: &mut Faults) -> Option<Check> {
    match Object::value(value, SHAPE) {
        Err(message) => {
            faults.add("check", message);
            None
        }
        Ok(object) => {
            faults.prefix = "check.".to_owned();
            let check = alone(&object, faults);
            faults.prefix.clear();
            check
        }
    }
}

fn alone(object: &Object<'_>, faults: &mut Faults) -> Option<Check> {
    if object.get("path").is_some() {
        faults.add("path", "needs an instance: write \"url\"");
    }
    if object.get("address").is_none() && has_address(object) {
        faults.add("address", "is required");
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
    check(object, &place, &[], &defaults, faults)
}

fn has_address(object: &Object<'_>) -> bool {
    let kind = object.get("type").and_then(|kind| read::text(kind).ok());
    kind.is_some_and(|kind| matches!(&*kind.to_ascii_lowercase(), "tcp" | "grpc"))
}

fn check(
    object: &Object<'_>,
    place: &ListenAddress<'_>,
    before: &[Check],
    defaults: &Defaults,
    faults: &mut Faults,
) -> Option<Check> {
    faults.pass_over(&object.unknown);
    let kind = kind(object, place, defaults, faults);
    let name = faults.optional(object, "name", label);
    let interval = faults.optional(object, "interval", |v| read::span(v, limits::INTERVAL));
    let timeout = faults.optional(object, "timeout", |v| read::span(v, limits::TIMEOUT));
    if interval.is_some_and(|interval| interval < defaults.interval_min) {
        let least = defaults.interval_min;
        let told = format!("is below health.interval_min: it is probed every {least:?}");
        faults.warn("interval", &told);
    }
    if timeout.is_some_and(|timeout| timeout > defaults.timeout_max) {
        let most = defaults.timeout_max;
        let told = format!("is above health.timeout_max: a probe may take {most:?}");
        faults.warn("timeout", &told);
    }
    let healthy_after = faults.optional(object, "healthy_after", run);
    let unhealthy_after = faults.optional(object, "unhealthy_after", run);
    let kind = kind?;
    warn_of_unused(object, &kind, faults);
    if defaults.in_container && reaches_itself(&kind) {
        faults.warn(address_field(object), ITSELF);
    }
    let name = match name.filter(|name| !name.is_empty()) {
        None => free_name(kind.as_str(), before),
        Some(name) if before.iter().any(|check| check.name == name) => {
            faults.add("name", format!("\"{name}\" is the name of another check"));
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
    })
}

/// What is said of a check that probes the daemon's own container.
pub(super) const ITSELF: &str = "is an address of the container that musterd runs in: use the service's own \
                                 name or address, or host.docker.internal for the machine";

/// The field that says where a check connects to.
fn address_field(object: &Object<'_>) -> &'static str {
    let mut fields = ["url", "path", "address"].into_iter();
    let found = fields.find(|field| object.get(field).is_some());
    found.unwrap_or("type")
}

fn reaches_itself(kind: &CheckKind) -> bool {
    match kind {
        CheckKind::Http(http) => url_reaches_itself(&http.url),
        CheckKind::Tcp { host, .. } | CheckKind::Grpc { host, .. } => is_loopback(host),
        CheckKind::Ttl => false,
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

fn run(value: &RawValue) -> Result<u32, String> {
    let run = read::whole(value, 1, i64::try_from(limits::RUN_MAX).unwrap_or(i64::MAX))?;
    u32::try_from(run).map_err(|error| error.to_string())
}

fn kind(
    object: &Object<'_>,
    place: &ListenAddress<'_>,
    defaults: &Defaults,
    faults: &mut Faults,
) -> Option<CheckKind> {
    let kind = faults.required(object, "type", label)?;
    match &*kind.to_ascii_lowercase() {
        "http" | "https" => http(object, place, defaults, faults),
        "tcp" => {
            let (host, port) = address(object, place, faults)?;
            Some(CheckKind::Tcp { host, port })
        }
        "grpc" => grpc(object, place, faults),
        "ttl" => Some(CheckKind::Ttl),
        _ => {
            let message = format!("\"{kind}\" is not one of http, tcp, grpc, ttl");
            faults.add("type", message);
            None
        }
    }
}

fn http(
    object: &Object<'_>,
    place: &ListenAddress<'_>,
    defaults: &Defaults,
    faults: &mut Faults,
) -> Option<CheckKind> {
    let url = faults.optional(object, "url", |value| {
        let url = read::line(value, limits::URL_BYTES_MAX)?;
        absolute_url(&url).map(|()| url)
    });
    let path = faults.optional(object, "path", |value| path(value, place));
    if object.get("url").is_none() && object.get("path").is_none() {
        faults.add(
            "url",
            "is required, or \"path\" for one of the instance's own",
        );
    }
    let is_unsafe = defaults.unsafe_requests;
    let method = faults.optional(object, "method", |value| method(value, is_unsafe));
    let headers = faults.optional(object, "headers", |value| headers(value, is_unsafe));
    let expected = faults.optional(object, "expected", expected);
    let tls_skip_verify = faults.optional(object, "tls_skip_verify", read::flag);
    let redirects = faults.optional(object, "redirects", redirects);
    Some(CheckKind::Http(Box::new(HttpCheck {
        url: url.or(path)?,
        method: method.unwrap_or_else(|| "GET".into()),
        headers: headers.unwrap_or_default(),
        expected: expected.unwrap_or_else(|| [200..=299].into()),
        tls_skip_verify: tls_skip_verify.unwrap_or(false),
        redirects: redirects.unwrap_or(0),
    })))
}

fn redirects(value: &RawValue) -> Result<u8, String> {
    let number = read::whole(value, 0, REDIRECTS_MAX.into())?;
    u8::try_from(number).map_err(|error| error.to_string())
}

fn grpc(object: &Object<'_>, place: &ListenAddress<'_>, faults: &mut Faults) -> Option<CheckKind> {
    let at = address(object, place, faults);
    let service = faults.optional(object, "service", label);
    let tls = faults.optional(object, "tls", read::flag);
    let tls_skip_verify = faults.optional(object, "tls_skip_verify", read::flag);
    let (host, port) = at?;
    Some(CheckKind::Grpc {
        host,
        port,
        service: service.unwrap_or_default(),
        tls: tls.unwrap_or(false),
        tls_skip_verify: tls_skip_verify.unwrap_or(false),
    })
}

fn address(
    object: &Object<'_>,
    place: &ListenAddress<'_>,
    faults: &mut Faults,
) -> Option<(Box<str>, u16)> {
    let Some(value) = object.get("address") else {
        return Some((place.host.into(), place.port));
    };
    let read = read::line(value, limits::HOST_BYTES_MAX + 8).and_then(|text| host_and_port(&text));
    faults.take("address", read)
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
    absolute_url(&url).map(|()| url.into())
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
    let pairs: Pairs<'_> = serde_json::from_str(value.get()).map_err(|_| wrong())?;
    if pairs.0.len() > limits::HEADERS_MAX {
        return Err(format!("has more than {} entries", limits::HEADERS_MAX));
    }
    let mut headers = Vec::with_capacity(pairs.0.len());
    for (name, value) in pairs.0 {
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
        headers.push((name.into(), text));
    }
    Ok(headers.into())
}

/// An object's entries in their order.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> serde::de::Visitor<'de> for Entries {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut entries: A,
            ) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = entries.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Entries)
    }
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
