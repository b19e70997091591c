//! The overview, and the only node.

use std::fs;

use axum::extract::State;
use serde_json::{Value, json};

use super::{
    ManagementState,
    answer::{ManagementAnswer, ManagementRefusal, fine, ok},
    ask::{Ask, UserTag},
    names::NODE,
    shapes,
};
use crate::broker::{server::Overview, vhost::VhostCounters};

/// The version of RabbitMQ that the broker behaves like.
pub(super) const DIALECT: &str = "3.10.8";

fn exchange_types() -> Value {
    let types = ["direct", "fanout", "headers", "topic"];
    let kind = |name: &str| {
        let description = format!("AMQP {name} exchange, as per the AMQP specification");
        json!({"name": name, "description": description, "enabled": true})
    };
    types.into_iter().map(kind).collect()
}

fn listeners(state: &ManagementState) -> Vec<Value> {
    let addresses = state.addresses;
    let all = [
        ("amqp", addresses.amqp),
        ("amqp/ssl", addresses.amqps),
        ("http", Some(state.listen)),
    ];
    let served = all.into_iter().filter_map(|(protocol, address)| {
        let address = address?;
        Some(json!({
            "node": NODE,
            "protocol": protocol,
            "ip_address": address.ip().to_string(),
            "port": address.port(),
            "socket_opts": {"backlog": 4096, "nodelay": true, "linger": [true, 0], "exit_on_close": false},
        }))
    });
    served.collect()
}

/// The ports that are served, with the names of their protocols in health checks.
pub(super) fn ports(state: &ManagementState) -> Vec<(&'static [&'static str], u16)> {
    const AMQP: &[&str] = &["amqp", "amqp091", "amqp0.9.1"];
    const AMQPS: &[&str] = &["amqp/ssl", "amqps", "amqp_tls"];
    const HTTP: &[&str] = &["http"];
    let addresses = state.addresses;
    let all = [
        (AMQP, addresses.amqp),
        (AMQPS, addresses.amqps),
        (HTTP, Some(state.listen)),
    ];
    let served = all.into_iter();
    served
        .filter_map(|(names, address)| Some((names, address?.port())))
        .collect()
}

fn context(state: &ManagementState) -> Value {
    json!([{
        "node": NODE,
        "description": "RabbitMQ Management",
        "path": "/",
        "ip": state.listen.ip().to_string(),
        "port": state.listen.port().to_string(),
        "cowboy_opts": "[]",
        "ssl_opts": [],
    }])
}

/// The counters of all vhosts.
pub(super) fn counters(overview: &Overview) -> VhostCounters {
    let mut all = VhostCounters::default();
    for vhost in &overview.vhosts {
        all.published += vhost.counters.published;
        all.delivered += vhost.counters.delivered;
        all.acked += vhost.counters.acked;
        all.unroutable += vhost.counters.unroutable;
    }
    all
}

fn churn(overview: &Overview) -> [(&'static str, u64); 7] {
    [
        ("connection_created", overview.connections_opened),
        ("connection_closed", overview.connections_closed),
        ("channel_created", overview.channels),
        ("channel_closed", 0),
        ("queue_declared", overview.queues),
        ("queue_created", overview.queues),
        ("queue_deleted", 0),
    ]
}

/// `GET /api/overview`
pub(super) async fn overview(ask: Ask) -> ManagementAnswer {
    let state = &ask.state;
    let mut all = state.broker.totals().await;
    let is_whole = ask.has(UserTag::Monitoring);
    if !is_whole {
        all = seen(&ask, &all);
    }
    let messages = all.messages_ready + all.messages_unacked;
    let mut shown = shapes::object(json!({
        "management_version": DIALECT,
        "rabbitmq_version": DIALECT,
        "product_name": "musterd",
        "product_version": env!("CARGO_PKG_VERSION"),
        "cluster_name": NODE,
        "erlang_version": "none",
        "erlang_full_version": "none",
        "release_series_support_status": "supported",
        "rates_mode": "basic",
        "sample_retention_policies": {"global": [600], "basic": [600], "detailed": [600]},
        "exchange_types": exchange_types(),
        "disable_stats": false,
        "enable_queue_totals": false,
        "statistics_db_event_queue": 0,
        "message_stats": shapes::vhost_stats(counters(&all), all.rates),
        "churn_rates": shapes::counts(&churn(&all)),
        "queue_totals": shapes::counts(&[
            ("messages", messages),
            ("messages_ready", all.messages_ready),
            ("messages_unacknowledged", all.messages_unacked),
        ]),
        "object_totals": {
            "channels": all.channels,
            "connections": all.connections,
            "consumers": all.consumers,
            "exchanges": all.exchanges,
            "queues": all.queues,
        },
    }));
    if is_whole {
        shown.insert("node".to_owned(), NODE.into());
        shown.insert("listeners".to_owned(), listeners(state).into());
        shown.insert("contexts".to_owned(), context(state));
    }
    ok(&Value::Object(shown))
}

/// The part of an overview that is about the vhosts that a user sees.
fn seen(ask: &Ask, all: &Overview) -> Overview {
    let mut seen = Overview::default();
    for vhost in all.vhosts.iter().filter(|one| ask.sees(&one.name)) {
        seen.channels += vhost.channels;
        seen.exchanges += vhost.exchanges;
        seen.queues += vhost.queues;
        seen.consumers += vhost.consumers;
        seen.messages_ready += vhost.messages_ready;
        seen.messages_unacked += vhost.messages_unacked;
        seen.vhosts.push(vhost.clone());
    }
    seen
}

/// `GET /api/nodes`
pub(super) async fn nodes(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Monitoring)?;
    let all = ask.state.broker.totals().await;
    ok(&json!([node_of(&ask.state, &all)]))
}

