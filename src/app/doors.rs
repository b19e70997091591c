//! What is opened for clients: the sockets of HTTP and DNS, and as many files as the system allows.

use std::net::SocketAddr;

use tokio::runtime::Handle;

use super::{AppError, certificates, chain};
use crate::{
    catalog::{Catalog, Sight},
    config::{Config, cores},
    dns::{self, DnsDoor, DnsError},
    http::{self, HttpApp, HttpListener},
    registry::Registry,
    security::{Identities, is_open},
    tasks::{Stage, Tasks},
    telemetry::Metrics,
    tls::ServerTls,
};

/// The data center that names in DNS may have.
const DATACENTER: &str = "dc1";

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

/// Serves HTTP and DNS, as far as they are switched on: where.
pub(super) async fn open(
    config: &Config,
    identities: &Identities,
    (door, registry, metrics): (&HttpApp, &Registry, &Metrics),
    runtime: &Handle,
    tasks: &mut Tasks,
) -> Result<(ServedHttp, Option<SocketAddr>), AppError> {
    let http = open_http(config, identities, door, runtime, tasks).await?;
    let dns = open_dns(config, identities, registry, metrics, runtime, tasks).await?;
    Ok((http, dns))
}

/// Serves HTTP, unless that door is switched off; where, and with which TLS. An address that other machines reach is
/// refused without authentication.
async fn open_http(
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

/// Serves DNS, unless that door is switched off. An address that other machines reach is refused without
/// authentication; with it, all clients have the policies of `dns.policies`.
async fn open_dns(
    config: &Config,
    identities: &Identities,
    registry: &Registry,
    metrics: &Metrics,
    runtime: &Handle,
    tasks: &mut Tasks,
) -> Result<Option<SocketAddr>, AppError> {
    if config.dns.listen.is_empty() {
        return Ok(None);
    }
    let threads = config.threads.http(cores());
    let bound = dns::bind(&config.dns, threads).await;
    let is_taken = |error: &DnsError| matches!(error, DnsError::Listen { .. });
    let default = dns::Config::default().listen;
    let is_wanted = is_configured(config, "dns.listen", &config.dns.listen, &default);
    let Some(bound) = default_or_configured("dns.listen", is_wanted, bound, is_taken)? else {
        return Ok(None);
    };
    let address = bound.address();
    if is_open(&config.security, identities, "dns.listen", address)? {
        tracing::warn!(
            "DNS is open to other machines without authentication: security.allow_open is true"
        );
    }
    let catalog = Catalog::guarded(registry.clone(), identities);
    let sight = match identities.is_on() {
        false => Some(Sight::All),
        true => {
            let given = Some(&config.dns.policies).filter(|policies| !policies.is_empty());
            given.and_then(|policies| Some(Sight::Of(identities.of_door("dns", policies)?)))
        }
    };
    if sight.is_none() {
        tracing::warn!(
            "DNS answers nothing that is registered: authentication is on, and dns.policies names no policy"
        );
    }
    let door = DnsDoor::new(&config.dns, DATACENTER, bound, catalog, sight, metrics);
    tasks.spawn_on(runtime, Stage::Source, "dns", |stop| door.serve(stop));
    Ok(Some(address))
}

/// Whether somebody chose the address of a door, be it the default one.
pub(super) fn is_configured(config: &Config, key: &str, listen: &str, default: &str) -> bool {
    config.given.has(key) || listen != default
}

/// What was bound. If the address is the default and its port is taken, the door stays closed.
///
/// # Errors
/// The door is configured, or there is another reason.
pub(super) fn default_or_configured<T, E: std::error::Error + 'static>(
    key: &str,
    is_configured: bool,
    bound: Result<T, E>,
    is_taken: impl FnOnce(&E) -> bool,
) -> Result<Option<T>, E> {
    match bound {
        Ok(bound) => Ok(Some(bound)),
        Err(error) if !is_configured && is_taken(&error) => {
            tracing::warn!(
                "{}; it stays closed, since {key} is not configured",
                chain(&error)
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

pub(super) fn raise_open_files() {
    match rlimit::increase_nofile_limit(FILES_WANTED) {
        Ok(limit) => tracing::debug!("up to {limit} open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files can't be raised"),
    }
}
