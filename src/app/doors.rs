//! What is opened for clients: HTTP's sockets, and as many files as the system allows.

use std::net::SocketAddr;

use tokio::runtime::Handle;

use super::{AppError, certificates};
use crate::{
    config::Config,
    http::{self, HttpApp, HttpListener},
    security::{Identities, is_open},
    tasks::{Stage, Tasks},
    tls::ServerTls,
};

/// Files the daemon would like to have open at once, if the system lets it.
const FILES_WANTED: u64 = 1 << 20;

/// Where HTTP is served.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HttpAddresses {
    /// Of `http.listen`.
    pub(super) main: Option<SocketAddr>,
    /// Whether that one speaks TLS.
    pub(super) is_encrypted: bool,
    /// Of `http.tls.listen`.
    pub(super) encrypted: Option<SocketAddr>,
}

/// What HTTP is served with.
#[derive(Clone, Debug)]
pub(super) struct ServedHttp {
    pub(super) addresses: HttpAddresses,
    pub(super) tls: Option<ServerTls>,
}

/// Serves HTTP, unless that door is switched off; where, and with which TLS. An address that other machines reach is
/// refused without authentication.
pub(super) async fn open(
    config: &Config,
    identities: &Identities,
    door: &HttpApp,
    runtime: &Handle,
    tasks: &mut Tasks,
) -> Result<ServedHttp, AppError> {
    let opened = certificates::open(&config.http.tls, tasks)?;
    let tls = opened.as_ref();
    let mut listeners = Vec::new();
    let mut addresses = HttpAddresses::default();
    let only_encrypted = !config.http.tls.listen.is_empty();
    if !config.http.listen.is_empty() {
        let tls = tls.filter(|_| !only_encrypted);
        let bound = http::bind(&config.http).await?;
        let bound = guarded(config, identities, "http.listen", bound, tls)?;
        addresses.main = Some(bound.local_addr());
        addresses.is_encrypted = tls.is_some();
        listeners.push(bound);
    }
    if only_encrypted {
        let bound = http::bind_tls(&config.http).await?;
        let bound = guarded(config, identities, "http.tls.listen", bound, tls)?;
        addresses.encrypted = Some(bound.local_addr());
        listeners.push(bound);
    }
    if listeners.is_empty() {
        return Ok(ServedHttp {
            addresses,
            tls: opened,
        });
    }
    let (serving, following, limited) = (door.clone(), door.clone(), door.clone());
    let serve = move |stop| serving.serve(listeners, stop);
    tasks.spawn_on(runtime, Stage::Source, "http", serve);
    let follow = move |stop| following.follow_routes(stop);
    tasks.spawn_on(runtime, Stage::Source, "gateway routes", follow);
    let limit = move |stop| limited.limit_held(stop);
    tasks.spawn_on(runtime, Stage::Source, "held answers", limit);
    Ok(ServedHttp {
        addresses,
        tls: opened,
    })
}

/// A listener with TLS, if there is one. Certificates that clients must have are authentication.
fn guarded(
    config: &Config,
    identities: &Identities,
    key: &'static str,
    bound: HttpListener,
    tls: Option<&ServerTls>,
) -> Result<HttpListener, AppError> {
    let is_certified = tls.is_some_and(ServerTls::is_client_required);
    if !is_certified && is_open(&config.security, identities, key, bound.local_addr())? {
        tracing::warn!(
            "HTTP is open to other machines without authentication ({key}): security.allow_open is true"
        );
    }
    Ok(match tls {
        Some(tls) => bound.with_tls(tls.clone()),
        None => bound,
    })
}

pub(super) fn raise_open_files() {
    match rlimit::increase_nofile_limit(FILES_WANTED) {
        Ok(limit) => tracing::debug!("up to {limit} open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files can't be raised"),
    }
}
