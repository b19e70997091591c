//! The embedded broker.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// What happened per second.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerRates {
    /// The span the rates are of.
    pub over_seconds: f64,
    /// Messages published.
    pub published: f64,
    /// Messages given to consumers or to basic.get.
    pub delivered: f64,
    /// Messages acknowledged, or delivered to consumers without acknowledgements.
    pub acked: f64,
}

/// The broker in numbers.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerOverview {
    /// Open connections.
    pub connections: u64,
    /// Connections opened so far.
    pub connections_opened: u64,
    /// Connections closed so far.
    pub connections_closed: u64,
    /// Bytes of messages held.
    pub memory_bytes: u64,
    /// The mark above which publishers are blocked.
    pub memory_high_bytes: u64,
    /// True while publishers are blocked.
    pub memory_alarm: bool,
    /// How often they were blocked so far.
    pub memory_alarms: u64,
    /// Open channels.
    pub channels: u64,
    /// Exchanges.
    pub exchanges: u64,
    /// Queues.
    pub queues: u64,
    /// Bindings.
    pub bindings: u64,
    /// Consumers.
    pub consumers: u64,
    /// Messages that wait.
    pub messages_ready: u64,
    /// Messages that consumers hold.
    pub messages_unacked: u64,
    /// Of late.
    pub rates: BrokerRates,
    /// The virtual hosts.
    pub vhosts: Vec<BrokerVhost>,
}

/// A virtual host in numbers.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerVhost {
    /// Its name.
    pub name: String,
    /// Exchanges.
    pub exchanges: u64,
    /// Queues.
    pub queues: u64,
    /// Bindings.
    pub bindings: u64,
    /// Open channels.
    pub channels: u64,
    /// Consumers.
    pub consumers: u64,
    /// Messages that wait.
    pub messages_ready: u64,
    /// Messages that consumers hold.
    pub messages_unacked: u64,
    /// What happened so far.
    pub counters: BrokerVhostCounters,
}

/// What happened in a virtual host so far.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerVhostCounters {
    /// Messages published.
    pub published: u64,
    /// Messages given to consumers or to basic.get.
    pub delivered: u64,
    /// Messages acknowledged, or delivered to consumers without acknowledgements.
    pub acked: u64,
    /// Messages that no queue wanted.
    pub unroutable: u64,
    /// Direct replies delivered.
    pub replies: u64,
    /// Direct replies without a reader.
    pub replies_lost: u64,
}

/// Connections.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerConnections {
    /// As many as were asked for.
    pub connections: Vec<BrokerConnection>,
    /// How many there are.
    pub total_count: u64,
}

/// A connection.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerConnection {
    /// Its number.
    pub id: u64,
    /// The name it gave itself.
    pub name: String,
    /// The client's address.
    pub peer: String,
    /// The user that logged in.
    pub user: String,
    /// Its virtual host.
    pub vhost: String,
    /// True when it is encrypted.
    pub tls: bool,
    /// running or blocked.
    pub state: String,
    /// Open channels.
    pub channels: u64,
    /// The channels agreed.
    pub channel_max: u16,
    /// The frame size agreed.
    pub frame_max: u32,
    /// The seconds between heartbeats agreed.
    pub heartbeat_s: u16,
    /// In seconds since 1970.
    pub connected_at: u64,
    /// Bytes that came.
    pub received_bytes: u64,
    /// Bytes that left.
    pub sent_bytes: u64,
    /// Bytes that wait for the client to read.
    pub unsent_bytes: u64,
    /// What the client says of itself.
    #[schema(value_type = Object)]
    pub client_properties: Map<String, Value>,
}

/// Channels.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerChannels {
    /// As many as were asked for.
    pub channels: Vec<BrokerChannel>,
    /// How many there are.
    pub total_count: u64,
}

/// A channel.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerChannel {
    /// Its virtual host.
    pub vhost: String,
    /// Its connection's number.
    pub connection: u64,
    /// Its number.
    pub number: u16,
    /// Consumers.
    pub consumers: u64,
    /// Messages it holds.
    pub messages_unacked: u64,
    /// Their bodies, in bytes.
    pub unacked_bytes: u64,
    /// The limit for the whole channel; 0: none.
    pub prefetch: u32,
}

/// Exchanges.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerExchanges {
    /// As many as were asked for.
    pub exchanges: Vec<BrokerExchange>,
    /// How many there are.
    pub total_count: u64,
}

