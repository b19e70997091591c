//! Tokens and the caller's own identity.

use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{problem::Problem, read, warnings::Warnings};
use crate::model::Timestamp;

/// The longest name of a token or a policy, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// The most policies of one token.
const POLICIES_MAX: usize = 64;
/// The longest time until a token expires, and the longest overlap of a rotation.
const LASTS_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How long the old secret stays valid without an `overlap`.
const OVERLAP_DEFAULT: Duration = Duration::from_secs(3600);

/// What a new token is to be.
#[derive(Clone, Debug, Eq, PartialEq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenDraft {
    /// 1 to 64 letters, digits, "-", "_" or ".".
    pub name: Box<str>,
    /// The names of its policies, at least one.
    #[schema(value_type = Vec<String>)]
    pub policies: Box<[Box<str>]>,
    /// When it ends, such as "30d"; without it never.
    #[schema(value_type = Option<String>)]
    pub expires_in: Option<Duration>,
}

impl TokenDraft {
    /// Reads the body of a new token, and says what it passed over.
    ///
    /// # Errors
    /// A 422 that names every wrong field.
    pub fn read(body: &[u8]) -> Result<(Self, Warnings), Problem> {
        read::request(body, &[], |fields| {
            let name = fields.required("name", |value| read::line(value, NAME_BYTES_MAX));
            let policies = fields.required("policies", policies);
            let range = [Duration::from_secs(1), LASTS_MAX];
            let expires_in = fields.optional("expires_in", |value| read::span(value, range));
            Some(Self {
                name: name?,
                policies: policies?,
                expires_in,
            })
        })
    }
}

fn policies(value: &RawValue) -> Result<Box<[Box<str>]>, String> {
    let items = read::list(value, POLICIES_MAX)?;
    if items.is_empty() {
        return Err("is empty: name at least one policy".to_owned());
    }
    let names = items.into_iter();
    names.map(|item| read::line(item, NAME_BYTES_MAX)).collect()
}

/// How a token is rotated.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateDraft {
    /// How long the old secret stays valid; default "1h", "0s" ends it at once.
    #[schema(value_type = Option<String>)]
    pub overlap: Duration,
}

impl RotateDraft {
    /// Reads the body of a rotation, which may be empty.
    ///
    /// # Errors
    /// A 422 that names every wrong field.
    pub fn read(body: &[u8]) -> Result<(Self, Warnings), Problem> {
        let body = match body.trim_ascii().is_empty() {
            true => b"{}",
            false => body,
        };
        read::request(body, &[], |fields| {
            let range = [Duration::ZERO, LASTS_MAX];
            let overlap = fields.optional("overlap", |value| read::span(value, range));
            Some(Self {
                overlap: overlap.unwrap_or(OVERLAP_DEFAULT),
            })
        })
    }
}

/// A token, without its secret.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Token)]
pub struct TokenAnswer {
    /// Its name.
    pub name: Box<str>,
    /// The names of its policies.
    #[schema(value_type = Vec<String>)]
    pub policies: Box<[Box<str>]>,
    /// "configuration", "first_start" or "run_time".
    pub source: &'static str,
    /// When it was made; of one in the configuration, when the daemon started.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
    /// How many of its secrets are valid: two during a rotation, none when it has expired.
    pub secrets: usize,
}

/// A token with its secret, which is shown this once.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = NewToken)]
pub struct TokenCreated {
    /// The token.
    #[serde(flatten)]
    pub token: TokenAnswer,
    /// Its secret.
    pub secret: String,
    /// Whether it survives a restart.
    pub stored: bool,
}

/// Every token.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Tokens)]
pub struct TokenList {
    /// By name.
    pub tokens: Vec<TokenAnswer>,
    /// How many.
    pub total_count: usize,
}

/// Who the caller is.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WhoAmI {
    /// Whether callers must prove who they are.
    pub authentication: bool,
    /// The caller's name; null without authentication.
    pub name: Option<String>,
    /// The names of its policies.
    pub policies: Vec<String>,
}

/// A ticket.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Ticket)]
pub struct TicketAnswer {
    /// For `?ticket=` of one stream.
    pub ticket: String,
    /// How long it may be used, in seconds.
    pub expires_in: u64,
}

#[cfg(test)]
mod tests {
    use super::{RotateDraft, TokenDraft};

    #[test]
    fn a_token_needs_a_name_and_policies() {
        let read = |body: &str| TokenDraft::read(body.as_bytes());
        let (draft, _) = read(r#"{"name":"ci","policies":["web"],"expires_in":"2d"}"#).unwrap();
        assert_eq!(draft.expires_in.unwrap().as_secs(), 172_800);
        for (body, field) in [
            (r#"{"policies":["web"]}"#, "name"),
            (r#"{"name":"ci"}"#, "policies"),
            (r#"{"name":"ci","policies":[]}"#, "policies"),
            (
                r#"{"name":"ci","policies":["web"],"expires_in":"soon"}"#,
                "expires_in",
            ),
        ] {
            let refused = read(body).unwrap_err();
            assert_eq!(refused.errors[0].field, field, "{body}");
        }
    }

    #[test]
    fn a_rotation_needs_nothing() {
        let seconds = |body: &str| {
            RotateDraft::read(body.as_bytes())
                .unwrap()
                .0
                .overlap
                .as_secs()
        };
        assert_eq!(seconds(""), 3600);
        assert_eq!(seconds("{}"), 3600);
        assert_eq!(seconds(r#"{"overlap":"0s"}"#), 0);
        assert!(RotateDraft::read(br#"{"overlap":"x"}"#).is_err());
    }
}
