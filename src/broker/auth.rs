//! Logins, and the permissions of users.
//!
//! A password in plain text is compared as a keyed digest. An argon2 hash is computed off the async threads,
//! a few at a time. Once a password was right, its digest is remembered and the next login costs a
//! microsecond. A refusal takes about as long for every name: if any user has a hash, one is computed for
//! each refusal. Nothing here knows a connection: the client's address and its response are parameters.

pub mod config;
pub mod edit;
pub mod password;
pub mod permissions;
pub mod sasl;
mod throttle;
pub mod topics;
pub mod user;

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;
use tokio::{sync::Semaphore, task, time::Instant};

pub(super) use self::user::GUEST;
pub use self::{
    config::{
        Config, PermissionConfig, Secret, TopicPermissionConfig, TopicPermissions, UserConfig,
        Users,
    },
    edit::{UserEdit, UserPassword, UserRefused},
    password::{HashAlgorithm, PasswordError, hash_password},
    permissions::{Access, Denied, Grant, Resource},
    sasl::{Credentials, Mechanism, Opening, SaslError},
    topics::TopicDenied,
    user::{User, VhostDenied},
};
use self::{
    password::{DigestKey, Hashed},
    throttle::Throttle,
    user::PasswordCheck,
};

/// A key of the configuration that is wrong, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigFault {
    /// The key, with dots between its parts.
    pub key: String,
    /// The fault.
    pub message: String,
}

/// A login that was refused: 403. The text is for the log; [`Refused::explanation`] is for the
/// client.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// No such user, or another password.
    #[error("unknown user or wrong password")]
    Wrong,
    /// The user may connect from this machine only.
    #[error("the user may connect from this machine only")]
    NotLoopback,
    /// Too many failures of this address or user.
    #[error("too many failed logins of this address or user")]
    TooManyFailures,
    /// Too many logins are waiting to be checked.
    #[error("too many logins are waiting to be checked")]
    Busy,
    /// The check did not come to an end.
    #[error("the password could not be checked")]
    Failed,
}

impl Refused {
    /// The error text for the client; it does not say whether the name or the password was wrong.
    #[must_use]
    pub fn explanation(self, mechanism: Mechanism, user: &str) -> String {
        let mechanism = mechanism.name();
        match self {
            Self::Wrong | Self::Failed => format!(
                "Login was refused using authentication mechanism {mechanism}. \
                 For details see the broker logfile."
            ),
            Self::NotLoopback => format!(
                "Login was refused using authentication mechanism {mechanism}: \
                 user '{user}' can only connect via localhost"
            ),
            Self::TooManyFailures | Self::Busy => format!(
                "Login was refused using authentication mechanism {mechanism}: \
                 {self}, try again later"
            ),
        }
    }
}

/// The users, and what is remembered of their logins.
#[derive(Debug)]
pub struct Authenticator {
    users: HashMap<String, Arc<User>>,
    key: Arc<DigestKey>,
    /// The hash that takes longest, computed for refusals that would be quicker.
    slowest: Option<Hashed>,
    throttle: Arc<Mutex<Throttle>>,
    /// One for each hash that is being computed.
    checks: Arc<Semaphore>,
    /// One for each login that waits for that.
    waiting: Arc<Semaphore>,
}

impl Authenticator {
    /// Reads the two sections.
    ///
    /// # Errors
    /// With every key that is wrong.
    pub fn new(config: &Config, users: &Users) -> Result<Self, Vec<ConfigFault>> {
        let key = DigestKey::new().map_err(|error| {
            vec![ConfigFault {
                key: "broker.auth".to_owned(),
                message: error.to_string(),
            }]
        })?;
        let users = user::read(config, users, &key)?;
        let users_max = users.len() + config.users_max.get();
        Ok(Self {
            key: Arc::new(key),
            slowest: slowest(&users),
            throttle: Arc::new(Mutex::new(Throttle::new(config, users_max))),
            checks: Arc::new(Semaphore::new(config.checks_at_once.get())),
            waiting: Arc::new(Semaphore::new(config.checks_waiting.get())),
            users,
        })
    }

    /// Reads a user that is not in the configuration.
    ///
    /// # Errors
    /// The first thing that is wrong with it; its key begins with a dot.
    pub(super) fn read_user(&self, name: &str, config: &UserConfig) -> Result<User, ConfigFault> {
        let mut faults = Vec::new();
        let user = user::one(name, config, &self.key, &mut faults);
        let prefix = format!("broker.users.{name}");
        match faults.into_iter().next() {
            None => Ok(user),
            Some(fault) => Err(ConfigFault {
                key: fault
                    .key
                    .strip_prefix(&prefix)
                    .unwrap_or_default()
                    .to_owned(),
                message: fault.message,
            }),
        }
    }

    /// The same with other users in the place of some, or without them. Failed logins are remembered.
    pub(super) fn changed(
        &self,
        changes: impl IntoIterator<Item = (String, Option<Arc<User>>)>,
    ) -> Self {
        let mut users = self.users.clone();
        for (name, user) in changes {
            match user {
                Some(user) => users.insert(name, user),
                None => users.remove(&name),
            };
        }
        Self {
            slowest: slowest(&users),
            users,
            key: Arc::clone(&self.key),
            throttle: Arc::clone(&self.throttle),
            checks: Arc::clone(&self.checks),
            waiting: Arc::clone(&self.waiting),
        }
    }

