//! Channels and their consumers: opened, limited, started, cancelled; and `basic.get`.

use std::sync::Arc;

use super::{
    BrokerTime, Vhost,
    deferred::Task,
    deliver::{counted, rewrite_steps},
    footprint,
    publish::answer_steps,
    removal::CONSUMER_STEPS,
};
use crate::broker::{
    channel::{ChannelId, Consumer, ConsumerId, DeliveryChannel, Held},
    exception::Exception,
    memory::TopologyCharge,
    peer::Peer,
    queue::{
        ConnectionId, Queue, QueueId,
        arguments::{QueueKind, Settings, unsupported},
        ready::Entry,
        rotation::Place,
    },
    wire::{ReplyCode, ShortStr, Table, method::basic},
};

/// Where to begin in a stream, which no queue here is.
const STREAM_OFFSET: &[u8] = b"x-stream-offset";

/// The arguments of `basic.consume`.
#[derive(Clone, Debug)]
pub struct ConsumeSpec {
    /// The queue.
    pub queue: ShortStr,
    /// The consumer's tag; empty: one is made up.
    pub tag: ShortStr,
    /// Messages count as settled when they are sent.
    pub no_ack: bool,
    /// No other consumer beside this one; a quorum queue does not mind.
    pub exclusive: bool,
    /// Arguments.
    pub arguments: Table,
}

/// The arguments of `basic.get`.
#[derive(Clone, Debug)]
pub struct GetSpec {
    /// The channel that asks.
    pub channel: ChannelId,
    /// Its connection.
    pub connection: ConnectionId,
    /// The queue.
    pub queue: ShortStr,
    /// The message counts as settled when it is sent.
    pub no_ack: bool,
}

/// The arguments of `basic.qos`.
#[derive(Clone, Copy, Debug)]
pub struct Qos {
    /// How many messages.
    pub count: u16,
    /// For the channel; otherwise for each consumer to come.
    pub global: bool,
}

impl Vhost {
    /// Opens a channel; `session_bytes` is what its client's session keeps for it.
    pub fn open_channel(
        &mut self,
        peer: &Arc<Peer>,
        connection: ConnectionId,
        number: u16,
        session_bytes: usize,
    ) -> Result<ChannelId, Exception> {
        self.check_topology()?;
        let mut channel = DeliveryChannel::new(Arc::clone(peer), connection, number, &self.memory);
        self.count_channel(&mut channel, session_bytes);
        Ok(self.channels.insert(channel))
    }

    /// Closes a channel: cancels its consumers and requeues what it holds, in as many turns as needed.
    pub fn close_channel(&mut self, id: ChannelId, now: BrokerTime) {
        let Some(mut channel) = self.channels.remove(id) else {
            return;
        };
        self.overdue.remove(&(channel.due_at, id));
        channel.ending = true;
        channel.waiting.clear();
        let connection = channel.connection;
        // Consumers that are not cancelled yet refer to the old key, so that they get no more deliveries.
        let ending = self.channels.insert(channel);
        self.rekey_deferred(connection, id, ending);
        self.begin(connection, Task::CloseChannel(ending), now);
    }

    /// Whether a channel is open.
    pub fn has_channel(&self, id: ChannelId) -> bool {
        self.channels.get(id).is_some_and(|channel| !channel.ending)
    }

    /// `basic.qos`.
    pub fn qos(&mut self, id: ChannelId, qos: Qos) {
        let Some(channel) = self.channels.get_mut(id) else {
            return;
        };
        if qos.global {
            channel.prefetch = qos.count.into();
        } else {
            // As in RabbitMQ, this takes back a limit for the whole channel.
            channel.prefetch = 0;
            channel.prefetch_new = qos.count.into();
        }
        self.wake_channel(id);
    }

    /// Refuses a consumer tag that is in use on a channel. Checked before all other errors. As in
    /// RabbitMQ, that of the reply consumer may be used again.
    pub fn check_consumer_tag(&self, id: ChannelId, tag: &ShortStr) -> Result<(), Exception> {
        match self.channels.get(id) {
            Some(channel) if channel.consumers.contains_key(tag.as_bytes()) => {
                let text = format!("attempt to reuse consumer tag '{tag}'");
                Err(Exception::not_allowed(text))
            }
            _ => Ok(()),
        }
    }

