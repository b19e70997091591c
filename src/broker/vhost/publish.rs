//! From a publish to queues: which they are, and what each does with the message.

use std::sync::Arc;

use super::{
    Now, Vhost,
    deliver::{Giver, copy_without, for_consumer},
    note,
    overdue::watch,
};
use crate::broker::{
    channel::{ChannelId, Held},
    config::bytes,
    exception::Exception,
    exchange::{Destination, ExchangeId},
    message::{DeathReason, Draft, Message},
    queue::{
        QueueId,
        arguments::{Overflow, QueueKind},
        ready::{Entry, NEVER},
    },
    wire::{ReplyCode, ShortStr, TableRef, ValueRef, method::basic, table::TableBuilder},
};

const NO_ROUTE: ShortStr = ShortStr::from_static("NO_ROUTE");

/// What became of a publish.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Published {
    /// Every queue it was routed to has it.
    Kept,
    /// No queue wanted it.
    Unroutable,
    /// A queue refused it.
    Refused,
}

impl Vhost {
    /// The name of an exchange to which a client may publish.
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

    /// Publishes a message. `origin` names the connection it came over, for queues that ask; empty: none.
    pub fn publish(
        &mut self,
        draft: &mut Draft,
        origin: &str,
        queues: &mut Vec<QueueId>,
        now: Now,
    ) -> Result<Published, Exception> {
        self.counters.published += 1;
        if draft.exchange.is_empty() && self.reply(draft)? {
            return Ok(Published::Kept);
        }
        let id = self.exchange_id(&draft.exchange)?;
        if let Some(exchange) = self.exchanges.get_mut(id) {
            exchange.published += 1;
            draft.exchange = exchange.name.clone();
        }
        queues.clear();
        self.route(id, draft, queues);
        if queues.is_empty() {
            self.counters.unroutable += 1;
            return Ok(Published::Unroutable);
        }
        let mut published = Published::Kept;
        if self.any_stamped(queues) {
            self.stamp(draft, origin);
        }
        for queue in queues.iter() {
            if !self.enqueue(*queue, draft, now) {
                published = Published::Refused;
            }
        }
        if !self.dead.is_empty() {
            self.bury(now);
        }
        Ok(published)
    }

    /// Sends a message that no queue wanted back to its publisher.
    pub fn send_back(&mut self, id: ChannelId, draft: &Draft) {
        let Some(channel) = self.channels.get(id).filter(|channel| !channel.ending) else {
            return;
        };
        let returned = basic::Return {
            reply_code: ReplyCode::NoRoute.code(),
            reply_text: NO_ROUTE,
            exchange: draft.exchange.clone(),
            routing_key: draft.routing_key.clone(),
        };
        let peer = &channel.peer;
        let (number, frame_max) = (channel.number, peer.frame_max());
        let content = draft.content();
        let outbox = &peer.outbox;
        let put = outbox.put_with_content(&returned, number, content, frame_max);
        note(&mut self.dirty, peer, put);
    }

    /// Appends the queues that a message goes to, each once.
    pub(super) fn route(&mut self, start: ExchangeId, draft: &Draft, queues: &mut Vec<QueueId>) {
        self.epoch += 1;
        if draft.exchange.is_empty() {
            self.route_by_name(&draft.routing_key, queues);
            for key in &draft.extra_keys {
                self.route_by_name(key, queues);
            }
            return;
        }
        let headers = draft.properties.headers();
        let mut exchanges = std::mem::take(&mut self.exchange_scratch);
        let mut found = std::mem::take(&mut self.route_scratch);
        exchanges.push(start);
        while let Some(id) = exchanges.pop() {
            let Some(exchange) = self.exchanges.get_mut(id) else {
                continue;
            };
            if std::mem::replace(&mut exchange.seen, self.epoch) == self.epoch {
                continue;
            }
            exchange.route(&draft.routing_key, headers, &mut found);
            for key in &draft.extra_keys {
                exchange.route(key, headers, &mut found);
            }
            if found.is_empty()
                && let Some(alternate) = &exchange.alternate
                && let Some(id) = self.exchange_names.get(alternate.as_bytes())
            {
                exchanges.push(*id);
            }
            for destination in found.drain(..) {
                match destination {
                    Destination::Exchange(id) => exchanges.push(id),
                    Destination::Queue(id) => {
                        if let Some(queue) = self.queues.get_mut(id)
                            && std::mem::replace(&mut queue.seen, self.epoch) != self.epoch
                        {
                            queues.push(id);
                        }
                    }
                }
            }
        }
        self.exchange_scratch = exchanges;
        self.route_scratch = found;
    }

    fn route_by_name(&mut self, name: &ShortStr, queues: &mut Vec<QueueId>) {
        if let Some(&id) = self.queue_names.get(name.as_bytes())
            && let Some(queue) = self.queues.get_mut(id)
            && std::mem::replace(&mut queue.seen, self.epoch) != self.epoch
        {
            queues.push(id);
        }
    }

