//! One virtual host: its exchanges, queues, bindings, channels and consumers, from publish to delivery.
//!
//! Nothing here waits, reads a clock or touches a socket. Time is an argument, and frames for clients are
//! appended to their outboxes. The caller then flushes the peers in [`Vhost::dirty`].

mod commit;
mod confirm;
mod consume;
mod death;
mod deferred;
mod definitions;
mod deliver;
mod durable;
mod footprint;
mod messages;
mod overdue;
mod policies;
mod publish;
mod queues;
mod removal;
mod replies;
mod restore;
mod route;
mod settle;
mod sizes;
mod spill;
mod time;
mod topology;
mod view;
mod waiting;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

pub use self::{
    commit::{HeldPublish, TransactionCommit},
    consume::{ConsumeSpec, GetSpec, Qos},
    definitions::ImportProgress,
    deliver::PUMP_MAX,
    messages::VhostLog,
    overdue::OverdueScan,
    publish::{Published, Publisher, carbon_copies},
    queues::{DeclareQueue, Declared},
    replies::{REPLY_TO, REPLY_TO_PREFIX},
    restore::RestoredTopology,
    settle::{Settle, UnknownTag},
    sizes::{Largest, QueueSize, VhostSample},
    topology::{BindSpec, BindTarget, DeclareExchange, alternate_exchange, check_exchange_type},
    view::{
        ArgumentsView, BindingView, ChannelView, ConsumerView, ExchangeView, MessageView,
        QueueView, VhostCounters, VhostView, json_table,
    },
};
use self::{
    death::PendingDeadLetters,
    deferred::{DeferredWork, settle_steps},
    messages::MessageRecords,
    route::Routing,
    waiting::WaitingChannels,
};
use super::{
    budget::Budget,
    channel::{ChannelId, Consumer, DeliveryChannel},
    config::Limits,
    durable::TopologyJournal,
    exception::Exception,
    exchange::{Binding, Exchange, ExchangeId, ExchangeKind},
    memory::Memory,
    message::InboundMessage,
    outbox::Put,
    peer::Peer,
    pieces::SplitMap,
    policy::PolicySet,
    queue::{ConnectionId, Queue, QueueId, ready::NEVER},
    slab::Slab,
    wire::ShortStr,
};

/// Bytes of a frame that are read in a step.
const FRAME_BYTES_PER_STEP: usize = 512;

/// The time, as the caller sees it.
#[derive(Clone, Copy, Debug, Default)]
pub struct BrokerTime {
    /// Milliseconds of a clock that never goes back.
    pub ms: u64,
    /// Milliseconds since 1970.
    pub unix_ms: u64,
}

impl BrokerTime {
    /// Seconds since 1970.
    pub fn unix_s(self) -> u64 {
        self.unix_ms / 1000
    }
}

/// One virtual host.
#[derive(Debug)]
pub struct Vhost {
    name: String,
    limits: Limits,
    memory: Arc<Memory>,
    exchanges: Slab<Exchange>,
    exchange_names: SplitMap<ShortStr, ExchangeId>,
    queues: Slab<Queue>,
    queue_names: SplitMap<ShortStr, QueueId>,
    bindings: Slab<Binding>,
    channels: Slab<DeliveryChannel>,
    consumers: Slab<Consumer>,
    owned: HashMap<ConnectionId, BTreeSet<QueueId>>,
    timers: BTreeSet<(u64, QueueId)>,
    touched: VecDeque<QueueId>,
    dead: PendingDeadLetters,
    /// The dead letter that is being routed.
    dead_letter: Option<(InboundMessage, Box<Routing>)>,
    deferred: DeferredWork,
    waiting: WaitingChannels,
    /// What is left of this turn.
    budget: Budget,
    /// Steps that deferred work spends on a delivery that is settled.
    settle_steps: usize,
    /// When channels are checked for deliveries that are not settled in time.
    overdue: BTreeSet<(u64, ChannelId)>,
    dirty: Vec<Arc<Peer>>,
    /// What is noted in the log of messages.
    records: MessageRecords,
    /// Where changes of what is durable go.
    topology: Option<Arc<TopologyJournal>>,
    /// Whether something durable was changed since the last answer.
    unsaved: bool,
    /// Removed queues that are still stored, because of their dead letters.
    leaving: usize,
    stamp: Stamp,
    /// Whether the limit on queues, exchanges, bindings, consumers and channels does not count now.
    exempt: bool,
    counters: VhostCounters,
    /// What queues follow besides their arguments.
    policies: Arc<PolicySet>,
    epoch: u64,
    /// For the next message that is routed.
    routing: Option<Box<Routing>>,
    rng: fastrand::Rng,
}

