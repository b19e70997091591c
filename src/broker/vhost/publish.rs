//! Publishes: checked, routed, given to each queue.

use std::sync::Arc;

use super::{
    BrokerTime, PublisherNames, Vhost,
    death::{DEAD_MAX, SECOND_DEATHS_MAX},
    deferred::{Publication, Task},
    deliver::{Dispatcher, copy_without, for_consumer, rewrite_steps},
    note,
    overdue::watch,
    route::Routing,
};
use crate::broker::{
    channel::{ChannelId, Held},
    config::bytes,
    exception::Exception,
    message::{Content, DeathReason, InboundMessage, Message},
    queue::{
        ConnectionId, QueueId,
        arguments::{Overflow, QueueKind},
        ready::{Entry, NEVER},
    },
    wire::{ReplyCode, ShortStr, TableRef, ValueRef, method::basic, table::TableBuilder},
};

const NO_ROUTE: ShortStr = ShortStr::from_static("NO_ROUTE");

/// The result of a publish.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Published {
    /// Every queue that it was routed to has accepted it.
    Kept,
    /// It was routed to no queue.
    Unroutable,
    /// A queue refused it.
    Refused,
    /// Accepted or unroutable: the vhost confirms it when it is durable, and when those before it are confirmed.
    Held,
    /// It takes more than one turn. The vhost then confirms and returns it itself; the connection's next frame has to
    /// wait until [`Vhost::is_busy_for`] is false.
    Deferred,
}

/// The origin of a publish, and whether it is returned or confirmed.
#[derive(Clone, Copy, Debug)]
pub struct Publisher<'a> {
    /// The channel.
    pub channel: ChannelId,
    /// The connection.
    pub connection: ConnectionId,
    /// The connection and the user by name, for queues that ask.
    pub origin: &'a Arc<PublisherNames>,
    /// The message is returned when it is routed to no queue.
    pub mandatory: bool,
    /// The number under which it is confirmed.
    pub confirm: Option<u64>,
}

/// Steps that a publish costs beside those of its frames and queues.
const PUBLISH_STEPS: usize = 2;
/// Keys that are read in a step.
const KEYS_PER_STEP: usize = 2;
/// Bytes of an unrefusable answer per step, so that a full default outbox uses up a turn.
const ANSWERED_PER_STEP: usize = 16;

/// Steps of an unrefusable answer with a message.
pub(super) fn answer_steps(content: &Content<'_>) -> usize {
    (content.properties.as_bytes().len() + content.body.len()) / ANSWERED_PER_STEP
}

impl Vhost {
    /// Checks that an exchange exists and that clients may publish to it.
    pub fn check_publish(&self, exchange: &ShortStr) -> Result<(), Exception> {
        if exchange.is_empty() {
            return Ok(());
        }
        let id = self.exchange_id(exchange)?;
        if self
            .exchanges
            .get(id)
            .is_some_and(|exchange| exchange.internal)
        {
            let label = self.exchange_label(exchange);
            let text = format!("cannot publish to internal {label}");
            return Err(Exception::access_refused(text));
        }
        Ok(())
    }

    /// Publishes a message. A mandatory one that is routed to no queue is returned.
    ///
    /// # Errors
    /// There is no such exchange.
    pub fn publish(
        &mut self,
        message: &mut InboundMessage,
        publisher: &Publisher<'_>,
        now: BrokerTime,
    ) -> Result<Published, Exception> {
        let mut stored_at = 0;
        let published = match self.begin_publish(message)? {
            None => Published::Kept,
            Some(mut routing) => {
                // Behind what it has published before.
                let is_next = !self.is_busy_for(publisher.connection);
                let origin = publisher.origin;
                let published = is_next
                    .then(|| self.deliver_to_queues(&mut routing, message, origin, now))
                    .flatten();
                let Some(published) = published else {
                    let publication = Publication::new(message, routing, publisher, &self.memory);
                    let task = Task::Publish(Box::new(publication));
                    self.begin(publisher.connection, task, now);
                    return Ok(Published::Deferred);
                };
                stored_at = routing.stored_at;
                self.routing = Some(routing);
                published
            }
        };
        self.end_publish(published, message, publisher.channel, publisher.mandatory);
        if !self.dead.is_empty() {
            self.dead_letter(now);
        }
        Ok(self.hold_confirm(publisher.channel, publisher.confirm, stored_at, published))
    }

    /// Begins to route a message. None when it was a direct reply, which is delivered.
    pub(super) fn begin_publish(
        &mut self,
        message: &mut InboundMessage,
    ) -> Result<Option<Box<Routing>>, Exception> {
        self.counters.published += 1;
        self.budget
            .spend(PUBLISH_STEPS + message.extra_keys.len() / KEYS_PER_STEP);
        if message.hidden_keys.is_some() {
            // They were written without BCC.
            self.budget.spend(rewrite_steps(&message.properties));
        }
        if message.exchange.is_empty() && self.reply(message)? {
            return Ok(None);
        }
        let id = self.exchange_id(&message.exchange)?;
        if let Some(exchange) = self.exchanges.get_mut(id) {
            exchange.published += 1;
            message.exchange = exchange.name.clone();
        }
        Ok(Some(self.begin_routing(id)))
    }