    /// `basic.consume`: the consumer's tag. `started` sends the answer, which goes before any message.
    pub fn consume(
        &mut self,
        channel_id: ChannelId,
        connection: ConnectionId,
        spec: &ConsumeSpec,
        nowait: bool,
    ) -> Result<ShortStr, Exception> {
        let queue_id = self.usable_queue(&spec.queue, connection)?;
        let label = self.queue_label(&spec.queue);
        let tag = match spec.tag.is_empty() {
            true => self.random_name("amq.ctag-"),
            false => spec.tag.detached(),
        };
        let priority = priority(&spec.arguments, &label)?;
        let (Some(channel), Some(queue)) =
            (self.channels.get(channel_id), self.queues.get(queue_id))
        else {
            return Err(self.no_queue(&spec.queue));
        };
        // As in RabbitMQ, a quorum queue silently ignores the flag.
        let exclusive = spec.exclusive && queue.settings.kind == QueueKind::Classic;
        check_consume(queue, channel, &spec.arguments, exclusive, &label)?;
        if channel.consumers.len() >= self.limits.consumers_per_channel.get() {
            return Err(self.too_many("consumers on this channel", channel.consumers.len()));
        }
        self.check_topology()?;
        let (peer, number) = (Arc::clone(&channel.peer), channel.number);
        let mut consumer = Consumer {
            tag: tag.clone(),
            channel: channel_id,
            queue: queue_id,
            no_ack: spec.no_ack,
            exclusive,
            limited: queue.settings.kind == QueueKind::Classic,
            priority,
            place: Place::default(),
            prefetch: channel.prefetch_new,
            inflight: 0,
            parked: false,
            waiting: None,
            arguments: spec.arguments.detached(),
            charge: TopologyCharge::default(),
        };
        consumer.charge = self
            .memory
            .charge_topology(footprint::of_consumer(&consumer));
        let id = self.consumers.insert(consumer);
        if let Some(channel) = self.channels.get_mut(channel_id) {
            channel.consumers.insert(tag.clone(), id);
        }
        if let (Some(queue), Some(consumer)) =
            (self.queues.get_mut(queue_id), self.consumers.get_mut(id))
        {
            consumer.place = queue.rotation.add(id, priority, exclusive);
        }
        if !nowait {
            self.send(
                &peer,
                &basic::ConsumeOk {
                    consumer_tag: tag.clone(),
                },
                number,
            );
        }
        self.touch(queue_id);
        Ok(tag)
    }

    /// `basic.cancel`. The channel keeps what was delivered to the consumer.
    pub fn cancel(&mut self, channel_id: ChannelId, tag: &ShortStr, now: BrokerTime) {
        let Some(channel) = self.channels.get_mut(channel_id) else {
            return;
        };
        if channel
            .replies
            .as_ref()
            .is_some_and(|replies| replies.tag == *tag)
        {
            channel.replies = None;
            return;
        }
        let connection = channel.connection;
        if let Some(id) = channel.consumers.remove(tag.as_bytes()) {
            self.remove_consumer(id, connection, now);
        }
    }

    pub(super) fn remove_consumer(
        &mut self,
        id: ConsumerId,
        connection: ConnectionId,
        now: BrokerTime,
    ) {
        self.budget.spend(CONSUMER_STEPS);
        let Some(consumer) = self.consumers.remove(id) else {
            return;
        };
        self.stop_waiting(&consumer);
        let Some(queue) = self.queues.get_mut(consumer.queue) else {
            return;
        };
        let successor = queue.rotation.remove(consumer.place);
        if queue.rotation.is_empty() {
            queue.unused_since = now.ms;
            if queue.auto_delete {
                self.remove_queue(consumer.queue, connection, now);
                return;
            }
            self.arm(consumer.queue);
        }
        if successor.is_some() {
            self.touch(consumer.queue);
        }
    }

    /// A consumer that has gone does not wait for its channel.
    pub(super) fn stop_waiting(&mut self, consumer: &Consumer) {
        if let Some(place) = consumer.waiting
            && let Some(channel) = self.channels.get_mut(consumer.channel)
        {
            channel.waiting.remove(place);
        }
    }

    /// `basic.get`: answers with a message or with `basic.get-empty`.
    pub fn get(&mut self, get: GetSpec, now: BrokerTime) -> Result<(), Exception> {
        self.fetchable_queue(&get.queue, get.connection)?;
        if !self.get_on(&get, now) {
            self.begin(get.connection, Task::Get(Box::new(get)), now);
        }
        Ok(())
    }

    /// Drops what has expired and gets what is behind it, as far as the budget allows; whether that was all.
    pub(super) fn get_on(&mut self, get: &GetSpec, now: BrokerTime) -> bool {
        if self.channels.get(get.channel).is_none() {
            return true;
        }
        let id = self.fetchable_queue(&get.queue, get.connection).ok();
        let entry = match id.map(|id| self.next_live(id, now)) {
            None => None,
            Some(None) => return false,
            Some(Some(entry)) => entry,
        };
        if let Some(id) = id {
            self.load_ahead(id);
        }
        if let (Some(id), Some(entry)) = (id, entry) {
            // Expired messages behind it do not count.
            self.expire(id, now);
            self.give(id, get, entry, now);
        } else if let Some(channel) = self.channels.get(get.channel) {
            let (peer, number) = (Arc::clone(&channel.peer), channel.number);
            self.send(&peer, &basic::GetEmpty {}, number);
        }
        true
    }

