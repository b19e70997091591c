//! Consumers that wait for credit of their channel or for room in their connection's outbox. They take turns: the
//! consumer that waits longest comes first in its channel, and the channel that waits longest in its connection.

use std::collections::{HashMap, VecDeque};

use super::{BrokerTime, Vhost};
use crate::broker::{
    channel::{ChannelId, ConsumerId, DeliveryChannel, Stopped},
    config::bytes,
    queue::ConnectionId,
};

/// Steps that it costs to look at a consumer that waits.
const LOOK_STEPS: usize = 2;

/// Channels whose turn to give to waiting consumers will come, by connection.
#[derive(Debug, Default)]
pub(super) struct WaitingChannels {
    of: HashMap<ConnectionId, ChannelTurns>,
    /// The connections whose turn has come.
    turns: VecDeque<ConnectionId>,
}

/// The channels of one connection, the next one first.
#[derive(Debug, Default)]
struct ChannelTurns {
    channels: VecDeque<ChannelId>,
    has_come: bool,
}

/// The result of a consumer's turn.
enum Served {
    /// It is available again.
    Able,
    /// It does not wait for its channel any more.
    Elsewhere,
    /// The outbox is full.
    NoRoom,
    /// The channel has no credit.
    NoCredit,
}

impl WaitingChannels {
    /// A channel waits for its turn: one of its consumers has found no room in its outbox.
    pub(super) fn add(&mut self, channel: &mut DeliveryChannel, id: ChannelId) {
        if !std::mem::replace(&mut channel.woken, true) {
            let turn = self.of.entry(channel.connection).or_default();
            turn.channels.push_back(id);
        }
    }

    /// A connection's turn has come, if any of its channels waits.
    pub(super) fn wake(&mut self, connection: ConnectionId) {
        if let Some(turn) = self.of.get_mut(&connection)
            && !std::mem::replace(&mut turn.has_come, true)
        {
            self.turns.push_back(connection);
        }
    }

    /// A connection has ended.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.of.remove(&connection);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}

impl Vhost {
    /// A channel may have credit again: its waiting consumers get their turn.
    pub(super) fn wake_channel(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(id)
            && !channel.waiting.is_empty()
            && !channel.ending
        {
            self.waiting.add(channel, id);
            self.waiting.wake(channel.connection);
        }
    }

    /// There is room in a connection's outbox again: the consumers that waited for it get their turn.
    pub fn resume(&mut self, connection: ConnectionId) {
        self.waiting.wake(connection);
    }

    /// Gives a message to each consumer that waits and may have one now, as far as the budget allows.
    pub(super) fn serve_waiting(&mut self, now: BrokerTime) {
        while !self.budget.is_overdrawn()
            && let Some(connection) = self.waiting.turns.pop_front()
        {
            if self.serve_connection(connection, now) {
                if let Some(turn) = self.waiting.of.get_mut(&connection) {
                    turn.has_come = false;
                }
            } else {
                self.waiting.turns.push_back(connection);
            }
        }
    }

    /// Whether all its channels have had their turn, or have to wait for room.
    fn serve_connection(&mut self, connection: ConnectionId, now: BrokerTime) -> bool {
        while let Some(turn) = self.waiting.of.get_mut(&connection) {
            let Some(id) = turn.channels.pop_front() else {
                self.waiting.of.remove(&connection);
                return true;
            };
            let (was_served, ended) = self.serve_channel(id, now);
            let has_room = match ended {
                Some(Served::NoRoom) => false,
                None => true,
                Some(_) => {
                    if let Some(channel) = self.channels.get_mut(id) {
                        channel.woken = false;
                    }
                    continue;
                }
            };
            if let Some(turn) = self.waiting.of.get_mut(&connection) {
                // One that got nothing stays the first.
                match was_served {
                    true => turn.channels.push_back(id),
                    false => turn.channels.push_front(id),
                }
            }
            return !has_room;
        }
        true
    }

    /// Whether a consumer of the channel was served, and why no other one is. None when the budget is spent.
    fn serve_channel(&mut self, id: ChannelId, now: BrokerTime) -> (bool, Option<Served>) {
        let mut was_served = false;
        let mut stopped = Stopped::default();
        let channel = self.channels.get(id);
        let count = channel.map_or(0, |channel| channel.waiting.len());
        for _ in 0..count {
            if self.budget.is_overdrawn() {
                return (was_served, None);
            }
            self.budget.spend(LOOK_STEPS);
            let channel = self.channels.get_mut(id);
            let next = channel.and_then(|channel| channel.waiting.next(&stopped));
            let Some((place, consumer)) = next else {
                break;
            };
            match self.serve(id, consumer, now) {
                Served::Able => was_served = true,
                Served::Elsewhere => {}
                ended => {
                    if let Some(channel) = self.channels.get_mut(id) {
                        channel.waiting.put_back(place, consumer);
                    }
                    if matches!(ended, Served::NoRoom) {
                        return (was_served, Some(ended));
                    }
                    // Others of its class have no credit either.
                    stopped.add(place);
                }
            }
        }
        (was_served, Some(Served::NoCredit))
    }

    /// Makes a waiting consumer available again, and delivers one message of its queue.
    fn serve(&mut self, channel_id: ChannelId, id: ConsumerId, now: BrokerTime) -> Served {
        let (Some(channel), Some(consumer)) =
            (self.channels.get(channel_id), self.consumers.get_mut(id))
        else {
            return Served::Elsewhere;
        };
        if !consumer.parked || !consumer.has_credit() {
            consumer.waiting = None;
            return Served::Elsewhere;
        }
        if !channel.has_credit_for(consumer, bytes(self.limits.unacked_per_channel.get())) {
            return Served::NoCredit;
        }
        if channel.peer.outbox.is_full() {
            return Served::NoRoom;
        }
        consumer.waiting = None;
        let queue = consumer.queue;
        self.unpark(id);
        self.pump_queue(queue, now, &mut 1);
        Served::Able
    }
}
