//! Metrics under the names of RabbitMQ's Prometheus plugin, so that its dashboards show this broker, behind the
//! daemon's own.

use std::fmt::Write as _;

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use super::{
    answer::ManagementAnswer,
    ask::{Ask, UserTag},
    names::NODE,
    node::{DIALECT, ProcessFigures, counters},
    queues::all,
};
use crate::broker::{
    server::Overview,
    vhost::{QueueView, VhostCounters},
};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// A page of metrics that is being written.
#[derive(Debug, Default)]
struct MetricsPage(String);

impl MetricsPage {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# TYPE {name} {kind}\n# HELP {name} {help}");
    }

    fn value(&mut self, name: &str, labels: &str, value: u64) {
        // Writing to a string cannot fail.
        let _ = match labels {
            "" => writeln!(self.0, "{name} {value}"),
            labels => writeln!(self.0, "{name}{{{labels}}} {value}"),
        };
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "gauge", help);
        self.value(name, "", value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.value(name, "", value);
    }
}

/// The numbers of a queue under RabbitMQ's names.
type QueueMetric = (
    &'static str,
    &'static str,
    &'static str,
    fn(&QueueView) -> u64,
);

const QUEUE_METRICS: [QueueMetric; 11] = [
    (
        "rabbitmq_queue_messages_ready",
        "gauge",
        "Messages ready to be delivered to consumers",
        |queue| queue.messages_ready,
    ),
    (
        "rabbitmq_queue_messages_unacked",
        "gauge",
        "Messages delivered to consumers but not yet acknowledged",
        |queue| queue.messages_unacked,
    ),
    (
        "rabbitmq_queue_messages",
        "gauge",
        "Sum of ready and unacknowledged messages - total queue depth",
        |queue| queue.messages_ready + queue.messages_unacked,
    ),
    (
        "rabbitmq_queue_consumers",
        "gauge",
        "Consumers on a queue",
        |queue| queue.consumers,
    ),
    (
        "rabbitmq_queue_messages_ready_bytes",
        "gauge",
        "Size in bytes of ready messages",
        |queue| queue.message_bytes_ready,
    ),
    (
        "rabbitmq_queue_messages_bytes",
        "gauge",
        "Size in bytes of ready messages",
        |queue| queue.message_bytes_ready,
    ),
    (
        "rabbitmq_queue_messages_published_total",
        "counter",
        "Total number of messages published to queues",
        |queue| queue.counters.published,
    ),
    (
        "rabbitmq_queue_messages_delivered_total",
        "counter",
        "Total number of messages delivered from queues",
        |queue| queue.counters.delivered,
    ),
    (
        "rabbitmq_queue_messages_acked_total",
        "counter",
        "Total number of messages acknowledged by consumers",
        |queue| queue.counters.acked,
    ),
    (
        "rabbitmq_queue_messages_redelivered_total",
        "counter",
        "Total number of messages requeued",
        |queue| queue.counters.requeued,
    ),
    (
        "rabbitmq_queue_messages_dead_lettered_total",
        "counter",
        "Total number of messages dropped or dead-lettered",
        |queue| queue.counters.dead,
    ),
];

/// `GET /metrics`: sums over all objects.
pub(super) async fn page(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Monitoring)?;
    let overview = ask.state.broker.totals().await;
    let queues = ask.state.broker().queues(&all(None)).await.items;
    let mut page = whole(&overview);
    for (name, kind, help, value) in QUEUE_METRICS {
        page.family(name, kind, help);
        page.value(name, "", queues.iter().map(value).sum());
    }
    with_own(&ask, page).await
}

/// `GET /metrics/per-object`: a line for each queue.
pub(super) async fn per_object(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Monitoring)?;
    let overview = ask.state.broker.totals().await;
    let queues = ask.state.broker().queues(&all(None)).await.items;
    let labels = queues.iter().map(|queue| {
        let (vhost, name) = (label(&queue.vhost), label(&queue.name));
        format!("vhost=\"{vhost}\",queue=\"{name}\"")
    });
    let labels: Vec<_> = labels.collect();
    let mut page = whole(&overview);
    for (name, kind, help, value) in QUEUE_METRICS {
        page.family(name, kind, help);
        for (queue, labels) in queues.iter().zip(&labels) {
            page.value(name, labels, value(queue));
        }
        tokio::task::yield_now().await;
    }
    with_own(&ask, page).await
}

async fn with_own(ask: &Ask, page: MetricsPage) -> ManagementAnswer {
    let mut text = ask.state.app.metrics.page().await;
    text.push_str(&page.0);
    let mut response: Response = text.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    Ok(response)
}

/// Text as a label carries it.
fn label(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// What the sums are made of.
#[derive(Debug)]
struct MetricsSource<'a> {
    overview: &'a Overview,
    counters: VhostCounters,
    process: ProcessFigures,
}

