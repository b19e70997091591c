//! Deliveries settled: acknowledged, rejected, put back in their place.

use super::{Keeper, Now, Vhost, bulk::Which};
use crate::broker::{
    channel::{ChannelId, Held},
    config::bytes,
    message::DeathReason,
    queue::{Queue, arguments::QueueKind, ready::Entry},
};

/// What is to become of deliveries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Settle {
    /// They are done with.
    Ack,
    /// They go back to their place.
    Requeue,
    /// They are dead.
    Reject,
}

/// There is no such delivery.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SettleError {
    /// The tag that was not found.
    pub tag: u64,
}

impl Vhost {
    /// `basic.ack`, `basic.nack`, `basic.reject`.
    pub fn settle(
        &mut self,
        id: ChannelId,
        tag: u64,
        multiple: bool,
        how: Settle,
        now: Now,
    ) -> Result<(), SettleError> {
        if !multiple {
            return self.settle_one(id, tag, how, now);
        }
        let Some(channel) = self.channels.get_mut(id) else {
            return Ok(());
        };
        let limit = if tag == 0 { u64::MAX } else { tag };
        if tag > channel.lapsed && channel.unacked.get_mut(tag).is_none() {
            return Err(SettleError { tag });
        }
        let last = limit.min(channel.last_tag());
        self.settle_many(id, Which::UpTo(last), how, now);
        Ok(())
    }

    pub(super) fn settle_one(
        &mut self,
        id: ChannelId,
        tag: u64,
        how: Settle,
        now: Now,
    ) -> Result<(), SettleError> {
        let Some(channel) = self.channels.get_mut(id) else {
            return Ok(());
        };
        let Some(held) = channel.unacked.take(tag) else {
            // It came too late for this one, and it need not know that.
            return match (1..=channel.lapsed).contains(&tag) {
                true => Ok(()),
                false => Err(SettleError { tag }),
            };
        };
        self.finish(id, held, how, now);
        Ok(())
    }

    /// Reserves deliveries for a transaction: they count as settled, but stay until it commits.
    pub fn reserve(
        &mut self,
        id: ChannelId,
        tag: u64,
        multiple: bool,
        into: &mut Vec<u64>,
    ) -> Result<(), SettleError> {
        let Some(channel) = self.channels.get_mut(id) else {
            return Ok(());
        };
        if !multiple {
            let held = channel.unacked.get_mut(tag).filter(|held| !held.in_tx);
            let held = held.ok_or(SettleError { tag })?;
            held.in_tx = true;
            into.push(tag);
            return Ok(());
        }
        let open = channel.unacked.get_mut(tag).is_some_and(|held| !held.in_tx);
        if tag > channel.lapsed && !open {
            return Err(SettleError { tag });
        }
        let limit = if tag == 0 { u64::MAX } else { tag };
        for (tag, held) in channel
            .unacked
            .iter_mut()
            .take_while(|(tag, _)| *tag <= limit)
        {
            if !held.in_tx {
                held.in_tx = true;
                into.push(tag);
            }
        }
        Ok(())
    }

    /// A transaction is rolled back: what it reserved may be settled again.
    pub fn release(&mut self, id: ChannelId, tags: &[u64]) {
        let Some(channel) = self.channels.get_mut(id) else {
            return;
        };
        for tag in tags {
            if let Some(held) = channel.unacked.get_mut(*tag) {
                held.in_tx = false;
            }
        }
    }

    /// Puts back everything that a channel holds, in its old order.
    pub fn requeue_all(&mut self, id: ChannelId, now: Now) {
        if let Some(channel) = self.channels.get(id) {
            let last = channel.last_tag();
            self.settle_many(id, Which::UpTo(last), Settle::Requeue, now);
        }
    }

    /// The same in a transaction, which keeps what it has reserved.
    pub fn requeue_unreserved(&mut self, id: ChannelId, now: Now) {
        if let Some(channel) = self.channels.get_mut(id) {
            let held = channel.unacked.iter_mut();
            let open = held.filter(|(_, held)| !held.in_tx);
            let tags = open.map(|(tag, _)| tag).collect();
            self.settle_many(id, Which::These(tags), Settle::Requeue, now);
        }
    }

    pub(super) fn finish(&mut self, channel_id: ChannelId, held: Held, how: Settle, now: Now) {
        self.give_credit(channel_id, &held);
        let Held {
            queue: id,
            mut entry,
            ..
        } = held;
        let Self {
            queues,
            channels,
            keeper,
            counters,
            ..
        } = self;
        let Some(queue) = queues.get_mut(id) else {
            return;
        };
        queue.unacked -= 1;
        match how {
            Settle::Ack => {
                queue.counters.acked += 1;
                counters.acked += 1;
                forget(keeper, queue, &entry);
            }
            Settle::Reject => self.die_entry(id, &entry, DeathReason::Rejected, now),
            Settle::Requeue => {
                queue.counters.requeued += 1;
                entry.returns += 1;
                entry.redelivered = true;
                if queue.gives_up_on(&entry) {
                    self.die_entry(id, &entry, DeathReason::DeliveryLimit, now);
                    return;
                }
                let channel = channels.get(channel_id);
                let ended = channel.is_none_or(|channel| channel.ending);
                let place = queue.place_again(entry.position, ended);
                move_to(keeper, queue, &mut entry, place);
                queue.ready.put_back(entry);
                // A quorum queue gives to its consumers first.
                let taken =
                    queue.settings.kind == QueueKind::Quorum && queue.rotation.front().is_some();
                if !taken && queue.exceeds(0, 0) {
                    self.drop_surplus(id, now);
                }
                self.arm(id);
                self.touch(id);
            }
        }
    }

    /// The consumer and its channel hold one less.
    fn give_credit(&mut self, channel_id: ChannelId, held: &Held) {
        let Some(channel) = self.channels.get_mut(channel_id) else {
            return;
        };
        let length = held.entry.message.body.len();
        channel.unacked_bytes = channel.unacked_bytes.saturating_sub(length);
        if held.limited {
            channel.inflight = channel.inflight.saturating_sub(1);
        }
        let channel_starved = channel.starved;
        let bytes_max = bytes(self.limits.unacked_per_channel.get());
        let channel_has =
            channel.has_credit(bytes_max) || !held.limited && channel.unacked_bytes < bytes_max;
        if let Some(consumer_id) = held.consumer
            && let Some(consumer) = self.consumers.get_mut(consumer_id)
        {
            consumer.inflight = consumer.inflight.saturating_sub(1);
            let channel_has = channel.has_credit_for(consumer, bytes_max);
            if consumer.parked && channel_has && consumer.has_credit() {
                self.unpark(consumer_id);
            }
        }
        if channel_starved && channel_has {
            self.wake_channel(channel_id);
        }
    }
}

/// Gives a message another place in its queue, and tells the store.
fn move_to(keeper: &mut Option<Box<dyn Keeper>>, queue: &Queue, entry: &mut Entry, position: u64) {
    if position == entry.position {
        return;
    }
    if let Some(keeper) = keeper
        && queue.durable
        && entry.message.persistent
    {
        keeper.keep(&queue.name, position, &entry.message);
        keeper.forget(&queue.name, entry.position);
    }
    entry.position = position;
}

/// Tells the store that a message has left its queue.
pub(super) fn forget(keeper: &mut Option<Box<dyn Keeper>>, queue: &Queue, entry: &Entry) {
    if let Some(keeper) = keeper
        && queue.durable
        && entry.message.persistent
    {
        keeper.forget(&queue.name, entry.position);
    }
}
