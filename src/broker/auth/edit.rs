//! Changes of users at run time: judged, and written as rows. Pure.

use std::collections::BTreeMap;

use serde_json::json;

use super::config::{PermissionConfig, Secret, TopicPermissionConfig, UserConfig};

/// The longest name of a user, a tag or a pattern's exchange, in bytes: what AMQP can carry.
const NAME_BYTES_MAX: usize = 255;
/// The most tags of a user.
const TAGS_MAX: usize = 64;
/// The longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 4096;
/// The most vhosts in which a user has permissions, and the most exchanges with permissions of topics in one of them.
const PERMISSIONS_MAX: usize = 1024;
/// The longest hash, in bytes.
const HASH_BYTES_MAX: usize = 1024;

/// A password as a user gets it.
#[derive(Clone, Debug, PartialEq)]
pub enum UserPassword {
    /// None: the user logs in by certificate only.
    None,
    /// In plain text; it is hashed before it is kept.
    Plain(Secret),
    /// A hash, and the name of its algorithm if it is not argon2.
    Hash(Secret, Option<String>),
}

/// A change of one user.
#[derive(Clone, Debug, PartialEq)]
pub enum UserEdit {
    /// A new user without permissions.
    Add {
        /// Its password.
        password: UserPassword,
        /// Its tags.
        tags: Vec<String>,
        /// May connect from this machine only.
        loopback_only: bool,
    },
    /// A new user, or another password and other tags of one that exists, as RabbitMQ's PUT does.
    Put {
        /// The password; none keeps the one that there is.
        password: Option<UserPassword>,
        /// The tags.
        tags: Vec<String>,
    },
    /// Another password.
    Password(UserPassword),
    /// Other tags.
    Tags(Vec<String>),
    /// Other permissions in a vhost; none removes them.
    Permit(String, Option<PermissionConfig>),
    /// Other permissions of topics at an exchange of a vhost; none removes them.
    PermitTopics(String, String, Option<TopicPermissionConfig>),
    /// No permissions of topics in a vhost.
    FreeTopics(String),
    /// The whole user, from definitions.
    Replace(Box<UserConfig>),
    /// It is removed.
    Delete,
}

/// Why a user was not changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UserRefused {
    /// A value is wrong; the first part is its field.
    #[error("{1}")]
    Field(&'static str, String),
    /// The user is in the configuration.
    #[error(
        "user \"{0}\" is set in the configuration (broker.users, broker.auth.guest): change it there"
    )]
    Configured(String),
    /// There is such a user.
    #[error("user \"{0}\" exists")]
    Exists(String),
    /// There is no such user.
    #[error("there is no user \"{0}\"")]
    Unknown(String),
    /// There is no such vhost.
    #[error("there is no vhost \"{0}\"")]
    NoVhost(String),
    /// There are too many.
    #[error("there are {0} users made at run time (broker.auth.users_max)")]
    Full(usize),
    /// The password was not hashed.
    #[error("the password was not hashed: {0}")]
    NotHashed(String),
    /// The change could not be stored.
    #[error("the user was not stored: {0}")]
    NotStored(String),
}

/// What a user is after a change: none when it is removed. Plain passwords must have been hashed.
///
/// # Errors
/// The change is not possible.
pub fn edited(
    name: &str,
    known: Option<&UserConfig>,
    edit: UserEdit,
) -> Result<Option<UserConfig>, UserRefused> {
    check_name("name", name)?;
    let existing = || {
        let known = known.cloned();
        known.ok_or_else(|| UserRefused::Unknown(name.to_owned()))
    };
    let user = match edit {
        UserEdit::Add { .. } if known.is_some() => {
            return Err(UserRefused::Exists(name.to_owned()));
        }
        UserEdit::Add {
            password,
            tags,
            loopback_only,
        } => {
            let user = UserConfig {
                loopback_only,
                tags,
                ..UserConfig::default()
            };
            with_password(user, password)?
        }
        UserEdit::Put { password, tags } => {
            let mut user = known.cloned().unwrap_or_default();
            user.tags = tags;
            match password {
                Some(password) => with_password(user, password)?,
                None => user,
            }
        }
        UserEdit::Password(password) => with_password(existing()?, password)?,
        UserEdit::Tags(tags) => UserConfig {
            tags,
            ..existing()?
        },
        UserEdit::Permit(vhost, permission) => {
            let mut user = existing()?;
            put(&mut user.permissions, vhost, permission);
            user
        }
        UserEdit::PermitTopics(vhost, exchange, permission) => {
            let mut user = existing()?;
            let of_vhost = user.topic_permissions.entry(vhost.clone()).or_default();
            put(of_vhost, exchange, permission);
            if of_vhost.is_empty() {
                user.topic_permissions.remove(&vhost);
            }
            user
        }
        UserEdit::FreeTopics(vhost) => {
            let mut user = existing()?;
            user.topic_permissions.remove(&vhost);
            user
        }
        UserEdit::Replace(user) => *user,
        UserEdit::Delete => return existing().map(|_| None),
    };
    check(&user)?;
    Ok(Some(user))
}

