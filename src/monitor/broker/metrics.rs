//! Metrics of the broker, read when /metrics is rendered.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::MessageCounts;
use crate::{
    broker::{Broker, server::Overview, vhost::QueueSize},
    monitor::figures::{Figures, MetricRow, set},
    telemetry::{IntGaugeVec, Metrics},
};

/// How long a page of metrics waits for the broker.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// The label of the sum of all queues beyond the limit.
const OTHERS: &str = "_others";

/// Shows the broker among the metrics; of at most `queues_max` queues each for itself.
pub(super) fn show(metrics: &Metrics, broker: &Broker, queues_max: usize) {
    let figures = Figures::new(metrics, &GAUGES, &COUNTERS);
    let queues = Queues::new(metrics);
    let broker = broker.clone();
    let shown = Arc::new((figures, queues));
    metrics.before_page(move || {
        let (broker, shown) = (broker.clone(), Arc::clone(&shown));
        async move {
            let looked = async { (broker.overview().await, broker.largest(queues_max).await) };
            // A broker that is too busy shows what it showed before.
            let Ok((overview, largest)) = tokio::time::timeout(LOOK_MAX, looked).await else {
                return;
            };
            let (figures, queues) = &*shown;
            figures.show(&overview);
            queues.show(largest, &overview);
        }
    });
}

const GAUGES: [MetricRow<Overview>; 11] = [
    (
        "musterd_broker_connections",
        "AMQP connections that are open.",
        |overview| overview.connections,
    ),
    (
        "musterd_broker_channels",
        "Channels that are open.",
        |overview| overview.channels,
    ),
    ("musterd_broker_exchanges", "Exchanges.", |overview| {
        overview.exchanges
    }),
    ("musterd_broker_queues", "Queues.", |overview| {
        overview.queues
    }),
    ("musterd_broker_bindings", "Bindings.", |overview| {
        overview.bindings
    }),
    ("musterd_broker_consumers", "Consumers.", |overview| {
        overview.consumers
    }),
    (
        "musterd_broker_messages_ready",
        "Messages that wait.",
        |overview| overview.messages_ready,
    ),
    (
        "musterd_broker_messages_unacked",
        "Messages that consumers hold.",
        |overview| overview.messages_unacked,
    ),
    (
        "musterd_broker_memory_bytes",
        "Bytes held for AMQP clients.",
        |overview| overview.memory_bytes,
    ),
    (
        "musterd_broker_memory_high_bytes",
        "Publishers are blocked above this.",
        |overview| overview.memory_high_bytes,
    ),
    (
        "musterd_broker_memory_alarm",
        "1 while publishers are blocked.",
        |overview| u64::from(overview.memory_alarm),
    ),
];

const COUNTERS: [MetricRow<Overview>; 5] = [
    (
        "musterd_broker_connections_opened_total",
        "AMQP connections opened.",
        |overview| overview.connections_opened,
    ),
    (
        "musterd_broker_memory_alarms_total",
        "Times that publishers were blocked.",
        |overview| overview.memory_alarms,
    ),
    (
        "musterd_broker_published_total",
        "Messages published.",
        |overview| MessageCounts::of(overview).published,
    ),
    (
        "musterd_broker_delivered_total",
        "Messages given to consumers or to basic.get.",
        |overview| MessageCounts::of(overview).delivered,
    ),
    (
        "musterd_broker_acked_total",
        "Messages acknowledged, or delivered to consumers without acknowledgements.",
        |overview| MessageCounts::of(overview).acked,
    ),
];

/// The gauges of single queues.
#[derive(Debug)]
struct Queues {
    ready: IntGaugeVec,
    unacked: IntGaugeVec,
    consumers: IntGaugeVec,
    shown: Mutex<BTreeSet<(String, String)>>,
}

impl Queues {
    fn new(metrics: &Metrics) -> Self {
        let of = |name, help| metrics.gauges(name, help, &["vhost", "queue"]);
        Self {
            ready: of(
                "musterd_broker_queue_messages_ready",
                "Messages that wait in a queue.",
            ),
            unacked: of(
                "musterd_broker_queue_messages_unacked",
                "Messages of a queue that consumers hold.",
            ),
            consumers: of("musterd_broker_queue_consumers", "Consumers of a queue."),
            shown: Mutex::default(),
        }
    }

    fn show(&self, mut sizes: Vec<QueueSize>, all: &Overview) {
        if all.queues > sizes.len() as u64 {
            sizes.push(others(&sizes, all));
        }
        let mut now = BTreeSet::new();
        for size in sizes {
            let labels = [size.vhost.as_str(), size.name.as_str()];
            set(&self.ready.with_label_values(&labels), size.ready as u64);
            set(
                &self.unacked.with_label_values(&labels),
                size.unacked as u64,
            );
            set(
                &self.consumers.with_label_values(&labels),
                size.consumers as u64,
            );
            now.insert((size.vhost, size.name));
        }
        let mut shown = self.shown.lock();
        for (vhost, name) in shown.difference(&now) {
            for gauges in [&self.ready, &self.unacked, &self.consumers] {
                // It was shown, so that it is there to be removed.
                let _ = gauges.remove_label_values(&[vhost, name]);
            }
        }
        *shown = now;
    }
}

/// The queues that are not shown, together. What happened between the two looks is not below zero.
fn others(shown: &[QueueSize], all: &Overview) -> QueueSize {
    let rest = |all: u64, of: fn(&QueueSize) -> usize| {
        let all = usize::try_from(all).unwrap_or(usize::MAX);
        all.saturating_sub(shown.iter().map(of).sum())
    };
    QueueSize {
        vhost: String::new(),
        name: OTHERS.to_owned(),
        ready: rest(all.messages_ready, |size| size.ready),
        unacked: rest(all.messages_unacked, |size| size.unacked),
        consumers: rest(all.consumers, |size| size.consumers),
    }
}

#[cfg(test)]
mod tests;
