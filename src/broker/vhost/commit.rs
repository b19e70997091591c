//! `tx.commit`: publishes, then settlements, then the answer.

use std::sync::Arc;

use super::{
    BrokerTime, Publisher, PublisherNames, Vhost,
    deferred::{Publication, Task},
};
use crate::broker::{
    channel::ChannelId, memory::Charge, message::InboundMessage, message_log::MessageGroup,
    pieces::Ring, queue::ConnectionId,
};

/// The publishes of a transaction that is committed.
#[derive(Debug)]
pub struct TransactionCommit {
    /// The messages.
    pub publishes: Ring<HeldPublish>,
    /// The channel that commits.
    pub channel: ChannelId,
    /// Its connection.
    pub connection: ConnectionId,
    /// Its connection and user by name.
    pub origin: Arc<PublisherNames>,
    publication: Option<Publication>,
    /// The records that are stored as a whole.
    group: Option<MessageGroup>,
}

impl TransactionCommit {
    /// The publishes that an open transaction has held back.
    pub fn new(
        publishes: Ring<HeldPublish>,
        channel: ChannelId,
        (connection, origin): (ConnectionId, &Arc<PublisherNames>),
    ) -> Self {
        Self {
            publishes,
            channel,
            connection,
            origin: Arc::clone(origin),
            publication: None,
            group: None,
        }
    }
}

/// A publish that waits for its commit.
#[derive(Debug)]
pub struct HeldPublish {
    /// The message.
    pub message: InboundMessage,
    /// Whether it is returned when no queue is bound for it.
    pub mandatory: bool,
    /// Its memory charge until it is carried out.
    pub charge: Charge,
}

impl Vhost {
    /// `tx.commit`: publishes, then settles what the transaction has reserved.
    pub fn commit(&mut self, mut commit: TransactionCommit, now: BrokerTime) {
        commit.group = self.records.group();
        self.begin(commit.connection, Task::Commit(Box::new(commit)), now);
    }

    /// Publishes and settles what the budget allows; whether that was all. What is to be stored is then committed.
    pub(super) fn commit_on(&mut self, commit: &mut TransactionCommit, now: BrokerTime) -> bool {
        if !self.publish_all(commit, now) {
            return false;
        }
        self.records.transaction = commit.group.take();
        let is_done = self.settle_reserved(commit.channel, now);
        commit.group = self.records.transaction.take();
        if is_done {
            let committed = self.records.commit(commit.group.take());
            if let Some(channel) = self.channels.get_mut(commit.channel) {
                channel.committed = committed;
            }
        }
        is_done
    }

    /// Publishes what the budget allows; whether that was all.
    fn publish_all(&mut self, commit: &mut TransactionCommit, now: BrokerTime) -> bool {
        loop {
            if self.must_pause() {
                return false;
            }
            if let Some(publication) = &mut commit.publication {
                if !self.publish_on(publication, now) {
                    return false;
                }
                commit.group = publication.routing.group.take();
                commit.publication = None;
            }
            let Some(held) = commit.publishes.pop_front() else {
                return true;
            };
            let HeldPublish {
                mut message,
                mandatory,
                charge,
            } = held;
            drop(charge);
            self.budget.spend(self.settle_steps);
            // An exchange that has gone since loses the message, as it does in RabbitMQ.
            if self.check_publish(&message.exchange).is_err() {
                continue;
            }
            let Ok(Some(mut routing)) = self.begin_publish(&mut message) else {
                continue;
            };
            routing.group = commit.group.take();
            routing.in_transaction = true;
            let origin = &commit.origin;
            match self.deliver_to_queues(&mut routing, &mut message, origin, now) {
                Some(published) => {
                    commit.group = routing.group.take();
                    self.routing = Some(routing);
                    self.end_publish(published, &message, commit.channel, mandatory);
                }
                None => {
                    let publisher = Publisher {
                        channel: commit.channel,
                        connection: commit.connection,
                        origin,
                        mandatory,
                        confirm: None,
                    };
                    let publication =
                        Publication::new(&mut message, routing, &publisher, &self.memory);
                    commit.publication = Some(publication);
                }
            }
        }
    }
}