fn put<T>(all: &mut BTreeMap<String, T>, key: String, value: Option<T>) {
    match value {
        Some(value) => all.insert(key, value),
        None => all.remove(&key),
    };
}

fn with_password(mut user: UserConfig, password: UserPassword) -> Result<UserConfig, UserRefused> {
    (user.password_hash, user.hashing_algorithm) = match password {
        UserPassword::None => (None, None),
        UserPassword::Hash(hash, algorithm) => (Some(hash), algorithm),
        UserPassword::Plain(_) => {
            let message = "it is still in plain text".to_owned();
            return Err(UserRefused::NotHashed(message));
        }
    };
    Ok(user)
}

fn check_name(field: &'static str, name: &str) -> Result<(), UserRefused> {
    let fault = if name.is_empty() {
        "is empty".to_owned()
    } else if name.len() > NAME_BYTES_MAX {
        format!("is longer than {NAME_BYTES_MAX} bytes")
    } else if name.chars().any(char::is_control) {
        "has control characters".to_owned()
    } else {
        return Ok(());
    };
    Err(UserRefused::Field(field, fault))
}

/// The sizes of what a stranger to the configuration says. Patterns and hashes are read when the user is made.
fn check(user: &UserConfig) -> Result<(), UserRefused> {
    let too_many = |field, what: &str| {
        let message = format!("has too many {what}");
        Err(UserRefused::Field(field, message))
    };
    if user.tags.len() > TAGS_MAX {
        return too_many("tags", "items: at most 64");
    }
    for tag in &user.tags {
        check_name("tags", tag)?;
    }
    let hash = user.password_hash.as_ref();
    if hash.is_some_and(|hash| hash.expose().len() > HASH_BYTES_MAX) {
        let message = format!("is longer than {HASH_BYTES_MAX} bytes");
        return Err(UserRefused::Field("password_hash", message));
    }
    let topics = user.topic_permissions.values();
    if user.permissions.len() > PERMISSIONS_MAX
        || user.topic_permissions.len() > PERMISSIONS_MAX
        || topics.clone().any(|one| one.len() > PERMISSIONS_MAX)
    {
        return too_many("permissions", "entries: at most 1024");
    }
    let patterns = user.permissions.values();
    let patterns = patterns.flat_map(|one| {
        [
            ("configure", &one.configure),
            ("write", &one.write),
            ("read", &one.read),
        ]
    });
    let topics = topics.flat_map(BTreeMap::values);
    let topics = topics.flat_map(|one| [("write", &one.write), ("read", &one.read)]);
    for (field, pattern) in patterns.chain(topics) {
        if pattern.len() > PATTERN_BYTES_MAX {
            let message = format!("is longer than {PATTERN_BYTES_MAX} bytes");
            return Err(UserRefused::Field(field, message));
        }
    }
    for exchange in user.topic_permissions.values().flat_map(BTreeMap::keys) {
        check_name("exchange", exchange)?;
    }
    Ok(())
}

/// A user as a row. It has the hash of its password.
pub fn encode(user: &UserConfig) -> Vec<u8> {
    json!({
        "password_hash": user.password_hash.as_ref().map(Secret::expose),
        "hashing_algorithm": user.hashing_algorithm,
        "tags": user.tags,
        "loopback_only": user.loopback_only,
        "permissions": user.permissions,
        "topic_permissions": user.topic_permissions,
    })
    .to_string()
    .into_bytes()
}

