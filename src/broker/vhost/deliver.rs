//! Deliveries: selects the next consumer of a queue that has credit, and writes into its outbox.

use std::sync::Arc;

use super::{
    BrokerTime, Vhost, VhostCounters, note, overdue::watch, route::COPIED_MAX,
    waiting::WaitingChannels,
};
use crate::broker::{
    budget::Budget,
    channel::{ChannelId, Consumer, ConsumerId, DeliveryChannel, Held},
    config::bytes,
    message::Content,
    outbox::{Deliver, Put},
    peer::Peer,
    queue::{Queue, QueueId},
    slab::Slab,
    wire::{Properties, TableRef, table::TableBuilder},
};

/// How many deliveries one call of [`Vhost::pump`] makes before others have their turn.
pub const PUMP_MAX: usize = 512;
/// How many of them one queue makes before the next queue has its turn.
const QUEUE_PUMP_MAX: usize = 64;
/// Steps of a turn that deliveries leave to dead letters.
const DEAD_LETTER_STEPS: i64 = 2_048;
/// Steps that a delivery costs.
const DELIVERY_STEPS: usize = 4;
/// Steps that it costs to set a consumer aside that has no credit.
const PARK_STEPS: usize = 2;
/// Bytes that are copied to an outbox in a step.
const COPIED_PER_STEP: usize = 1024;
/// Bytes of properties that are written again in a step.
const REWRITTEN_PER_STEP: usize = 32;

/// The parts of a vhost that a delivery needs.
pub(super) struct Dispatcher<'a> {
    pub(super) consumers: &'a mut Slab<Consumer>,
    pub(super) channels: &'a mut Slab<DeliveryChannel>,
    pub(super) dirty: &'a mut Vec<Arc<Peer>>,
    pub(super) unacked_bytes_max: usize,
    pub(super) counters: &'a mut VhostCounters,
    pub(super) waiting: &'a mut WaitingChannels,
    pub(super) budget: &'a mut Budget,
}

/// A consumer is set aside and waits for its channel, behind those that wait already.
fn wait(consumer: &mut Consumer, channel: &mut DeliveryChannel, id: ConsumerId) {
    consumer.parked = true;
    channel.waiting.add(id, consumer);
}

/// A message that was given to a consumer.
pub(super) struct Given {
    pub(super) channel: ChannelId,
    pub(super) tag: u64,
    pub(super) no_ack: bool,
    pub(super) limited: bool,
}

impl Dispatcher<'_> {
    /// Gives a message to a consumer if it can take one.
    pub(super) fn give(
        &mut self,
        id: ConsumerId,
        content: Content<'_>,
        redelivered: bool,
    ) -> Option<Given> {
        let consumer = self.consumers.get_mut(id)?;
        let channel = self.channels.get_mut(consumer.channel)?;
        if !consumer.has_credit() {
            consumer.parked = true;
            return None;
        }
        if !channel.has_credit_for(consumer, self.unacked_bytes_max) {
            wait(consumer, channel, id);
            return None;
        }
        let peer = &channel.peer;
        let put = peer.deliver(&Deliver {
            channel: channel.number,
            consumer_tag: &consumer.tag,
            delivery_tag: channel.peek_tag(),
            redelivered,
            content,
            frame_max: peer.frame_max(),
        });
        if put == Put::Full {
            wait(consumer, channel, id);
            self.waiting.add(channel, consumer.channel);
            return None;
        }
        note(self.dirty, peer, put);
        let tag = channel.next_tag();
        if !consumer.no_ack {
            consumer.inflight += 1;
            channel.inflight += u32::from(consumer.limited);
            channel.unacked_bytes += content.body.len();
        }
        Some(Given {
            channel: consumer.channel,
            tag,
            no_ack: consumer.no_ack,
            limited: consumer.limited,
        })
    }

    /// Gives a message to the next of a queue's consumers that can take it, as far as the budget allows.
    pub(super) fn give_next(
        &mut self,
        queue: &mut Queue,
        content: Content<'_>,
        redelivered: bool,
    ) -> Option<(ConsumerId, Given)> {
        while let Some(consumer) = queue.rotation.front() {
            if let Some(given) = self.give(consumer, content, redelivered) {
                queue.rotation.turn();
                queue.counters.delivered += 1;
                self.counters.delivered += 1;
                if given.no_ack {
                    queue.counters.acked += 1;
                    self.counters.acked += 1;
                } else {
                    queue.unacked += 1;
                }
                return Some((consumer, given));
            }
            queue.rotation.park_front();
            self.budget.spend(PARK_STEPS);
            if self.budget.is_overdrawn() {
                return None;
            }
        }
        None
    }
}

impl Vhost {
    /// Continues deferred work, delivers and routes dead letters within the budget. True if work is left.
    pub fn pump(&mut self, now: BrokerTime) -> bool {
        self.budget.refill_for_pump();
        self.run_deferred(now);
        let for_dead_letters = self.budget.set_aside(DEAD_LETTER_STEPS);
        let mut deliveries = PUMP_MAX;
        if !self.waiting.is_empty() {
            self.serve_waiting(now);
        }
        for _ in 0..self.touched.len() {
            if deliveries == 0 || self.budget.is_overdrawn() {
                break;
            }
            let Some(id) = self.touched.pop_front() else {
                break;
            };
            if let Some(queue) = self.queues.get_mut(id) {
                queue.touched = false;
            }
            self.expire(id, now);
            let mut share = deliveries.min(QUEUE_PUMP_MAX);
            deliveries -= share;
            self.pump_queue(id, now, &mut share);
            deliveries += share;
        }
        self.budget.put_back(for_dead_letters);
        self.dead_letter(now);
        self.has_work()
    }

