//! Lists of a vhost's objects. Long lists are made in parts, one in a turn.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::{BrokerTime, Vhost, deferred::NOBODY};
use crate::broker::{
    exchange::Destination,
    listing::Gather,
    message::Message,
    pages::MessageRates,
    queue::{ConnectionId, Queue, QueueCounters, QueueId},
    wire::{ShortStr, Table, ValueRef},
};

/// The counters of a virtual host.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerVhostCounters)]
pub struct VhostCounters {
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

/// A virtual host in numbers.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerVhost)]
pub struct VhostView {
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
    /// Its counters.
    pub counters: VhostCounters,
}

/// An exchange.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerExchange)]
pub struct ExchangeView {
    /// Its virtual host.
    pub vhost: String,
    /// Its name; empty for the default one.
    pub name: String,
    /// direct, fanout, topic or headers.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Survives the broker.
    pub durable: bool,
    /// Goes with its last binding.
    pub auto_delete: bool,
    /// Only other exchanges publish to it.
    pub internal: bool,
    /// Its arguments.
    #[schema(value_type = Object)]
    pub arguments: ArgumentsView,
    /// Bindings that start here.
    pub bindings: u64,
    /// Messages published to it.
    pub published: u64,
}

/// A queue.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerQueue)]
pub struct QueueView {
    /// Its key among the vhost's counters.
    #[serde(skip)]
    pub id: QueueId,
    /// Its virtual host.
    pub vhost: String,
    /// Its name.
    pub name: String,
    /// classic or quorum.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Survives the broker.
    pub durable: bool,
    /// Goes with its last consumer.
    pub auto_delete: bool,
    /// Goes with its connection.
    pub exclusive: bool,
    /// Its arguments.
    #[schema(value_type = Object)]
    pub arguments: ArgumentsView,
    /// Messages that wait.
    pub messages_ready: u64,
    /// Messages that consumers hold.
    pub messages_unacked: u64,
    /// The bodies that wait, in bytes.
    pub message_bytes_ready: u64,
    /// Consumers.
    pub consumers: u64,
    /// Its counters.
    pub counters: QueueCounters,
    /// Of late.
    pub rates: MessageRates,
}

/// A binding.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerBinding)]
pub struct BindingView {
    /// Its virtual host.
    pub vhost: String,
    /// The exchange that feeds.
    pub source: String,
    /// What is fed.
    pub destination: String,
    /// queue or exchange.
    pub destination_type: &'static str,
    /// The key.
    pub routing_key: String,
    /// Its arguments.
    #[schema(value_type = Object)]
    pub arguments: ArgumentsView,
}

/// A consumer.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerConsumer)]
pub struct ConsumerView {
    /// Its virtual host.
    pub vhost: String,
    /// Its queue.
    pub queue: String,
    /// Its tag.
    pub consumer_tag: String,
    /// Its connection's number.
    #[schema(value_type = u64)]
    pub connection: ConnectionId,
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

/// A channel.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerChannel)]
pub struct ChannelView {
    /// Its virtual host.
    pub vhost: String,
    /// Its connection's number.
    #[schema(value_type = u64)]
    pub connection: ConnectionId,
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

/// A message that waits.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerMessage)]
pub struct MessageView {
    /// The exchange it was published to.
    pub exchange: String,
    /// The routing key it was published with.
    pub routing_key: String,
    /// True when it was delivered before.
    pub redelivered: bool,
    /// Its headers.
    #[schema(value_type = Option<Object>)]
    pub headers: serde_json::Value,
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

/// How much of a body is shown.
const BODY_SHOWN: usize = 4096;

/// Steps that it costs to look at something that may be listed.
const LOOK_STEPS: usize = 2;
/// Bytes of names that are searched in a step.
const SEARCHED_PER_STEP: usize = 64;

/// Arguments, which become JSON when they are shown.
#[derive(Clone, Debug)]
pub struct ArgumentsView(pub Table);

impl Serialize for ArgumentsView {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        json_table(&self.0).serialize(serializer)
    }
}

/// Makes one part of a list, as far as the budget allows: where the next part begins, if this was not the last.
macro_rules! part {
    ($vhost:ident.$all:ident from $from:ident, |$id:ident, $item:ident| $look:block) => {
        for ($id, $item) in $vhost.$all.iter_from($from) {
            if $vhost.budget.is_spent() {
                return Some($id.place());
            }
            $vhost.budget.spend(LOOK_STEPS);
            $look
        }
        return None;
    };
}

impl Vhost {
    /// The vhost in numbers, but for those of its queues.
    pub fn view(&self) -> VhostView {
        VhostView {
            name: self.name.clone(),
            exchanges: self.exchanges.len() as u64,
            queues: self.queues.len() as u64,
            bindings: self.bindings.len() as u64,
            channels: self.channels.len() as u64,
            consumers: self.consumers.len() as u64,
            messages_ready: 0,
            messages_unacked: 0,
            counters: self.counters,
        }
    }

