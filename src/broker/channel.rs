//! A channel as deliveries see it: its consumers and what is unacknowledged. It belongs to the vhost, so that any
//! publisher can deliver to it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{
    memory::{Memory, TopologyCharge},
    message_log::LogPosition,
    peer::Peer,
    queue::{
        ConnectionId, QueueId,
        ready::{Entry, NEVER},
        rotation::Place,
    },
    slab::Id,
    unacked::Unacked,
    vhost::{OverdueScan, Settle},
    wire::{ShortStr, Table},
};

/// Names a channel within its vhost.
pub type ChannelId = Id<DeliveryChannel>;
/// Names a consumer within its vhost.
pub type ConsumerId = Id<Consumer>;

/// A channel as deliveries see it.
#[derive(Debug)]
pub struct DeliveryChannel {
    /// Where its frames go.
    pub peer: Arc<Peer>,
    /// The connection it belongs to.
    pub connection: ConnectionId,
    /// Its number on the wire.
    pub number: u16,
    /// Its unacknowledged deliveries.
    pub unacked: Unacked<Held>,
    /// The bytes of their bodies.
    pub unacked_bytes: usize,
    /// How many of them were given to consumers.
    pub inflight: u32,
    /// The limit on that; 0: none.
    pub prefetch: u32,
    /// The limit for each consumer that starts from now on; 0: none.
    pub prefetch_new: u32,
    /// Its consumers by tag.
    pub consumers: BTreeMap<ShortStr, ConsumerId>,
    /// Its consumer of direct replies.
    pub replies: Option<ReplyConsumer>,
    /// The consumers that wait for credit of the whole channel or for room in the outbox, the longest first.
    pub waiting: WaitingConsumers,
    /// Whether it is scheduled to serve them.
    pub woken: bool,
    /// The deliveries that an open transaction settles, in order.
    pub reserved: VecDeque<(u64, Settle)>,
    /// Whether it is closed, and what it holds is being requeued.
    pub ending: bool,
    /// When it is checked for deliveries that were not settled in time.
    pub due_at: u64,
    /// Progress of that check.
    pub look: OverdueScan,
    /// The newest delivery that was taken back because it was not settled in time.
    pub lapsed: u64,
    /// Publishes whose confirms wait until they are durable.
    pub unconfirmed: usize,
    /// The last one that is durable and not confirmed, and whether it is not the only one: while confirms are sent.
    pub confirmed: Option<(u64, bool)>,
    /// The position that has to be durable before the last commit is answered.
    pub committed: LogPosition,
    /// Memory charge, including the session's part.
    pub charge: TopologyCharge,
    last_tag: u64,
}

/// The consumers of a channel that wait, in classes: a limit of the channel stops a whole class, but not the others.
/// In each class the one that waits longest is the first.
#[derive(Debug, Default)]
pub struct WaitingConsumers {
    /// By the order in which they began to wait.
    classes: [BTreeMap<u64, ConsumerId>; CLASSES],
    /// The class whose turn comes next.
    turn: usize,
    next_number: u64,
}

/// The place of a consumer among those that wait.
#[derive(Clone, Copy, Debug)]
pub struct WaitingPlace {
    class: usize,
    number: u64,
}

/// Consumers with and without acknowledgements, and of each those that the channel's prefetch count limits or not.
const CLASSES: usize = 4;

/// The classes whose consumers cannot be served now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stopped([bool; CLASSES]);

impl Stopped {
    /// Others of this one's class cannot be served either.
    pub fn add(&mut self, place: WaitingPlace) {
        self.0[place.class] = true;
    }
}

impl WaitingConsumers {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.classes.iter().map(BTreeMap::len).sum()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.classes.iter().all(BTreeMap::is_empty)
    }

    /// Adds a consumer behind the others, unless it waits already.
    pub fn add(&mut self, id: ConsumerId, consumer: &mut Consumer) {
        if consumer.waiting.is_some() {
            return;
        }
        let class = usize::from(consumer.limited) * 2 + usize::from(consumer.no_ack);
        let number = self.next_number;
        self.next_number += 1;
        self.classes[class].insert(number, id);
        consumer.waiting = Some(WaitingPlace { class, number });
    }

    /// Removes a consumer that has gone.
    pub fn remove(&mut self, place: WaitingPlace) {
        self.classes[place.class].remove(&place.number);
    }

    /// Removes the next one, unless its class is `stopped`. Classes take turns.
    pub fn next(&mut self, stopped: &Stopped) -> Option<(WaitingPlace, ConsumerId)> {
        let turn = self.turn;
        let mut classes = (0..CLASSES).map(|offset| (turn + offset) % CLASSES);
        let class = classes.find(|class| !stopped.0[*class] && !self.classes[*class].is_empty())?;
        self.turn = (class + 1) % CLASSES;
        let (number, id) = self.classes[class].pop_first()?;
        Some((WaitingPlace { class, number }, id))
    }

    /// Puts a consumer back at the head of its class; the class keeps its turn.
    pub fn put_back(&mut self, place: WaitingPlace, id: ConsumerId) {
        self.classes[place.class].insert(place.number, id);
        self.turn = place.class;
    }

    /// Removes all.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// A channel's consumer of direct replies.
