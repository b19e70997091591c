//! What a vhost looks like from outside.

use serde::Serialize;

use super::Vhost;
use crate::broker::{
    channel::{Channel, ChannelId},
    exchange::Destination,
    listing::Gather,
    queue::{ConnectionId, Queue, QueueCounters, QueueId},
    wire::{ShortStr, Table, ValueRef},
};

/// What happened in a vhost.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct VhostCounters {
    /// Messages published.
    pub published: u64,
    /// Messages given to consumers or to `basic.get`.
    pub delivered: u64,
    /// Messages acknowledged, or given to whoever does not acknowledge.
    pub acked: u64,
    /// Messages that no queue wanted.
    pub unroutable: u64,
    /// Direct replies delivered.
    pub replies: u64,
    /// Direct replies dropped because their requester does not read.
    pub replies_lost: u64,
}

/// A vhost in numbers.
#[derive(Clone, Debug, Serialize)]
pub struct VhostView {
    /// Its name.
    pub name: String,
    /// How many exchanges it has.
    pub exchanges: usize,
    /// How many queues it has.
    pub queues: usize,
    /// How many bindings it has.
    pub bindings: usize,
    /// How many channels are open.
    pub channels: usize,
    /// How many consumers it has.
    pub consumers: usize,
    /// How many messages wait.
    pub messages_ready: usize,
    /// How many messages consumers hold.
    pub messages_unacked: usize,
    /// What happened so far.
    pub counters: VhostCounters,
}

/// An exchange.
#[derive(Clone, Debug, Serialize)]
pub struct ExchangeView {
    /// Its vhost.
    pub vhost: String,
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Survives the broker.
    pub durable: bool,
    /// Goes with its last binding.
    pub auto_delete: bool,
    /// Only other exchanges publish to it.
    pub internal: bool,
    /// Its arguments.
    pub arguments: serde_json::Value,
    /// How many bindings start here.
    pub bindings: usize,
    /// How many messages were published to it.
    pub published: u64,
}

/// A queue.
#[derive(Clone, Debug, Serialize)]
pub struct QueueView {
    /// Its key among the vhost's counters.
    #[serde(skip)]
    pub id: QueueId,
    /// Its vhost.
    pub vhost: String,
    /// Its name.
    pub name: String,
    /// classic or quorum
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Survives the broker.
    pub durable: bool,
    /// Goes with its last consumer.
    pub auto_delete: bool,
    /// Goes with its connection.
    pub exclusive: bool,
    /// Its arguments.
    pub arguments: serde_json::Value,
    /// How many messages wait.
    pub messages_ready: usize,
    /// How many messages consumers hold.
    pub messages_unacked: usize,
    /// The bodies that wait, in bytes.
    pub message_bytes_ready: usize,
    /// How many consumers it has.
    pub consumers: usize,
    /// What happened so far.
    pub counters: QueueCounters,
}

/// A binding.
#[derive(Clone, Debug, Serialize)]
pub struct BindingView {
    /// Its vhost.
    pub vhost: String,
    /// The exchange that feeds.
    pub source: String,
    /// What is fed.
    pub destination: String,
    /// queue or exchange
    pub destination_type: &'static str,
    /// The key.
    pub routing_key: String,
    /// Its arguments.
    pub arguments: serde_json::Value,
}

/// A consumer.
#[derive(Clone, Debug, Serialize)]
pub struct ConsumerView {
    /// Its vhost.
    pub vhost: String,
    /// Its queue.
    pub queue: String,
    /// Its tag.
    pub consumer_tag: String,
    /// Its connection.
    pub connection: ConnectionId,
    /// Its channel's number.
    pub channel: u16,
    /// Whether its deliveries must be acknowledged.
    pub ack_required: bool,
    /// Whether it is alone.
    pub exclusive: bool,
    /// Whether it gets messages: with a single active consumer one does.
    pub active: bool,
    /// How much it may hold; 0: no limit.
    pub prefetch: u32,
    /// How much it holds.
    pub unacked: u32,
    /// Its priority.
    pub priority: i32,
}

