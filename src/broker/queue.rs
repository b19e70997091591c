//! One queue: its messages, consumers and settings.

pub mod arguments;
pub mod ready;
pub mod rotation;

use std::collections::BTreeSet;

use serde::Serialize;
use utoipa::ToSchema;

use self::{
    arguments::{Overflow, QueueKind, Settings},
    ready::{Entry, NEVER, Ready},
    rotation::Rotation,
};
use super::{
    exchange::BindingId,
    memory::TopologyCharge,
    slab::Id,
    wire::{ShortStr, Table},
};

/// Names a queue within its vhost.
pub type QueueId = Id<Queue>;

/// Names a connection of the broker.
pub type ConnectionId = u64;

/// The place of a queue's first message; those below are for requeued messages that go to the head.
pub(super) const FIRST_POSITION: u64 = 1 << 63;

/// A queue.
#[derive(Debug)]
pub struct Queue {
    /// Its name.
    pub name: ShortStr,
    /// Declared as durable, and not exclusive.
    pub durable: bool,
    /// Deleted with its last consumer.
    pub auto_delete: bool,
    /// The connection that declared it as exclusive.
    pub owner: Option<ConnectionId>,
    /// Its arguments as declared.
    pub arguments: Table,
    /// Its behaviour.
    pub settings: Settings,
    /// The messages that wait.
    pub ready: Ready,
    /// How many messages consumers hold.
    pub unacked: usize,
    /// The consumers, in turn.
    pub rotation: Rotation,
    /// The bindings that lead here.
    pub bindings: BTreeSet<BindingId>,
    /// Its counters.
    pub counters: QueueCounters,
    /// The epoch of the last message that was routed here.
    pub seen: u64,
    /// When its timer expires.
    pub timer_at: u64,
    /// Unused since this time, in ms.
    pub unused_since: u64,
    /// Whether it is scheduled for delivery.
    pub touched: bool,
    /// Whether arriving messages are stamped with their connection.
    pub stamped: bool,
    /// How long a delivery may stay unsettled, in ms; [`NEVER`]: no limit.
    pub settle_within: u64,
    /// Whether any message in it may expire.
    pub expiring: bool,
    /// The number of its stored row and in the log of messages; 0: none.
    pub number: u64,
    /// Messages below this position came back after a run that ended without a clean stop.
    pub returned_below: u64,
    /// Whether its first messages are being read from the log.
    pub is_loading: bool,
    /// Whether messages of it are to leave memory.
    pub is_spilling: bool,
    /// Counts the queue without what is in it.
    pub charge: TopologyCharge,
    next_position: u64,
    next_return: u64,
}

/// The counters of a queue.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerQueueCounters)]
pub struct QueueCounters {
    /// Messages that arrived.
    pub published: u64,
    /// Messages given to consumers or to basic.get.
    pub delivered: u64,
    /// Messages settled.
    pub acked: u64,
    /// Messages requeued.
    pub requeued: u64,
    /// Messages dropped or dead-lettered.
    pub dead: u64,
}

impl Queue {
    /// An empty queue.
    pub fn new(name: ShortStr, arguments: Table, settings: Settings, now: u64) -> Self {
        Self {
            name,
            durable: false,
            auto_delete: false,
            owner: None,
            ready: Ready::new(settings.max_priority),
            unacked: 0,
            rotation: Rotation::new(settings.single_active_consumer),
            bindings: BTreeSet::new(),
            counters: QueueCounters::default(),
            seen: 0,
            timer_at: NEVER,
            unused_since: now,
            touched: false,
            stamped: false,
            settle_within: NEVER,
            expiring: false,
            number: 0,
            returned_below: 0,
            is_loading: false,
            is_spilling: false,
            charge: TopologyCharge::default(),
            next_position: FIRST_POSITION,
            next_return: 0,
            arguments,
            settings,
        }
    }

    /// Continues with positions that an earlier run has not used.
    pub fn continue_from(&mut self, next_position: u64, next_return: u64) {
        self.next_position = self.next_position.max(next_position);
        self.next_return = self.next_return.max(next_return);
    }

    /// Whether messages may leave memory: their order is that of their positions.
    pub fn may_spill(&self) -> bool {
        self.number != 0 && self.ready.may_be_cold()
    }

    /// The position that the next message will have.
    pub fn peek_position(&self) -> u64 {
        self.next_position
    }

    /// The place of the next message.
    pub fn next_position(&mut self) -> u64 {
        let position = self.next_position;
        self.next_position += 1;
        position
    }

    /// The place of a message that is requeued from this place: the same one. In a quorum queue, as in
    /// RabbitMQ, it is the head, in the order of requeueing. Without a delivery limit it is the tail, unless
    /// the channel has ended.
    pub fn place_again(&mut self, position: u64, channel_ended: bool) -> u64 {
        if self.settings.kind == QueueKind::Classic {
            return position;
        }
        if self.settings.delivery_limit.is_none() && !channel_ended {
            return self.next_position();
        }
        let place = self.next_return;
        self.next_return += 1;
        place
    }

    /// Puts a message back at a place: one that is new and at the tail, behind all others.
    pub fn put_again(&mut self, mut entry: Entry, place: u64) {
        let is_last = place >= FIRST_POSITION && place != entry.position;
        entry.position = place;
        match is_last {
            true => self.ready.push(entry),
            false => self.ready.put_back(entry),
        }
    }

    /// When a message that arrives now expires.
    pub fn expires_at(&mut self, ttl: Option<u64>, now: u64) -> u64 {
        let ttl = match (ttl, self.settings.message_ttl) {
            (Some(own), Some(queue)) => own.min(queue),
            (Some(ttl), None) | (None, Some(ttl)) => ttl,
            (None, None) => return NEVER,
        };
        self.expiring = true;
        now.saturating_add(ttl)
    }

    /// By when a delivery that is made now has to be settled.
    pub fn due_at(&self, now: u64) -> u64 {
        now.saturating_add(self.settle_within)
    }

    /// Whether it holds more than it may, were these added.
    pub fn exceeds(&self, messages: usize, bytes: usize) -> bool {
        let over = |limit: Option<u64>, held: usize| limit.is_some_and(|limit| held as u64 > limit);
        over(self.settings.max_length, self.ready.len() + messages)
            || over(
                self.settings.max_length_bytes,
                self.ready.body_bytes() + bytes,
            )
    }

    /// Whether it refuses a message of this length.
    pub fn refuses(&self, bytes: usize) -> bool {
        self.settings.overflow != Overflow::DropHead && self.exceeds(1, bytes)
    }

    /// Whether deliveries carry the number of earlier deliveries.
    pub fn counts_deliveries(&self) -> bool {
        self.settings.kind == QueueKind::Quorum || self.settings.delivery_limit.is_some()
    }

    /// Whether a message was requeued too often.
    pub fn gives_up_on(&self, entry: &Entry) -> bool {
        self.settings
            .delivery_limit
            .is_some_and(|limit| entry.returns > limit)
    }

    /// When it has to be checked next.
    pub fn deadline(&self) -> u64 {
        let expiry = if self.expiring {
            self.ready.next_expiry()
        } else {
            NEVER
        };
        match self.settings.expires {
            Some(expires) if self.rotation.is_empty() => {
                expiry.min(self.unused_since.saturating_add(expires))
            }
            _ => expiry,
        }
    }

    /// Whether it was unused for longer than `x-expires`.
    pub fn is_outlived(&self, now: u64) -> bool {
        let expires = self.settings.expires.filter(|_| self.rotation.is_empty());
        expires.is_some_and(|expires| self.unused_since.saturating_add(expires) <= now)
    }
}
