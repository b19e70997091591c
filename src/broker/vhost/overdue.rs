//! Deliveries that are not settled in time, where a limit was asked for: they are taken from whoever has
//! them and go back to their queue.

use std::collections::BTreeSet;

use super::{Now, Settle, Vhost, bulk::Which};
use crate::broker::{
    channel::{Channel, ChannelId, ConsumerId},
    exception::Exception,
    queue::ready::NEVER,
    wire::{MethodId, method::basic, method::channel as wire_channel},
};

/// How many channels are looked at before others have the vhost.
const STRIKES_MAX: usize = 64;
/// How long a channel is left alone after it was looked at, in ms.
const PAUSE_MS: u64 = 100;

/// Has a channel looked at when a delivery has to be settled.
pub(super) fn watch(
    overdue: &mut BTreeSet<(u64, ChannelId)>,
    channel: &mut Channel,
    id: ChannelId,
    due_at: u64,
) {
    if due_at < channel.due_at {
        overdue.remove(&(channel.due_at, id));
        channel.due_at = due_at;
        overdue.insert((due_at, id));
    }
}

/// What was not settled in time.
struct Late {
    consumer: Option<ConsumerId>,
    /// How long it had, in ms.
    limit: u64,
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

    /// Takes away what was not settled in time; whether there may be more.
    pub(super) fn strike(&mut self, now: Now) -> bool {
        for _ in 0..STRIKES_MAX {
            match self.overdue.first() {
                Some((at, _)) if *at <= now.ms => {}
                _ => return false,
            }
            let Some((_, id)) = self.overdue.pop_first() else {
                return false;
            };
            let next = match self.late(id, now) {
                (Some(late), _) => self.take_away(id, &late, now),
                (None, next) => next,
            };
            if let Some(channel) = self.channels.get_mut(id).filter(|channel| !channel.ending) {
                channel.due_at = NEVER;
                watch(&mut self.overdue, channel, id, next);
            }
        }
        true
    }

    /// The oldest delivery that is late, and when there may be another one.
    fn late(&mut self, id: ChannelId, now: Now) -> (Option<Late>, u64) {
        let mut next = NEVER;
        let Some(channel) = self.channels.get_mut(id).filter(|channel| !channel.ending) else {
            return (None, next);
        };
        for (_, held) in channel.unacked.iter_mut() {
            if held.in_tx {
                continue;
            }
            if held.due_at > now.ms {
                next = next.min(held.due_at);
            } else if let Some(queue) = self.queues.get(held.queue) {
                let late = Late {
                    consumer: held.consumer,
                    limit: queue.settle_within,
                };
                return (Some(late), now.ms);
            }
        }
        // So that a channel that is only just in time is not looked at all the time.
        (None, next.max(now.ms.saturating_add(PAUSE_MS)))
    }

    /// Cancels the consumer, if the client understands that, or closes the channel; when to look again.
    fn take_away(&mut self, id: ChannelId, late: &Late, now: Now) -> u64 {
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
        let mut tags = std::collections::VecDeque::new();
        for (tag, held) in channel.unacked.iter_mut() {
            if held.consumer == Some(consumer_id) && !held.in_tx {
                tags.push_back(tag);
            }
        }
        channel.lapsed = channel.lapsed.max(tags.back().copied().unwrap_or(0));
        let cancel = basic::Cancel {
            consumer_tag,
            nowait: true,
        };
        self.send(&peer, &cancel, number);
        self.remove_consumer(consumer_id, now);
        self.settle_many(id, Which::These(tags), Settle::Requeue, now);
        now.ms.saturating_add(1)
    }
}
