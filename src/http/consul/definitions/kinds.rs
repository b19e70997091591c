//! What a check does, from the fields that Consul has for each kind.

use std::time::Duration;

use serde_json::Value;

use super::{BodyFields, ConsulError, ConsulState, SPAN_MAX, host};
use crate::model::{CheckKind, HttpCheck, REDIRECTS_MAX};

/// The most headers of one HTTP check, and the longest value and URL in bytes.
const HEADERS_MAX: usize = 32;
const HEADER_BYTES_MAX: usize = 4096;
const URL_BYTES_MAX: usize = 2048;
/// The most arguments of a program, and the longest one in bytes.
const ARGS_MAX: usize = 64;
const ARG_BYTES_MAX: usize = 4096;
/// The time between two looks at another instance.
const ALIAS_INTERVAL: Duration = Duration::from_secs(1);

/// The fields that say what a check does.
const KINDS: [&str; 14] = [
    "TTL",
    "HTTP",
    "TCP",
    "UDP",
    "GRPC",
    "H2PING",
    "Args",
    "ScriptArgs",
    "Script",
    "AliasService",
    "AliasNode",
    "DockerContainerID",
    "OSService",
    "Shell",
];

/// Whether a definition says what it does: an empty one is no check.
pub(super) fn has_kind(fields: &BodyFields) -> bool {
    let is_set = |name: &&str| match fields.get(name) {
        None => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(_) => true,
    };
    let names = ["Interval", "Name", "CheckID", "ID"];
    KINDS.iter().chain(&names).any(is_set)
}

/// The kind of a check and its interval.
pub(super) fn kind(
    state: &ConsulState,
    fields: &BodyFields,
) -> Result<(CheckKind, Duration), ConsulError> {
    for name in ["DockerContainerID", "OSService", "Script"] {
        if !fields.text(name)?.is_empty() {
            return Err(fields.invalid(name, "is not supported: use HTTP, TCP, GRPC, TTL or Args"));
        }
    }
    let ttl = fields.duration("TTL")?.filter(|ttl| !ttl.is_zero());
    let interval = fields.duration("Interval")?.filter(|one| !one.is_zero());
    if let Some(ttl) = ttl {
        if interval.is_some() {
            return Err(ConsulError::bad(
                "Interval and TTL cannot both be specified",
            ));
        }
        return Ok((CheckKind::Ttl, ttl));
    }
    if !fields.text("AliasNode")?.is_empty() && fields.text("AliasService")?.is_empty() {
        return Err(fields.invalid("AliasNode", "is not supported without AliasService"));
    }
    let alias = fields.text("AliasService")?;
    if !alias.is_empty() {
        let service_id = alias.into();
        return Ok((CheckKind::Alias { service_id }, ALIAS_INTERVAL));
    }
    let Some(kind) = probe(state, fields)? else {
        return Err(match fields.get("TTL") {
            Some(_) => ConsulError::bad("TTL must be > 0 for TTL checks"),
            None => ConsulError::bad(
                "a check must have one of TTL, HTTP, TCP, UDP, GRPC, H2PING, AliasService and Args",
            ),
        });
    };
    let Some(interval) = interval.filter(|interval| *interval <= SPAN_MAX) else {
        return Err(ConsulError::bad(
            "Interval must be > 0 and at most 24h for Script, HTTP, H2PING, TCP, UDP or GRPC checks",
        ));
    };
    Ok((kind, interval))
}

