//! Who may log in, and what they may do then.
//!
//! A password that was configured as it is is compared as a keyed digest. An argon2 hash is
//! computed off the async threads, a few at a time; once a password was right, its digest is
//! remembered and a reconnect costs a microsecond. Nothing here knows a connection: the address of
//! the peer and the response it sent are parameters.

pub mod config;
pub mod password;
pub mod permissions;
pub mod sasl;
mod throttle;
pub mod user;

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;
use tokio::{sync::Semaphore, task, time::Instant};

pub use self::{
    config::{Config, Users},
    password::{PasswordError, hash_password},
    permissions::{Access, Denied, Grant, Resource},
    sasl::{Credentials, Mechanism, Opening, SaslError},
    user::{User, VhostDenied},
};
use self::{
    password::{Digest, DigestKey, Hashed},
    throttle::Throttle,
    user::Check,
};

/// A key of the configuration that is wrong, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// The key, with dots between its parts.
    pub key: String,
    /// What is wrong with it.
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
    /// What the client is told. It does not learn whether the name or the password was wrong.
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
    key: DigestKey,
    /// What a password is compared with when there is no such user: it takes as long.
    nobody: Option<Hashed>,
    throttle: Arc<Mutex<Throttle>>,
    /// One for each hash that is being computed.
    checks: Arc<Semaphore>,
    /// One for each login that waits for that.
    waiting: Semaphore,
}

impl Authenticator {
    /// Reads the two sections.
    ///
    /// # Errors
    /// With every key that is wrong.
    pub fn new(config: &Config, users: &Users) -> Result<Self, Vec<Fault>> {
        let key = DigestKey::new().map_err(|error| {
            vec![Fault {
                key: "broker.auth".to_owned(),
                message: error.to_string(),
            }]
        })?;
        let users = user::read(config, users, &key)?;
        let nobody = users.values().find_map(|user| match &user.check {
            Check::Hashed { hash, .. } => Some(hash.clone()),
            _ => None,
        });
        Ok(Self {
            key,
            nobody,
            throttle: Arc::new(Mutex::new(Throttle::new(config, users.len()))),
            checks: Arc::new(Semaphore::new(config.checks_at_once.get())),
            waiting: Semaphore::new(config.checks_waiting.get()),
            users,
        })
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
        let name = user.map(|user| &user.name);
        if user.is_some_and(|user| !user.may_come_from(peer)) {
            return Err(Refused::NotLoopback);
        }
        self.admit(name, peer)?;
        let right = match user.map(|user| &user.check) {
            Some(Check::Digest(digest)) => self.compare(digest, user, credentials, peer),
            Some(Check::Hashed { .. }) if self.remembers(user, credentials) => true,
            Some(Check::Hashed { hash, .. }) => self.compute(hash, user, credentials, peer).await?,
            Some(Check::CertificateOnly) | None => match &self.nobody {
                Some(hash) => self.compute(hash, None, credentials, peer).await?,
                None => {
                    self.throttle.lock().failed(name, peer, Instant::now());
                    false
                }
            },
        };
        let Some(user) = user.filter(|_| right) else {
            return Err(Refused::Wrong);
        };
        self.throttle
            .lock()
            .succeeded(&user.name, peer, Instant::now());
        Ok(user.clone())
    }

    /// Lets a user in whom a certificate named.
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

    /// Whether this password was right before.
    fn remembers(&self, user: Option<&Arc<User>>, credentials: &Credentials) -> bool {
        let Some(Check::Hashed { remembered, .. }) = user.map(|user| &user.check) else {
            return false;
        };
        let Some(digest) = remembered.get() else {
            return false;
        };
        self.key
            .matches(digest, &credentials.user, &credentials.password)
    }

    /// Compares a digest, and notes a failure.
    fn compare(
        &self,
        digest: &Digest,
        user: Option<&Arc<User>>,
        credentials: &Credentials,
        peer: IpAddr,
    ) -> bool {
        let right = self
            .key
            .matches(digest, &credentials.user, &credentials.password);
        if !right {
            let name = user.map(|user| &user.name);
            self.throttle.lock().failed(name, peer, Instant::now());
        }
        right
    }

    /// Computes a hash when it is its turn. Notes a failure, and remembers a password that was
    /// right. For nobody, none is.
    async fn compute(
        &self,
        hash: &Hashed,
        user: Option<&Arc<User>>,
        credentials: &Credentials,
        peer: IpAddr,
    ) -> Result<bool, Refused> {
        let place = self.waiting.try_acquire().map_err(|_| Refused::Busy)?;
        let turn = self
            .checks
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| Refused::Failed)?;
        drop(place);
        // While this one waited, others may have failed, or succeeded with the same password.
        let name = user.map(|user| user.name.clone());
        self.admit(name.as_ref(), peer)?;
        if self.remembers(user, credentials) {
            return Ok(true);
        }
        let (hash, password) = (hash.clone(), credentials.password.clone());
        let throttle = Arc::clone(&self.throttle);
        // Goes on to its end, and counts, even when the client does not wait for the answer.
        let computed = task::spawn_blocking(move || {
            let right = hash.verify(&password) && name.is_some();
            if !right {
                throttle.lock().failed(name.as_ref(), peer, Instant::now());
            }
            drop(turn);
            right
        });
        let right = computed.await.map_err(|_| Refused::Failed)?;
        if let (true, Some(Check::Hashed { remembered, .. })) =
            (right, user.map(|user| &user.check))
        {
            remembered.get_or_init(|| self.key.digest(&credentials.user, &credentials.password));
        }
        Ok(right)
    }
}

#[cfg(test)]
mod tests;
