//! The sections `broker.users` and `broker.auth`.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Deserialize;

use crate::quantity::{Bounded, YEAR};

/// Section `broker.users`: the users by name.
pub type Users = BTreeMap<String, UserConfig>;

/// One user. With neither password, the user can log in by certificate only.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct UserConfig {
    /// The password in plain text.
    pub password: Option<Secret>,
    /// An argon2 hash of the password, as `$argon2id$…`.
    pub password_hash: Option<Secret>,
    /// Further rights of the user: `impersonator` may publish under another name.
    pub tags: Vec<String>,
    /// May connect from this machine only.
    pub loopback_only: bool,
    /// The user's permissions in each vhost; none in a vhost that is not listed.
    pub permissions: BTreeMap<String, PermissionConfig>,
}

/// Which resources of a vhost a user may use: regular expressions that match anywhere in a name unless they are
/// anchored. An empty expression allows only the empty name.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
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

/// A secret in the configuration; `Debug` does not show it.
#[derive(Clone, Deserialize, PartialEq)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self(secret)
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
        }
    }
}