#[derive(Debug)]
pub struct ReplyConsumer {
    /// The consumer's tag.
    pub tag: ShortStr,
    /// The suffix after `amq.rabbitmq.reply-to.`
    pub token: ShortStr,
}

/// One delivery that is not settled.
#[derive(Debug)]
pub struct Held {
    /// Where it came from.
    pub queue: QueueId,
    /// Its consumer. None after `basic.get`.
    pub consumer: Option<ConsumerId>,
    /// The message and its place in the queue.
    pub entry: Entry,
    /// By when it has to be settled.
    pub due_at: u64,
    /// Whether it counts against the limit of its channel.
    pub limited: bool,
    /// Whether a transaction that is not committed settles it.
    pub in_tx: bool,
}

/// One consumer.
#[derive(Debug)]
pub struct Consumer {
    /// Its tag.
    pub tag: ShortStr,
    /// Its channel.
    pub channel: ChannelId,
    /// Its queue.
    pub queue: QueueId,
    /// Messages count as settled when they are sent.
    pub no_ack: bool,
    /// It is exclusive.
    pub exclusive: bool,
    /// Whether the limit of its channel counts for it: as in RabbitMQ, not when it consumes a quorum queue.
    pub limited: bool,
    /// Its priority.
    pub priority: i32,
    /// Its place among the consumers of its queue.
    pub place: Place,
    /// How much it may hold; 0: no limit.
    pub prefetch: u32,
    /// How much it holds.
    pub inflight: u32,
    /// Whether it was set aside because it has no credit or its outbox has no room.
    pub parked: bool,
    /// Its place among those that wait for its channel, if it does.
    pub waiting: Option<WaitingPlace>,
    /// Its arguments.
    pub arguments: Table,
    /// Counts it, with its places in its channel and its queue.
    pub charge: TopologyCharge,
}

impl DeliveryChannel {
    /// An open channel.
    pub fn new(
        peer: Arc<Peer>,
        connection: ConnectionId,
        number: u16,
        memory: &Arc<Memory>,
    ) -> Self {
        Self {
            peer,
            connection,
            number,
            unacked: Unacked::counted(memory.charge(0)),
            unacked_bytes: 0,
            inflight: 0,
            prefetch: 0,
            prefetch_new: 0,
            consumers: BTreeMap::new(),
            replies: None,
            waiting: WaitingConsumers::default(),
            woken: false,
            reserved: VecDeque::new(),
            ending: false,
            due_at: NEVER,
            look: OverdueScan::default(),
            lapsed: 0,
            unconfirmed: 0,
            confirmed: None,
            committed: 0,
            charge: TopologyCharge::default(),
            last_tag: 0,
        }
    }

    /// The tag that the next delivery carries.
    pub fn peek_tag(&self) -> u64 {
        self.last_tag + 1
    }

    /// Uses up the next tag.
    pub fn next_tag(&mut self) -> u64 {
        self.last_tag += 1;
        self.last_tag
    }

    /// The tag of the last delivery.
    pub fn last_tag(&self) -> u64 {
        self.last_tag
    }

    /// Whether this consumer of it may get one more; one without acknowledgements holds nothing, but
    /// waits like the others while the limit is reached.
    pub fn has_credit_for(&self, consumer: &Consumer, bytes_max: usize) -> bool {
        let full = consumer.limited && self.is_full();
        !full && (consumer.no_ack || self.unacked_bytes < bytes_max)
    }

    fn is_full(&self) -> bool {
        self.prefetch != 0 && self.inflight >= self.prefetch
    }
}

impl Consumer {
    /// Whether it may hold one more.
    pub fn has_credit(&self) -> bool {
        self.prefetch == 0 || self.inflight < self.prefetch
    }
}
