//! Answers: JSON that is ready, or a problem.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;

use crate::{api::Problem, catalog};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const BEARER: HeaderValue = HeaderValue::from_static("Bearer");
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
pub(super) struct HttpProblem {
    problem: Problem,
    /// In seconds.
    retry_after: Option<u64>,
}

impl HttpProblem {
    pub(super) fn new(status: u16, detail: impl Into<String>) -> Self {
        Problem::new(status, detail).into()
    }

    /// The problem itself.
    pub(super) fn problem(&self) -> &Problem {
        &self.problem
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> u16 {
        self.problem.status
    }

    /// The same with Retry-After, in seconds.
    pub(super) fn after(self, seconds: u64) -> Self {
        Self {
            retry_after: Some(seconds),
            ..self
        }
    }

    /// The same with Retry-After, in seconds.
    pub(super) fn later(self, seconds: u16) -> Response {
        self.after(seconds.into()).into_response()
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
        let status = StatusCode::from_u16(self.problem.status);
        let mut response = json_as(
            status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            self.problem.to_json(),
        );
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, PROBLEM);
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.problem.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, BEARER);
        }
        response
    }
}

impl From<Problem> for HttpProblem {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            retry_after: None,
        }
    }
}

impl From<catalog::Refusal> for HttpProblem {
    fn from(refusal: catalog::Refusal) -> Self {
        let (status, field) = (refusal.status(), refusal.field());
        Problem::refused(status, field, refusal.to_string()).into()
    }
}

/// The answer of an endpoint.
pub(super) type EndpointResult = Result<Response, HttpProblem>;
