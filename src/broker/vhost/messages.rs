//! Persistent messages of durable queues: noted in the log when they are routed, given and settled.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use super::{BrokerTime, Vhost, route::Routing, spill::Spilling};
use crate::broker::{
    channel::ChannelId,
    durable::{LoadRequest, LoadRequests},
    message::InboundMessage,
    message_log::{
        LogPosition, MessageGroup, MessageLog, MessageLogState, QueueNumber, QueuePlace,
    },
    queue::{
        Queue, QueueId,
        ready::{Entry, NEVER},
    },
};

/// With fewer messages in memory before those in the log, a queue reads more from it.
const LOW_MARK: usize = 256;

/// The log of messages, as a vhost uses it.
#[derive(Clone, Debug)]
pub struct VhostLog {
    /// The log.
    pub log: MessageLog,
    /// Up to here everything is durable, the topology included: who sets it then calls [`Vhost::on_progress`].
    pub durable: Arc<AtomicU64>,
    /// The task that reads messages back.
    pub loads: Arc<LoadRequests>,
    /// Which of its vhosts this one is.
    pub vhost: usize,
}

/// A message in a queue, as the log names it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct LogPlace {
    pub(super) queue: QueueNumber,
    pub(super) position: u64,
}

/// A publish whose confirm waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnconfirmedPublish {
    pub(super) channel: ChannelId,
    pub(super) tag: u64,
    /// The position that has to be durable before.
    pub(super) position: LogPosition,
}

/// The records of a vhost in the log of its messages, if there is one.
#[derive(Debug, Default)]
pub(super) struct MessageRecords {
    pub(super) log: Option<MessageLog>,
    /// The task that reads messages back, and the number of this vhost there.
    loads: Option<(Arc<LoadRequests>, usize)>,
    /// Where the message that is being routed was put in this turn.
    places: Vec<QueuePlace>,
    /// Those of them that were given to consumers.
    given: Vec<LogPlace>,
    /// Up to here everything is durable, the topology included.
    durable: Arc<AtomicU64>,
    /// The settlements of a transaction, while it is committed.
    pub(super) transaction: Option<MessageGroup>,
    /// Queues whose messages are to leave memory.
    pub(super) spilling: VecDeque<Spilling>,
    /// In the order of their positions.
    pub(super) unconfirmed: VecDeque<UnconfirmedPublish>,
    /// The newest position that was given.
    pub(super) newest: LogPosition,
    /// The newest position that somebody waits for, if the log does not know yet.
    wanted: LogPosition,
}

impl MessageRecords {
    /// Where the log has a message of a queue.
    fn find(&self, queue: &Queue, entry: &Entry) -> Option<LogPlace> {
        let is_kept = self.log.is_some() && queue.number != 0 && entry.message.persistent;
        is_kept.then_some(LogPlace {
            queue: queue.number,
            position: entry.position,
        })
    }

    /// The message that is being routed was put into a queue.
    pub(super) fn place(&mut self, queue: &Queue, entry: &Entry, now: BrokerTime) {
        if let Some(LogPlace { queue, position }) = self.find(queue, entry) {
            let left = entry.expires_at.saturating_sub(now.ms);
            let deadline = now.unix_ms.saturating_add(left);
            self.places.push(QueuePlace {
                queue,
                position,
                deadline: (entry.expires_at != NEVER).then_some(deadline),
            });
        }
    }

    /// The message that is being routed was given to a consumer at once.
    pub(super) fn give_placed(&mut self, queue: &Queue, entry: &Entry) {
        self.given.extend(self.find(queue, entry));
    }

    /// A message was given to a consumer that acknowledges.
    pub(super) fn give(&mut self, queue: &Queue, entry: &Entry) {
        let (Some(place), Some(log)) = (self.find(queue, entry), &self.log) else {
            return;
        };
        let counts = queue.counts_deliveries();
        if entry.redelivered && !counts {
            // The log knows.
            return;
        }
        if entry.resumed {
            log.requeue(place.queue, place.position, place.position, entry.returns);
        }
        self.newest = log.deliver(place.queue, place.position);
    }

    /// A message leaves its queue. None: nothing needs to be settled.
    pub(super) fn take(&mut self, queue: &Queue, entry: &Entry) -> Option<LogPlace> {
        let place = self.find(queue, entry)?;
        let last = self.places.last();
        if last.is_some_and(|last| last.queue == place.queue && last.position == place.position) {
            // It was put there a moment ago and is not in the log.
            self.places.pop();
            return None;
        }
        Some(place)
    }

    /// A message has left its queue for good.
    pub(super) fn forget(&mut self, queue: &Queue, entry: &Entry) {
        let place = self.take(queue, entry);
        self.settle(place);
    }

    /// A taken message has left its queue for good.
    pub(super) fn settle(&mut self, place: Option<LogPlace>) {
        let (Some(place), Some(log)) = (place, &self.log) else {
            return;
        };
        match &mut self.transaction {
            Some(group) => group.settle(place.queue, place.position),
            None => self.newest = log.settle(place.queue, place.position),
        }
    }

    /// All messages of a queue between two positions have left it for good.
    pub(super) fn settle_all(&mut self, queue: QueueNumber, first: u64, last: u64) {
        if let Some(log) = &self.log {
            self.newest = log.settle_all(queue, first..=last);
        }
    }

