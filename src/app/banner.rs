//! The lines of the log that say what was started: at most six at info.

use std::net::SocketAddr;

use crate::{config::Config, model::Modes};

/// Where the daemon is served; none for what is switched off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    http: Option<SocketAddr>,
    amqp: Option<SocketAddr>,
    amqps: Option<SocketAddr>,
}

impl Addresses {
    pub(super) fn new(
        http: Option<SocketAddr>,
        amqp: Option<SocketAddr>,
        amqps: Option<SocketAddr>,
    ) -> Self {
        Self { http, amqp, amqps }
    }
}

/// Logs the version, where state is kept, the addresses and who can use them, the modes, and what is configured but
/// not implemented.
pub(super) fn log(config: &Config, addresses: Addresses, modes: Modes) {
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!("musterd {version}: all state is in memory and is lost at a restart");
    match addresses.http {
        Some(address) => {
            let scope = scope(address);
            tracing::info!(
                http.address = %address,
                "HTTP is served on http://{address}, without authentication, {scope}"
            );
        }
        None => tracing::info!("HTTP is switched off (http.listen)"),
    }
    log_amqp(config, addresses);
    let broker = broker(config, addresses);
    tracing::info!("the transport's modes are {modes}; broker: {broker}");
    let missing = not_implemented(config);
    if !missing.is_empty() {
        let missing = missing.join(", ");
        tracing::info!("not implemented yet, so not served: {missing}");
    }
}

fn log_amqp(config: &Config, addresses: Addresses) {
    let Addresses { http, amqp, amqps } = addresses;
    let users = users(config);
    if let Some(address) = amqp {
        let scope = scope(address);
        tracing::info!(
            amqp.address = %address,
            "AMQP is served on amqp://{address} to {users}, {scope}"
        );
    }
    if let Some(address) = amqps {
        let scope = scope(address);
        tracing::info!(
            amqps.address = %address,
            "AMQP is served on amqps://{address} to {users}, {scope}"
        );
    }
    if amqp.is_none() && amqps.is_none() {
        tracing::info!("the AMQP broker is switched off (broker.listen)");
        if http.is_none() {
            tracing::warn!("nothing is served: set http.listen or broker.listen");
        }
    }
}

fn scope(address: SocketAddr) -> &'static str {
    if address.ip().is_loopback() {
        "to this machine only"
    } else {
        "beyond this machine: use a trusted network or a proxy"
    }
}

/// Who may log in.
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

/// What has an address in the configuration and no implementation.
fn not_implemented(config: &Config) -> Vec<String> {
    let keys = [
        ("Consul", "consul.listen", &config.consul.listen),
        ("DNS", "dns.listen", &config.dns.listen),
    ];
    let set = keys.into_iter().filter(|(_, _, listen)| !listen.is_empty());
    set.map(|(name, key, listen)| format!("{name} ({key} {listen})"))
        .collect()
}
