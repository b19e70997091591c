//! Deliveries settled: acknowledged, rejected, put back in their place.

use super::{BrokerTime, Vhost, death::DEAD_MAX, deferred::Task};
use crate::broker::{
    channel::{ChannelId, ConsumerId, Held},
    config::bytes,
    message::DeathReason,
    queue::arguments::QueueKind,
};

/// How deliveries are settled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Settle {
    /// Acknowledged.
    Ack,
    /// Requeued at their position.
    Requeue,
    /// Dead-lettered or dropped.
    Reject,
}

/// The least steps that a delivery costs that is settled.
pub(super) const SETTLE_STEPS: usize = 2;
/// Steps that it costs to look at a delivery.
const LOOK_STEPS: usize = 1;

/// Which deliveries of a channel are settled.
#[derive(Debug)]
pub(super) enum Which {
    /// All up to this tag.
    UpTo(u64),
    /// From the first tag to the last, those that no transaction has reserved; of this consumer, or of any.
    Unreserved {
        next: u64,
        last: u64,
        consumer: Option<ConsumerId>,
    },
}

/// There is no such delivery.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnknownTag {
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
        now: BrokerTime,
    ) -> Result<(), UnknownTag> {
        if !multiple {
            return self.settle_one(id, tag, how, now);
        }
        let Some(channel) = self.channels.get_mut(id) else {
            return Ok(());
        };
        let limit = if tag == 0 { u64::MAX } else { tag };
        if tag > channel.lapsed && channel.unacked.get_mut(tag).is_none() {
            return Err(UnknownTag { tag });
        }
        let last = limit.min(channel.last_tag());
        let connection = channel.connection;
        self.begin(connection, Task::Settle(id, Which::UpTo(last), how), now);
        Ok(())
    }

    pub(super) fn settle_one(
        &mut self,
        id: ChannelId,
        tag: u64,
        how: Settle,
        now: BrokerTime,
    ) -> Result<(), UnknownTag> {
        let Some(channel) = self.channels.get_mut(id) else {
            return Ok(());
        };
        let Some(held) = channel.unacked.take(tag) else {
            // A late acknowledgement of a delivery that timed out is ignored.
            return match (1..=channel.lapsed).contains(&tag) {
                true => Ok(()),
                false => Err(UnknownTag { tag }),
            };
        };
        self.finish(id, held, how, now);
        Ok(())
    }

    /// Settles deliveries as far as the budget allows; whether that was all.
    pub(super) fn settle_on(
        &mut self,
        id: ChannelId,
        which: &mut Which,
        how: Settle,
        now: BrokerTime,
    ) -> bool {
        // Acknowledgements make no dead letters.
        while !self.budget.is_overdrawn() && (how == Settle::Ack || !self.must_pause()) {
            let Some(channel) = self.channels.get_mut(id) else {
                return true;
            };
            let held = match which {
                Which::UpTo(last) => channel.unacked.take_first(*last).map(|(_, held)| held),
                Which::Unreserved {
                    next,
                    last,
                    consumer,
                } => {
                    let found = channel.unacked.next_from(*next);
                    let Some((tag, held)) = found.filter(|(tag, _)| tag <= last) else {
                        return true;
                    };
                    *next = tag + 1;
                    self.budget.spend(LOOK_STEPS);
                    if held.in_tx || consumer.is_some() && held.consumer != *consumer {
                        continue;
                    }
                    channel.unacked.take(tag)
                }
            };
            let Some(held) = held else {
                return true;
            };
            self.budget.spend(self.settle_steps);
            self.finish(id, held, how, now);
        }
        false
    }

    /// Reserves deliveries for a transaction: they count as settled, but stay until it commits.
    pub fn reserve(
        &mut self,
        id: ChannelId,
        tag: u64,
        multiple: bool,
        how: Settle,
        now: BrokerTime,
    ) -> Result<(), UnknownTag> {
        let Some(channel) = self.channels.get_mut(id) else {
            return Ok(());
        };
        let held = channel.unacked.get_mut(tag).filter(|held| !held.in_tx);
        if !multiple {
            held.ok_or(UnknownTag { tag })?.in_tx = true;
            channel.reserved.push_back((tag, how));
            return Ok(());
        }
        if tag > channel.lapsed && held.is_none() {
            return Err(UnknownTag { tag });
        }
        let last = if tag == 0 { channel.last_tag() } else { tag };
        let connection = channel.connection;
        self.begin(connection, Task::Reserve(id, how, 0, last), now);
        Ok(())
    }

    /// Reserves as far as the budget allows; whether that was all.
    pub(super) fn reserve_on(
        &mut self,
        id: ChannelId,
        how: Settle,
        next: &mut u64,
        last: u64,
    ) -> bool {
        let Some(channel) = self.channels.get_mut(id) else {
            return true;
        };
        while !self.budget.is_overdrawn() {
            let found = channel.unacked.next_from(*next);
            let Some((tag, held)) = found.filter(|(tag, _)| *tag <= last) else {
                return true;
            };
            *next = tag + 1;
            self.budget.spend(LOOK_STEPS);
            if !std::mem::replace(&mut held.in_tx, true) {
                channel.reserved.push_back((tag, how));
            }
        }
        false
    }

    /// Settles what a transaction has reserved, as far as the budget allows; whether that was all. A delivery that is
    /// gone was requeued by a recover in between.
    pub(super) fn settle_reserved(&mut self, id: ChannelId, now: BrokerTime) -> bool {
        while !self.must_pause() {
            let Some(channel) = self.channels.get_mut(id) else {
                return true;
            };
            let Some((tag, how)) = channel.reserved.pop_front() else {
                return true;
            };
            self.budget.spend(self.settle_steps);
            if let Some(held) = channel.unacked.take(tag) {
                self.finish(id, held, how, now);
            }
        }
        false
    }

    /// A transaction is rolled back: what it reserved may be settled again.
    pub fn release(&mut self, id: ChannelId, now: BrokerTime) {
        if let Some(channel) = self.channels.get(id) {
            self.begin(channel.connection, Task::Release(id), now);
        }
    }

    /// Releases as far as the budget allows; whether that was all.
    pub(super) fn release_on(&mut self, id: ChannelId) -> bool {
        let Some(channel) = self.channels.get_mut(id) else {
            return true;
        };
        while !self.budget.is_overdrawn() {
            let Some((tag, _)) = channel.reserved.pop_front() else {
                return true;
            };
            self.budget.spend(LOOK_STEPS);
            if let Some(held) = channel.unacked.get_mut(tag) {
                held.in_tx = false;
            }
        }
        false
    }

    /// Puts back everything that a channel holds in its old order, but for what a transaction has reserved.
    pub fn requeue_all(&mut self, id: ChannelId, now: BrokerTime) {
        if let Some(channel) = self.channels.get(id) {
            let which = Which::Unreserved {
                next: 0,
                last: channel.last_tag(),
                consumer: None,
            };
            let connection = channel.connection;
            self.begin(connection, Task::Settle(id, which, Settle::Requeue), now);
        }
    }

    /// Whether deferred work has to pause: until the next turn, or until dead letters have been routed.
    pub(super) fn must_pause(&self) -> bool {
        self.budget.is_overdrawn() || self.dead.len() >= DEAD_MAX
    }

    pub(super) fn finish(
        &mut self,
        channel_id: ChannelId,
        held: Held,
        how: Settle,
        now: BrokerTime,
    ) {
        self.give_credit(channel_id, &held);
        let Held {
            queue: id,
            mut entry,
            ..
        } = held;
        let Self {
            queues,
            channels,
            records,
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
                records.forget(queue, &entry);
            }
            Settle::Reject => self.die_entry(id, &entry, DeathReason::Rejected, now),
            Settle::Requeue => {
                queue.counters.requeued += 1;
                entry.returns += 1;
                entry.redelivered = true;
                entry.resumed = false;
                if queue.gives_up_on(&entry) {
                    self.die_entry(id, &entry, DeathReason::DeliveryLimit, now);
                    return;
                }
                let channel = channels.get(channel_id);
                let ended = channel.is_none_or(|channel| channel.ending);
                let place = queue.place_again(entry.position, ended);
                records.requeue(queue, &entry, place);
                queue.put_again(entry, place);
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

    /// Gives credit back to a consumer and its channel.
    fn give_credit(&mut self, channel_id: ChannelId, held: &Held) {
        let Some(channel) = self.channels.get_mut(channel_id) else {
            return;
        };
        let length = held.entry.message.body.len();
        channel.unacked_bytes = channel.unacked_bytes.saturating_sub(length);
        if held.limited {
            channel.inflight = channel.inflight.saturating_sub(1);
        }
        let is_first = channel.waiting.is_empty();
        let bytes_max = bytes(self.limits.unacked_per_channel.get());
        if let Some(consumer_id) = held.consumer
            && let Some(consumer) = self.consumers.get_mut(consumer_id)
        {
            consumer.inflight = consumer.inflight.saturating_sub(1);
            if consumer.parked && consumer.waiting.is_none() && consumer.has_credit() {
                // Consumers that wait for credit of the whole channel come first.
                if is_first && channel.has_credit_for(consumer, bytes_max) {
                    self.unpark(consumer_id);
                } else {
                    channel.waiting.add(consumer_id, consumer);
                    self.wake_channel(channel_id);
                }
                return;
            }
        }
        if !is_first {
            self.wake_channel(channel_id);
        }
    }
}
