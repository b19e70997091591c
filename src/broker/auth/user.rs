//! Users, as the configuration describes them.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use super::{
    ConfigFault,
    config::{Config, Secret, UserConfig, Users},
    password::{Digest, DigestKey, HashAlgorithm, Hashed},
    permissions::{Grant, Permissions},
    topics::TopicRights,
};

/// The default user.
pub(in crate::broker) const GUEST: &str = "guest";

/// One user.
#[derive(Debug)]
pub struct User {
    pub(super) name: Arc<str>,
    pub(super) check: PasswordCheck,
    tags: Vec<String>,
    loopback_only: bool,
    rights: Rights,
    topics: TopicsByVhost,
}

/// How a password is checked.
pub(super) enum PasswordCheck {
    /// Against a digest.
    Digest(Digest),
    /// Against an argon2 hash; once a password was right, against its digest.
    Hashed {
        hash: Hashed,
        remembered: OnceLock<Digest>,
    },
    /// No password is right.
    CertificateOnly,
}

impl fmt::Debug for PasswordCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Digest(_) => "Digest(…)",
            Self::Hashed { .. } => "Hashed(…)",
            Self::CertificateOnly => "CertificateOnly",
        })
    }
}

/// The permissions of a user.
#[derive(Debug)]
enum Rights {
    /// Everything in every vhost.
    All,
    Vhosts(HashMap<String, Permissions>),
}

/// The topics of a user by vhost.
type TopicsByVhost = HashMap<String, Arc<TopicRights>>;

/// A user may not open a vhost: 530.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("access to vhost '{vhost}' refused for user '{user}'")]
pub struct VhostDenied {
    vhost: String,
    user: Arc<str>,
}

impl User {
    /// The user's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its tags.
    #[must_use]
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// Whether the user has this tag.
    #[must_use]
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| own == tag)
    }

    /// The user's permissions in a vhost.
    ///
    /// # Errors
    /// When it has no permissions there.
    pub fn grant(&self, vhost: &str) -> Result<Grant, VhostDenied> {
        let permissions = match &self.rights {
            Rights::All => Some(Permissions::ALL),
            Rights::Vhosts(vhosts) => vhosts.get(vhost).cloned(),
        };
        let Some(permissions) = permissions else {
            return Err(VhostDenied {
                vhost: vhost.to_owned(),
                user: self.name.clone(),
            });
        };
        let impersonates = self.has_tag("impersonator");
        let grant = Grant::new(self.name.clone(), vhost, permissions, impersonates);
        Ok(grant.with_topics(self.topics.get(vhost).cloned()))
    }

    /// How its password is checked: `argon2`, RabbitMQ's name of another hash, `digest` for one that is in the
    /// configuration in plain text, or `none`.
    #[must_use]
    pub fn password_kind(&self) -> &'static str {
        match &self.check {
            PasswordCheck::Digest(_) => "digest",
            PasswordCheck::Hashed { hash, .. } => hash.algorithm().name(),
            PasswordCheck::CertificateOnly => "none",
        }
    }

    pub(super) fn may_come_from(&self, peer: IpAddr) -> bool {
        !self.loopback_only || peer.to_canonical().is_loopback()
    }
}

/// Reads all users.
pub(super) fn read(
    config: &Config,
    users: &Users,
    key: &DigestKey,
) -> Result<HashMap<String, Arc<User>>, Vec<ConfigFault>> {
    let mut faults = Vec::new();
    let mut all = HashMap::new();
    if config.guest {
        all.insert(GUEST.to_owned(), Arc::new(guest(key)));
    }
    for (name, user) in users {
        all.insert(name.clone(), Arc::new(one(name, user, key, &mut faults)));
    }
    if faults.is_empty() {
        Ok(all)
    } else {
        Err(faults)
    }
}

fn guest(key: &DigestKey) -> User {
    User {
        name: GUEST.into(),
        check: PasswordCheck::Digest(key.digest(GUEST, GUEST.as_bytes())),
        tags: vec!["administrator".to_owned()],
        loopback_only: true,
        rights: Rights::All,
        topics: HashMap::new(),
    }
}

/// Reads one user. What is wrong is added to `faults`, under its key in the configuration.
pub(super) fn one(
    name: &str,
    config: &UserConfig,
    key: &DigestKey,
    faults: &mut Vec<ConfigFault>,
) -> User {
    let mut fault = |key: String, message: String| {
        faults.push(ConfigFault {
            key: format!("broker.users.{name}{key}"),
            message,
        });
    };
    if name.is_empty() {
        fault(String::new(), "a user needs a name".to_owned());
    }
    let check = password_check(name, config, key, &mut fault);
    let mut vhosts = HashMap::new();
    for (vhost, patterns) in &config.permissions {
        match Permissions::new(patterns) {
            Ok(permissions) => {
                vhosts.insert(vhost.clone(), permissions);
            }
            Err(error) => {
                fault(
                    format!(".permissions.\"{vhost}\".{}", error.key),
                    error.source.to_string(),
                );
            }
        }
    }
    let mut topics = TopicsByVhost::new();
    for (vhost, exchanges) in &config.topic_permissions {
        match TopicRights::new(name, vhost, exchanges) {
            Ok(rights) => {
                topics.insert(vhost.clone(), Arc::new(rights));
            }
            Err((exchange, error)) => fault(
                format!(
                    ".topic_permissions.\"{vhost}\".\"{exchange}\".{}",
                    error.key
                ),
                error.source.to_string(),
            ),
        }
    }
    User {
        name: name.into(),
        check,
        tags: config.tags.clone(),
        loopback_only: config.loopback_only,
        rights: Rights::Vhosts(vhosts),
        topics,
    }
}

/// How a user's password is checked.
fn password_check(
    name: &str,
    config: &UserConfig,
    key: &DigestKey,
    fault: &mut impl FnMut(String, String),
) -> PasswordCheck {
    match (&config.password, &config.password_hash) {
        (Some(password), None) if password.expose().is_empty() => {
            let message = "is empty: set a password, or leave the key out for a user who logs in by certificate";
            fault(".password".to_owned(), message.to_owned());
            PasswordCheck::CertificateOnly
        }
        (Some(password), None) => {
            PasswordCheck::Digest(key.digest(name, password.expose().as_bytes()))
        }
        (None, Some(hash)) => match hashed(hash, config.hashing_algorithm.as_deref()) {
            Ok(hash) => PasswordCheck::Hashed {
                hash,
                remembered: OnceLock::new(),
            },
            Err((key, message)) => {
                fault(key.to_owned(), message);
                PasswordCheck::CertificateOnly
            }
        },
        (None, None) => PasswordCheck::CertificateOnly,
        (Some(_), Some(_)) => {
            let message = "has a password and a password_hash: keep one of them".to_owned();
            fault(String::new(), message);
            PasswordCheck::CertificateOnly
        }
    }
}

/// Reads a hash; an error comes with the key that is wrong.
fn hashed(hash: &Secret, algorithm: Option<&str>) -> Result<Hashed, (&'static str, String)> {
    let algorithm = algorithm.map_or(Ok(HashAlgorithm::Argon2), HashAlgorithm::named);
    let algorithm = algorithm.map_err(|error| (".hashing_algorithm", error.to_string()))?;
    Hashed::read(hash.expose(), algorithm).map_err(|error| {
        let message = format!("{error}; `musterd hash-password` makes one");
        (".password_hash", message)
    })
}