    pub(super) fn begin_routing(
        &mut self,
        id: crate::broker::exchange::ExchangeId,
    ) -> Box<Routing> {
        self.epoch += 1;
        let mut routing = self.routing.take().unwrap_or_default();
        routing.begin(id, self.epoch);
        routing
    }

    /// Counts a message that was routed to no queue, and returns it if it is mandatory.
    pub(super) fn end_publish(
        &mut self,
        published: Published,
        message: &InboundMessage,
        channel: ChannelId,
        mandatory: bool,
    ) {
        if published == Published::Unroutable {
            self.counters.unroutable += 1;
            if mandatory {
                self.send_back(channel, message);
            }
        }
    }

    /// Sends `basic.return`.
    fn send_back(&mut self, id: ChannelId, message: &InboundMessage) {
        let Some(channel) = self.channels.get(id).filter(|channel| !channel.ending) else {
            return;
        };
        let returned = basic::Return {
            reply_code: ReplyCode::NoRoute.code(),
            reply_text: NO_ROUTE,
            exchange: message.exchange.clone(),
            routing_key: message.routing_key.clone(),
        };
        let peer = &channel.peer;
        let (number, frame_max) = (channel.number, peer.frame_max());
        let content = message.content();
        self.budget.spend(answer_steps(&content));
        let outbox = &peer.outbox;
        let put = outbox.put_with_content(&returned, number, content, frame_max);
        note(&mut self.dirty, peer, put);
    }

    /// Whether a queue would refuse a message and dead-letter it while too many dead letters wait to be routed.
    pub(super) fn waits_for_dead_letters(&self, id: QueueId, message: &InboundMessage) -> bool {
        // A dead letter cannot wait for the others.
        self.dead.len() >= DEAD_MAX
            && message.deaths.is_none()
            && self.queues.get(id).is_some_and(|queue| {
                queue.settings.overflow == Overflow::RejectPublishDlx
                    && queue.refuses(message.body.len())
            })
    }

    /// Gives a message to one queue: straight to a consumer if the queue is empty. False when the queue refuses it.
    pub(super) fn enqueue(
        &mut self,
        id: QueueId,
        message: &mut InboundMessage,
        now: BrokerTime,
    ) -> bool {
        let Some(queue) = self.queues.get_mut(id) else {
            return true;
        };
        // A full classic queue refuses a message even if a consumer waits.
        let refused =
            queue.settings.kind == QueueKind::Classic && queue.refuses(message.body.len());
        let straight = !refused && queue.ready.is_empty() && queue.rotation.front().is_some();
        if straight && self.hand_over(id, message, now) {
            return true;
        }
        let (Some(queue), memory) = (self.queues.get_mut(id), &self.memory) else {
            return true;
        };
        if queue.refuses(message.body.len()) {
            // One that is refused again and again may become as many as there are queues: the surplus is dropped.
            let is_surplus = message.deaths.is_some() && self.dead.len() >= SECOND_DEATHS_MAX;
            let message = (queue.settings.overflow == Overflow::RejectPublishDlx && !is_surplus)
                .then(|| message.keep(memory, &queue.name));
            queue.counters.dead += 1;
            if let Some(message) = message {
                self.die(id, &message, None, DeathReason::MaxLen, now);
            }
            return false;
        }
        queue.counters.published += 1;
        let message = message.keep(memory, &queue.name);
        self.queue_up(id, message, now);
        true
    }

    /// Gives a message straight to a consumer, if one can take it.
    fn hand_over(&mut self, id: QueueId, message: &mut InboundMessage, now: BrokerTime) -> bool {
        let Self {
            queues,
            consumers,
            channels,
            dirty,
            limits,
            records,
            memory,
            counters,
            overdue,
            waiting,
            budget,
            ..
        } = self;
        let Some(queue) = queues.get_mut(id) else {
            return false;
        };
        let unacked_bytes_max = bytes(limits.unacked_per_channel.get());
        let mut dispatcher = Dispatcher {
            consumers,
            channels,
            dirty,
            unacked_bytes_max,
            counters,
            waiting,
            budget,
        };
        let properties = for_consumer(queue, &message.properties, 0);
        let mut content = message.content();
        if let Some(properties) = &properties {
            content.properties = properties;
        }
        let Some((consumer, given)) = dispatcher.give_next(queue, content, false) else {
            return false;
        };
        queue.counters.published += 1;
        if given.no_ack {
            return true;
        }
        let message = message.keep(memory, &queue.name);
        let position = queue.next_position();
        let expires_at = queue.expires_at(message.ttl, now.ms);
        let entry = Entry {
            message,
            position,
            expires_at,
            returns: 0,
            redelivered: false,
            resumed: false,
        };
        records.place(queue, &entry, now);
        records.give_placed(queue, &entry);
        if let Some(channel) = dispatcher.channels.get_mut(given.channel) {
            let due_at = queue.due_at(now.ms);
            watch(overdue, channel, given.channel, due_at);
            let held = Held {
                queue: id,
                consumer: Some(consumer),
                entry,
                due_at,
                limited: given.limited,
                in_tx: false,
            };
            channel.unacked.insert(given.tag, held);
        }
        true
    }

