//! Settlements of many deliveries and commits of many publishes, a bounded number of them at a time, so
//! that others have the vhost in between. Oldest first: what goes back to a queue does so in its order.

use std::collections::VecDeque;

use super::{Now, Settle, Vhost, commit::Commit};
use crate::broker::{channel::ChannelId, queue::ConnectionId};

/// Something that has begun and takes more than one turn.
#[derive(Debug)]
pub(super) struct Bulk {
    channel: ChannelId,
    connection: ConnectionId,
    task: Task,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Task {
    /// Deliveries are settled.
    Settle(Which, Settle),
    /// The publishes of a transaction are carried out.
    Publish(Box<Commit>),
    /// The client hears that all of its transaction is carried out.
    CommitOk,
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
        self.begin(channel, Task::Settle(which, how), now);
    }

    /// Begins with something, and leaves the rest to [`Self::pump`].
    pub(super) fn begin(&mut self, channel: ChannelId, task: Task, now: Now) {
        let Some(connection) = self.channels.get(channel).map(|channel| channel.connection) else {
            return;
        };
        let mut bulk = Bulk {
            channel,
            connection,
            task,
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

    /// Whether a connection has settled or committed something that is not carried out yet: what it asks for next
    /// has to wait until then.
    pub fn is_settling(&self, connection: ConnectionId) -> bool {
        self.bulk.iter().any(|bulk| bulk.connection == connection)
    }

    /// Begins a new turn: goes on with what waits.
    pub(super) fn settle_bulk(&mut self, now: Now) {
        self.settle_budget = self.limits.settled_at_once.get();
        while let Some(mut bulk) = self.bulk.pop_front() {
            if !self.advance(&mut bulk, now) {
                self.bulk.push_front(bulk);
                return;
            }
        }
    }

    /// Does what the turn allows; whether that was all.
    fn advance(&mut self, bulk: &mut Bulk, now: Now) -> bool {
        match &mut bulk.task {
            Task::Settle(which, how) => self.advance_settling(bulk.channel, which, *how, now),
            Task::Publish(commit) => self.advance_commit(bulk.channel, commit, now),
            Task::CommitOk => {
                self.answer_commit(bulk.channel);
                true
            }
        }
    }

    fn advance_settling(
        &mut self,
        id: ChannelId,
        which: &mut Which,
        how: Settle,
        now: Now,
    ) -> bool {
        while self.settle_budget > 0 {
            let Some(channel) = self.channels.get_mut(id) else {
                return true;
            };
            let taken = match which {
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
                if matches!(which, Which::Last) {
                    self.channels.remove(id);
                }
                return true;
            };
            self.settle_budget -= 1;
            self.finish(id, held, how, now);
        }
        false
    }
}
