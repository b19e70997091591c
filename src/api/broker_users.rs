//! Users of the embedded broker, and their permissions.

use secrecy::SecretString;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{problem::Problem, read, warnings::Warnings};

/// The longest name, tag or text, in bytes.
const TEXT_BYTES_MAX: usize = 4096;
/// The most tags of a user.
const TAGS_MAX: usize = 64;

/// A new user of the broker, or what is changed of one.
#[derive(Debug, Default, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerUserDraft {
    /// Of a new user: 1 to 255 bytes. Not to be changed.
    pub name: Option<Box<str>>,
    /// The password.
    #[schema(value_type = Option<String>)]
    pub password: Option<SecretString>,
    /// In its place, a hash: argon2 (`musterd hash-password`), or one of RabbitMQ with `hashing_algorithm`. An empty one
    /// is no password: the user logs in by certificate.
    #[schema(value_type = Option<String>)]
    pub password_hash: Option<SecretString>,
    /// "argon2", the default, "rabbit_password_hashing_sha256" or "rabbit_password_hashing_sha512".
    pub hashing_algorithm: Option<Box<str>>,
    /// Tags, such as "administrator" and "impersonator".
    #[schema(value_type = Option<Vec<String>>)]
    pub tags: Option<Vec<String>>,
    /// Whether it may connect from this machine only; default false.
    pub loopback_only: Option<bool>,
}

impl BrokerUserDraft {
    /// Reads the body of a new user, which needs a name and a password or a hash.
    ///
    /// # Errors
    /// A 422 that names every wrong field.
    pub fn read_new(body: &[u8]) -> Result<(Self, Warnings), Problem> {
        read::request(body, &[], |fields| {
            let name = fields.required("name", text);
            let draft = Self::fields(fields);
            if !draft.has_password() {
                let message = "is missing: give password or password_hash; \"password_hash\": \"\" is for a user \
                               without a password";
                fields.add("password", message);
            }
            Some(Self {
                name: Some(name?),
                ..draft
            })
        })
    }

    /// Reads the body of a change.
    ///
    /// # Errors
    /// A 422 that names every wrong field.
    pub fn read_change(body: &[u8]) -> Result<(Self, Warnings), Problem> {
        read::request(body, &["name"], |fields| {
            let draft = Self::fields(fields);
            if !draft.has_password() && draft.tags.is_none() {
                fields.add(
                    "body",
                    "changes nothing: give a password, a password_hash or tags",
                );
            }
            Some(draft)
        })
    }

    fn has_password(&self) -> bool {
        self.password.is_some() || self.password_hash.is_some()
    }

    fn fields(fields: &mut read::ObjectFields<'_>) -> Self {
        let secret = |value: &RawValue| text_or_empty(value).map(SecretString::from);
        let draft = Self {
            name: None,
            password: fields.optional("password", secret),
            password_hash: fields.optional("password_hash", secret),
            hashing_algorithm: fields.optional("hashing_algorithm", text),
            tags: fields.optional("tags", |value| {
                let items = read::list(value, TAGS_MAX)?;
                let tags = items.into_iter().map(|item| text(item).map(String::from));
                tags.collect()
            }),
            loopback_only: fields.optional("loopback_only", read::flag),
        };
        if draft.password.is_some() && draft.password_hash.is_some() {
            fields.add("password_hash", "is beside a password: give one of them");
        }
        draft
    }
}

fn text(value: &RawValue) -> Result<Box<str>, String> {
    read::line(value, TEXT_BYTES_MAX)
}

/// Secrets are never repeated in an answer.
fn text_or_empty(value: &RawValue) -> Result<String, String> {
    match serde_json::from_str::<String>(value.get()) {
        Ok(text) if text.len() <= TEXT_BYTES_MAX => Ok(text),
        Ok(_) => Err(format!("is longer than {TEXT_BYTES_MAX} bytes")),
        Err(_) => Err("must be text".to_owned()),
    }
}

/// Permissions in a vhost, or of the topics of an exchange: regular expressions.
#[derive(Clone, Debug, Eq, PartialEq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerPermissionDraft {
    /// The names that may be declared and deleted; not for topics.
    pub configure: Option<String>,
    /// The names that may be published to or bound; for topics, the routing keys that may be published with.
    pub write: String,
    /// The names that may be consumed from or bound to; for topics, the routing keys that may be bound with.
    pub read: String,
}

impl BrokerPermissionDraft {
    /// Reads the permissions in a vhost.
    ///
    /// # Errors
    /// A 422 that names every wrong field.
    pub fn read(body: &[u8]) -> Result<(Self, Warnings), Problem> {
        read::request(body, &["user", "vhost"], |fields| {
            let configure = fields.required("configure", text_or_empty);
            let write = fields.required("write", text_or_empty);
            let read = fields.required("read", text_or_empty);
            Some(Self {
                configure: Some(configure?),
                write: write?,
                read: read?,
            })
        })
    }

    /// Reads the permissions of the topics of an exchange.
    ///
    /// # Errors
    /// A 422 that names every wrong field.
    pub fn read_topics(body: &[u8]) -> Result<(Self, Warnings), Problem> {
        read::request(body, &["user", "vhost", "exchange"], |fields| {
            let write = fields.required("write", text_or_empty);
            let read = fields.required("read", text_or_empty);
            Some(Self {
                configure: None,
                write: write?,
                read: read?,
            })
        })
    }
}

/// The answer to a change of a broker's user.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerUserChanged {
    /// The user.
    pub name: String,
    /// Whether it survives a restart.
    pub stored: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_names_what_is_wrong_and_never_a_secret() {
        let new = |body: &str| BrokerUserDraft::read_new(body.as_bytes());
        let change = |body: &str| BrokerUserDraft::read_change(body.as_bytes());
        let (draft, _) = new(r#"{"name":"u","password":"known-secret","tags":["a"]}"#).unwrap();
        assert!(!format!("{draft:?}").contains("known-secret"));
        assert!(new(r#"{"name":"u","password_hash":""}"#).is_ok());
        assert!(change(r#"{"tags":[]}"#).is_ok());
        for (read, field) in [
            (new(r#"{"password":"x"}"#), "name"),
            (new(r#"{"name":"u"}"#), "password"),
            (
                new(r#"{"name":"u","password":["known-secret"]}"#),
                "password",
            ),
            (
                new(r#"{"name":"u","password":"known-secret","password_hash":"x"}"#),
                "password_hash",
            ),
            (change("{}"), "body"),
            (change(r#"{"tags":"x"}"#), "tags"),
        ] {
            let refused = read.unwrap_err();
            assert_eq!(refused.errors[0].field, field);
            assert!(
                !format!("{refused:?}").contains("known-secret"),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn permissions_need_each_expression() {
        let read = |body: &str| BrokerPermissionDraft::read(body.as_bytes());
        let (draft, _) = read(r#"{"configure":"","write":"^a","read":".*"}"#).unwrap();
        assert_eq!(
            (draft.configure.as_deref(), &*draft.write),
            (Some(""), "^a")
        );
        for (body, field) in [
            (r#"{"write":"","read":""}"#, "configure"),
            (r#"{"configure":"","write":1,"read":""}"#, "write"),
            (r#"{"configure":"","write":""}"#, "read"),
        ] {
            assert_eq!(read(body).unwrap_err().errors[0].field, field);
        }
        let topics = BrokerPermissionDraft::read_topics(br#"{"write":"a","read":""}"#);
        assert_eq!(topics.unwrap().0.configure, None);
    }
}
