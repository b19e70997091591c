//! Counts of queries and answers.

use prometheus::{IntCounter, IntGauge};

use super::query::ResponseCode;
use crate::telemetry::Metrics;

/// The metrics of DNS.
#[derive(Clone, Debug)]
pub(super) struct DnsMetrics {
    udp: [IntCounter; ResponseCode::ALL.len()],
    tcp: [IntCounter; ResponseCode::ALL.len()],
    /// Messages without an answer.
    pub(super) ignored: IntCounter,
    /// Answers that were cut off.
    pub(super) truncated: IntCounter,
    /// Answers that were encoded before.
    pub(super) cached: IntCounter,
    /// Answers that the socket did not take.
    pub(super) unsent: IntCounter,
    /// Queries that other servers were asked.
    pub(super) forwarded: IntCounter,
    /// Open connections.
    pub(super) connections: IntGauge,
    /// Connections that were closed at once.
    pub(super) refused: IntCounter,
}

impl DnsMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let answers = metrics.counters(
            "musterd_dns_answers_total",
            "DNS answers, by transport and response code",
            &["transport", "code"],
        );
        let of = |transport: &str| {
            ResponseCode::ALL.map(|code| answers.with_label_values(&[transport, code.as_str()]))
        };
        let counter = |name: &str, help: &str| metrics.counter(name, help);
        Self {
            udp: of("udp"),
            tcp: of("tcp"),
            ignored: counter(
                "musterd_dns_ignored_total",
                "Messages that are no DNS query and get no answer",
            ),
            truncated: counter(
                "musterd_dns_truncated_total",
                "DNS answers that did not fit into a datagram",
            ),
            cached: counter(
                "musterd_dns_cached_total",
                "DNS answers that were encoded for an earlier query",
            ),
            unsent: counter(
                "musterd_dns_unsent_total",
                "DNS answers that the system did not take",
            ),
            forwarded: counter(
                "musterd_dns_forwarded_total",
                "DNS queries that were forwarded to a recursor",
            ),
            connections: metrics.gauge("musterd_dns_connections", "Open DNS connections over TCP"),
            refused: counter(
                "musterd_dns_connections_refused_total",
                "DNS connections over TCP that were closed because there were too many",
            ),
        }
    }

    /// Counts an answer.
    pub(super) fn answered(&self, over: Carrier, code: ResponseCode) {
        let counters = match over {
            Carrier::Udp => &self.udp,
            Carrier::Tcp => &self.tcp,
        };
        let place = ResponseCode::ALL.iter().position(|known| *known == code);
        if let Some(counter) = place.and_then(|place| counters.get(place)) {
            counter.inc();
        }
    }
}

/// How a message travels.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Carrier {
    /// In a datagram.
    Udp,
    /// In a connection.
    Tcp,
}
