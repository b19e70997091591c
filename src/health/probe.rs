//! One probe: what is sent, and which answer passes.

use std::time::Duration;

use http::Method;
use tokio::time::Instant;

use super::{Config, check::ProbeKind, report::Outcome, script};
use crate::{
    model::{Check, CheckKind, CodeRange, HttpCheck, REDIRECTS_MAX, Span},
    outbound::{Client, GrpcCall, OutboundError, PingTarget, Request, Response, Serving},
};

/// The rules for a probe's request and for the kept part of its result.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProbeLimits {
    /// Bytes of a body that are read.
    pub(super) body_max: usize,
    /// Characters of the line that is kept.
    pub(super) text_max: usize,
    /// `health.keep_body`.
    pub(super) keep_body: bool,
    /// `health.unsafe_requests`.
    pub(super) unsafe_requests: bool,
    /// `consul.enable_script_checks`.
    pub(super) scripts: bool,
}

impl ProbeLimits {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            body_max: usize::try_from(config.body_max.as_u64()).unwrap_or(usize::MAX),
            text_max: config.text_max.get(),
            keep_body: config.keep_body,
            unsafe_requests: config.unsafe_requests,
            scripts: config.scripts,
        }
    }
}

/// Probes once, within `timeout`.
pub(super) async fn run(
    client: &Client,
    kind: ProbeKind<'_>,
    timeout: Duration,
    limits: ProbeLimits,
) -> (Outcome, Box<str>) {
    let deadline = Instant::now() + timeout;
    let done = probe(client, kind, deadline, limits).await;
    let (outcome, text) = match done {
        Ok((outcome, text)) => (outcome, text),
        Err(error) => (outcome_of(&error), words(&error, timeout, limits)),
    };
    (outcome, in_one_line(&text, limits.text_max))
}

async fn probe(
    client: &Client,
    kind: ProbeKind<'_>,
    deadline: Instant,
    limits: ProbeLimits,
) -> Result<(Outcome, String), OutboundError> {
    match kind {
        ProbeKind::Url(url) => {
            let request = Request::new(Method::GET, url);
            let rules = HttpRules {
                expected: &[200..=299],
                redirects: 0,
                warns: false,
            };
            http(client, request, rules, deadline, limits).await
        }
        ProbeKind::Listed(check) => listed(client, check, deadline, limits).await,
    }
}

/// A check in full form.
async fn listed(
    client: &Client,
    check: &Check,
    deadline: Instant,
    limits: ProbeLimits,
) -> Result<(Outcome, String), OutboundError> {
    // Consul takes "too many requests" for a warning.
    let warns = check.options.is_some();
    match &check.kind {
        CheckKind::Http(check) => {
            if let Some(part) = check.unsafe_part().filter(|_| !limits.unsafe_requests) {
                let text = format!("not sent: {part} needs health.unsafe_requests = true");
                return Ok((Outcome::Denied, text));
            }
            let request = request(check)?;
            let redirects = check.redirects.min(REDIRECTS_MAX);
            let rules = HttpRules {
                expected: &check.expected,
                redirects,
                warns,
            };
            http(client, request, rules, deadline, limits).await
        }
        CheckKind::Tcp { host, port } => {
            client.connect_tcp(host, *port, deadline).await?;
            Ok((Outcome::Passed, "connected".to_owned()))
        }
        CheckKind::Grpc {
            host,
            port,
            service,
            tls,
            tls_skip_verify,
        } => {
            let call = GrpcCall {
                host: host.clone(),
                port: *port,
                service: service.clone(),
                tls: *tls,
                tls_skip_verify: *tls_skip_verify,
            };
            Ok(served(client.grpc_health(&call, deadline).await?))
        }
        CheckKind::Udp { host, port } => {
            client.send_datagram(host, *port, deadline).await?;
            Ok((Outcome::Passed, "not refused".to_owned()))
        }
        CheckKind::H2Ping {
            host,
            port,
            tls,
            tls_skip_verify,
        } => {
            let target = PingTarget {
                host: host.clone(),
                port: *port,
                tls: *tls,
                tls_skip_verify: *tls_skip_verify,
            };
            client.ping_http2(&target, deadline).await?;
            Ok((Outcome::Passed, "HTTP/2 ping was successful".to_owned()))
        }
        // Its registration may be from a time when the key was set.
        CheckKind::Script { .. } if !limits.scripts => {
            let text = "not run: programs need consul.enable_script_checks = true";
            Ok((Outcome::Denied, text.to_owned()))
        }
        CheckKind::Script { args } => Ok(script::run(args, deadline, limits.text_max).await),
        // The table and the scheduler evaluate these themselves.
        CheckKind::Ttl | CheckKind::Alias { .. } => Ok((Outcome::Skipped, String::new())),
    }
}

