//! The sections `broker.users` and `broker.auth`.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::quantity::{Bounded, YEAR};

/// Section `broker.users`: the users by name.
pub type Users = BTreeMap<String, UserConfig>;

/// One user. With neither password, the user can log in by certificate only.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct UserConfig {
    /// The password in plain text.
    pub password: Option<Secret>,
    /// A file with the password, in the place of `password`; white space around it is left out.
    pub password_file: Option<PathBuf>,
    /// An argon2 hash of the password, as `$argon2id$…`, or one of RabbitMQ with its `hashing_algorithm`.
    pub password_hash: Option<Secret>,
    /// How the hash was made: `argon2`, the default, or `rabbit_password_hashing_sha256` or `_sha512`.
    pub hashing_algorithm: Option<String>,
    /// Further rights of the user: `impersonator` may publish under another name.
    pub tags: Vec<String>,
    /// May connect from this machine only.
    pub loopback_only: bool,
    /// The user's permissions in each vhost; none in a vhost that is not listed.
    pub permissions: BTreeMap<String, PermissionConfig>,
    /// Which routing keys of topic exchanges the user may use, by vhost and exchange; all of them at an exchange that is
    /// not listed.
    pub topic_permissions: TopicPermissions,
}

/// Permissions of topics by vhost and exchange.
pub type TopicPermissions = BTreeMap<String, BTreeMap<String, TopicPermissionConfig>>;

/// Which routing keys of a topic exchange a user may use: regular expressions, in which `{username}` and `{vhost}` are
/// replaced. An empty expression allows only the empty key.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = BrokerTopicPermission)]
pub struct TopicPermissionConfig {
    /// The keys that may be published with.
    pub write: String,
    /// The keys that may be bound with.
    pub read: String,
}

/// Which resources of a vhost a user may use: regular expressions that match anywhere in a name unless they are
/// anchored. An empty expression allows only the empty name.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = BrokerPermission)]
pub struct PermissionConfig {
    /// The names that may be declared and deleted.
    pub configure: String,
    /// The names that may be published to, or be the destination of a binding.
    pub write: String,
    /// The names that may be consumed or purged, or be the source of a binding.
    pub read: String,
}

impl PermissionConfig {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self {
            configure: ".*".to_owned(),
            write: ".*".to_owned(),
            read: ".*".to_owned(),
        }
    }
}

/// A password or its hash; `Debug` does not show it, and its memory is overwritten when it is dropped.
#[derive(Clone, Deserialize, PartialEq)]
#[serde(from = "String")]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self(Zeroizing::new(secret))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Section `broker.auth`: how logins are checked.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether the user `guest` with the password `guest` exists, who may do everything from this machine. A
    /// user of this name in `broker.users` replaces it.
    pub guest: bool,
    /// How many password hashes are computed at a time.
    pub checks_at_once: Bounded<usize, 1, 1_024>,
    /// How many logins may wait for that.
    pub checks_waiting: Bounded<usize, 0, 1_000_000>,
    /// How many failed logins in a row an address may have before it has to wait.
    pub failures_per_address: Bounded<u32, 1, 1_000_000_000>,
    /// The same for a user, from all addresses together.
    pub failures_per_user: Bounded<u32, 1, 1_000_000_000>,
    /// After how long all these failures are forgotten.
    pub failures_forgotten: Bounded<Duration, 1, YEAR>,
    /// How many addresses are kept for that.
    pub addresses: Bounded<usize, 1, 10_000_000>,
    /// How many users may be made at run time.
    pub users_max: Bounded<usize, 0, 1_000_000>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            guest: true,
            checks_at_once: 2.into(),
            checks_waiting: 10_000.into(),
            failures_per_address: 20.into(),
            failures_per_user: 100.into(),
            failures_forgotten: Duration::from_secs(60).into(),
            addresses: 10_000.into(),
            users_max: 10_000.into(),
        }
    }
}