/// The queues whose messages are stamped with the names of the publisher's connection and user, and their headers.
#[derive(Clone, Debug, Default)]
pub struct Stamp {
    /// The queues.
    pub queues: Vec<ShortStr>,
    /// The header.
    pub header: ShortStr,
    /// The header for the user that logged in.
    pub user_header: ShortStr,
}

/// Who publishes, for queues whose messages are stamped.
#[derive(Debug, Default)]
pub struct PublisherNames {
    /// The connection; none when nothing may depend on it.
    pub connection: Option<String>,
    /// The user that logged in; none for the process itself.
    pub user: Option<String>,
}

impl Vhost {
    /// A virtual host with the predeclared exchanges.
    pub fn new(name: &str, limits: Limits, memory: Arc<Memory>, stamp: Stamp) -> Self {
        let mut vhost = Self {
            name: name.to_owned(),
            settle_steps: settle_steps(limits.settled_at_once.get()),
            limits,
            memory: Arc::clone(&memory),
            exchanges: Slab::default(),
            exchange_names: SplitMap::default(),
            queues: Slab::default(),
            queue_names: SplitMap::default(),
            bindings: Slab::default(),
            channels: Slab::default(),
            consumers: Slab::default(),
            owned: HashMap::new(),
            timers: BTreeSet::new(),
            touched: VecDeque::new(),
            dead: PendingDeadLetters::new(memory.charge(0)),
            dead_letter: None,
            deferred: DeferredWork::default(),
            waiting: WaitingChannels::default(),
            budget: Budget::default(),
            overdue: BTreeSet::new(),
            dirty: Vec::new(),
            records: MessageRecords::default(),
            topology: None,
            unsaved: false,
            leaving: 0,
            stamp,
            exempt: false,
            counters: VhostCounters::default(),
            policies: Arc::default(),
            epoch: 0,
            routing: None,
            rng: fastrand::Rng::new(),
        };
        let predeclared = [
            ("", ExchangeKind::Direct),
            ("amq.direct", ExchangeKind::Direct),
            ("amq.fanout", ExchangeKind::Fanout),
            ("amq.topic", ExchangeKind::Topic),
            ("amq.headers", ExchangeKind::Headers),
            ("amq.match", ExchangeKind::Headers),
            ("amq.rabbitmq.trace", ExchangeKind::Topic),
        ];
        for (number, (name, kind)) in (1..).zip(predeclared) {
            let name = ShortStr::from_static(name);
            let mut exchange = Exchange::new(name.clone(), kind);
            exchange.number = number;
            exchange.durable = true;
            exchange.internal = name == "amq.rabbitmq.trace";
            exchange.charge = vhost.memory.charge_topology(0);
            let id = vhost.exchanges.insert(exchange);
            vhost.exchange_names.insert(name, id);
        }
        vhost
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What counts the bytes held on behalf of clients.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Ends a turn: moves out the peers whose outboxes have something to flush.
    pub fn dirty(&mut self, into: &mut Vec<Arc<Peer>>) {
        self.records.request();
        into.append(&mut self.dirty);
    }

    /// Begins a turn: the time for which the caller holds this vhost's lock.
    pub fn begin_turn(&mut self) {
        self.budget.refill();
        // A turn that panicked may have left it so.
        self.exempt = false;
    }

    /// Counts a frame that arrived.
    #[inline]
    pub fn charge_frame(&mut self, bytes: usize) {
        self.budget.spend(1 + bytes / FRAME_BYTES_PER_STEP);
    }

    /// Whether the turn has to end.
    #[inline]
    pub fn is_turn_over(&self) -> bool {
        self.budget.is_spent()
    }

    /// Steps that this turn has taken.
    pub fn turn_steps(&self) -> i64 {
        self.budget.used()
    }

    fn queue_id(&self, name: &ShortStr) -> Result<QueueId, Exception> {
        match self.queue_names.get(name.as_bytes()) {
            Some(id) => Ok(*id),
            None => Err(self.no_queue(name)),
        }
    }

    /// The queue of this name, unless it is another connection's own.
    fn usable_queue(
        &self,
        name: &ShortStr,
        connection: ConnectionId,
    ) -> Result<QueueId, Exception> {
        let id = self.queue_id(name)?;
        match self.queues.get(id) {
            Some(queue) if queue.owner.is_some_and(|owner| owner != connection) => {
                Err(self.locked(name))
            }
            _ => Ok(id),
        }
    }

    fn exchange_id(&self, name: &ShortStr) -> Result<ExchangeId, Exception> {
        match self.exchange_names.get(name.as_bytes()) {
            Some(id) => Ok(*id),
            None => Err(self.no_exchange(name)),
        }
    }

    fn no_queue(&self, name: &ShortStr) -> Exception {
        Exception::not_found(format!("no {}", self.queue_label(name)))
    }

    fn no_exchange(&self, name: &ShortStr) -> Exception {
        Exception::not_found(format!("no {}", self.exchange_label(name)))
    }

    fn locked(&self, name: &ShortStr) -> Exception {
        Exception::new(
            super::wire::ReplyCode::ResourceLocked,
            format!(
                "cannot obtain exclusive access to locked {}. It could be originally declared on \
                 another connection or the exclusive property value does not match that of the \
                 original declaration.",
                self.queue_label(name)
            ),
        )
    }

    /// A queue as exceptions name it.
    pub fn queue_label(&self, name: &ShortStr) -> String {
        format!("queue '{name}' in vhost '{}'", self.name)
    }

    /// An exchange as exceptions name it.
    pub fn exchange_label(&self, name: &ShortStr) -> String {
        format!("exchange '{name}' in vhost '{}'", self.name)
    }

    fn too_many(&self, what: &str, limit: usize) -> Exception {
        Exception::new(
            super::wire::ReplyCode::ResourceError,
            format!(
                "vhost '{}' already has the {limit} {what} that its limit allows",
                self.name
            ),
        )
    }

    /// Schedules a queue for delivery.
    fn touch(&mut self, id: QueueId) {
        if let Some(queue) = self.queues.get_mut(id)
            && !queue.touched
        {
            queue.touched = true;
            self.touched.push_back(id);
        }
    }

    /// Sends a method to a peer.
    fn send(
        &mut self,
        peer: &Arc<Peer>,
        method: &impl super::wire::method::MethodSpec,
        channel: u16,
    ) {
        let put = peer.outbox.put(method, channel);
        note(&mut self.dirty, peer, put);
    }

    fn random_name(&mut self, prefix: &str) -> ShortStr {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut name = String::with_capacity(prefix.len() + 22);
        name.push_str(prefix);
        for _ in 0..22 {
            name.push(char::from(ALPHABET[self.rng.usize(..64)]));
        }
        ShortStr::truncated(&name)
    }

    /// When [`Self::tick`] has something to do next, in ms of the broker's clock.
    pub fn next_deadline(&self) -> u64 {
        let queues = self.timers.first().map_or(NEVER, |(at, _)| *at);
        let channels = self.overdue.first().map_or(NEVER, |(at, _)| *at);
        queues.min(channels)
    }
}

/// Remembers a peer that has to be flushed.
fn note(dirty: &mut Vec<Arc<Peer>>, peer: &Arc<Peer>, put: Put) {
    if put == Put::First {
        dirty.push(Arc::clone(peer));
    }
}