/// `GET /api/nodes/{name}`
pub(super) async fn node(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Monitoring)?;
    if ask.name() != NODE {
        return Err(ManagementRefusal::unknown());
    }
    let all = ask.state.broker.totals().await;
    ok(&node_of(&ask.state, &all))
}

/// What the system knows of the process; 0 where it does not.
#[derive(Debug, Default)]
pub(super) struct ProcessFigures {
    pub(super) resident_bytes: u64,
    pub(super) files: u64,
    pub(super) files_max: u64,
    pub(super) threads: u64,
}

impl ProcessFigures {
    pub(super) fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let files = fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64);
        Self {
            resident_bytes: number("VmRSS:").unwrap_or(0).saturating_mul(1024),
            files,
            files_max: rlimit::Resource::NOFILE.get_soft().unwrap_or(0),
            threads: number("Threads:").unwrap_or(0),
        }
    }
}

/// Counters of RabbitMQ's disk and virtual machine, which there are none of.
const ZERO_COUNTS: [&str; 21] = [
    "context_switches",
    "gc_num",
    "gc_bytes_reclaimed",
    "io_read_count",
    "io_read_bytes",
    "io_read_avg_time",
    "io_write_count",
    "io_write_bytes",
    "io_write_avg_time",
    "io_sync_count",
    "io_sync_avg_time",
    "io_seek_count",
    "io_seek_avg_time",
    "io_reopen_count",
    "mnesia_ram_tx_count",
    "mnesia_disk_tx_count",
    "msg_store_read_count",
    "msg_store_write_count",
    "queue_index_read_count",
    "queue_index_write_count",
    "disk_free",
];

fn node_of(state: &ManagementState, all: &Overview) -> Value {
    let process = ProcessFigures::read();
    let uptime = state.started.elapsed().as_millis();
    let mechanism =
        |name: &'static str| json!({"name": name, "description": name, "enabled": true});
    let mechanisms: Vec<_> = state
        .broker()
        .mechanisms()
        .into_iter()
        .map(mechanism)
        .collect();
    let mut shown = shapes::object(json!({
        "name": NODE,
        "type": "disc",
        "running": true,
        "rates_mode": "basic",
        "os_pid": std::process::id().to_string(),
        "uptime": u64::try_from(uptime).unwrap_or(u64::MAX),
        "run_queue": 0,
        "processors": std::thread::available_parallelism().map_or(1, usize::from),
        "mem_limit": all.memory_high_bytes,
        "mem_alarm": all.memory_alarm,
        "mem_calculation_strategy": "rss",
        "disk_free_limit": 0,
        "disk_free_alarm": false,
        "fd_total": process.files_max,
        "sockets_total": process.files_max,
        "proc_total": 1_048_576,
        "partitions": [],
        "cluster_links": [],
        "net_ticktime": 60,
        "applications": [{
            "name": "musterd", "description": "musterd", "version": env!("CARGO_PKG_VERSION"),
        }],
        "auth_mechanisms": mechanisms,
        "exchange_types": exchange_types(),
        "contexts": context(state),
        "enabled_plugins": ["rabbitmq_management"],
        "config_files": [],
        "log_files": ["<stderr>"],
        "db_dir": "",
        "metrics_gc_queue_length": {},
        "ra_open_file_metrics": {},
    }));
    shown.append(&mut shapes::counts(&churn(all)));
    shown.append(&mut shapes::counts(&ZERO_COUNTS.map(|name| (name, 0))));
    shown.append(&mut shapes::counts(&[
        ("mem_used", process.resident_bytes),
        ("fd_used", process.files),
        ("proc_used", process.threads),
        ("sockets_used", all.connections),
    ]));
    Value::Object(shown)
}

/// `GET /api/cluster-name`
pub(super) async fn cluster_name(_: Ask) -> ManagementAnswer {
    ok(&json!({"name": NODE}))
}

/// `GET /api/whoami`
pub(super) async fn whoami(ask: Ask) -> ManagementAnswer {
    ok(&json!({"name": ask.user.name(), "tags": ask.user.tags()}))
}

/// `GET /api/extensions`
pub(super) async fn extensions(_: Ask) -> ManagementAnswer {
    ok(&json!([]))
}

/// `GET /api/feature-flags` and other lists that are empty here.
pub(super) async fn nothing(_: Ask) -> ManagementAnswer {
    ok(&json!([]))
}

/// `GET /api/auth`, which says that there is no OAuth 2; needs no login.
pub(super) async fn auth(State(_): State<ManagementState>) -> ManagementAnswer {
    ok(&json!({"enable_uaa": false, "uaa_client_id": "", "uaa_location": ""}))
}

/// `GET /api/healthchecks/node`
pub(super) async fn healthy(_: Ask) -> ManagementAnswer {
    fine()
}
