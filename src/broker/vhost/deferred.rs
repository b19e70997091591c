//! Work that takes more than one turn. The tasks of a connection are done in order; connections take turns. A
//! connection's next frame waits until its tasks are done.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};

use super::{
    BrokerTime, Published, Publisher, PublisherNames, Settle, Vhost,
    commit::TransactionCommit,
    consume::GetSpec,
    removal::Removal,
    route::Routing,
    settle::{SETTLE_STEPS, Which},
};
use crate::broker::{
    channel::ChannelId,
    memory::{Charge, Memory},
    message::InboundMessage,
    message_log::LogPosition,
    peer::Peer,
    queue::ConnectionId,
    wire::{
        ShortStr,
        method::{MethodSpec, basic},
    },
};

/// The connection number of tasks that no client waits for.
pub(super) const NOBODY: ConnectionId = 0;
/// Steps of a turn that deferred work may take.
const DEFERRED_STEPS: i64 = 4_096;
/// Steps that one connection's work takes before the next connection has its turn.
const SLICE_STEPS: i64 = 1_024;

/// The deferred tasks, by connection.
#[derive(Debug, Default)]
pub(super) struct DeferredWork {
    tasks: HashMap<ConnectionId, VecDeque<Task>>,
    /// The connections that have some, the next one first.
    turns: VecDeque<ConnectionId>,
    /// The connections whose next task waits for the store. They have no turns meanwhile.
    parked: Vec<ConnectionId>,
}

/// One piece of work.
#[derive(Debug)]
pub(super) enum Task {
    /// Deliveries of a channel are settled.
    Settle(ChannelId, Which, Settle),
    /// Deliveries are reserved for a transaction: those from the first to the last tag.
    Reserve(ChannelId, Settle, u64, u64),
    /// The reservations of a transaction end.
    Release(ChannelId),
    /// A message goes to its queues.
    Publish(Box<Publication>),
    /// The publishes of a transaction are carried out, then its reserved deliveries are settled.
    Commit(Box<TransactionCommit>),
    /// `basic.get` of a queue at whose head messages expire.
    Get(Box<GetSpec>),
    /// A channel's consumers are removed, then its unacknowledged deliveries are requeued.
    CloseChannel(ChannelId),
    /// Bindings, consumers and messages of removed queues and exchanges are removed.
    Remove(Box<Removal>),
    /// Something is stored. Wakes the client's task.
    Await(Arc<Peer>, Awaited),
    /// The answer to the client, after all tasks before it.
    Answer(Arc<Peer>, Bytes),
}

/// The condition that an answer waits for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Awaited {
    /// The changes made by then are durable: their number, once it is known.
    Topology(Option<u64>),
    /// The last transaction of a channel.
    Commit(ChannelId),
    /// The log is durable up to this position, once it is known.
    Messages(Option<LogPosition>),
}

/// A publish that takes more than one turn.
#[derive(Debug)]
pub(super) struct Publication {
    message: InboundMessage,
    pub(super) routing: Box<Routing>,
    channel: ChannelId,
    origin: Arc<PublisherNames>,
    mandatory: bool,
    confirm: Option<u64>,
    /// Bytes that the message takes.
    bytes: usize,
    charge: Charge,
}

impl Publication {
    /// Takes over a message on its way.
    pub(super) fn new(
        message: &mut InboundMessage,
        routing: Box<Routing>,
        publisher: &Publisher<'_>,
        memory: &Arc<Memory>,
    ) -> Self {
        let mut publication = Self {
            message: message.take(),
            routing,
            channel: publisher.channel,
            origin: Arc::clone(publisher.origin),
            mandatory: publisher.mandatory,
            confirm: publisher.confirm,
            bytes: 0,
            charge: memory.charge(0),
        };
        publication.bytes = publication.message.detach(memory);
        publication.suspend();
        publication
    }

    /// Prepares for other work before it continues, and counts what it holds meanwhile.
    fn suspend(&mut self) {
        self.routing.suspend();
        self.charge.set(self.bytes + self.routing.bytes());
    }
}

