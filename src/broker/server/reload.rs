//! Users, permissions and certificates, which can be replaced while the broker runs.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::{Broker, BrokerError, Shared, listener::Encryption};
use crate::broker::{
    auth::{self, Authenticator, Mechanism},
    config::Config,
    tls,
};

/// The users and the ways to log in.
#[derive(Debug)]
pub(super) struct LoginRules {
    /// Counts up with each reload.
    pub(super) version: u64,
    pub(super) auth: Authenticator,
    pub(super) mechanisms: Vec<Mechanism>,
    /// The heartbeat proposed to clients, in seconds.
    pub(super) heartbeat_s: u16,
    /// How encrypted connections begin, where there is an encrypted listener.
    pub(super) encryption: Option<Encryption>,
    read_from: Sections,
}

/// The parts of the configuration that these rules were read from.
#[derive(Clone, Debug, PartialEq)]
struct Sections {
    users: auth::Users,
    auth: auth::Config,
    tls: tls::Config,
}

/// The result of a reload.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reloaded {
    /// The keys whose new values are in effect.
    pub changed: Vec<&'static str>,
    /// The keys that have other values than at the start, and keep those until a restart.
    pub needs_restart: Vec<&'static str>,
}

impl LoginRules {
    /// Reads the certificates and checks the users.
    pub(super) fn new(config: &Config) -> Result<Self, BrokerError> {
        let auth = Authenticator::new(&config.auth, &config.users).map_err(BrokerError::Auth)?;
        Self::with(config, auth)
    }

    fn with(config: &Config, auth: Authenticator) -> Result<Self, BrokerError> {
        Ok(Self {
            version: 0,
            auth,
            mechanisms: config.auth_mechanisms.clone(),
            heartbeat_s: config.heartbeat_s(),
            encryption: Encryption::read(&config.tls)?,
            read_from: Sections {
                users: config.users.clone(),
                auth: config.auth.clone(),
                tls: config.tls.clone(),
            },
        })
    }

    /// Rules from another configuration; failed logins are not forgotten, unless their limits change.
    fn replaced(&self, config: &Config, run_time: &auth::Users) -> Result<Self, BrokerError> {
        let auth = Authenticator::new(&config.auth, &config.users).map_err(BrokerError::Auth)?;
        let of_run_time = run_time
            .iter()
            .filter(|(name, _)| auth.user(name).is_none())
            .filter_map(|(name, user)| {
                let user = auth.read_user(name, user).ok()?;
                Some((name.clone(), Some(Arc::new(user))))
            });
        let mut auth = auth.changed(of_run_time.collect::<Vec<_>>());
        if config.auth == self.read_from.auth {
            auth.keep_failures_of(&self.auth);
        }
        let rules = Self::with(config, auth)?;
        Ok(Self {
            version: self.version + 1,
            ..rules
        })
    }

    /// The same rules with other users.
    pub(super) fn with_auth(&self, auth: Authenticator) -> Self {
        Self {
            version: self.version + 1,
            auth,
            mechanisms: self.mechanisms.clone(),
            heartbeat_s: self.heartbeat_s,
            encryption: self.encryption.clone(),
            read_from: self.read_from.clone(),
        }
    }

    /// Whether a user of this name is in the configuration, or the default one.
    pub(super) fn is_configured(&self, name: &str) -> bool {
        let is_guest = self.read_from.auth.guest && name == auth::GUEST;
        is_guest || self.read_from.users.contains_key(name)
    }

    /// The users in the configuration.
    pub(super) fn configured(&self) -> &auth::Users {
        &self.read_from.users
    }

    /// The most users that are made at run time.
    pub(super) fn users_max(&self) -> usize {
        self.read_from.auth.users_max.get()
    }

    /// The keys whose values differ.
    fn changed(&self, other: &Self) -> Vec<&'static str> {
        let (old, new) = (&self.read_from, &other.read_from);
        let keys = [
            ("broker.users", old.users != new.users),
            ("broker.auth", old.auth != new.auth),
            (
                "broker.auth_mechanisms",
                self.mechanisms != other.mechanisms,
            ),
            ("broker.heartbeat", self.heartbeat_s != other.heartbeat_s),
            ("broker.tls", old.tls != new.tls),
        ];
        differing(&keys)
    }
}

fn differing(keys: &[(&'static str, bool)]) -> Vec<&'static str> {
    let differing = keys.iter().filter(|(_, differs)| *differs);
    differing.map(|(key, _)| *key).collect()
}

impl Shared {
    /// From now on these rules hold, for open connections too.
    pub(super) fn take_over(&self, rules: LoginRules) {
        let version = rules.version;
        self.access.store(Arc::new(rules));
        self.access_version.store(version, Relaxed);
        self.connections.wake_all();
    }
}

impl Broker {
    /// Takes over users, permissions, login rules, the proposed heartbeat and the certificates of a new
    /// configuration. Certificate files are read again even if their names are the same. Open connections get
    /// the new permissions of their users. They are closed with 320 if the user was removed or may no longer
    /// use the vhost. A password that changes closes no connection.
    ///
    /// # Errors
    /// The users or the files have faults; then nothing changes.
    pub fn reload(&self, config: &Config) -> Result<Reloaded, BrokerError> {
        let shared = &self.shared;
        let started = &shared.config;
        // The TLS listener is opened at the start only.
        let mut config = config.clone();
        let restart = differing(&[
            ("broker.listen", config.listen != started.listen),
            (
                "broker.management_listen",
                config.management_listen != started.management_listen,
            ),
            ("broker.tls.listen", config.tls.listen != started.tls.listen),
            ("broker.vhosts", config.vhosts != started.vhosts),
            ("broker.limits", config.limits != started.limits),
            (
                "broker.stamp_queues",
                config.stamp_queues != started.stamp_queues,
            ),
            (
                "broker.stamp_header",
                config.stamp_header != started.stamp_header,
            ),
            (
                "broker.stamp_user_header",
                config.stamp_user_header != started.stamp_user_header,
            ),
        ]);
        config.tls.listen.clone_from(&started.tls.listen);
        config.vhosts.clone_from(&started.vhosts);
        let run_time = shared.users.locked();
        let old = shared.access.load_full();
        let new = old.replaced(&config, &run_time)?;
        let changed = old.changed(&new);
        shared.take_over(new);
        drop(run_time);
        Ok(Reloaded {
            changed,
            needs_restart: restart,
        })
    }
}

#[cfg(test)]
mod tests;
