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
    /// The fault, and the accepted values.
    pub message: String,
}

/// An error, as in RFC 9457.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, ToSchema)]
pub struct Problem {
    /// "about:blank".
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status code in words.
    pub title: &'static str,
    /// The status code.
    pub status: u16,
    /// The message.
    pub detail: String,
    /// With a 422, or a 409 of an import: every wrong field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl Problem {
    /// A problem without fields.
    pub fn new(status: u16, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: title(status),
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
            errors,
            ..Self::new(422, detail)
        }
    }

    /// A 409 that names every field that something existing differs from.
    pub fn conflict(errors: Vec<FieldError>) -> Self {
        Self {
            status: 409,
            title: title(409),
            ..Self::invalid(errors)
        }
    }

    /// Merges two problems if both name fields; otherwise keeps the one that names none.
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

    /// A refusal of one field, or of the whole request if it names none.
    pub fn refused(status: u16, field: Option<&str>, message: String) -> Self {
        match field {
            Some(field) => Self {
                status,
                title: title(status),
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

    /// Its JSON.
    pub fn to_json(&self) -> Vec<u8> {
        encode(self)
    }
}

/// A status code in words, as in RFC 9110: two have newer names than in the library.
fn title(status: u16) -> &'static str {
    let known = StatusCode::from_u16(status).ok();
    match status {
        413 => "Content Too Large",
        422 => "Unprocessable Content",
        _ => (known.and_then(|status| status.canonical_reason())).unwrap_or("Unknown Error"),
    }
}

#[cfg(test)]
mod tests;
