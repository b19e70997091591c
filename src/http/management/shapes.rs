//! The broker's objects in RabbitMQ's JSON. Pure.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{
    BrokerAddresses,
    names::{self, NODE},
};
use crate::broker::{
    pages::MessageRates,
    queue::ConnectionId,
    server::ConnectionView,
    vhost::{
        BindingView, ChannelView, ConsumerView, ExchangeView, QueueView, VhostCounters, VhostView,
        json_table,
    },
};

/// Adds a number and its rate per second, as `name` and `name_details`.
fn counted(into: &mut Map<String, Value>, name: &str, count: u64, rate: f64) {
    into.insert(name.to_owned(), count.into());
    into.insert(format!("{name}_details"), json!({"rate": rate}));
}

/// What happened to messages. All ways to fetch them count as delivered.
pub(super) fn message_stats(
    (published, delivered, acked, requeued): (u64, u64, u64, u64),
    rates: MessageRates,
) -> Map<String, Value> {
    let mut stats = Map::new();
    counted(&mut stats, "publish", published, rates.published);
    counted(&mut stats, "deliver_get", delivered, rates.delivered);
    counted(&mut stats, "deliver", delivered, rates.delivered);
    counted(&mut stats, "ack", acked, rates.acked);
    counted(&mut stats, "redeliver", requeued, 0.0);
    for name in ["deliver_no_ack", "get", "get_no_ack", "get_empty"] {
        counted(&mut stats, name, 0, 0.0);
    }
    stats
}

/// What happened to messages of a vhost.
pub(super) fn vhost_stats(counters: VhostCounters, rates: MessageRates) -> Map<String, Value> {
    let counts = (counters.published, counters.delivered, counters.acked, 0);
    let mut stats = message_stats(counts, rates);
    let routed = counters.published.saturating_sub(counters.unroutable);
    counted(&mut stats, "confirm", routed, rates.published);
    counted(&mut stats, "drop_unroutable", counters.unroutable, 0.0);
    for name in ["return_unroutable", "disk_reads", "disk_writes"] {
        counted(&mut stats, name, 0, 0.0);
    }
    stats
}

/// A queue; `policy` is the name of the one that applies to it, with its definition.
pub(super) fn queue(view: &QueueView, policy: Option<(&str, Value)>) -> Value {
    let counters = view.counters;
    let counts = (
        counters.published,
        counters.delivered,
        counters.acked,
        counters.requeued,
    );
    let all = view.messages_ready + view.messages_unacked;
    let capacity = f64::from(u8::from(view.consumers > 0));
    let mut shown = object(json!({
        "name": view.name,
        "vhost": view.vhost,
        "type": view.kind,
        "durable": view.durable,
        "auto_delete": view.auto_delete,
        "exclusive": view.exclusive,
        "arguments": json_table(&view.arguments.0),
        "node": NODE,
        "state": "running",
        "consumers": view.consumers,
        "consumer_utilisation": capacity,
        "consumer_capacity": capacity,
        "policy": policy.as_ref().map(|(name, _)| *name),
        "operator_policy": null,
        "effective_policy_definition": policy.map_or_else(|| json!({}), |(_, of)| of),
        "exclusive_consumer_tag": null,
        "single_active_consumer_tag": null,
        "head_message_timestamp": null,
        "recoverable_slaves": null,
        "message_bytes": view.message_bytes_ready,
        "message_bytes_ready": view.message_bytes_ready,
        "message_bytes_unacknowledged": 0,
        "message_bytes_ram": view.message_bytes_ready,
        "message_bytes_persistent": 0,
        "message_bytes_paged_out": 0,
        "messages_ram": all,
        "messages_ready_ram": view.messages_ready,
        "messages_unacknowledged_ram": view.messages_unacked,
        "messages_persistent": 0,
        "messages_paged_out": 0,
        "memory": view.message_bytes_ready,
        "message_stats": message_stats(counts, view.rates),
    }));
    counted(&mut shown, "messages", all, 0.0);
    counted(&mut shown, "messages_ready", view.messages_ready, 0.0);
    counted(
        &mut shown,
        "messages_unacknowledged",
        view.messages_unacked,
        0.0,
    );
    Value::Object(shown)
}

/// An exchange.
pub(super) fn exchange(view: &ExchangeView) -> Value {
    let mut stats = Map::new();
    counted(&mut stats, "publish_in", view.published, 0.0);
    counted(&mut stats, "publish_out", 0, 0.0);
    json!({
        "name": view.name,
        "vhost": view.vhost,
        "type": view.kind,
        "durable": view.durable,
        "auto_delete": view.auto_delete,
        "internal": view.internal,
        "arguments": json_table(&view.arguments.0),
        "message_stats": stats,
        "user_who_performed_action": "rmq-internal",
    })
}

/// A binding.
pub(super) fn binding(view: &BindingView) -> Value {
    json!({
        "source": view.source,
        "vhost": view.vhost,
        "destination": view.destination,
        "destination_type": view.destination_type,
        "routing_key": view.routing_key,
        "arguments": json_table(&view.arguments.0),
        "properties_key": names::binding(view),
    })
}

