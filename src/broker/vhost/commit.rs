//! Transactions that commit: publishes, then acknowledgements, then the answer.

use std::collections::VecDeque;

use super::{
    Now, Published, Settle, Vhost,
    bulk::{Task, Which},
};
use crate::broker::{
    channel::ChannelId, memory::Charge, message::Draft, queue::QueueId, wire::method::modes,
};

/// The publishes of a transaction that is committed.
#[derive(Debug)]
pub struct Commit {
    /// The messages.
    pub publishes: VecDeque<HeldPublish>,
    /// The connection they came over, by name.
    pub origin: String,
}

/// A publish that waits for its commit.
#[derive(Debug)]
pub struct HeldPublish {
    /// The message.
    pub draft: Draft,
    /// Whether it comes back when no queue wants it.
    pub mandatory: bool,
    /// What it counts for until it is carried out.
    pub charge: Charge,
}

impl Vhost {
    /// `tx.commit`: carried out, and answered when it is, in as many turns as it takes. A delivery that
    /// is gone was requeued by a recover in between.
    pub fn commit(&mut self, id: ChannelId, commit: Commit, settled: &[(u64, Settle)], now: Now) {
        self.begin(id, Task::Publish(Box::new(commit)), now);
        for how in [Settle::Ack, Settle::Requeue, Settle::Reject] {
            let these = settled.iter().filter(|(_, other)| *other == how);
            let tags = these.map(|(tag, _)| *tag).collect();
            self.settle_many(id, Which::These(tags), how, now);
        }
        self.begin(id, Task::CommitOk, now);
    }

    /// Publishes what the turn allows; whether that was all.
    pub(super) fn advance_commit(&mut self, id: ChannelId, commit: &mut Commit, now: Now) -> bool {
        let mut queues = Vec::new();
        while self.settle_budget > 0 {
            let Some(held) = commit.publishes.pop_front() else {
                return true;
            };
            self.settle_budget -= 1;
            self.publish_held(id, held, &commit.origin, &mut queues, now);
        }
        commit.publishes.is_empty()
    }

    fn publish_held(
        &mut self,
        id: ChannelId,
        held: HeldPublish,
        origin: &str,
        queues: &mut Vec<QueueId>,
        now: Now,
    ) {
        let HeldPublish {
            mut draft,
            mandatory,
            charge,
        } = held;
        drop(charge);
        // An exchange that has gone since loses the message, as it does in RabbitMQ.
        if self.check_publish(&draft.exchange).is_err() {
            return;
        }
        let published = self.publish(&mut draft, origin, queues, now);
        if mandatory && published == Ok(Published::Unroutable) {
            self.send_back(id, &draft);
        }
    }

    /// The client hears that all of its transaction is carried out.
    pub(super) fn answer_commit(&mut self, id: ChannelId) {
        let channel = self.channels.get(id).filter(|channel| !channel.ending);
        if let Some(channel) = channel {
            let (peer, number) = (channel.peer.clone(), channel.number);
            self.send(&peer, &modes::TxCommitOk {}, number);
        }
    }
}