    /// Gives a message to one queue: straight to a consumer if nothing is before it. Whether the queue
    /// took it.
    pub(super) fn enqueue(&mut self, id: QueueId, draft: &mut Draft, now: Now) -> bool {
        let Some(queue) = self.queues.get_mut(id) else {
            return true;
        };
        // A classic queue refuses what is too much for it even if a consumer waits.
        let refused = queue.settings.kind == QueueKind::Classic && queue.refuses(draft.body.len());
        let straight = !refused && queue.ready.is_empty() && queue.rotation.front().is_some();
        if straight && self.hand_over(id, draft, now) {
            return true;
        }
        let (Some(queue), memory) = (self.queues.get_mut(id), &self.memory) else {
            return true;
        };
        if queue.refuses(draft.body.len()) {
            let message = (queue.settings.overflow == Overflow::RejectPublishDlx)
                .then(|| draft.keep(memory, &queue.name));
            queue.counters.dead += 1;
            if let Some(message) = message {
                self.die(id, &message, DeathReason::MaxLen, now);
            }
            return false;
        }
        queue.counters.published += 1;
        let message = draft.keep(memory, &queue.name);
        self.store(id, message, now);
        true
    }

    /// Gives a message straight to a consumer, if one can take it.
    fn hand_over(&mut self, id: QueueId, draft: &mut Draft, now: Now) -> bool {
        let Self {
            queues,
            consumers,
            channels,
            dirty,
            limits,
            keeper,
            memory,
            counters,
            overdue,
            ..
        } = self;
        let Some(queue) = queues.get_mut(id) else {
            return false;
        };
        let unacked_bytes_max = bytes(limits.unacked_per_channel);
        let mut giver = Giver {
            consumers,
            channels,
            dirty,
            unacked_bytes_max,
            counters,
        };
        let properties = for_consumer(queue, &draft.properties, 0);
        let mut content = draft.content();
        if let Some(properties) = &properties {
            content.properties = properties;
        }
        let Some((consumer, given)) = giver.give_next(queue, content, false) else {
            return false;
        };
        queue.counters.published += 1;
        if given.no_ack {
            return true;
        }
        let message = draft.keep(memory, &queue.name);
        let position = queue.next_position();
        let expires_at = queue.expires_at(draft.ttl, now.ms);
        if let Some(keeper) = keeper
            .as_mut()
            .filter(|_| queue.durable && message.persistent)
        {
            keeper.keep(&queue.name, position, &message);
        }
        let entry = Entry {
            message,
            position,
            expires_at,
            returns: 0,
            redelivered: false,
        };
        if let Some(channel) = giver.channels.get_mut(given.channel) {
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

    /// Lets a message wait in a queue, and drops what is too much.
    fn store(&mut self, id: QueueId, message: Arc<Message>, now: Now) {
        let Some(queue) = self.queues.get_mut(id) else {
            return;
        };
        let position = queue.next_position();
        let expires_at = queue.expires_at(message.ttl, now.ms);
        if let Some(keeper) = self
            .keeper
            .as_mut()
            .filter(|_| queue.durable && message.persistent)
        {
            keeper.keep(&queue.name, position, &message);
        }
        queue.ready.push(Entry {
            message,
            position,
            expires_at,
            returns: 0,
            redelivered: false,
        });
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

    /// Drops what would leave a queue next until it is within its limits: its oldest messages, but of
    /// a queue with priorities those of the highest one.
    pub(super) fn drop_surplus(&mut self, id: QueueId, now: Now) {
        while let Some(queue) = self.queues.get_mut(id)
            && queue.settings.overflow == Overflow::DropHead
            && queue.exceeds(0, 0)
            && let Some(entry) = queue.ready.pop()
        {
            self.die_entry(id, &entry, DeathReason::MaxLen, now);
        }
    }

    pub(super) fn any_stamped(&self, queues: &[QueueId]) -> bool {
        !self.stamp.queues.is_empty()
            && queues
                .iter()
                .any(|id| self.queues.get(*id).is_some_and(|queue| queue.stamped))
    }

    /// Writes the connection's name over whatever the client has put there.
    fn stamp(&self, draft: &mut Draft, origin: &str) {
        let mut headers = TableBuilder::new();
        copy_without(
            draft.properties.headers(),
            &[&self.stamp.header],
            &mut headers,
        );
        if !origin.is_empty() {
            headers.put_str(&self.stamp.header, origin);
        }
        draft.properties = draft.properties.with_headers(&headers.build());
    }

    /// Takes off a stamp that nobody vouches for: what came through another queue may carry any.
    pub(super) fn unstamp(&self, draft: &mut Draft) {
        let before = draft.properties.headers();
        if before.is_some_and(|headers| headers.field(&self.stamp.header).is_some()) {
            let mut headers = TableBuilder::new();
            copy_without(before, &[&self.stamp.header], &mut headers);
            draft.properties = draft.properties.with_headers(&headers.build());
        }
    }
}

/// The further routing keys in the headers CC and BCC, and the properties without BCC.
pub fn carbon_copies(draft: &mut Draft) -> Result<(), Exception> {
    let Some(headers) = draft.properties.headers() else {
        return Ok(());
    };
    let (cc, bcc) = (headers.field(b"CC"), headers.field(b"BCC"));
    if cc.is_none() && bcc.is_none() {
        return Ok(());
    }
    let mut keys = Vec::new();
    for (name, value) in [("CC", cc), ("BCC", bcc)] {
        keys_of(name, value, &mut keys)?;
    }
    if bcc.is_some() {
        let without = without_bcc(headers);
        draft.properties = draft.properties.with_headers(&without);
    }
    draft.extra_keys = keys;
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
