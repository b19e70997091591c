//! Answers and refusals as RabbitMQ words them.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{
    broker::{local::LocalError, server::OperationRefused},
    http::answer::{json as json_answer, json_as},
};

const REALM: HeaderValue = HeaderValue::from_static("Basic realm=\"RabbitMQ Management\"");

/// A refusal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ManagementRefusal {
    code: u16,
    error: &'static str,
    reason: Value,
}

impl ManagementRefusal {
    fn new(code: u16, error: &'static str, reason: impl Into<Value>) -> Self {
        Self {
            code,
            error,
            reason: reason.into(),
        }
    }

    /// 400.
    pub(super) fn bad(reason: impl Into<Value>) -> Self {
        Self::new(400, "bad_request", reason)
    }

    /// 400 for a page that is not there.
    pub(super) fn no_page(reason: String) -> Self {
        Self::new(400, "page_out_of_range", reason)
    }

    /// 401 for a login.
    pub(super) fn login(reason: impl Into<Value>) -> Self {
        Self::new(401, "not_authorized", reason)
    }

    /// 401 for a user who may not do this.
    pub(super) fn denied(reason: impl Into<Value>) -> Self {
        Self::new(401, "not_authorised", reason)
    }

    /// 404.
    pub(super) fn unknown() -> Self {
        Self::new(404, "Object Not Found", "Not Found")
    }

    /// 404 with a reason.
    pub(super) fn not_found(reason: impl Into<Value>) -> Self {
        Self::new(404, "not_found", reason)
    }

    /// 405 for what this server cannot do.
    pub(super) fn not_allowed(reason: impl Into<Value>) -> Self {
        Self::new(405, "method_not_allowed", reason)
    }

    /// 503.
    pub(super) fn unavailable(reason: impl Into<Value>) -> Self {
        Self::new(503, "service_unavailable", reason)
    }
}

impl IntoResponse for ManagementRefusal {
    fn into_response(self) -> Response {
        let body = json!({"error": self.error, "reason": self.reason}).to_string();
        let status = StatusCode::from_u16(self.code).unwrap_or(StatusCode::BAD_REQUEST);
        let mut response = json_as(status, body);
        if self.error == "not_authorized" {
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, REALM);
        }
        response
    }
}

impl From<OperationRefused> for ManagementRefusal {
    fn from(refused: OperationRefused) -> Self {
        match refused {
            OperationRefused::NoVhost => Self::not_found("vhost_not_found"),
            OperationRefused::NoAccess => {
                Self::denied("User not authorised to access virtual host")
            }
            OperationRefused::Refused(error) => error.into(),
            OperationRefused::Stopping => Self::unavailable("the broker is stopping"),
        }
    }
}

impl From<LocalError> for ManagementRefusal {
    fn from(error: LocalError) -> Self {
        match error {
            LocalError::Closed { code, text } => {
                // Without the name of the code.
                let reason = text.split_once(" - ").map_or(&*text, |(_, reason)| reason);
                match code {
                    404 => Self::not_found(reason),
                    403 => Self::denied(reason),
                    506 => Self::unavailable(reason),
                    _ => Self::bad(reason),
                }
            }
            LocalError::Refused => Self::bad("a queue refused the message"),
        }
    }
}

/// The answer of an endpoint.
pub(super) type ManagementAnswer = Result<Response, ManagementRefusal>;

/// 200 with JSON.
pub(super) fn ok(value: &Value) -> ManagementAnswer {
    Ok(json_answer(value.to_string()))
}

/// 200 `{"status":"ok"}`.
pub(super) fn fine() -> ManagementAnswer {
    ok(&json!({"status": "ok"}))
}

/// 201 for what is new, 204 for what was there.
pub(super) fn made(is_new: bool) -> ManagementAnswer {
    let code = match is_new {
        true => StatusCode::CREATED,
        false => StatusCode::NO_CONTENT,
    };
    Ok(code.into_response())
}

/// 204.
pub(super) fn done() -> ManagementAnswer {
    made(false)
}
