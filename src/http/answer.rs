//! Answers: JSON that is ready, or a problem.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;

use crate::{api::Problem, catalog};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A 200 with JSON.
pub(super) fn json(body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// JSON with another code than 200.
pub(super) fn json_as(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let mut response = json(body);
    *response.status_mut() = status;
    response
}

/// A problem as an answer.
#[derive(Clone, Debug)]
pub(super) struct HttpProblem(pub(super) Problem);

impl HttpProblem {
    pub(super) fn new(status: u16, detail: impl Into<String>) -> Self {
        Self(Problem::new(status, detail))
    }

    /// The same with Retry-After, in seconds.
    pub(super) fn later(self, seconds: u16) -> Response {
        let mut response = self.into_response();
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        response
    }

    /// No instance has this id.
    pub(super) fn unknown() -> Self {
        catalog::Refusal::Unknown.into()
    }
}

/// A whole answer that closes the connection, for a client without a readable request.
pub(super) fn closing_answer(problem: &Problem) -> Vec<u8> {
    let body = problem.to_json();
    let retry = match problem.status {
        503 => "retry-after: 1\r\n",
        _ => "",
    };
    let mut answer = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/problem+json\r\n{retry}\
         connection: close\r\ncontent-length: {}\r\n\r\n",
        problem.status,
        problem.title,
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    answer
}

impl IntoResponse for HttpProblem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status);
        let mut response = json_as(
            status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            self.0.to_json(),
        );
        response.headers_mut().insert(header::CONTENT_TYPE, PROBLEM);
        response
    }
}

impl From<Problem> for HttpProblem {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<catalog::Refusal> for HttpProblem {
    fn from(refusal: catalog::Refusal) -> Self {
        let (status, field) = (refusal.status(), refusal.field());
        Self(Problem::refused(status, field, refusal.to_string()))
    }
}

/// The answer of an endpoint.
pub(super) type EndpointResult = Result<Response, HttpProblem>;