    /// Hashes a password, in its turn among the logins.
    ///
    /// # Errors
    /// It cannot be hashed, or too many logins are waiting.
    pub(super) async fn hash(&self, password: Secret) -> Result<Secret, UserRefused> {
        let failed = |why: &dyn std::fmt::Display| UserRefused::NotHashed(why.to_string());
        let place = self.waiting.try_acquire();
        let _place = place.map_err(|_| failed(&Refused::Busy))?;
        let turn = self.checks.clone().acquire_owned().await;
        let turn = turn.map_err(|_| failed(&Refused::Failed))?;
        let hashed = task::spawn_blocking(move || {
            let hash = hash_password(password.expose().as_bytes());
            drop(turn);
            hash
        });
        let hash = hashed.await.map_err(|_| failed(&Refused::Failed))?;
        hash.map(Secret::from).map_err(|error| failed(&error))
    }

    /// Checks a name and a password.
    ///
    /// # Errors
    /// When the login is refused.
    pub async fn login(
        &self,
        credentials: &Credentials,
        peer: IpAddr,
    ) -> Result<Arc<User>, Refused> {
        let user = self.users.get(&credentials.user);
        self.admit(user.map(|user| &user.name), peer)?;
        let right = self.is_quickly_right(user, credentials)
            || self.is_slowly_right(user, credentials, peer).await?;
        let Some(user) = user.filter(|_| right) else {
            return Err(Refused::Wrong);
        };
        if !user.may_come_from(peer) {
            return Err(Refused::NotLoopback);
        }
        self.throttle
            .lock()
            .succeeded(&user.name, peer, Instant::now());
        Ok(user.clone())
    }

    /// The user of this name.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    /// Remembers the failed logins of the users before a reload.
    pub fn keep_failures_of(&mut self, other: &Self) {
        self.throttle = Arc::clone(&other.throttle);
    }

    /// Logs in a user that a certificate names.
    ///
    /// # Errors
    /// When there is no such user or it may not come from there.
    pub fn login_certified(&self, name: &str, peer: IpAddr) -> Result<Arc<User>, Refused> {
        let user = self.users.get(name).ok_or(Refused::Wrong)?;
        if !user.may_come_from(peer) {
            return Err(Refused::NotLoopback);
        }
        Ok(user.clone())
    }

    fn admit(&self, name: Option<&Arc<str>>, peer: IpAddr) -> Result<(), Refused> {
        match self.throttle.lock().refuses(name, peer, Instant::now()) {
            true => Err(Refused::TooManyFailures),
            false => Ok(()),
        }
    }

    /// Whether the password is right, as far as no hash has to be computed to know it. An empty one never is.
    fn is_quickly_right(&self, user: Option<&Arc<User>>, credentials: &Credentials) -> bool {
        let digest = match user.map(|user| &user.check) {
            Some(PasswordCheck::Digest(digest)) => Some(digest),
            Some(PasswordCheck::Hashed { remembered, .. }) => remembered.get(),
            Some(PasswordCheck::CertificateOnly) | None => None,
        };
        let Credentials { user, password } = credentials;
        digest.is_some_and(|digest| self.key.matches(digest, user, password))
            && !password.is_empty()
    }

    /// Waits for its turn, then computes the user's hash. If the password is wrong and another hash is
    /// slower, it also computes the slowest one, so that timing reveals nothing. Notes a failure, and
    /// remembers a password that was right.
    async fn is_slowly_right(
        &self,
        user: Option<&Arc<User>>,
        credentials: &Credentials,
        peer: IpAddr,
    ) -> Result<bool, Refused> {
        let name = user.map(|user| user.name.clone());
        let Some(slowest) = self.slowest.clone() else {
            self.throttle
                .lock()
                .failed(name.as_ref(), peer, Instant::now());
            return Ok(false);
        };
        let place = self.waiting.try_acquire().map_err(|_| Refused::Busy)?;
        let turn = self
            .checks
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| Refused::Failed)?;
        drop(place);
        // While this one waited, others may have failed, or succeeded with the same password.
        self.admit(name.as_ref(), peer)?;
        if self.is_quickly_right(user, credentials) {
            return Ok(true);
        }
        let own = match user.map(|user| &user.check) {
            Some(PasswordCheck::Hashed { hash, .. }) => Some(hash.clone()),
            _ => None,
        };
        let (password, throttle) = (credentials.password.clone(), Arc::clone(&self.throttle));
        // Runs to its end, and counts, even when the client does not wait for the answer.
        let computed = task::spawn_blocking(move || {
            let is_slowest = own.as_ref() == Some(&slowest);
            let right = own.is_some_and(|own| own.verify(&password)) && !password.is_empty();
            if !right {
                if !is_slowest {
                    slowest.verify(&password);
                }
                throttle.lock().failed(name.as_ref(), peer, Instant::now());
            }
            drop(turn);
            right
        });
        let right = computed.await.map_err(|_| Refused::Failed)?;
        if let (true, Some(PasswordCheck::Hashed { remembered, .. })) =
            (right, user.map(|user| &user.check))
        {
            remembered.get_or_init(|| self.key.digest(&credentials.user, &credentials.password));
        }
        Ok(right)
    }
}

fn slowest(users: &HashMap<String, Arc<User>>) -> Option<Hashed> {
    let hashes = users.values().filter_map(|user| match &user.check {
        PasswordCheck::Hashed { hash, .. } => Some(hash),
        _ => None,
    });
    hashes.max_by_key(|hash| hash.cost()).cloned()
}

#[cfg(test)]
mod tests;