/// A kind that the daemon probes.
fn probe(state: &ConsulState, fields: &BodyFields) -> Result<Option<CheckKind>, ConsulError> {
    let http = fields.text("HTTP")?;
    if !http.is_empty() {
        return self::http(state, fields, &http).map(Some);
    }
    let tls = |name| fields.flag(name);
    let tls_skip_verify = fields.flag("TLSSkipVerify")?;
    let tcp = fields.text("TCP")?;
    if !tcp.is_empty() {
        let (host, port) = host_and_port(fields, "TCP", &tcp)?;
        return Ok(Some(CheckKind::Tcp { host, port }));
    }
    let udp = fields.text("UDP")?;
    if !udp.is_empty() {
        let (host, port) = host_and_port(fields, "UDP", &udp)?;
        return Ok(Some(CheckKind::Udp { host, port }));
    }
    let grpc = fields.text("GRPC")?;
    if !grpc.is_empty() {
        let (address, service) = grpc.split_once('/').unwrap_or((&grpc, ""));
        let (host, port) = host_and_port(fields, "GRPC", address)?;
        return Ok(Some(CheckKind::Grpc {
            host,
            port,
            service: service.into(),
            tls: tls("GRPCUseTLS")?,
            tls_skip_verify,
        }));
    }
    let ping = fields.text("H2PING")?;
    if !ping.is_empty() {
        let (host, port) = host_and_port(fields, "H2PING", &ping)?;
        return Ok(Some(CheckKind::H2Ping {
            host,
            port,
            // Consul's default is with TLS.
            tls: match fields.get("H2PingUseTLS") {
                None => true,
                Some(_) => tls("H2PingUseTLS")?,
            },
            tls_skip_verify,
        }));
    }
    let args = fields.texts(&["Args", "ScriptArgs"], ARGS_MAX)?;
    if args.is_empty() {
        return Ok(None);
    }
    if !state.config.enable_script_checks {
        return Err(ConsulError::bad(
            "Scripts are disabled on this agent; to enable, set consul.enable_script_checks = true",
        ));
    }
    let is_usable = |arg: &String| arg.len() <= ARG_BYTES_MAX && !arg.contains('\0');
    if !args.iter().all(is_usable) || args[0].is_empty() {
        return Err(fields.invalid("Args", "must be a program and its arguments"));
    }
    let args = args.into_iter().map(Into::into).collect();
    Ok(Some(CheckKind::Script { args }))
}

fn http(state: &ConsulState, fields: &BodyFields, url: &str) -> Result<CheckKind, ConsulError> {
    if !fields.text("Body")?.is_empty() {
        return Err(fields.invalid("Body", "is not supported"));
    }
    let parsed: Option<http::Uri> = url.parse().ok().filter(|_| url.len() <= URL_BYTES_MAX);
    let is_usable = parsed.as_ref().is_some_and(|uri| {
        let has_host = uri.host().is_some_and(|host| !host.is_empty());
        has_host && matches!(uri.scheme_str(), Some("http" | "https"))
    });
    if !is_usable || url.contains('@') {
        return Err(fields.invalid("HTTP", "must be a URL such as \"http://host:port/path\""));
    }
    let method = match fields.text("Method")? {
        method if method.is_empty() => "GET".to_owned(),
        method => method.to_ascii_uppercase(),
    };
    let check = HttpCheck {
        url: url.into(),
        headers: headers(fields)?,
        expected: [200..=299].into(),
        tls_skip_verify: fields.flag("TLSSkipVerify")?,
        redirects: match fields.flag("DisableRedirects")? {
            true => 0,
            false => REDIRECTS_MAX,
        },
        method: method.into(),
    };
    if http::Method::from_bytes(check.method.as_bytes()).is_err() || &*check.method == "CONNECT" {
        return Err(fields.invalid("Method", "is not a method that a check can use"));
    }
    match check.unsafe_part() {
        Some(part) if !state.app.defaults.unsafe_requests => {
            let message = format!("{part} needs health.unsafe_requests = true");
            Err(fields.invalid("HTTP", &message))
        }
        _ => Ok(CheckKind::Http(Box::new(check))),
    }
}

type HeaderPairs = Box<[(Box<str>, Box<str>)]>;

/// Names with lists of values, as Consul has them; a text alone is a list of one.
fn headers(fields: &BodyFields) -> Result<HeaderPairs, ConsulError> {
    let mut headers: Vec<(Box<str>, Box<str>)> = Vec::new();
    for (name, values) in fields.map("Header")? {
        let values = match &values {
            Value::Array(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in values {
            let text = value.as_str().unwrap_or("\n");
            let is_valid = text.len() <= HEADER_BYTES_MAX
                && http::HeaderName::from_bytes(name.as_bytes()).is_ok()
                && http::HeaderValue::from_str(text).is_ok();
            if !is_valid || headers.len() >= HEADERS_MAX {
                let message = format!("must have at most {HEADERS_MAX} names and values of HTTP");
                return Err(fields.invalid("Header", &message));
            }
            headers.push((name.as_str().into(), text.into()));
        }
    }
    Ok(headers.into())
}

/// `host:port`, an IPv6 address in brackets.
fn host_and_port(
    fields: &BodyFields,
    name: &str,
    text: &str,
) -> Result<(Box<str>, u16), ConsulError> {
    let wrong = || fields.invalid(name, "must be an address such as \"host:port\"");
    let (of_host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    if of_host.contains(':') && !of_host.starts_with('[') {
        return Err(wrong());
    }
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let of_host = host(of_host).map_err(|_| wrong())?;
    match port {
        0 => Err(wrong()),
        port => Ok((of_host.into(), port)),
    }
}
