//! The sections of all rooms joined, read from a file, the environment and the command line.
//! Every fault is reported at once, by its key.

mod environment;
mod load;
mod shown;
mod stacks;
mod threads;
mod words;

use std::{collections::BTreeSet, time::Duration};

use serde::Deserialize;

use crate::quantity::{Bounded, DAY};

pub use self::{
    load::{ConfigError, Fault, Sources},
    shown::{ShownKey, Values},
    stacks::deepen_stacks,
    threads::{Threads, cores},
};
use crate::{
    broker, dns, health, http, migration, outbound, registry, security, store, tasks::Stage,
    telemetry, transport,
};

/// The whole configuration. Each section belongs to the room of its name.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// REST, streams, metrics.
    pub http: http::Config,
    /// Instances, their leases, the log of events.
    pub registry: registry::Config,
    /// Where state is kept.
    pub store: store::Config,
    /// Probes.
    pub health: health::Config,
    /// The addresses that probes and webhooks may reach.
    pub outbound: outbound::Config,
    /// Ways out for events.
    pub transport: transport::Config,
    /// The migration to the broker, and its guard.
    pub migration: migration::Config,
    /// The embedded AMQP broker.
    pub broker: broker::Config,
    /// Identities and what each may do.
    pub security: security::Config,
    /// The Consul-compatible HTTP API.
    pub consul: http::ConsulConfig,
    /// The DNS server.
    pub dns: dns::Config,
    /// Logs.
    pub log: telemetry::Config,
    /// How the machine's cores are shared out.
    pub threads: Threads,
    /// Stopping.
    pub stop: Stop,
    /// The keys that a source names.
    #[serde(skip)]
    pub given: GivenKeys,
}

/// The keys that a source names. Two of them are always equal: a default that is written down is the same value.
#[derive(Clone, Debug, Default)]
pub struct GivenKeys(BTreeSet<String>);

impl GivenKeys {
    /// Whether a source names this key.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains(key)
    }
}

impl PartialEq for GivenKeys {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Section `stop`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Stop {
    /// How long all rooms together may take to stop.
    pub grace: Bounded<Duration, 10, DAY>,
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(10).into(),
        }
    }
}

impl Config {
    /// Shortens what each part of the daemon may wait for others at a stop to its part of `stop.grace`.
    pub fn fit_into_grace(&mut self) {
        let grace = self.stop.grace.get();
        let drain = self.http.drain.get();
        self.http.drain = Stage::Source.patience(grace, drain).into();
        let drain = self.transport.drain.get();
        self.transport.drain = Stage::Carrier.patience(grace, drain).into();
        let shutdown = self.broker.limits.shutdown.get();
        self.broker.limits.shutdown = Stage::Sink.patience(grace, shutdown).into();
    }

    /// True when there is a broker, the embedded one or another.
    pub fn has_broker(&self) -> bool {
        let embedded = !self.broker.listen.is_empty() || !self.broker.tls.listen.is_empty();
        embedded || !self.transport.amqp_url.is_empty()
    }

    /// Faults that concern more than one value.
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let listeners = [
            ("http.listen", &self.http.listen),
            ("broker.listen", &self.broker.listen),
            ("broker.management_listen", &self.broker.management_listen),
            ("broker.tls.listen", &self.broker.tls.listen),
            ("consul.listen", &self.consul.listen),
            ("dns.listen", &self.dns.listen),
        ];
        for (key, listen) in listeners {
            let port = listen.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            let port = port.and_then(|(_, port)| port.parse::<u16>().ok());
            if !listen.is_empty() && port.is_none() {
                let expected = "is not an address and port such as 127.0.0.1:8000 or [::1]:0";
                faults.push(Fault::new(key, format!("\"{listen}\" {expected}")));
            }
        }
        let broker = self.has_broker();
        let modes = self.transport.mode_faults(broker);
        let sections = [
            ("transport", modes),
            ("http", self.http.faults()),
            ("consul", self.consul.faults()),
            ("transport", self.transport.faults()),
            ("migration", self.migration.faults()),
            ("security", self.security.faults()),
            ("dns", self.dns.faults()),
            (
                "dns",
                self.security
                    .unknown_policies("dns.policies", &self.dns.policies),
            ),
            ("log", self.log.faults()),
        ];
        for (section, sentences) in sections {
            let fault = |sentence| Fault::of_sentence(section, sentence);
            faults.extend(sentences.into_iter().map(fault));
        }
        let broker = self.broker.faults().into_iter();
        faults.extend(broker.map(|fault| Fault::new(fault.key, fault.message)));
        faults
    }
}

#[cfg(test)]
mod tests;