    /// A part of the sums over all queues.
    pub fn sums(&mut self, from: usize, into: &mut VhostView) -> Option<usize> {
        part!(self.queues from from, |_id, queue| {
            into.messages_ready += queue.ready.len() as u64;
            into.messages_unacked += queue.unacked as u64;
        });
    }

    /// A part of all exchanges.
    pub fn exchanges(
        &mut self,
        from: usize,
        into: &mut impl Gather<ExchangeView>,
    ) -> Option<usize> {
        part!(self.exchanges from from, |_id, exchange| {
            let searched = into.offer(&[exchange.name.as_bytes()], || ExchangeView {
                vhost: self.name.clone(),
                name: exchange.name.to_string(),
                kind: exchange.kind.name(),
                durable: exchange.durable,
                auto_delete: exchange.auto_delete,
                internal: exchange.internal,
                arguments: ArgumentsView(exchange.arguments.clone()),
                bindings: exchange.bindings.len() as u64,
                published: exchange.published,
            });
            self.budget.spend(searched / SEARCHED_PER_STEP);
        });
    }

    /// A part of all queues.
    pub fn queues(&mut self, from: usize, into: &mut impl Gather<QueueView>) -> Option<usize> {
        part!(self.queues from from, |id, queue| {
            let searched = into.offer(&[queue.name.as_bytes()], || queue_view(&self.name, id, queue));
            self.budget.spend(searched / SEARCHED_PER_STEP);
        });
    }

    /// One queue.
    pub fn queue(&self, name: &ShortStr) -> Option<QueueView> {
        let id = *self.queue_names.get(name.as_bytes())?;
        let queue = self.queues.get(id);
        queue.map(|queue| queue_view(&self.name, id, queue))
    }

    /// A part of all bindings, without the implicit binding of each queue to the default exchange.
    pub fn bindings(&mut self, from: usize, into: &mut impl Gather<BindingView>) -> Option<usize> {
        part!(self.bindings from from, |_id, binding| {
            let (destination, destination_type) = match binding.key.destination {
                Destination::Queue(id) => (self.queues.get(id).map(|queue| &queue.name), "queue"),
                Destination::Exchange(id) => (
                    self.exchanges.get(id).map(|exchange| &exchange.name),
                    "exchange",
                ),
            };
            let source = self.exchanges.get(binding.source);
            let (Some(source), Some(destination)) = (source, destination) else {
                continue;
            };
            let names = [source.name.as_bytes(), destination.as_bytes()];
            let searched = into.offer(&names, || BindingView {
                vhost: self.name.clone(),
                source: source.name.to_string(),
                destination: destination.to_string(),
                destination_type,
                routing_key: binding.key.routing_key.to_string(),
                arguments: ArgumentsView(binding.arguments.clone()),
            });
            self.budget.spend(searched / SEARCHED_PER_STEP);
        });
    }