    /// Whether something is left for [`Self::pump`].
    pub fn has_work(&self) -> bool {
        !self.touched.is_empty()
            || !self.dead.is_empty()
            || self.dead_letter.is_some()
            || self.has_deferred_work()
            || !self.waiting.is_empty()
    }

    /// Delivers from one queue, and has it looked at again if there is more to deliver.
    pub(super) fn pump_queue(&mut self, id: QueueId, now: BrokerTime, deliveries: &mut usize) {
        let more = self.pump_live(id, now, deliveries);
        self.load_ahead(id);
        if more {
            self.touch(id);
        } else {
            // Requeued messages without a consumer.
            self.drop_surplus(id, now);
        }
    }

    /// Delivers from one queue; whether there is more to deliver.
    fn pump_live(&mut self, id: QueueId, now: BrokerTime, deliveries: &mut usize) -> bool {
        let Self {
            overdue,
            queues,
            consumers,
            channels,
            dirty,
            limits,
            records,
            counters,
            waiting,
            budget,
            ..
        } = self;
        let mut dispatcher = Dispatcher {
            consumers,
            channels,
            dirty,
            unacked_bytes_max: bytes(limits.unacked_per_channel.get()),
            counters,
            waiting,
            budget,
        };
        let Some(queue) = queues.get_mut(id) else {
            return false;
        };
        while queue.rotation.front().is_some() {
            let Some(head) = queue.ready.head() else {
                break;
            };
            // So many have expired at once that some still wait for their end.
            if *deliveries == 0 || head.expires_at <= now.ms || dispatcher.budget.is_overdrawn() {
                return true;
            }
            let message = Arc::clone(&head.message);
            let redelivered = head.redelivered;
            let properties = for_consumer(queue, &message.properties, head.returns);
            let mut content = message.content();
            if let Some(properties) = &properties {
                dispatcher.budget.spend(rewrite_steps(properties));
                content.properties = properties;
            }
            let Some((consumer, given)) = dispatcher.give_next(queue, content, redelivered) else {
                continue;
            };
            *deliveries -= 1;
            let copied = copy_steps(&message.properties, &message.body);
            dispatcher.budget.spend(DELIVERY_STEPS + copied);
            let Some(entry) = queue.ready.pop() else {
                break;
            };
            if given.no_ack {
                records.forget(queue, &entry);
            } else if let Some(channel) = dispatcher.channels.get_mut(given.channel) {
                records.give(queue, &entry);
                let held = Held {
                    queue: id,
                    consumer: Some(consumer),
                    entry,
                    due_at: queue.due_at(now.ms),
                    limited: given.limited,
                    in_tx: false,
                };
                watch(overdue, channel, given.channel, held.due_at);
                channel.unacked.insert(given.tag, held);
            }
        }
        false
    }

    /// Makes one parked consumer available again.
    pub(super) fn unpark(&mut self, id: ConsumerId) {
        let Some(consumer) = self.consumers.get_mut(id) else {
            return;
        };
        consumer.parked = false;
        let (queue_id, place) = (consumer.queue, consumer.place);
        if let Some(queue) = self.queues.get_mut(queue_id) {
            queue.rotation.enable(place);
        }
        self.touch(queue_id);
    }
}

/// Steps that it costs to copy a message to an outbox.
pub(super) fn copy_steps(properties: &Properties, body: &[u8]) -> usize {
    (properties.as_bytes().len() + body.len().min(COPIED_MAX)) / COPIED_PER_STEP
}

/// Steps that it costs to write properties with other headers.
pub(super) fn rewrite_steps(properties: &Properties) -> usize {
    properties.as_bytes().len() / REWRITTEN_PER_STEP
}

/// The properties with the header `x-delivery-count`, for a queue that counts deliveries.
pub(super) fn counted(queue: &Queue, properties: &Properties, returns: u32) -> Option<Properties> {
    if !queue.counts_deliveries() {
        return None;
    }
    let mut headers = TableBuilder::new();
    copy_without(properties.headers(), &[b"x-delivery-count"], &mut headers);
    headers.put_long("x-delivery-count", returns.into());
    Some(properties.with_headers(&headers.build()))
}

/// The same for a consumer: as in RabbitMQ, a first delivery has no such header.
pub(super) fn for_consumer(
    queue: &Queue,
    properties: &Properties,
    returns: u32,
) -> Option<Properties> {
    (returns > 0)
        .then(|| counted(queue, properties, returns))
        .flatten()
}

/// Copies all headers but those of these names.
pub(super) fn copy_without(
    headers: Option<TableRef<'_>>,
    names: &[&[u8]],
    into: &mut TableBuilder,
) {
    for (name, value) in headers.unwrap_or_default().iter() {
        if !names.contains(&name) {
            into.put(name, value);
        }
    }
}