impl Vhost {
    /// Starts a task: within the budget now if the connection has no other tasks, otherwise after them.
    pub(super) fn begin(&mut self, connection: ConnectionId, mut task: Task, now: BrokerTime) {
        if let Some(tasks) = self.deferred.tasks.get_mut(&connection) {
            tasks.push_back(task);
            return;
        }
        let rest = self.budget.limit_to(DEFERRED_STEPS);
        let is_done = !self.budget.is_overdrawn() && self.advance(connection, &mut task, now);
        self.budget.put_back(rest);
        if !is_done {
            self.defer(connection, task);
        }
    }

    /// A channel gets another key; what is deferred for it is still done.
    pub(super) fn rekey_deferred(
        &mut self,
        connection: ConnectionId,
        old: ChannelId,
        new: ChannelId,
    ) {
        for task in self
            .deferred
            .tasks
            .get_mut(&connection)
            .into_iter()
            .flatten()
        {
            match task {
                Task::Settle(id, ..) | Task::Reserve(id, ..) | Task::Release(id) if *id == old => {
                    *id = new;
                }
                Task::Commit(commit) if commit.channel == old => commit.channel = new,
                _ => {}
            }
        }
    }

    /// A connection has ended: its answers are dropped, but the work it has begun is completed.
    pub(super) fn drop_answers(&mut self, connection: ConnectionId) {
        if let Some(tasks) = self.deferred.tasks.get_mut(&connection) {
            tasks.retain(|task| !matches!(task, Task::Answer(..) | Task::Await(..)));
            let parked = &mut self.deferred.parked;
            if let Some(index) = parked.iter().position(|parked| *parked == connection) {
                parked.swap_remove(index);
                self.deferred.turns.push_back(connection);
            }
        }
    }

    fn defer(&mut self, connection: ConnectionId, task: Task) {
        let tasks = self.deferred.tasks.entry(connection).or_insert_with(|| {
            self.deferred.turns.push_back(connection);
            VecDeque::new()
        });
        tasks.push_back(task);
    }

    /// Whether something that a connection has asked for is not done yet: its next frame has to wait.
    #[inline]
    pub fn is_busy_for(&self, connection: ConnectionId) -> bool {
        !self.deferred.tasks.is_empty() && self.deferred.tasks.contains_key(&connection)
    }

    /// Whether what a connection has asked for waits for the store: its task is woken when it may continue.
    pub fn is_parked(&self, connection: ConnectionId) -> bool {
        self.deferred.parked.contains(&connection)
    }

    /// Lets those continue that wait for the store.
    pub(super) fn wake_parked(&mut self) {
        let parked = self.deferred.parked.drain(..);
        self.deferred.turns.extend(parked);
    }

    /// Answers a connection as soon as all that it has asked for is done.
    pub fn answer_when_done(
        &mut self,
        connection: ConnectionId,
        peer: &Arc<Peer>,
        method: &impl MethodSpec,
        channel: u16,
    ) {
        if std::mem::take(&mut self.unsaved) || self.stores_for(connection) {
            self.await_stored(connection, peer, Awaited::Topology(None));
        } else if !self.is_busy_for(connection) {
            peer.outbox.put(method, channel);
            return;
        }
        let mut frame = BytesMut::new();
        method.put(&mut frame, channel);
        self.defer(connection, Task::Answer(Arc::clone(peer), frame.freeze()));
    }

    /// Lets a connection continue, which gets no answer, as soon as all that it has asked for is done.
    pub fn continue_when_done(&mut self, connection: ConnectionId, peer: &Arc<Peer>) {
        if self.stores_for(connection) {
            self.await_stored(connection, peer, Awaited::Topology(None));
        }
    }

    /// Whether deferred work of a connection may still change what is stored.
    fn stores_for(&self, connection: ConnectionId) -> bool {
        self.leaving > 0 && self.is_busy_for(connection)
    }

