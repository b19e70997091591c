//! Section `dns`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bytesize::ByteSize;
use serde::Deserialize;

use super::{name::DnsName, response::ResponseStyle, subject::Domains, zone::Zone};
use crate::quantity::{Bounded, DAY, GIB};

/// Section `dns`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen, over UDP and TCP; empty switches DNS off.
    pub listen: String,
    /// The domains that it answers for.
    pub domains: Vec<String>,
    /// Whether only healthy instances are answered.
    pub only_passing: bool,
    /// What the weight of an instance is multiplied with in SRV records.
    pub srv_weight_scale: Bounded<f64, 0, 65_535_000>,
    /// The order of records.
    pub order: RecordOrder,
    /// TTLs by names of services, and by prefixes with `*` behind them.
    pub ttl: BTreeMap<String, Bounded<Duration, 0, DAY>>,
    /// The TTL of instances and addresses.
    pub node_ttl: Bounded<Duration, 0, DAY>,
    /// How long clients may remember that there is nothing.
    pub negative_ttl: Bounded<Duration, 0, DAY>,
    /// The policies of all clients, while there is authentication.
    pub policies: Vec<String>,
    /// Servers that are asked for other names.
    pub recursors: Vec<SocketAddr>,
    /// How long each of them may take.
    pub recursor_timeout: Bounded<Duration, 10, 60_000>,
    /// Queries that wait for them at once.
    pub forwards_max: Bounded<usize, 1, 65_536>,
    /// The largest datagram that is sent.
    pub udp_size: Bounded<u16, 512, 65_535>,
    /// Connections at once.
    pub connections_max: Bounded<usize, 1, 1_000_000>,
    /// Connections of one address at once.
    pub connections_per_address_max: Bounded<usize, 1, 1_000_000>,
    /// How long a connection may be idle, or take to send a query or to read an answer.
    pub idle: Bounded<Duration, 10, DAY>,
    /// The largest query over TCP.
    pub query_max: Bounded<ByteSize, 512, 65_535>,
    /// The memory of encoded answers.
    pub cache_max: Bounded<ByteSize, 0, GIB>,
}

/// The order of the records of an answer.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum RecordOrder {
    /// Another one for each query.
    #[default]
    Shuffled,
    /// By address, or by the instance's id.
    Stable,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8600".to_owned(),
            domains: vec!["musterd".to_owned(), "consul".to_owned()],
            only_passing: true,
            srv_weight_scale: 1.0.into(),
            order: RecordOrder::default(),
            ttl: BTreeMap::new(),
            node_ttl: Duration::ZERO.into(),
            negative_ttl: Duration::ZERO.into(),
            policies: Vec::new(),
            recursors: Vec::new(),
            recursor_timeout: Duration::from_secs(2).into(),
            forwards_max: 512.into(),
            udp_size: 1232.into(),
            connections_max: 1024.into(),
            connections_per_address_max: 128.into(),
            idle: Duration::from_secs(10).into(),
            query_max: ByteSize::kib(4).into(),
            cache_max: ByteSize::mib(16).into(),
        }
    }
}

impl Config {
    /// Everything that is wrong with it, each as a sentence that names the key.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.domains.is_empty() {
            faults.push(
                "dns.domains is empty: name at least one domain, such as \"musterd\"".to_owned(),
            );
        }
        for domain in &self.domains {
            let is_usable = DnsName::parse(domain).is_some_and(|name| name.as_wire().len() <= 100);
            if !is_usable {
                faults.push(format!(
                    "dns.domains has \"{domain}\", which is no domain such as \"musterd\" of at most 100 bytes"
                ));
            }
        }
        for pattern in self.ttl.keys() {
            let prefix = pattern.strip_suffix('*').unwrap_or(pattern);
            if pattern.is_empty() || prefix.contains('*') {
                faults.push(format!(
                    "dns.ttl has \"{pattern}\": write the name of a service, or a prefix with one \"*\" behind it"
                ));
            }
        }
        for recursor in &self.recursors {
            if recursor.port() == 0 || self.listen.parse() == Ok(*recursor) {
                faults.push(format!(
                    "dns.recursors has \"{recursor}\": name another DNS server, such as \"192.0.2.53:53\""
                ));
            }
        }
        faults
    }

    pub(super) fn style(&self) -> ResponseStyle {
        ResponseStyle {
            shuffled: self.order == RecordOrder::Shuffled,
            recursive: !self.recursors.is_empty(),
            datagram_max: self.udp_size.get(),
        }
    }

    pub(super) fn zone(&self, datacenter: &str, address: IpAddr) -> Zone {
        let domains = self.domains.iter();
        let ttl = self.ttl.iter();
        Zone {
            domains: Domains {
                list: domains.filter_map(|name| DnsName::parse(name)).collect(),
                datacenter: datacenter.to_owned(),
            },
            only_passing: self.only_passing,
            weight_scale: self.srv_weight_scale.get(),
            ttl: ttl
                .map(|(pattern, ttl)| (pattern.clone(), seconds(ttl.get())))
                .collect(),
            node_ttl: seconds(self.node_ttl.get()),
            negative_ttl: seconds(self.negative_ttl.get()),
            address: Some(address.to_canonical()).filter(|address| !address.is_unspecified()),
        }
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_their_keys() {
        assert_eq!(Config::default().faults(), [""; 0]);
        let faulty = Config {
            domains: vec!["a..b".to_owned()],
            ttl: BTreeMap::from([("a*b".to_owned(), Duration::ZERO.into())]),
            recursors: vec!["127.0.0.1:8600".parse().unwrap()],
            ..Config::default()
        };
        let faults = faulty.faults();
        for (fault, key) in faults
            .iter()
            .zip(["dns.domains", "dns.ttl", "dns.recursors"])
        {
            assert!(fault.starts_with(key), "{fault}");
        }
        assert_eq!(faults.len(), 3);
        let none = Config {
            domains: Vec::new(),
            ..Config::default()
        };
        assert_eq!(none.faults().len(), 1);
    }
}
