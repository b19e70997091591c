//! Answers as Consul writes them: JSON, or an error as text.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Response as HttpResponse, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Value, ser::PrettyFormatter};

use super::query::{Consistency, ConsulQuery};
use crate::{
    catalog::Refusal,
    http::{answer::HttpProblem, watch::TooManyWatchers},
};

const INDEX: HeaderName = HeaderName::from_static("x-consul-index");
const KNOWN_LEADER: HeaderName = HeaderName::from_static("x-consul-knownleader");
const LAST_CONTACT: HeaderName = HeaderName::from_static("x-consul-lastcontact");
const CONSISTENCY: HeaderName = HeaderName::from_static("x-consul-effective-consistency");
const CONTENT_HASH: HeaderName = HeaderName::from_static("x-consul-contenthash");
const CACHE: HeaderName = HeaderName::from_static("x-cache");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// An error: a code and a sentence.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::http) struct ConsulError {
    pub(in crate::http) status: u16,
    pub(in crate::http) text: String,
}

/// The answer of an endpoint.
pub(in crate::http) type ConsulResult = Result<Response, ConsulError>;

impl ConsulError {
    pub(in crate::http) fn new(status: u16, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }

    /// A 400.
    pub(in crate::http) fn bad(text: impl Into<String>) -> Self {
        Self::new(400, text)
    }

    /// A 404.
    pub(in crate::http) fn unknown(text: impl Into<String>) -> Self {
        Self::new(404, text)
    }
}

impl IntoResponse for ConsulError {
    fn into_response(self) -> Response {
        text(self.status, self.text)
    }
}

/// A problem of the other doors in this door's form: Consul answers 403 where a token is missing or wrong.
impl From<HttpProblem> for ConsulError {
    fn from(problem: HttpProblem) -> Self {
        let problem = problem.problem();
        match problem.status {
            401 | 403 => Self::new(403, format!("Permission denied: {}", problem.detail)),
            status => Self::new(status, problem.detail.clone()),
        }
    }
}

impl From<Refusal> for ConsulError {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal.status() {
            403 => Self::new(403, format!("Permission denied: {text}")),
            422 => Self::bad(match refusal.field() {
                Some(field) => format!("{field}: {text}"),
                None => text,
            }),
            status => Self::new(status, text),
        }
    }
}

impl From<TooManyWatchers> for ConsulError {
    fn from(refused: TooManyWatchers) -> Self {
        Self::new(429, refused.to_string())
    }
}

/// A text with a code.
pub(in crate::http) fn text(status: u16, text: impl Into<String>) -> Response {
    let mut response = HttpResponse::new(Body::from(text.into()));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    response
}

/// A 200 without a body, as most changes are answered.
pub(in crate::http) fn done() -> Response {
    HttpResponse::new(Body::empty())
}

/// A value as JSON.
pub(in crate::http) fn json(status: StatusCode, value: &Value, query: &ConsulQuery) -> Response {
    let mut body = Vec::with_capacity(512);
    let written = match query.pretty {
        false => serde_json::to_writer(&mut body, value),
        true => {
            let format = PrettyFormatter::with_indent(b"    ");
            let mut out = serde_json::Serializer::with_formatter(&mut body, format);
            value.serialize(&mut out)
        }
    };
    debug_assert!(written.is_ok(), "a value can always be written");
    if query.pretty {
        body.push(b'\n');
    }
    encoded(status, body)
}

/// JSON that is ready.
pub(in crate::http) fn encoded(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = HttpResponse::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// A 200 with JSON, for what cannot be waited for.
pub(in crate::http) fn ok(value: &Value, query: &ConsulQuery) -> Response {
    json(StatusCode::OK, value, query)
}

/// Adds what a client that polls needs to know.
pub(in crate::http) fn with_index(
    mut response: Response,
    index: u64,
    query: &ConsulQuery,
) -> Response {
    let headers = response.headers_mut();
    headers.insert(INDEX, index.max(1).into());
    headers.insert(KNOWN_LEADER, HeaderValue::from_static("true"));
    headers.insert(LAST_CONTACT, HeaderValue::from_static("0"));
    let consistency = match query.consistency {
        Consistency::Leader => "leader",
        Consistency::Consistent => "consistent",
        Consistency::Stale => "stale",
    };
    headers.insert(CONSISTENCY, HeaderValue::from_static(consistency));
    if query.cached {
        headers.insert(CACHE, HeaderValue::from_static("MISS"));
        headers.insert(header::AGE, 0.into());
    }
    response
}

/// Adds the hash of what an agent endpoint answers.
pub(in crate::http) fn with_hash(mut response: Response, hash: &str) -> Response {
    if let Ok(value) = HeaderValue::try_from(hash) {
        response.headers_mut().insert(CONTENT_HASH, value);
    }
    response
}

/// A hash as clients send it back.
pub(in crate::http) fn hash_text(hash: u64) -> String {
    format!("{hash:016x}")
}
