//! What operators do as users of the broker: they log in as clients do, and have the same permissions.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;

use super::Broker;
use crate::broker::{
    auth::{Credentials, Refused, User},
    local::{LocalChannel, LocalError},
};

/// Why something was not done as a user.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OperationRefused {
    /// There is no such vhost.
    #[error("there is no such vhost")]
    NoVhost,
    /// The user has no permissions in it.
    #[error("the user has no permissions in this vhost")]
    NoAccess,
    /// The broker refused it, as it would refuse a client.
    #[error(transparent)]
    Refused(#[from] LocalError),
    /// The broker is stopping.
    #[error("the broker is stopping")]
    Stopping,
}

impl Broker {
    /// Logs in a user from this address; failures count as those of clients.
    ///
    /// # Errors
    /// The login is refused.
    pub async fn log_in(
        &self,
        user: String,
        password: Bytes,
        from: IpAddr,
    ) -> Result<Arc<User>, Refused> {
        let credentials = Credentials { user, password };
        let access = self.shared.access.load_full();
        // Hashes are computed where those of other logins are.
        access.auth.login(&credentials, from).await
    }

    /// The names of the vhosts, sorted.
    pub fn vhost_names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.shared.vhosts.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// The users' ways to log in.
    pub fn mechanisms(&self) -> Vec<&'static str> {
        let access = self.shared.access.load();
        access.mechanisms.iter().map(|one| one.name()).collect()
    }

    /// When the certificate of the encrypted listener ends, in seconds since 1970; none without such a listener.
    pub fn certificate_end(&self) -> Option<u64> {
        let access = self.shared.access.load();
        access.encryption.as_ref().map(|one| one.certificate_end)
    }

    /// Does something over a channel of a user, on the broker's threads.
    ///
    /// # Errors
    /// There is no such vhost, or the user may not do it.
    pub async fn operate<T, F>(
        &self,
        user: &User,
        vhost: &str,
        act: impl FnOnce(LocalChannel) -> F + Send + 'static,
    ) -> Result<T, OperationRefused>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, LocalError>> + Send + 'static,
    {
        let client = self.local(vhost).ok_or(OperationRefused::NoVhost)?;
        let grant = user.grant(vhost);
        let grant = grant.map_err(|_| OperationRefused::NoAccess)?;
        let done = self.on_own_threads(async move |_| Some(act(client.open_as(grant)).await));
        let done = done.await.ok_or(OperationRefused::Stopping)?;
        Ok(done?)
    }
}
