//! One probe: what is sent, and which answer passes.

use std::time::Duration;

use http::Method;
use tokio::time::Instant;

use super::{Config, check::Kind, report::Outcome};
use crate::{
    model::{CheckKind, HttpCheck},
    outbound::{Answer, Client, GrpcCall, OutboundError, Request, Serving},
};

/// What one probe may bring back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of a body.
    pub(super) body_max: usize,
    /// Characters of the line that is kept.
    pub(super) text_max: usize,
}

impl Limits {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            body_max: usize::try_from(config.body_max.as_u64()).unwrap_or(usize::MAX),
            text_max: config.text_max.get(),
        }
    }
}

/// Makes a probe, until its timeout at the latest.
pub(super) async fn run(
    client: &Client,
    kind: Kind<'_>,
    timeout: Duration,
    limits: Limits,
) -> (Outcome, Box<str>) {
    let deadline = Instant::now() + timeout;
    let done = probe(client, kind, deadline, limits.body_max).await;
    let (outcome, text) = match done {
        Ok((outcome, text)) => (outcome, text),
        Err(error) => (outcome_of(&error), error.to_string()),
    };
    (outcome, in_one_line(&text, limits.text_max))
}

async fn probe(
    client: &Client,
    kind: Kind<'_>,
    deadline: Instant,
    body_max: usize,
) -> Result<(Outcome, String), OutboundError> {
    match kind {
        Kind::Url(url) => {
            let request = Request::new(Method::GET, url);
            let answer = client.send(&request, deadline, body_max).await?;
            let passed = answer.status.is_success();
            Ok(told(&answer, passed))
        }
        Kind::Listed(CheckKind::Http(check)) => {
            let request = request(check)?;
            let answer = client.send(&request, deadline, body_max).await?;
            let code = answer.status.as_u16();
            let passed = check.expected.iter().any(|range| range.contains(&code));
            Ok(told(&answer, passed))
        }
        Kind::Listed(CheckKind::Tcp { host, port }) => {
            client.connect_tcp(host, *port, deadline).await?;
            Ok((Outcome::Passed, "connected".to_owned()))
        }
        Kind::Listed(CheckKind::Grpc {
            host,
            port,
            service,
            tls,
            tls_skip_verify,
        }) => {
            let call = GrpcCall {
                host: host.clone(),
                port: *port,
                service: service.clone(),
                tls: *tls,
                tls_skip_verify: *tls_skip_verify,
            };
            Ok(served(client.grpc_health(&call, deadline).await?))
        }
        // The table looks at these itself.
        Kind::Listed(CheckKind::Ttl) => Ok((Outcome::Skipped, String::new())),
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

fn told(answer: &Answer, passed: bool) -> (Outcome, String) {
    if passed {
        return (Outcome::Passed, answer.status.to_string());
    }
    let body = String::from_utf8_lossy(&answer.body);
    let text = format!("{} {}", answer.status, body.trim());
    (Outcome::Failed, text)
}

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