/// What counts as a pass of an HTTP check.
struct HttpRules<'a> {
    expected: &'a [CodeRange],
    redirects: u8,
    /// Whether 429 is a warning.
    warns: bool,
}

/// Sends a request and follows redirects; each hop is a separate request, so its address is checked too.
async fn http(
    client: &Client,
    mut request: Request,
    rules: HttpRules<'_>,
    deadline: Instant,
    limits: ProbeLimits,
) -> Result<(Outcome, String), OutboundError> {
    let HttpRules {
        expected,
        redirects,
        warns,
    } = rules;
    let mut left = redirects;
    loop {
        let answer = client.send(&request, deadline, limits.body_max).await?;
        let code = answer.status.as_u16();
        if expected.iter().any(|range| range.contains(&code)) {
            return Ok((Outcome::Passed, answer.status.to_string()));
        }
        if warns && code == 429 {
            return Ok((Outcome::Warned, failure(&answer, limits)));
        }
        match request.redirected(&answer) {
            Some(next) if left > 0 => {
                left -= 1;
                request = next;
            }
            Some(_) => return Ok((Outcome::Failed, not_followed(&answer, redirects))),
            None => return Ok((Outcome::Failed, failure(&answer, limits))),
        }
    }
}

fn request(check: &HttpCheck) -> Result<Request, OutboundError> {
    let method = Method::from_bytes(check.method.as_bytes());
    let method = method.map_err(|_| OutboundError::Invalid {
        what: check.method.chars().take(200).collect(),
        why: "it is not a method".into(),
    })?;
    let mut request = Request::new(method, &check.url);
    request.tls_skip_verify = check.tls_skip_verify;
    for (name, value) in &check.headers {
        request.add_header(name, value)?;
    }
    Ok(request)
}

fn failure(answer: &Response, limits: ProbeLimits) -> String {
    if !limits.keep_body {
        return answer.status.to_string();
    }
    let body = String::from_utf8_lossy(&answer.body);
    format!("{} {}", answer.status, body.trim())
}

fn not_followed(answer: &Response, redirects: u8) -> String {
    let status = answer.status;
    if redirects == 0 {
        format!(
            "{status}: redirects are not followed (field \"redirects\" of the check, at most {REDIRECTS_MAX})"
        )
    } else {
        format!("{status}: more redirects than the {redirects} of the check's field \"redirects\"")
    }
}

/// An error for people. A gRPC message is text of the target, like an HTTP body.
fn words(error: &OutboundError, timeout: Duration, limits: ProbeLimits) -> String {
    match error {
        OutboundError::Deadline(_) => format!("{error} ({})", Span(timeout)),
        OutboundError::Grpc { code, .. } if !limits.keep_body => {
            let name = usize::try_from(*code).ok();
            let name = name.and_then(|code| GRPC_CODES.get(code));
            format!("gRPC status {code} ({})", name.unwrap_or(&"unknown code"))
        }
        _ => error.to_string(),
    }
}

/// The names of gRPC's status codes, from 0 on.
const GRPC_CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

fn served(serving: Serving) -> (Outcome, String) {
    let (outcome, word) = match serving {
        Serving::Serving => (Outcome::Passed, "SERVING"),
        Serving::NotServing => (Outcome::Failed, "NOT_SERVING"),
        Serving::ServiceUnknown => (Outcome::Failed, "SERVICE_UNKNOWN"),
        Serving::Unknown => (Outcome::Failed, "UNKNOWN"),
        Serving::Other(number) => return (Outcome::Failed, format!("serving status {number}")),
    };
    (outcome, word.to_owned())
}

fn outcome_of(error: &OutboundError) -> Outcome {
    if error.is_deadline() {
        Outcome::TimedOut
    } else if error.is_denied() {
        Outcome::Denied
    } else if error.is_local() {
        Outcome::Skipped
    } else {
        Outcome::Failed
    }
}

/// The beginning of a text, without what would break a line or a terminal.
pub(super) fn in_one_line(text: &str, chars_max: usize) -> Box<str> {
    let mut line = String::with_capacity(text.len().min(chars_max));
    let visible = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    line.extend(visible.take(chars_max));
    line.trim_end().into()
}

#[cfg(test)]
mod tests;