    /// Takes the first message of a queue that has not expired; nothing: the budget is spent, or it is being read.
    fn next_live(&mut self, id: QueueId, now: BrokerTime) -> Option<Option<Entry>> {
        self.expire(id, now);
        let Some(queue) = self.queues.get_mut(id) else {
            return Some(None);
        };
        queue.unused_since = now.ms;
        if queue.ready.is_blocked() {
            self.request_load(id);
            return None;
        }
        let head = queue.ready.head();
        if head.is_some_and(|head| head.expires_at <= now.ms) {
            return None;
        }
        Some(queue.ready.pop())
    }

    /// Answers `basic.get` with a message.
    fn give(&mut self, id: QueueId, get: &GetSpec, entry: Entry, now: BrokerTime) {
        let Self {
            queues,
            channels,
            dirty,
            records,
            counters,
            overdue,
            budget,
            ..
        } = self;
        let (Some(queue), Some(channel)) = (queues.get_mut(id), channels.get_mut(get.channel))
        else {
            return;
        };
        queue.counters.delivered += 1;
        counters.delivered += 1;
        let delivery_tag = channel.next_tag();
        let mut content = entry.message.content();
        let counted = counted(queue, &entry.message.properties, entry.returns);
        if let Some(properties) = &counted {
            budget.spend(rewrite_steps(properties));
            content.properties = properties;
        }
        budget.spend(answer_steps(&content));
        let get_ok = basic::GetOk {
            delivery_tag,
            redelivered: entry.redelivered,
            exchange: entry.message.exchange.clone(),
            routing_key: entry.message.routing_key.clone(),
            message_count: u32::try_from(queue.ready.len()).unwrap_or(u32::MAX),
        };
        let peer = &channel.peer;
        let put = peer
            .outbox
            .put_with_content(&get_ok, channel.number, content, peer.frame_max());
        super::note(dirty, peer, put);
        if get.no_ack {
            queue.counters.acked += 1;
            counters.acked += 1;
            records.forget(queue, &entry);
        } else {
            records.give(queue, &entry);
            queue.unacked += 1;
            channel.unacked_bytes += entry.message.body.len();
            let due_at = queue.due_at(now.ms);
            super::overdue::watch(overdue, channel, get.channel, due_at);
            let held = Held {
                queue: id,
                consumer: None,
                entry,
                due_at,
                limited: false,
                in_tx: false,
            };
            channel.unacked.insert(delivery_tag, held);
        }
    }

    /// The queue of this name, if it supports `basic.get`.
    fn fetchable_queue(
        &self,
        name: &ShortStr,
        connection: ConnectionId,
    ) -> Result<QueueId, Exception> {
        let id = self.usable_queue(name, connection)?;
        let settings = self.queues.get(id).map(|queue| &queue.settings);
        if settings.is_some_and(|settings| {
            settings.kind == QueueKind::Quorum && settings.single_active_consumer
        }) {
            let text = format!(
                "cannot obtain access to locked {}. basic.get operations are not supported by quorum \
                 queues with single active consumer",
                self.queue_label(name)
            );
            return Err(Exception::new(ReplyCode::ResourceLocked, text));
        }
        Ok(id)
    }
}

/// Checks that a queue accepts a consumer.
fn check_consume(
    queue: &Queue,
    channel: &DeliveryChannel,
    arguments: &Table,
    exclusive: bool,
    label: &str,
) -> Result<(), Exception> {
    let Settings {
        kind,
        single_active_consumer,
        ..
    } = queue.settings;
    if arguments.field(STREAM_OFFSET).is_some() {
        return Err(unsupported(STREAM_OFFSET, label, kind));
    }
    let shared = !queue.rotation.is_empty() || single_active_consumer;
    if queue.rotation.is_exclusive() || exclusive && shared {
        let text = format!("{label} in exclusive use");
        return Err(Exception::access_refused(text));
    }
    if kind == QueueKind::Quorum && channel.prefetch != 0 {
        let text = format!("{label} does not support global qos");
        return Err(Exception::not_implemented(text));
    }
    Ok(())
}

/// Any number is taken; beyond 32 bits they are all equally far up or down.
fn priority(arguments: &Table, queue: &str) -> Result<i32, Exception> {
    let Some(value) = arguments.field(b"x-priority") else {
        return Ok(0);
    };
    let Some(number) = value.as_integer() else {
        return Err(Exception::precondition(format!(
            "invalid arg 'x-priority' for {queue}: \"expected integer, got {}\"",
            value.type_name()
        )));
    };
    let nearest = number.clamp(i32::MIN.into(), i32::MAX.into());
    Ok(i32::try_from(nearest).unwrap_or(0))
}