/// A connection.
pub(super) fn connection(view: &ConnectionView, addresses: BrokerAddresses) -> Value {
    let (peer_host, peer_port) = names::host_and_port(&view.peer);
    let own = if view.tls {
        addresses.amqps
    } else {
        addresses.amqp
    };
    let is_local = view.peer.is_empty();
    let mut shown = object(json!({
        "name": names::connection(view, addresses),
        "user_provided_name": view.name,
        "user": view.user,
        "user_who_performed_action": view.user,
        "vhost": view.vhost,
        "node": NODE,
        "type": if is_local { "direct" } else { "network" },
        "protocol": if is_local { "Direct 0-9-1" } else { "AMQP 0-9-1" },
        "state": view.state,
        "channels": view.channels,
        "channel_max": view.channel_max,
        "frame_max": view.frame_max,
        "timeout": view.heartbeat_s,
        "connected_at": view.connected_at.saturating_mul(1000),
        "client_properties": view.client_properties,
        "auth_mechanism": "PLAIN",
        "peer_host": peer_host,
        "peer_port": peer_port,
        "host": own.map(|own| own.ip().to_string()).unwrap_or_default(),
        "port": own.map_or(0, |own| own.port()),
        "peer_cert_issuer": null,
        "peer_cert_subject": null,
        "peer_cert_validity": null,
        "ssl": view.tls,
        "ssl_cipher": null,
        "ssl_hash": null,
        "ssl_key_exchange": null,
        "ssl_protocol": null,
        "recv_cnt": 0,
        "send_cnt": 0,
        "send_pend": view.unsent_bytes,
    }));
    counted(&mut shown, "recv_oct", view.received_bytes, 0.0);
    counted(&mut shown, "send_oct", view.sent_bytes, 0.0);
    Value::Object(shown)
}

/// Connections by number, for what refers to them.
#[derive(Debug, Default)]
pub(super) struct ConnectionNames(HashMap<ConnectionId, NamedConnection>);

#[derive(Debug)]
struct NamedConnection {
    name: String,
    user: String,
    peer: (String, u16),
}

impl ConnectionNames {
    pub(super) fn of(views: &[ConnectionView], addresses: BrokerAddresses) -> Self {
        let named = views.iter().map(|view| {
            let named = NamedConnection {
                name: names::connection(view, addresses),
                user: view.user.clone(),
                peer: names::host_and_port(&view.peer),
            };
            (view.id, named)
        });
        Self(named.collect())
    }

    /// The name of a connection; empty if it has gone.
    pub(super) fn name(&self, id: ConnectionId) -> &str {
        self.0.get(&id).map_or("", |named| &named.name)
    }

    /// The user of a connection; empty if it has gone.
    pub(super) fn user(&self, id: ConnectionId) -> &str {
        self.0.get(&id).map_or("", |named| &named.user)
    }

    fn peer(&self, id: ConnectionId) -> (&str, u16) {
        self.0
            .get(&id)
            .map_or(("", 0), |named| (&*named.peer.0, named.peer.1))
    }
}

/// A channel.
pub(super) fn channel(view: &ChannelView, connections: &ConnectionNames) -> Value {
    let connection = connections.name(view.connection);
    let user = connections.user(view.connection);
    let (peer_host, peer_port) = connections.peer(view.connection);
    json!({
        "name": names::channel(connection, view.number),
        "number": view.number,
        "vhost": view.vhost,
        "node": NODE,
        "state": "running",
        "user": user,
        "user_who_performed_action": user,
        "connection_details": {
            "name": connection, "peer_host": peer_host, "peer_port": peer_port,
        },
        "consumer_count": view.consumers,
        "messages_unacknowledged": view.messages_unacked,
        "messages_unconfirmed": 0,
        "messages_uncommitted": 0,
        "acks_uncommitted": 0,
        "pending_raft_commands": 0,
        "prefetch_count": 0,
        "global_prefetch_count": view.prefetch,
        "confirm": false,
        "transactional": false,
    })
}

/// A consumer.
pub(super) fn consumer(view: &ConsumerView, connections: &ConnectionNames) -> Value {
    let connection = connections.name(view.connection);
    let (peer_host, peer_port) = connections.peer(view.connection);
    json!({
        "consumer_tag": view.consumer_tag,
        "queue": {"name": view.queue, "vhost": view.vhost},
        "channel_details": {
            "name": names::channel(connection, view.channel),
            "connection_name": connection,
            "node": NODE,
            "number": view.channel,
            "peer_host": peer_host,
            "peer_port": peer_port,
            "user": connections.user(view.connection),
        },
        "ack_required": view.ack_required,
        "active": view.active,
        "activity_status": if view.active { "up" } else { "waiting" },
        "arguments": {},
        "exclusive": view.exclusive,
        "prefetch_count": view.prefetch,
    })
}

/// A vhost.
pub(super) fn vhost(view: &VhostView, rates: MessageRates) -> Value {
    let mut shown = object(json!({
        "name": view.name,
        "description": "",
        "tags": [],
        "metadata": {"description": "", "tags": []},
        "default_queue_type": "classic",
        "tracing": false,
        "cluster_state": {NODE: "running"},
        "message_stats": vhost_stats(view.counters, rates),
    }));
    let all = view.messages_ready + view.messages_unacked;
    counted(&mut shown, "messages", all, 0.0);
    counted(&mut shown, "messages_ready", view.messages_ready, 0.0);
    counted(
        &mut shown,
        "messages_unacknowledged",
        view.messages_unacked,
        0.0,
    );
    counted(&mut shown, "recv_oct", 0, 0.0);
    counted(&mut shown, "send_oct", 0, 0.0);
    Value::Object(shown)
}

/// The members of an object that is written here.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Numbers that count from the start on, each with a rate.
pub(super) fn counts(of: &[(&str, u64)]) -> Map<String, Value> {
    let mut shown = Map::new();
    for (name, count) in of {
        counted(&mut shown, name, *count, 0.0);
    }
    shown
}