    /// A message goes back to a position of its queue.
    pub(super) fn requeue(&mut self, queue: &Queue, entry: &Entry, position: u64) {
        let (Some(place), Some(log)) = (self.find(queue, entry), &self.log) else {
            return;
        };
        let (from, returns) = (place.position, entry.returns);
        match &mut self.transaction {
            Some(group) => group.requeue(place.queue, from, position, returns),
            None => self.newest = log.requeue(place.queue, from, position, returns),
        }
    }

    /// A queue is gone with its messages.
    pub(super) fn delete_queue(&mut self, number: QueueNumber) {
        if let Some(log) = self.log.as_ref().filter(|_| number != 0) {
            self.newest = log.delete_queue(number);
        }
    }

    /// A group that settles this, if there is a log.
    pub(super) fn group_with(&self, origin: Option<LogPlace>) -> Option<MessageGroup> {
        let (origin, log) = (origin?, self.log.as_ref()?);
        let mut group = log.group();
        group.settle(origin.queue, origin.position);
        Some(group)
    }

    /// A group for a transaction, if there is a log.
    pub(super) fn group(&self) -> Option<MessageGroup> {
        self.log.as_ref().map(MessageLog::group)
    }

    /// Routing pauses: where the message was put so far is gathered in a group.
    pub(super) fn suspend(&mut self, routing: &mut Routing, message: &InboundMessage) {
        if self.places.is_empty() {
            return;
        }
        if let (Some(log), Some(message)) = (&self.log, message.kept()) {
            let group = routing.group.get_or_insert_with(|| log.group());
            group.append(message, &self.places);
        }
        self.places.clear();
        self.deliver_given();
    }

    /// Routing is done: appends the message where it was put. A group that belongs to a transaction stays open.
    pub(super) fn append(&mut self, routing: &mut Routing, message: &InboundMessage) {
        let Some(log) = &self.log else {
            return;
        };
        if let Some(message) = message.kept().filter(|_| !self.places.is_empty()) {
            match &mut routing.group {
                Some(group) => group.append(message, &self.places),
                None => routing.stored_at = log.append(message, &self.places),
            }
            self.places.clear();
        }
        if !routing.in_transaction
            && let Some(group) = routing.group.take()
        {
            routing.stored_at = log.commit(group);
        }
        self.newest = self.newest.max(routing.stored_at);
        self.deliver_given();
    }

    fn deliver_given(&mut self) {
        if let Some(log) = &self.log {
            for place in self.given.drain(..) {
                self.newest = log.deliver(place.queue, place.position);
            }
        }
    }

    /// Commits what a transaction has gathered: what has to be durable before it is answered.
    pub(super) fn commit(&mut self, group: Option<MessageGroup>) -> LogPosition {
        let group = group.filter(|group| !group.is_empty());
        let (Some(log), Some(group)) = (&self.log, group) else {
            return 0;
        };
        self.newest = log.commit(group);
        self.newest
    }

    /// Up to here everything is durable.
    pub(super) fn durable(&self) -> LogPosition {
        self.durable.load(SeqCst)
    }

    /// Whether a position is durable. If not, somebody waits for it from now on.
    pub(super) fn is_durable(&mut self, position: LogPosition) -> bool {
        let is_durable = position == 0 || self.durable() >= position;
        if !is_durable {
            self.wanted = self.wanted.max(position);
        }
        is_durable
    }

    /// Whether more may become durable: the disk is not full.
    pub(super) fn can_advance(&self) -> bool {
        let log = self.log.as_ref();
        log.is_some_and(|log| *log.state().borrow() == MessageLogState::Ready)
    }

    /// Asks the log to make durable what somebody waits for.
    pub(super) fn request(&mut self) {
        if self.wanted != 0
            && let Some(log) = &self.log
        {
            log.request_durable(std::mem::take(&mut self.wanted));
        }
    }
}

impl Vhost {
    /// Notes persistent messages of durable queues in a log from now on.
    pub fn set_log(&mut self, log: VhostLog) {
        self.records.log = Some(log.log);
        self.records.durable = log.durable;
        self.records.loads = Some((log.loads, log.vhost));
    }

    /// Has messages of a queue read from the log before it has delivered those in memory.
    #[inline]
    pub(super) fn load_ahead(&mut self, id: QueueId) {
        let queue = self.queues.get(id);
        if queue.is_some_and(|queue| queue.ready.cold().is_some() && queue.ready.ahead() < LOW_MARK)
        {
            self.request_load(id);
        }
    }

    /// Has the first messages of a queue that are in the log only read, if that is not under way.
    pub(super) fn request_load(&mut self, id: QueueId) {
        let share = self.queue_share();
        let Some(queue) = self.queues.get_mut(id).filter(|queue| !queue.is_loading) else {
            return;
        };
        if let (Some(cold), Some((loads, vhost))) = (queue.ready.cold(), &self.records.loads) {
            queue.is_loading = true;
            loads.add(LoadRequest {
                vhost: *vhost,
                queue: id,
                number: queue.number,
                positions: cold.first..=cold.last,
                bytes: share as u64,
            });
        }
    }
}
