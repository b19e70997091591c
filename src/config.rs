//! The sections of all rooms joined, read from a file, the environment and the command line.
//! Every fault is reported at once, by its key.

mod load;

use std::{net::SocketAddr, time::Duration};

use serde::Deserialize;

pub use self::load::{ConfigError, Fault, Sources};
use crate::{health, http, outbound, registry, telemetry, transport};

/// The whole configuration. Each section belongs to the room of its name.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// REST, streams, metrics.
    pub http: http::Config,
    /// Instances, their leases, the log of events.
    pub registry: registry::Config,
    /// Probes.
    pub health: health::Config,
    /// What probes and webhooks may reach.
    pub outbound: outbound::Config,
    /// Ways out for events.
    pub transport: transport::Config,
    /// The embedded AMQP broker.
    pub broker: Door<5672>,
    /// The Consul-compatible HTTP API.
    pub consul: Door<8500>,
    /// The DNS server.
    pub dns: Door<8600>,
    /// Logs.
    pub log: telemetry::Config,
    /// Stopping.
    pub stop: Stop,
}

/// A door that is not built yet: it stays shut and the log says so.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Door<const PORT: u16> {
    /// Address and port; empty switches the door off.
    pub listen: String,
}

impl<const PORT: u16> Default for Door<PORT> {
    fn default() -> Self {
        Self {
            listen: format!("127.0.0.1:{PORT}"),
        }
    }
}

/// Section `stop`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Stop {
    /// How long all rooms together may take to stop.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(10),
        }
    }
}

impl Config {
    /// What a type can't say by itself.
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let doors = [
            ("http.listen", &self.http.listen),
            ("broker.listen", &self.broker.listen),
            ("consul.listen", &self.consul.listen),
            ("dns.listen", &self.dns.listen),
        ];
        for (key, listen) in doors {
            if !listen.is_empty() && listen.parse::<SocketAddr>().is_err() {
                faults.push(Fault::new(
                    key,
                    format!("\"{listen}\" is not an address and port such as 127.0.0.1:8000 or [::1]:0"),
                ));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests;