    /// Answers a purge when it is durable.
    pub fn await_purge(&mut self, connection: ConnectionId, peer: &Arc<Peer>) {
        if self.records.log.is_some() {
            self.await_stored(connection, peer, Awaited::Messages(None));
        }
    }

    /// Answers a commit when it is durable.
    pub fn await_commit(&mut self, connection: ConnectionId, peer: &Arc<Peer>, id: ChannelId) {
        if self.records.log.is_some() {
            self.await_stored(connection, peer, Awaited::Commit(id));
        }
    }

    fn await_stored(&mut self, connection: ConnectionId, peer: &Arc<Peer>, awaited: Awaited) {
        self.defer(connection, Task::Await(Arc::clone(peer), awaited));
    }

    pub(super) fn has_deferred_work(&self) -> bool {
        !self.deferred.turns.is_empty()
    }

    /// Continues deferred work, one slice for each connection in turn.
    pub(super) fn run_deferred(&mut self, now: BrokerTime) {
        if self.deferred.turns.is_empty() {
            return;
        }
        let rest = self.budget.limit_to(DEFERRED_STEPS);
        // Connections in a row whose work has to pause until dead letters have been routed.
        let mut paused = 0;
        while !self.budget.is_overdrawn()
            && paused < self.deferred.turns.len()
            && let Some(&connection) = self.deferred.turns.front()
        {
            let before = self.budget.used();
            let others = self.budget.limit_to(SLICE_STEPS);
            // It has its place among the turns meanwhile: should its work panic, the rest is still continued.
            let is_done = self.run_for(connection, now);
            self.budget.put_back(others);
            self.deferred.turns.pop_front();
            if !is_done && self.waits_for_store(connection) {
                self.deferred.parked.push(connection);
            } else if !is_done {
                self.deferred.turns.push_back(connection);
                paused = if self.budget.used() == before {
                    paused + 1
                } else {
                    0
                };
            }
        }
        self.budget.put_back(rest);
    }

    /// Whether the next task of a connection waits for the store.
    fn waits_for_store(&mut self, connection: ConnectionId) -> bool {
        let next = self.deferred.tasks.get(&connection);
        match next.and_then(VecDeque::front) {
            Some(Task::Await(_, awaited)) => {
                let mut awaited = *awaited;
                !self.is_stored_by_now(&mut awaited)
            }
            Some(Task::Get(get)) => self.is_loading(&get.queue),
            Some(Task::Remove(removal)) => {
                let awaited = removal.awaited();
                awaited.is_some_and(|position| !self.records.is_durable(position))
            }
            _ => false,
        }
    }

    fn is_loading(&self, queue: &ShortStr) -> bool {
        let id = self.queue_names.get(queue.as_bytes());
        let queue = id.and_then(|id| self.queues.get(*id));
        queue.is_some_and(|queue| queue.is_loading)
    }

    /// Whether what is awaited has come. What it is in numbers is noted at the first look.
    fn is_stored_by_now(&mut self, awaited: &mut Awaited) -> bool {
        match awaited {
            Awaited::Topology(changes) => {
                let wanted = *changes.get_or_insert_with(|| self.changes());
                self.has_stored(wanted)
            }
            Awaited::Commit(id) => {
                let committed = self.channels.get(*id).map(|channel| channel.committed);
                self.records.is_durable(committed.unwrap_or(0))
            }
            Awaited::Messages(position) => {
                let wanted = *position.get_or_insert(self.records.newest);
                self.records.is_durable(wanted)
            }
        }
    }

    /// Does a part of what a connection has asked for; whether that was all.
    fn run_for(&mut self, connection: ConnectionId, now: BrokerTime) -> bool {
        // While it is away, whatever it asks for is put behind what it has to do.
        while let Some(mut task) =
            (self.deferred.tasks.get_mut(&connection)).and_then(VecDeque::pop_front)
        {
            let is_done = self.advance(connection, &mut task, now);
            let Some(tasks) = self.deferred.tasks.get_mut(&connection) else {
                return true;
            };
            if !is_done {
                tasks.push_front(task);
            }
            if !tasks.is_empty() && (!is_done || self.budget.is_overdrawn()) {
                return false;
            }
        }
        self.deferred.tasks.remove(&connection);
        true
    }