/// Reads a row.
///
/// # Errors
/// It is none.
pub fn decode(row: &[u8]) -> Result<UserConfig, serde_json::Error> {
    serde_json::from_slice(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash() -> UserPassword {
        UserPassword::Hash("$argon2id$x".to_owned().into(), None)
    }

    fn add() -> UserEdit {
        UserEdit::Add {
            password: hash(),
            tags: vec!["monitoring".to_owned()],
            loopback_only: true,
        }
    }

    fn user() -> UserConfig {
        edited("u", None, add()).unwrap().unwrap()
    }

    #[test]
    fn each_change_says_what_the_user_is_then() {
        let known = user();
        let edit = |edit| edited("u", Some(&known), edit);
        assert_eq!(edit(add()), Err(UserRefused::Exists("u".to_owned())));
        assert_eq!(edit(UserEdit::Delete), Ok(None));
        let none = edit(UserEdit::Password(UserPassword::None))
            .unwrap()
            .unwrap();
        assert_eq!(none.password_hash, None);
        let put = UserEdit::Put {
            password: None,
            tags: Vec::new(),
        };
        let changed = edit(put).unwrap().unwrap();
        assert_eq!(changed.password_hash, known.password_hash);
        assert!(changed.tags.is_empty() && changed.loopback_only);
        let permit = UserEdit::Permit("/".to_owned(), Some(PermissionConfig::all()));
        let permitted = edit(permit).unwrap().unwrap();
        assert_eq!(permitted.permissions["/"], PermissionConfig::all());
        let topics = TopicPermissionConfig {
            write: "^a".to_owned(),
            read: String::new(),
        };
        let permit = |topics| UserEdit::PermitTopics("/".to_owned(), "e".to_owned(), topics);
        let limited = edit(permit(Some(topics.clone()))).unwrap().unwrap();
        assert_eq!(limited.topic_permissions["/"]["e"], topics);
        let freed = edited("u", Some(&limited), permit(None)).unwrap().unwrap();
        assert_eq!(freed, known);
        let free = UserEdit::FreeTopics("/".to_owned());
        assert_eq!(edited("u", Some(&limited), free).unwrap().unwrap(), known);
        for edit in [UserEdit::Delete, UserEdit::Tags(Vec::new())] {
            let refused = edited("v", None, edit);
            assert_eq!(refused, Err(UserRefused::Unknown("v".to_owned())));
        }
    }

    #[test]
    fn what_is_too_large_is_refused_by_its_field() {
        let field = |name: &str, edit| match edited(name, Some(&user()), edit) {
            Err(UserRefused::Field(field, _)) => field,
            other => panic!("{other:?}"),
        };
        let tags = |tag: &str, count| UserEdit::Tags(vec![tag.to_owned(); count]);
        assert_eq!(field("", UserEdit::Delete), "name");
        assert_eq!(field(&"x".repeat(256), UserEdit::Delete), "name");
        assert_eq!(field("a\nb", UserEdit::Delete), "name");
        assert_eq!(field("u", tags("", 1)), "tags");
        assert_eq!(field("u", tags("t", 65)), "tags");
        let long = PermissionConfig {
            write: "x".repeat(4097),
            ..PermissionConfig::default()
        };
        assert_eq!(
            field("u", UserEdit::Permit("/".to_owned(), Some(long))),
            "write"
        );
        let long = UserPassword::Hash("x".repeat(1025).into(), None);
        assert_eq!(field("u", UserEdit::Password(long)), "password_hash");
    }

    #[test]
    fn a_row_is_read_as_it_was_written_and_a_plain_password_is_not() {
        let mut user = user();
        user.hashing_algorithm = Some("argon2".to_owned());
        user.permissions
            .insert("/".to_owned(), PermissionConfig::all());
        assert_eq!(decode(&encode(&user)).unwrap(), user);
        assert!(decode(b"{\"other\":1}").is_err() && decode(b"").is_err());
        let plain = UserEdit::Password(UserPassword::Plain("secret".to_owned().into()));
        let refused = edited("u", Some(&user), plain.clone()).unwrap_err();
        assert!(matches!(refused, UserRefused::NotHashed(_)));
        assert!(!format!("{plain:?} {refused}").contains("secret"));
    }
}
