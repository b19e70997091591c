//! `tx.commit`: publishes, then settlements, then the answer.

use std::collections::VecDeque;

use super::{
    BrokerTime, Publisher, Vhost,
    deferred::{Publication, Task},
};
use crate::broker::{
    channel::ChannelId, memory::Charge, message::InboundMessage, queue::ConnectionId,
};

/// The publishes of a transaction that is committed.
#[derive(Debug)]
pub struct TransactionCommit {
    /// The messages.
    pub publishes: VecDeque<HeldPublish>,
    /// The channel that commits.
    pub channel: ChannelId,
    /// Its connection.
    pub connection: ConnectionId,
    /// Its connection by name.
    pub origin: String,
    publication: Option<Publication>,
}

impl TransactionCommit {
    /// What an open transaction has held back.
    pub fn new(
        publishes: VecDeque<HeldPublish>,
        channel: ChannelId,
        (connection, origin): (ConnectionId, &str),
    ) -> Self {
        Self {
            publishes,
            channel,
            connection,
            origin: origin.to_owned(),
            publication: None,
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
    /// What it counts for until it is carried out.
    pub charge: Charge,
}

impl Vhost {
    /// `tx.commit`: publishes, then settles what the transaction has reserved.
    pub fn commit(&mut self, commit: TransactionCommit, now: BrokerTime) {
        let (connection, channel) = (commit.connection, commit.channel);
        self.begin(connection, Task::Commit(Box::new(commit)), now);
        self.begin(connection, Task::SettleReserved(channel), now);
    }

    /// Publishes what the budget allows; whether that was all.
    pub(super) fn commit_on(&mut self, commit: &mut TransactionCommit, now: BrokerTime) -> bool {
        loop {
            if self.must_pause() {
                return false;
            }
            if let Some(publication) = &mut commit.publication {
                if !self.publish_on(publication, now) {
                    return false;
                }
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
            let origin = &*commit.origin;
            match self.deliver_to_queues(&mut routing, &mut message, origin, now) {
                Some(published) => {
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