    /// Does a part of a task within the budget. True when the task is finished.
    fn advance(&mut self, connection: ConnectionId, task: &mut Task, now: BrokerTime) -> bool {
        match task {
            Task::Settle(channel, which, how) => self.settle_on(*channel, which, *how, now),
            Task::Reserve(channel, how, next, last) => self.reserve_on(*channel, *how, next, *last),
            Task::Release(channel) => self.release_on(*channel),
            Task::Publish(publication) => self.publish_on(publication, now),
            Task::Commit(commit) => self.commit_on(commit, now),
            Task::Get(get) => {
                let is_done = self.get_on(get, now);
                if let Some(channel) = self.channels.get(get.channel).filter(|_| is_done) {
                    // It may have been parked until messages were read.
                    channel.peer.wake.notify_one();
                }
                is_done
            }
            Task::CloseChannel(channel) => self.close_on(connection, *channel, now),
            Task::Remove(removal) => self.remove_on(removal),
            Task::Await(peer, awaited) => {
                let is_stored = self.is_stored_by_now(awaited);
                if is_stored {
                    peer.wake.notify_one();
                }
                is_stored
            }
            Task::Answer(peer, frame) => {
                let put = peer.outbox.put_written(frame);
                super::note(&mut self.dirty, peer, put);
                true
            }
        }
    }

    /// Continues a publish. True when it is finished; it is then returned or confirmed.
    pub(super) fn publish_on(&mut self, publication: &mut Publication, now: BrokerTime) -> bool {
        let Publication {
            message,
            routing,
            origin,
            ..
        } = publication;
        let Some(published) = self.deliver_to_queues(routing, message, origin, now) else {
            publication.suspend();
            return false;
        };
        let stored_at = routing.stored_at;
        let (channel, mandatory) = (publication.channel, publication.mandatory);
        self.end_publish(published, &publication.message, channel, mandatory);
        if let Some(number) = publication.confirm {
            match self.hold_confirm(channel, publication.confirm, stored_at, published) {
                Published::Held => {}
                published => self.confirm(channel, number, published),
            }
        }
        true
    }

    fn confirm(&mut self, id: ChannelId, delivery_tag: u64, published: Published) {
        let Some(channel) = self.channels.get(id) else {
            return;
        };
        let (peer, number) = (Arc::clone(&channel.peer), channel.number);
        if published == Published::Refused {
            let nack = basic::Nack {
                delivery_tag,
                multiple: false,
                requeue: true,
            };
            self.send(&peer, &nack, number);
        } else {
            let ack = basic::Ack {
                delivery_tag,
                multiple: false,
            };
            self.send(&peer, &ack, number);
        }
    }

    /// A closed channel's consumers go, then what it holds goes back; whether that was all.
    fn close_on(&mut self, connection: ConnectionId, id: ChannelId, now: BrokerTime) -> bool {
        while !self.budget.is_overdrawn() {
            let Some(channel) = self.channels.get_mut(id) else {
                return true;
            };
            if let Some((_, consumer)) = channel.consumers.pop_first() {
                self.remove_consumer(consumer, connection, now);
            } else if let Some((_, held)) = channel.unacked.take_first(u64::MAX) {
                self.budget.spend(self.settle_steps);
                self.finish(id, held, Settle::Requeue, now);
            } else {
                self.channels.remove(id);
                return true;
            }
        }
        false
    }
}

/// Steps that a delivery costs that is settled by deferred work, so that a turn settles no more of them than the limit
/// allows.
pub(super) fn settle_steps(settled_at_once: usize) -> usize {
    let turn = usize::try_from(DEFERRED_STEPS).unwrap_or(0);
    (turn / settled_at_once.max(1)).max(SETTLE_STEPS)
}
