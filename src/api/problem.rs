//! Errors as callers see them: `application/problem+json` (RFC 9457).

use super::json::Json;

/// One thing that is wrong with one field.
#[derive(Clone, Debug, Eq, PartialEq)]
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

    /// The status code in words.
    pub fn title(&self) -> &'static str {
        match self.status {
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            409 => "Conflict",
            411 => "Length Required",
            413 => "Content Too Large",
            414 => "URI Too Long",
            415 => "Unsupported Media Type",
            422 => "Unprocessable Content",
            426 => "Upgrade Required",
            429 => "Too Many Requests",
            431 => "Request Header Fields Too Large",
            503 => "Service Unavailable",
            507 => "Insufficient Storage",
            _ => "Internal Server Error",
        }
    }

    /// Its JSON.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = Json::with_capacity(160 + self.detail.len());
        json.open(b'{');
        json.key("type").text("about:blank");
        json.key("title").text(self.title());
        json.key("status").number(self.status);
        json.key("detail").text(&self.detail);
        if !self.errors.is_empty() {
            json.key("errors").open(b'[');
            for error in &self.errors {
                json.item().open(b'{');
                json.key("field").text(&error.field);
                json.key("message").text(&error.message);
                json.close(b'}');
            }
            json.close(b']');
        }
        json.close(b'}');
        json.into_bytes()
    }
}