/// A message that waits.
#[derive(Clone, Debug, Serialize)]
pub struct MessageView {
    /// The exchange it was published to.
    pub exchange: String,
    /// The routing key it was published with.
    pub routing_key: String,
    /// Whether it was given out before.
    pub redelivered: bool,
    /// Its headers.
    pub headers: serde_json::Value,
    /// Its content type.
    pub content_type: Option<String>,
    /// Its correlation id.
    pub correlation_id: Option<String>,
    /// Its message id.
    pub message_id: Option<String>,
    /// Whether it is persistent.
    pub persistent: bool,
    /// The length of its body.
    pub body_bytes: usize,
    /// The beginning of its body.
    pub body: String,
}

/// How much of a body is shown.
const BODY_SHOWN: usize = 4096;

impl Vhost {
    /// The vhost in numbers.
    pub fn view(&self) -> VhostView {
        let queues = || self.queues.iter().map(|(_, queue)| queue);
        VhostView {
            name: self.name.clone(),
            exchanges: self.exchanges.len(),
            queues: self.queues.len(),
            bindings: self.bindings.len(),
            channels: self.channels.len(),
            consumers: self.consumers.len(),
            messages_ready: queues().map(|queue| queue.ready.len()).sum(),
            messages_unacked: queues().map(|queue| queue.unacked).sum(),
            counters: self.counters,
        }
    }

    /// All exchanges.
    pub fn exchanges(&self, into: &mut impl Gather<ExchangeView>) {
        for (_, exchange) in self.exchanges.iter() {
            into.offer(&[exchange.name.as_bytes()], || ExchangeView {
                vhost: self.name.clone(),
                name: exchange.name.to_string(),
                kind: exchange.kind.name(),
                durable: exchange.durable,
                auto_delete: exchange.auto_delete,
                internal: exchange.internal,
                arguments: json_table(&exchange.arguments),
                bindings: exchange.bindings.len(),
                published: exchange.published,
            });
        }
    }

    /// All queues.
    pub fn queues(&self, into: &mut impl Gather<QueueView>) {
        for (id, queue) in self.queues.iter() {
            into.offer(&[queue.name.as_bytes()], || self.queue_view(id, queue));
        }
    }

    /// One queue.
    pub fn queue(&self, name: &ShortStr) -> Option<QueueView> {
        let id = *self.queue_names.get(name.as_bytes())?;
        self.queues.get(id).map(|queue| self.queue_view(id, queue))
    }

    fn queue_view(&self, id: QueueId, queue: &Queue) -> QueueView {
        QueueView {
            id,
            vhost: self.name.clone(),
            name: queue.name.to_string(),
            kind: queue.settings.kind.name(),
            durable: queue.durable,
            auto_delete: queue.auto_delete,
            exclusive: queue.owner.is_some(),
            arguments: json_table(&queue.arguments),
            messages_ready: queue.ready.len(),
            messages_unacked: queue.unacked,
            message_bytes_ready: queue.ready.body_bytes(),
            consumers: queue.rotation.len(),
            counters: queue.counters,
        }
    }

    /// All bindings. That of every queue to the default exchange is understood.
    pub fn bindings(&self, into: &mut impl Gather<BindingView>) {
        for (_, binding) in self.bindings.iter() {
            let (destination, destination_type) = match binding.key.destination {
                Destination::Queue(id) => (self.queues.get(id).map(|queue| &queue.name), "queue"),
                Destination::Exchange(id) => (
                    self.exchanges.get(id).map(|exchange| &exchange.name),
                    "exchange",
                ),
            };
            let source = self
                .exchanges
                .get(binding.source)
                .map(|source| &source.name);
            let (Some(source), Some(destination)) = (source, destination) else {
                continue;
            };
            into.offer(&[source.as_bytes(), destination.as_bytes()], || {
                BindingView {
                    vhost: self.name.clone(),
                    source: source.to_string(),
                    destination: destination.to_string(),
                    destination_type,
                    routing_key: binding.key.routing_key.to_string(),
                    arguments: json_table(&binding.arguments),
                }
            });
        }
    }

