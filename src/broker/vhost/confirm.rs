//! Confirms that wait until the messages are durable.

use std::sync::Arc;

use super::{BrokerTime, Published, Vhost, messages::UnconfirmedPublish, note};
use crate::broker::{channel::ChannelId, message_log::LogPosition, wire::method::basic};

/// So many confirms are looked at in a turn.
const CONFIRMS_MAX: usize = 8_192;

impl Vhost {
    /// Has a publish confirmed when what it has stored is durable, and when those before it on its channel are
    /// confirmed. [`Published::Held`] if that is not now.
    pub(super) fn hold_confirm(
        &mut self,
        id: ChannelId,
        tag: Option<u64>,
        position: LogPosition,
        published: Published,
    ) -> Published {
        let (Some(tag), true) = (tag, self.records.log.is_some()) else {
            return published;
        };
        if published == Published::Refused || published == Published::Deferred {
            return published;
        }
        let is_durable = self.records.is_durable(position);
        let Some(channel) = self.channels.get_mut(id) else {
            return published;
        };
        if is_durable && channel.unconfirmed == 0 {
            return published;
        }
        channel.unconfirmed += 1;
        let unconfirmed = &mut self.records.unconfirmed;
        let newest = unconfirmed.back().map_or(0, |last| last.position);
        unconfirmed.push_back(UnconfirmedPublish {
            channel: id,
            tag,
            position: position.max(newest),
        });
        Published::Held
    }

    /// Something was stored: those who wait for it continue. Whether there is more to do now.
    pub fn on_progress(&mut self, now: BrokerTime) -> bool {
        let more = self.send_confirms() | self.spill();
        self.wake_parked();
        self.run_deferred(now);
        more
    }

    /// Confirms what is durable, a channel's publishes with one frame; whether there is more to confirm.
    fn send_confirms(&mut self) -> bool {
        let durable = self.records.durable();
        let mut acks: Vec<ChannelId> = Vec::new();
        let mut more = false;
        for count in 0.. {
            let next = self.records.unconfirmed.front();
            let Some(next) = next.filter(|next| next.position <= durable).copied() else {
                break;
            };
            if count == CONFIRMS_MAX || self.budget.is_spent() {
                more = true;
                break;
            }
            self.budget.spend(1);
            self.records.unconfirmed.pop_front();
            let Some(channel) = self.channels.get_mut(next.channel) else {
                continue;
            };
            channel.unconfirmed = channel.unconfirmed.saturating_sub(1);
            match &mut channel.confirmed {
                Some((last, multiple)) => (*last, *multiple) = (next.tag, true),
                None => {
                    channel.confirmed = Some((next.tag, false));
                    acks.push(next.channel);
                }
            }
        }
        for id in acks {
            self.send_confirm(id);
        }
        more
    }

    fn send_confirm(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(id) else {
            return;
        };
        if let Some((delivery_tag, multiple)) = channel.confirmed.take()
            && !channel.ending
        {
            let (peer, number) = (Arc::clone(&channel.peer), channel.number);
            let ack = basic::Ack {
                delivery_tag,
                multiple,
            };
            let put = peer.outbox.put(&ack, number);
            note(&mut self.dirty, &peer, put);
        }
    }
}