    /// A part of all consumers.
    pub fn consumers(
        &mut self,
        from: usize,
        into: &mut impl Gather<ConsumerView>,
    ) -> Option<usize> {
        part!(self.consumers from from, |id, consumer| {
            let (Some(queue), Some(channel)) = (
                self.queues.get(consumer.queue),
                self.channels.get(consumer.channel),
            ) else {
                continue;
            };
            let names = [queue.name.as_bytes(), consumer.tag.as_bytes()];
            let searched = into.offer(&names, || ConsumerView {
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
            });
            self.budget.spend(searched / SEARCHED_PER_STEP);
        });
    }

    /// A part of all open channels; `name` gives the name of a channel's connection.
    pub fn channels(
        &mut self,
        from: usize,
        name: &impl Fn(ConnectionId) -> String,
        into: &mut impl Gather<ChannelView>,
    ) -> Option<usize> {
        part!(self.channels from from, |_id, channel| {
            if channel.ending {
                continue;
            }
            let searched = into.offer(&[name(channel.connection).as_bytes()], || ChannelView {
                vhost: self.name.clone(),
                connection: channel.connection,
                number: channel.number,
                consumers: channel.consumers.len() as u64,
                messages_unacked: channel.unacked.len() as u64,
                unacked_bytes: channel.unacked_bytes as u64,
                prefetch: channel.prefetch,
            });
            self.budget.spend(searched / SEARCHED_PER_STEP);
        });
    }

    /// The first messages that wait in a queue, each with whether it was delivered before; nothing if there is no such
    /// queue.
    pub fn peek(&self, name: &ShortStr, count: usize) -> Option<Vec<(Arc<Message>, bool)>> {
        let queue = self.queues.get(*self.queue_names.get(name.as_bytes())?)?;
        let entries = queue.ready.peek(count);
        Some(
            entries
                .map(|entry| (Arc::clone(&entry.message), entry.redelivered))
                .collect(),
        )
    }

    /// Purges a queue for an operator, also an exclusive one: how many messages were dropped.
    pub fn force_purge(&mut self, name: &ShortStr, now: BrokerTime) -> Option<usize> {
        let id = *self.queue_names.get(name.as_bytes())?;
        Some(self.purge(id, NOBODY, now))
    }

    /// Deletes a queue for an operator, also an exclusive one: how many messages were dropped.
    pub fn force_delete(&mut self, name: &ShortStr, now: BrokerTime) -> Option<usize> {
        let id = *self.queue_names.get(name.as_bytes())?;
        Some(self.remove_queue(id, NOBODY, now))
    }
}

fn queue_view(vhost: &str, id: QueueId, queue: &Queue) -> QueueView {
    QueueView {
        id,
        vhost: vhost.to_owned(),
        name: queue.name.to_string(),
        kind: queue.settings.kind.name(),
        durable: queue.durable,
        auto_delete: queue.auto_delete,
        exclusive: queue.owner.is_some(),
        arguments: ArgumentsView(queue.arguments.clone()),
        messages_ready: queue.ready.len() as u64,
        messages_unacked: queue.unacked as u64,
        message_bytes_ready: queue.ready.body_bytes() as u64,
        consumers: queue.rotation.len() as u64,
        counters: queue.counters,
        rates: MessageRates::default(),
    }
}

impl MessageView {
    /// A message as it is shown.
    pub fn new(message: &Message, redelivered: bool) -> Self {
        let properties = &message.properties;
        let text =
            |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let headers = properties.headers();
        let shown = &message.body[..message.body.len().min(BODY_SHOWN)];
        Self {
            exchange: message.exchange.to_string(),
            routing_key: message.routing_key.to_string(),
            redelivered,
            headers: headers.map_or(serde_json::Value::Null, |headers| {
                json_fields(headers.iter())
            }),
            content_type: text(properties.content_type()),
            correlation_id: text(properties.correlation_id()),
            message_id: text(properties.message_id()),
            persistent: message.persistent,
            body_bytes: message.body.len() as u64,
            body: String::from_utf8_lossy(shown).into_owned(),
        }
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
