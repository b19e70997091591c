//! Settlements of many deliveries, a bounded number of them at a time, so that others have the vhost in
//! between. Oldest first: what goes back to a queue does so in its order.

use std::collections::VecDeque;

use super::{Now, Settle, Vhost};
use crate::broker::{channel::ChannelId, queue::ConnectionId};

/// A settlement that has begun.
#[derive(Debug)]
pub(super) struct Bulk {
    channel: ChannelId,
    connection: ConnectionId,
    which: Which,
    how: Settle,
}

/// Which deliveries of a channel are meant.
#[derive(Debug)]
pub(super) enum Which {
    /// All up to this tag.
    UpTo(u64),
    /// These, whether or not a transaction has reserved them.
    These(VecDeque<u64>),
    /// Whatever it holds; then it is gone.
    Last,
}

impl Vhost {
    /// Settles many deliveries: as many as this turn may, and the rest in [`Self::pump`].
    pub(super) fn settle_many(&mut self, channel: ChannelId, which: Which, how: Settle, now: Now) {
        let Some(connection) = self.channels.get(channel).map(|channel| channel.connection) else {
            return;
        };
        let mut bulk = Bulk {
            channel,
            connection,
            which,
            how,
        };
        // Those that wait already come first.
        if !self.bulk.is_empty() || !self.advance(&mut bulk, now) {
            self.bulk.push_back(bulk);
        }
    }

    /// A channel that has no consumers any more gives back what it holds and goes.
    pub(super) fn end_channel(&mut self, id: ChannelId, now: Now) {
        if let Some(channel) = self.channels.get_mut(id) {
            channel.ending = true;
            self.overdue.remove(&(channel.due_at, id));
            self.settle_many(id, Which::Last, Settle::Requeue, now);
        }
    }

    /// Whether a connection has settled something that is not carried out yet: what it asks for next
    /// has to wait until then.
    pub fn is_settling(&self, connection: ConnectionId) -> bool {
        self.bulk.iter().any(|bulk| bulk.connection == connection)
    }

    /// Begins a new turn: goes on with what waits.
    pub(super) fn settle_bulk(&mut self, now: Now) {
        self.settle_budget = self.limits.settled_at_once.max(1);
        while let Some(mut bulk) = self.bulk.pop_front() {
            if !self.advance(&mut bulk, now) {
                self.bulk.push_front(bulk);
                return;
            }
        }
    }

    /// Settles what the turn allows; whether that was all.
    fn advance(&mut self, bulk: &mut Bulk, now: Now) -> bool {
        while self.settle_budget > 0 {
            let Some(channel) = self.channels.get_mut(bulk.channel) else {
                return true;
            };
            let taken = match &mut bulk.which {
                Which::UpTo(last) => channel.unacked.take_first(*last).map(|(_, held)| held),
                Which::Last => channel.unacked.take_first(u64::MAX).map(|(_, held)| held),
                Which::These(tags) => match tags.pop_front() {
                    None => return true,
                    // One that is gone has been settled in another way.
                    Some(tag) => match channel.unacked.take(tag) {
                        None => continue,
                        held => held,
                    },
                },
            };
            let Some(held) = taken else {
                if matches!(bulk.which, Which::Last) {
                    self.channels.remove(bulk.channel);
                }
                return true;
            };
            self.settle_budget -= 1;
            self.finish(bulk.channel, held, bulk.how, now);
        }
        false
    }
}