type SumMetric = (&'static str, &'static str, fn(&MetricsSource<'_>) -> u64);

#[rustfmt::skip]
const GAUGES: [SumMetric; 13] = [
    ("rabbitmq_connections", "Connections currently open", |of| of.overview.connections),
    ("rabbitmq_channels", "Channels currently open", |of| of.overview.channels),
    ("rabbitmq_consumers", "Consumers currently connected", |of| of.overview.consumers),
    ("rabbitmq_queues", "Queues available", |of| of.overview.queues),
    ("rabbitmq_alarms_memory_used_watermark", "is 1 if VM memory watermark alarm is in effect",
        |of| u64::from(of.overview.memory_alarm)),
    ("rabbitmq_alarms_free_disk_space_watermark", "is 1 if free disk space watermark alarm is in effect", |_| 0),
    ("rabbitmq_alarms_file_descriptor_limit", "is 1 if file descriptor limit alarm is in effect", |_| 0),
    ("rabbitmq_process_resident_memory_bytes", "Memory used in bytes", |of| of.process.resident_bytes),
    ("rabbitmq_resident_memory_limit_bytes", "Memory high watermark in bytes", |of| of.overview.memory_high_bytes),
    ("rabbitmq_process_open_fds", "Open file descriptors", |of| of.process.files),
    ("rabbitmq_process_max_fds", "Open file descriptors limit", |of| of.process.files_max),
    ("rabbitmq_process_open_tcp_sockets", "Open TCP sockets", |of| of.overview.connections),
    ("rabbitmq_process_max_tcp_sockets", "Open TCP sockets limit", |of| of.process.files_max),
];

#[rustfmt::skip]
const COUNTERS: [SumMetric; 7] = [
    ("rabbitmq_connections_opened_total", "Total number of connections opened", |of| of.overview.connections_opened),
    ("rabbitmq_connections_closed_total", "Total number of connections closed or terminated",
        |of| of.overview.connections_closed),
    ("rabbitmq_channel_messages_published_total", "Total number of messages published into an exchange on a channel",
        |of| of.counters.published),
    ("rabbitmq_channel_messages_confirmed_total", "Total number of messages published and confirmed", routed),
    ("rabbitmq_channel_messages_unroutable_dropped_total", "Total number of messages dropped as unroutable",
        |of| of.counters.unroutable),
    ("rabbitmq_channel_messages_delivered_ack_total", "Total number of messages delivered to consumers",
        |of| of.counters.delivered),
    ("rabbitmq_channel_messages_acked_total", "Total number of messages acknowledged by consumers",
        |of| of.counters.acked),
];

/// Those with the label of a protocol.
#[rustfmt::skip]
const OF_PROTOCOL: [SumMetric; 5] = [
    ("rabbitmq_global_messages_received_total", "Total number of messages received from publishers",
        |of| of.counters.published),
    ("rabbitmq_global_messages_routed_total", "Total number of messages routed to queues or streams", routed),
    ("rabbitmq_global_messages_unroutable_dropped_total", "Total number of messages dropped as unroutable",
        |of| of.counters.unroutable),
    ("rabbitmq_global_messages_delivered_total", "Total number of messages delivered to consumers",
        |of| of.counters.delivered),
    ("rabbitmq_global_messages_acknowledged_total", "Total number of message acknowledgements received",
        |of| of.counters.acked),
];

fn routed(of: &MetricsSource<'_>) -> u64 {
    of.counters.published.saturating_sub(of.counters.unroutable)
}

/// The sums, without those of queues.
fn whole(overview: &Overview) -> MetricsPage {
    const PROTOCOL: &str = "protocol=\"amqp091\"";
    let of = MetricsSource {
        overview,
        counters: counters(overview),
        process: ProcessFigures::read(),
    };
    let mut page = MetricsPage::default();
    let version = env!("CARGO_PKG_VERSION");
    let build = format!(
        "rabbitmq_version=\"{DIALECT}\",product_name=\"musterd\",product_version=\"{version}\""
    );
    let identity = format!("rabbitmq_node=\"{NODE}\",rabbitmq_cluster=\"{NODE}\"");
    for (name, help, labels) in [
        (
            "rabbitmq_build_info",
            "RabbitMQ & Erlang/OTP version info",
            build,
        ),
        (
            "rabbitmq_identity_info",
            "RabbitMQ node & cluster identity info",
            identity,
        ),
    ] {
        page.family(name, "untyped", help);
        page.value(name, &labels, 1);
    }
    for (name, help, value) in GAUGES {
        page.gauge(name, help, value(&of));
    }
    for (name, help, value) in COUNTERS {
        page.counter(name, help, value(&of));
    }
    for (name, help, value) in OF_PROTOCOL {
        page.family(name, "counter", help);
        page.value(name, PROTOCOL, value(&of));
    }
    page.family(
        "rabbitmq_global_consumers",
        "gauge",
        "Current number of consumers",
    );
    page.value("rabbitmq_global_consumers", PROTOCOL, overview.consumers);
    page
}
