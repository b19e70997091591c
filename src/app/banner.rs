//! The lines of the log that say what was started: at most six at info, with those of the store.

use std::net::SocketAddr;

use super::doors::HttpAddresses;
use crate::{config::Config, model::Modes, security::Identities};

/// Where the daemon is served; none for what is switched off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    http: HttpAddresses,
    pub(super) amqp: Option<SocketAddr>,
    amqps: Option<SocketAddr>,
    pub(super) dns: Option<SocketAddr>,
    management: Option<SocketAddr>,
    pub(super) consul: Option<SocketAddr>,
}

impl Addresses {
    pub(super) fn new(
        http: HttpAddresses,
        (amqp, amqps): (Option<SocketAddr>, Option<SocketAddr>),
        (dns, management, consul): (Option<SocketAddr>, Option<SocketAddr>, Option<SocketAddr>),
    ) -> Self {
        Self {
            http,
            amqp,
            amqps,
            dns,
            management,
            consul,
        }
    }
}

/// Logs the addresses and who can use them, the version, the modes. Where
/// state is kept is logged when the store is opened.
pub(super) fn log(config: &Config, addresses: Addresses, modes: Modes, identities: &Identities) {
    let http = addresses.http;
    let who = match identities.is_on() {
        true => "with",
        false => "without",
    };
    if let Some(address) = http.main {
        let (scope, scheme) = match http.is_encrypted {
            true => (reach(address), "https"),
            false => (scope(address), "http"),
        };
        tracing::info!(
            http.address = %address,
            "HTTP is served on {scheme}://{address}, {who} authentication, {scope}"
        );
    }
    if let Some(address) = http.encrypted {
        let scope = reach(address);
        tracing::info!(
            https.address = %address,
            "HTTP is served on https://{address}, {who} authentication, {scope}"
        );
    }
    if http.main.is_none() && http.encrypted.is_none() {
        tracing::info!("HTTP is switched off (http.listen)");
    }
    log_amqp(config, addresses);
    let version = env!("CARGO_PKG_VERSION");
    let broker = broker(config, addresses);
    let dns = match addresses.dns {
        Some(address) => format!("dns://{address}, {}", scope(address)),
        None => "closed".to_owned(),
    };
    let consul = match addresses.consul {
        Some(address) => format!("http://{address}, {}", scope(address)),
        None => "closed".to_owned(),
    };
    let managed = addresses.management.map_or_else(String::new, |address| {
        format!(", managed at http://{address}")
    });
    tracing::info!(
        dns.address = addresses.dns.map(tracing::field::display),
        management.address = addresses.management.map(tracing::field::display),
        consul.address = addresses.consul.map(tracing::field::display),
        "musterd {version}: modes {modes}; broker: {broker}{managed}; DNS: {dns}; Consul: {consul}"
    );
}

fn log_amqp(config: &Config, addresses: Addresses) {
    let Addresses {
        http, amqp, amqps, ..
    } = addresses;
    let users = users(config);
    match (amqp, amqps) {
        (Some(plain), Some(tls)) => tracing::info!(
            amqp.address = %plain,
            amqps.address = %tls,
            "AMQP is served on amqp://{plain} ({}) and amqps://{tls} ({}), to {users}",
            scope(plain),
            scope(tls)
        ),
        (Some(address), None) => tracing::info!(
            amqp.address = %address,
            "AMQP is served on amqp://{address} to {users}, {}",
            scope(address)
        ),
        (None, Some(address)) => tracing::info!(
            amqps.address = %address,
            "AMQP is served on amqps://{address} to {users}, {}",
            scope(address)
        ),
        (None, None) => tracing::info!("the AMQP broker is switched off (broker.listen)"),
    }
    let has_http = http.main.is_some() || http.encrypted.is_some();
    if amqp.is_none() && amqps.is_none() && !has_http {
        tracing::warn!("nothing is served: set http.listen or broker.listen");
    }
}

fn scope(address: SocketAddr) -> &'static str {
    if address.ip().is_loopback() {
        "to this machine only"
    } else {
        "beyond this machine: use a trusted network or a proxy"
    }
}

/// The same of an address with TLS.
fn reach(address: SocketAddr) -> &'static str {
    match address.ip().is_loopback() {
        true => scope(address),
        false => "beyond this machine",
    }
}

/// The users that may log in.
fn users(config: &Config) -> String {
    let n = config.broker.users.len();
    let listed = match n {
        1 => "1 user of broker.users".to_owned(),
        _ => format!("{n} users of broker.users"),
    };
    let guest = config.broker.auth.guest && !config.broker.users.contains_key("guest");
    match (guest, n) {
        (true, 0) => "the user guest (from loopback)".to_owned(),
        (true, _) => format!("the user guest (from loopback) and {listed}"),
        (false, _) => listed,
    }
}

/// The broker of events and commands.
fn broker(config: &Config, addresses: Addresses) -> &'static str {
    let is_embedded = addresses.amqp.is_some() || addresses.amqps.is_some();
    match (config.transport.amqp_url.is_empty(), is_embedded) {
        (true, true) => "the embedded one",
        (true, false) => "none",
        (false, false) => "transport.amqp_url",
        (false, true) => "transport.amqp_url (the embedded broker gets no events or commands)",
    }
}
