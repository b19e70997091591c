//! From queues to consumers: whose turn it is, whether they have credit, into their outbox.

use std::sync::Arc;

use super::{Now, Vhost, VhostCounters, note, overdue::watch, settle::forget};
use crate::broker::{
    channel::{Channel, ChannelId, Consumer, ConsumerId, Held},
    config::bytes,
    message::{Content, DeathReason},
    outbox::{Deliver, Put},
    peer::Peer,
    queue::{Queue, QueueId, ready::Entry},
    slab::Slab,
    wire::{Properties, TableRef, table::TableBuilder},
};

/// How many deliveries one call of [`Vhost::pump`] makes before it lets others have the vhost.
pub const PUMP_MAX: usize = 512;

/// What giving a message to a consumer needs.
pub(super) struct Giver<'a> {
    pub(super) consumers: &'a mut Slab<Consumer>,
    pub(super) channels: &'a mut Slab<Channel>,
    pub(super) dirty: &'a mut Vec<Arc<Peer>>,
    pub(super) unacked_bytes_max: usize,
    pub(super) counters: &'a mut VhostCounters,
}

/// A message that was given to a consumer.
pub(super) struct Given {
    pub(super) channel: ChannelId,
    pub(super) tag: u64,
    pub(super) no_ack: bool,
    pub(super) limited: bool,
}

impl Giver<'_> {
    /// Gives a message to a consumer if it can take one.
    pub(super) fn give(
        &mut self,
        id: ConsumerId,
        content: Content<'_>,
        redelivered: bool,
    ) -> Option<Given> {
        let consumer = self.consumers.get_mut(id)?;
        let channel = self.channels.get_mut(consumer.channel)?;
        let channel_has = channel.has_credit_for(consumer, self.unacked_bytes_max);
        channel.starved |= !channel_has;
        if !channel_has || !consumer.has_credit() {
            consumer.parked = true;
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
            consumer.parked = true;
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

    /// Gives a message to whoever of a queue's consumers is next and can take it.
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
        }
        None
    }
}

impl Vhost {
    /// Delivers whatever can be delivered, and buries the dead; whether there is more to do.
    pub fn pump(&mut self, now: Now) -> bool {
        self.settle_bulk(now);
        let mut budget = PUMP_MAX;
        for _ in 0..self.touched.len() {
            let Some(id) = self.touched.pop_front() else {
                break;
            };
            if let Some(queue) = self.queues.get_mut(id) {
                queue.touched = false;
            }
            self.expire(id, now);
            if self.pump_queue(id, now, &mut budget) {
                self.touch(id);
            }
            if budget == 0 {
                break;
            }
        }
        self.bury(now);
        self.has_work()
    }

    /// Whether something is left for [`Self::pump`].
    pub fn has_work(&self) -> bool {
        !self.touched.is_empty() || !self.dead.is_empty() || !self.bulk.is_empty()
    }

    fn pump_queue(&mut self, id: QueueId, now: Now, budget: &mut usize) -> bool {
        let mut late = Vec::new();
        let more = self.pump_live(id, now, budget, &mut late);
        for entry in &late {
            self.die_entry(id, entry, DeathReason::Expired, now);
        }
        if !more {
            // What came back and found no consumer.
            self.drop_surplus(id, now);
        }
        more
    }

    /// Delivers from one queue; `late` gets what has expired by the time it stands at the head.
    fn pump_live(
        &mut self,
        id: QueueId,
        now: Now,
        budget: &mut usize,
        late: &mut Vec<Entry>,
    ) -> bool {
        let Self {
            overdue,
            queues,
            consumers,
            channels,
            dirty,
            limits,
            keeper,
            counters,
            ..
        } = self;
        let mut giver = Giver {
            consumers,
            channels,
            dirty,
            unacked_bytes_max: bytes(limits.unacked_per_channel.get()),
            counters,
        };
        let Some(queue) = queues.get_mut(id) else {
            return false;
        };
        while queue.rotation.front().is_some() {
            let Some(head) = queue.ready.head() else {
                break;
            };
            // So many have expired at once that some still wait for their end.
            if *budget == 0 || head.expires_at <= now.ms {
                return true;
            }
            if head.expires_at <= now.ms {
                *budget -= 1;
                late.extend(queue.ready.pop());
                continue;
            }
            let message = Arc::clone(&head.message);
            let redelivered = head.redelivered;
            let properties = for_consumer(queue, &message.properties, head.returns);
            let mut content = message.content();
            if let Some(properties) = &properties {
                content.properties = properties;
            }
            let Some((consumer, given)) = giver.give_next(queue, content, redelivered) else {
                break;
            };
            *budget -= 1;
            let Some(entry) = queue.ready.pop() else {
                break;
            };
            if given.no_ack {
                forget(keeper, queue, &entry);
            } else if let Some(channel) = giver.channels.get_mut(given.channel) {
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

    /// Lets the consumers of a channel go on that were set aside and may take messages again.
    pub fn wake_channel(&mut self, channel_id: ChannelId) {
        let Some(channel) = self.channels.get_mut(channel_id) else {
            return;
        };
        channel.starved = false;
        let bytes_max = bytes(self.limits.unacked_per_channel.get());
        let ids: Vec<_> = channel.consumers.values().copied().collect();
        for id in ids {
            let (Some(consumer), Some(channel)) =
                (self.consumers.get(id), self.channels.get_mut(channel_id))
            else {
                continue;
            };
            let channel_has = channel.has_credit_for(consumer, bytes_max);
            if consumer.parked && channel_has && consumer.has_credit() {
                self.unpark(id);
            } else if consumer.parked {
                channel.starved |= !channel_has;
            }
        }
    }

    /// Lets one consumer take part again.
    pub(super) fn unpark(&mut self, id: ConsumerId) {
        let Some(consumer) = self.consumers.get_mut(id) else {
            return;
        };
        consumer.parked = false;
        let (queue_id, priority) = (consumer.queue, consumer.priority);
        if let Some(queue) = self.queues.get_mut(queue_id) {
            queue.rotation.enable(id, priority);
        }
        self.touch(queue_id);
    }
}

/// The properties with which a queue that counts deliveries sends a message.
pub(super) fn counted(queue: &Queue, properties: &Properties, returns: u32) -> Option<Properties> {
    if !queue.counts_deliveries() {
        return None;
    }
    let mut headers = TableBuilder::new();
    copy_without(properties.headers(), &[b"x-delivery-count"], &mut headers);
    headers.put_long("x-delivery-count", returns.into());
    Some(properties.with_headers(&headers.build()))
}

/// The same for a consumer, which RabbitMQ does not tell that this is the first time.
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