    /// All consumers.
    pub fn consumers(&self, into: &mut impl Gather<ConsumerView>) {
        for (id, consumer) in self.consumers.iter() {
            let (Some(queue), Some(channel)) = (
                self.queues.get(consumer.queue),
                self.channels.get(consumer.channel),
            ) else {
                continue;
            };
            into.offer(&[queue.name.as_bytes(), consumer.tag.as_bytes()], || {
                ConsumerView {
                    vhost: self.name.clone(),
                    queue: queue.name.to_string(),
                    consumer_tag: consumer.tag.to_string(),
                    connection: channel.connection,
                    channel: channel.number,
                    ack_required: !consumer.no_ack,
                    exclusive: consumer.exclusive,
                    active: queue.rotation.is_active(id),
                    prefetch: consumer.prefetch,
                    unacked: consumer.inflight,
                    priority: consumer.priority,
                }
            });
        }
    }

    /// All open channels.
    pub fn channels(&self) -> impl Iterator<Item = (ChannelId, &Channel)> {
        self.channels.iter()
    }

    /// The first messages that wait in a queue; nothing if there is no such queue.
    pub fn peek(&self, name: &ShortStr, count: usize) -> Option<Vec<MessageView>> {
        let queue = self.queues.get(*self.queue_names.get(name.as_bytes())?)?;
        let views = queue.ready.peek(count).map(|entry| {
            let message = &entry.message;
            let properties = &message.properties;
            let text = |bytes: Option<&[u8]>| {
                bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            };
            let shown = &message.body[..message.body.len().min(BODY_SHOWN)];
            MessageView {
                exchange: message.exchange.to_string(),
                routing_key: message.routing_key.to_string(),
                redelivered: entry.redelivered,
                headers: properties
                    .headers()
                    .map_or(serde_json::Value::Null, |headers| {
                        json_fields(headers.iter())
                    }),
                content_type: text(properties.content_type()),
                correlation_id: text(properties.correlation_id()),
                message_id: text(properties.message_id()),
                persistent: message.persistent,
                body_bytes: message.body.len(),
                body: String::from_utf8_lossy(shown).into_owned(),
            }
        });
        Some(views.collect())
    }

    /// An operator purges a queue, whoever owns it: how many messages were dropped.
    pub fn force_purge(&mut self, name: &ShortStr) -> Option<usize> {
        let id = *self.queue_names.get(name.as_bytes())?;
        Some(self.purge(id))
    }

    /// An operator deletes a queue, whoever owns it: how many messages were dropped.
    pub fn force_delete(&mut self, name: &ShortStr) -> Option<usize> {
        let id = *self.queue_names.get(name.as_bytes())?;
        Some(self.remove_queue(id))
    }
}

/// A field table as JSON.
pub fn json_table(table: &Table) -> serde_json::Value {
    json_fields(table.iter())
}

fn json_fields<'a>(fields: impl Iterator<Item = (&'a [u8], ValueRef<'a>)>) -> serde_json::Value {
    let fields =
        fields.map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), json(value)));
    serde_json::Value::Object(fields.collect())
}

fn json(value: ValueRef<'_>) -> serde_json::Value {
    if let Some(number) = value.as_integer() {
        return number.into();
    }
    match value {
        ValueRef::Bool(value) => value.into(),
        ValueRef::F32(value) => value.into(),
        ValueRef::F64(value) => value.into(),
        ValueRef::Timestamp(value) => value.into(),
        ValueRef::Str(text) | ValueRef::Bytes(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Array(array) => array.iter().map(json).collect(),
        ValueRef::Table(table) => json_fields(table.iter()),
        ValueRef::Decimal { scale, value } => (f64::from(value) / 10f64.powi(scale.into())).into(),
        _ => serde_json::Value::Null,
    }
}
