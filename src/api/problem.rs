//! Errors as callers see them: `application/problem+json` (RFC 9457).

use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::vocabulary::encode;

/// One thing that is wrong with one field.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, ToSchema)]
pub struct FieldError {
    /// The field's path, such as `port` or `checks[0].url`.
    pub field: String,
    /// What is wrong with it and what is right.
    pub message: String,
}

/// An answer that says what went wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The HTTP status code.
    pub status: u16,
    /// The message.
    pub detail: String,
    /// Every field that is wrong; empty for other problems.
    pub errors: Vec<FieldError>,
}

impl Problem {
    /// A problem without fields.
    pub fn new(status: u16, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    /// A 422 that names every wrong field.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [only] => format!("{} {}", only.field, only.message),
            _ => {
                let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
                format!(
                    "{} fields are not valid: {}",
                    fields.len(),
                    fields.join(", ")
                )
            }
        };
        Self {
            status: 422,
            detail,
            errors,
        }
    }

    /// Both at once where both name fields, else the one that does not.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        match (self.status, other.status) {
            (422, 422) => {
                self.errors.extend(other.errors);
                Self::invalid(self.errors)
            }
            (422, _) => other,
            _ => self,
        }
    }

    /// A refusal: of one field where it names one, else of the whole.
    pub fn refused(status: u16, field: Option<&str>, message: String) -> Self {
        match field {
            Some(field) => Self {
                status,
                ..Self::field(field, message)
            },
            None => Self::new(status, message),
        }
    }

    /// A 422 about one field.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError {
            field: field.into(),
            message: message.into(),
        }])
    }

    /// The status code in words, as in RFC 9110: two have newer names than in the library.
    pub fn title(&self) -> &'static str {
        let known = StatusCode::from_u16(self.status).ok();
        match self.status {
            413 => "Content Too Large",
            422 => "Unprocessable Content",
            _ => (known.and_then(|status| status.canonical_reason())).unwrap_or("Unknown Error"),
        }
    }

    /// Its JSON.
    pub fn to_json(&self) -> Vec<u8> {
        encode(&ProblemAnswer {
            kind: "about:blank",
            title: self.title(),
            status: self.status,
            detail: &self.detail,
            errors: &self.errors,
        })
    }
}

/// An error, as in RFC 9457.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemAnswer<'a> {
    /// "about:blank".
    #[serde(rename = "type")]
    kind: &'a str,
    /// The status code in words.
    title: &'a str,
    /// The status code.
    status: u16,
    /// The message.
    detail: &'a str,
    /// With a 422: every wrong field.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

#[cfg(test)]
mod tests;