/// An exchange.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerExchange {
    /// Its virtual host.
    pub vhost: String,
    /// Its name; empty for the default one.
    pub name: String,
    /// direct, fanout, topic or headers.
    pub r#type: String,
    /// Survives the broker.
    pub durable: bool,
    /// Goes with its last binding.
    pub auto_delete: bool,
    /// Only other exchanges publish to it.
    pub internal: bool,
    /// Its arguments.
    #[schema(value_type = Object)]
    pub arguments: Map<String, Value>,
    /// Bindings that start here.
    pub bindings: u64,
    /// Messages published to it.
    pub published: u64,
}

/// Queues.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerQueues {
    /// As many as were asked for.
    pub queues: Vec<BrokerQueue>,
    /// How many there are.
    pub total_count: u64,
}

/// A queue.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerQueue {
    /// Its virtual host.
    pub vhost: String,
    /// Its name.
    pub name: String,
    /// classic or quorum.
    pub r#type: String,
    /// Survives the broker.
    pub durable: bool,
    /// Goes with its last consumer.
    pub auto_delete: bool,
    /// Goes with its connection.
    pub exclusive: bool,
    /// Its arguments.
    #[schema(value_type = Object)]
    pub arguments: Map<String, Value>,
    /// Messages that wait.
    pub messages_ready: u64,
    /// Messages that consumers hold.
    pub messages_unacked: u64,
    /// The bodies that wait, in bytes.
    pub message_bytes_ready: u64,
    /// Consumers.
    pub consumers: u64,
    /// What happened so far.
    pub counters: BrokerQueueCounters,
    /// Of late.
    pub rates: BrokerRates,
}

/// What happened in a queue so far.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerQueueCounters {
    /// Messages that arrived.
    pub published: u64,
    /// Messages given to consumers or to basic.get.
    pub delivered: u64,
    /// Messages settled.
    pub acked: u64,
    /// Messages requeued.
    pub requeued: u64,
    /// Messages dropped or dead-lettered.
    pub dead: u64,
}

/// Bindings.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerBindings {
    /// As many as were asked for.
    pub bindings: Vec<BrokerBinding>,
    /// How many there are.
    pub total_count: u64,
}

/// A binding.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerBinding {
    /// Its virtual host.
    pub vhost: String,
    /// The exchange that feeds.
    pub source: String,
    /// What is fed.
    pub destination: String,
    /// queue or exchange.
    pub destination_type: String,
    /// The key.
    pub routing_key: String,
    /// Its arguments.
    #[schema(value_type = Object)]
    pub arguments: Map<String, Value>,
}

/// Consumers.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerConsumers {
    /// As many as were asked for.
    pub consumers: Vec<BrokerConsumer>,
    /// How many there are.
    pub total_count: u64,
}

/// A consumer.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerConsumer {
    /// Its virtual host.
    pub vhost: String,
    /// Its queue.
    pub queue: String,
    /// Its tag.
    pub consumer_tag: String,
    /// Its connection's number.
    pub connection: u64,
    /// Its channel's number.
    pub channel: u16,
    /// True when its deliveries must be acknowledged.
    pub ack_required: bool,
    /// True when it is alone by its own wish.
    pub exclusive: bool,
    /// True when it gets messages.
    pub active: bool,
    /// How much it may hold; 0: no limit.
    pub prefetch: u32,
    /// How much it holds.
    pub unacked: u32,
    /// Its priority.
    pub priority: i32,
}

/// The first messages that wait.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerMessages {
    /// As many as were asked for.
    pub messages: Vec<BrokerMessage>,
}

/// A message that waits.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerMessage {
    /// The exchange it was published to.
    pub exchange: String,
    /// The routing key it was published with.
    pub routing_key: String,
    /// True when it was delivered before.
    pub redelivered: bool,
    /// Its headers.
    #[schema(value_type = Option<Object>)]
    pub headers: Option<Map<String, Value>>,
    /// Its content type.
    pub content_type: Option<String>,
    /// Its correlation id.
    pub correlation_id: Option<String>,
    /// Its message id.
    pub message_id: Option<String>,
    /// True when it is persistent.
    pub persistent: bool,
    /// The length of its body.
    pub body_bytes: u64,
    /// The beginning of its body, 4096 bytes at most.
    pub body: String,
}

/// What a purge did.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerPurged {
    /// How many messages were dropped.
    pub purged: u64,
}

/// What a deletion did.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerDeleted {
    /// True.
    pub deleted: bool,
    /// How many messages went with the queue.
    pub messages: u64,
}