    /// Appends a message to a queue, and drops the surplus.
    fn queue_up(&mut self, id: QueueId, message: Arc<Message>, now: BrokerTime) {
        let Some(queue) = self.queues.get_mut(id) else {
            return;
        };
        let position = queue.next_position();
        let expires_at = queue.expires_at(message.ttl, now.ms);
        let entry = Entry {
            message,
            position,
            expires_at,
            returns: 0,
            redelivered: false,
            resumed: false,
        };
        self.records.place(queue, &entry, now);
        queue.ready.push(entry);
        if self.records.log.is_some() {
            self.begin_spill(id);
        }
        let Some(queue) = self.queues.get_mut(id) else {
            return;
        };
        let able = queue.rotation.front().is_some();
        if queue.exceeds(0, 0) {
            self.drop_surplus(id, now);
        }
        if expires_at != NEVER {
            if expires_at <= now.ms && !able {
                self.expire(id, now);
            }
            self.arm(id);
        }
        if able {
            self.touch(id);
        }
    }

    /// Drops messages from the head of a queue, in the order of delivery, until it is within its limits.
    pub(super) fn drop_surplus(&mut self, id: QueueId, now: BrokerTime) {
        while let Some(queue) = self.queues.get_mut(id)
            && queue.settings.overflow == Overflow::DropHead
            && queue.exceeds(0, 0)
        {
            if self.budget.is_overdrawn() || self.dead.len() >= DEAD_MAX {
                self.touch(id);
                return;
            }
            let Some(entry) = queue.ready.pop() else {
                self.request_load(id);
                return;
            };
            self.die_entry(id, &entry, DeathReason::MaxLen, now);
        }
    }

    /// Sets the stamp headers to the names of the connection and the user. Removes them from a dead letter, whose
    /// publisher is unknown.
    pub(super) fn stamp(&mut self, message: &mut InboundMessage, origin: &PublisherNames) {
        self.budget.spend(rewrite_steps(&message.properties));
        let before = message.properties.headers();
        let stamps: [&[u8]; 2] = [&self.stamp.header, &self.stamp.user_header];
        let mut headers = TableBuilder::new();
        if message.deaths.is_none() {
            copy_without(before, &stamps, &mut headers);
            if let Some(connection) = &origin.connection {
                headers.put_str(&self.stamp.header, connection);
            }
            if let Some(user) = &origin.user {
                headers.put_str(&self.stamp.user_header, user);
            }
        } else if before
            .is_some_and(|headers| stamps.iter().any(|one| headers.field(one).is_some()))
        {
            copy_without(before, &stamps, &mut headers);
        } else {
            return;
        }
        message.properties = message.properties.with_headers(&headers.build());
    }
}

/// The further routing keys in the headers CC and BCC, and the properties without BCC.
pub fn carbon_copies(message: &mut InboundMessage) -> Result<(), Exception> {
    let Some(headers) = message.properties.headers() else {
        return Ok(());
    };
    let (cc, bcc) = (headers.field(b"CC"), headers.field(b"BCC"));
    if cc.is_none() && bcc.is_none() {
        return Ok(());
    }
    let (mut keys, mut hidden) = (Vec::new(), Vec::new());
    keys_of("CC", cc, &mut keys)?;
    keys_of("BCC", bcc, &mut hidden)?;
    if bcc.is_some() {
        keys.extend_from_slice(&hidden);
        message.hidden_keys = Some(hidden.into());
        let without = without_bcc(headers);
        message.properties = message.properties.with_headers(&without);
    }
    message.extra_keys = keys;
    Ok(())
}

fn without_bcc(headers: TableRef<'_>) -> crate::broker::wire::Table {
    let mut kept = TableBuilder::new();
    copy_without(Some(headers), &[b"BCC"], &mut kept);
    kept.build()
}

fn keys_of(
    name: &str,
    value: Option<ValueRef<'_>>,
    keys: &mut Vec<ShortStr>,
) -> Result<(), Exception> {
    match value {
        None => Ok(()),
        Some(ValueRef::Array(array)) => {
            let strings = array.iter().filter_map(ValueRef::as_str_bytes);
            keys.extend(strings.filter_map(ShortStr::copied));
            Ok(())
        }
        Some(other) => Err(Exception::precondition(format!(
            "invalid message: {{unacceptable_type_in_header,\"{name}\",{}}}",
            other.type_name()
        ))),
    }
}
