//! Consumer timeout: deliveries that are not settled in time are requeued, and their consumer is cancelled.

use std::collections::BTreeSet;

use super::{BrokerTime, Settle, Vhost, deferred::Task, settle::Which};
use crate::broker::{
    channel::{ChannelId, ConsumerId, DeliveryChannel},
    exception::Exception,
    queue::ready::NEVER,
    wire::{MethodId, method::basic, method::channel as wire_channel},
};

/// The shortest time between two checks of a channel, in ms.
const PAUSE_MS: u64 = 100;

/// Schedules a check of a channel for the time at which a delivery must be settled.
pub(super) fn watch(
    overdue: &mut BTreeSet<(u64, ChannelId)>,
    channel: &mut DeliveryChannel,
    id: ChannelId,
    due_at: u64,
) {
    if due_at < channel.due_at {
        overdue.remove(&(channel.due_at, id));
        channel.due_at = due_at;
        overdue.insert((due_at, id));
    }
}

/// A delivery that was not settled in time.
struct Late {
    consumer: Option<ConsumerId>,
    /// The timeout, in ms.
    limit: u64,
}

/// Progress of a check of all that a channel holds.
#[derive(Clone, Copy, Debug)]
pub struct OverdueScan {
    /// The tag that comes next.
    next: u64,
    /// When the earliest of those before it has to be settled.
    earliest: u64,
}

impl Default for OverdueScan {
    fn default() -> Self {
        Self {
            next: 0,
            earliest: NEVER,
        }
    }
}

impl Vhost {
    /// How long deliveries of a queue may stay unsettled, in ms.
    pub(super) fn settle_within(&self, asked: Option<u64>) -> u64 {
        let usual = u64::try_from(self.limits.consumer_timeout.as_millis()).unwrap_or(NEVER);
        match asked.unwrap_or(usual) {
            0 => NEVER,
            limit => limit,
        }
    }

    /// Requeues deliveries that were not settled in time, within the budget. True when there may be more.
    pub(super) fn expire_unacked(&mut self, now: BrokerTime) -> bool {
        while !self.must_pause() {
            match self.overdue.first() {
                Some((at, _)) if *at <= now.ms => {}
                _ => return false,
            }
            let Some((_, id)) = self.overdue.pop_first() else {
                return false;
            };
            let next = match self.find_late(id, now) {
                Ok(next) => next,
                Err(late) => self.take_away(id, &late, now),
            };
            if let Some(channel) = self.channels.get_mut(id) {
                channel.due_at = NEVER;
                watch(&mut self.overdue, channel, id, next);
            }
        }
        true
    }

    /// The time of the next check, or the oldest delivery that is late.
    fn find_late(&mut self, id: ChannelId, now: BrokerTime) -> Result<u64, Late> {
        let busy =
            (self.channels.get(id)).is_some_and(|channel| self.is_busy_for(channel.connection));
        let Some(channel) = self.channels.get_mut(id) else {
            return Ok(NEVER);
        };
        if busy {
            // The client's settlements may still wait for their turn, or late deliveries are still being
            // requeued.
            return Ok(now.ms.saturating_add(PAUSE_MS));
        }
        let mut look = std::mem::take(&mut channel.look);
        while let Some((tag, held)) = channel.unacked.next_from(look.next) {
            if self.budget.is_overdrawn() {
                channel.look = look;
                return Ok(now.ms);
            }
            self.budget.spend(1);
            look.next = tag + 1;
            if held.in_tx {
                continue;
            }
            if held.due_at > now.ms {
                look.earliest = look.earliest.min(held.due_at);
            } else if let Some(queue) = self.queues.get(held.queue) {
                return Err(Late {
                    consumer: held.consumer,
                    limit: queue.settle_within,
                });
            }
        }
        // A channel that settles just in time is not checked continuously.
        Ok(look.earliest.max(now.ms.saturating_add(PAUSE_MS)))
    }

    /// Cancels the consumer if the client supports that, otherwise closes the channel. The time of the next check.
    fn take_away(&mut self, id: ChannelId, late: &Late, now: BrokerTime) -> u64 {
        let Some(channel) = self.channels.get_mut(id) else {
            return NEVER;
        };
        let (peer, number) = (channel.peer.clone(), channel.number);
        let capable = peer
            .cancel_notify
            .load(std::sync::atomic::Ordering::Relaxed);
        let consumer = late.consumer.filter(|_| capable);
        let Some((consumer_id, consumer)) =
            consumer.and_then(|id| Some((id, self.consumers.get(id)?)))
        else {
            let exception = Exception::precondition(format!(
                "delivery acknowledgement on channel {number} timed out. Timeout value used: {} ms. \
                 This timeout value can be configured, see consumers doc guide to learn more",
                late.limit
            ));
            let close = wire_channel::Close {
                reply_code: exception.code.code(),
                reply_text: exception.text(),
                class_id: MethodId::NONE.class,
                method_id: MethodId::NONE.method,
            };
            self.send(&peer, &close, number);
            self.close_channel(id, now);
            peer.channel_closed
                .store(true, std::sync::atomic::Ordering::Relaxed);
            return NEVER;
        };
        let consumer_tag = consumer.tag.clone();
        channel.consumers.remove(consumer_tag.as_bytes());
        let last = channel.last_tag();
        channel.lapsed = last;
        let connection = channel.connection;
        let cancel = basic::Cancel {
            consumer_tag,
            nowait: true,
        };
        self.send(&peer, &cancel, number);
        self.remove_consumer(consumer_id, connection, now);
        let which = Which::Unreserved {
            next: 0,
            last,
            consumer: Some(consumer_id),
        };
        self.begin(connection, Task::Settle(id, which, Settle::Requeue), now);
        now.ms.saturating_add(1)
    }
}
