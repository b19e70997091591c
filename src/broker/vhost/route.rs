//! Routing: finds the queues of a message and gives it to each, in as many turns as needed.

use std::collections::HashSet;

use super::{
    BrokerTime, Published, PublisherNames, Vhost, death::closes_cycle, deliver::copy_steps,
};
use crate::broker::{
    exchange::{
        Destination, ExchangeId, Search,
        headers::{Headers, HeadersIndex},
    },
    message::InboundMessage,
    message_log::{LogPosition, MessageGroup},
    queue::QueueId,
    wire::ShortStr,
};

/// Steps that a message costs a queue.
const ENQUEUE_STEPS: usize = 4;
/// Bodies up to this length are copied to each consumer.
pub(super) const COPIED_MAX: usize = 16 * 1024;

/// Progress of routing one message.
#[derive(Debug, Default)]
pub(super) struct Routing {
    /// The exchanges found so far, and how many of them have been searched.
    exchanges: Vec<ExchangeId>,
    asked: usize,
    /// Which of the message's keys comes next.
    key: usize,
    search: Search,
    /// Of the message's headers, as far as it is made.
    index: Option<Box<HeadersIndex>>,
    /// Destinations found by the current exchange, and how many of them have been followed.
    found: Vec<Destination>,
    looked_at: usize,
    /// Whether the current exchange has found an existing destination.
    is_routed: bool,
    /// The queues found so far, and how many of them have been given the message.
    queues: Vec<QueueId>,
    given: usize,
    is_complete: bool,
    is_refused: bool,
    /// Whether a queue asks for the connection that the message came over.
    is_stamped: bool,
    /// Marks the exchanges and queues that were found, until another message is routed.
    epoch: u64,
    /// The exchanges and queues that were found, once other messages are routed in between.
    seen: Option<Box<Visited>>,
    /// The records that are stored as a whole with the message.
    pub(super) group: Option<MessageGroup>,
    /// Whether the group is committed by a transaction.
    pub(super) in_transaction: bool,
    /// The position that has to be durable before the message is confirmed; 0: none.
    pub(super) stored_at: LogPosition,
}

#[derive(Debug)]
struct Visited {
    exchanges: HashSet<ExchangeId>,
    queues: HashSet<QueueId>,
}

impl Routing {
    /// Begins with a message that was published to this exchange.
    pub(super) fn begin(&mut self, start: ExchangeId, epoch: u64) {
        self.exchanges.clear();
        self.exchanges.push(start);
        self.asked = 0;
        self.key = 0;
        self.index = None;
        self.found.clear();
        self.looked_at = 0;
        self.is_routed = false;
        self.queues.clear();
        self.given = 0;
        self.is_complete = false;
        self.is_refused = false;
        self.is_stamped = false;
        self.epoch = epoch;
        self.seen = None;
        self.group = None;
        self.in_transaction = false;
        self.stored_at = 0;
    }

    /// Prepares for other messages to be routed before this one continues.
    pub(super) fn suspend(&mut self) {
        self.seen.get_or_insert_with(|| {
            Box::new(Visited {
                exchanges: self.exchanges.iter().copied().collect(),
                queues: self.queues.iter().copied().collect(),
            })
        });
    }

    /// Bytes that it holds.
    pub(super) fn bytes(&self) -> usize {
        // A set has an entry for each queue, and about as much room again.
        let queues = self.queues.capacity() * 5 * size_of::<QueueId>();
        let index = self.index.as_ref().map_or(0, |index| index.bytes());
        queues + self.found.capacity() * size_of::<Destination>() + self.search.bytes() + index
    }
}

impl Vhost {
    /// Gives a message to all of its queues, within the budget. None when it has to be called again.
    pub(super) fn deliver_to_queues(
        &mut self,
        routing: &mut Routing,
        message: &mut InboundMessage,
        origin: &PublisherNames,
        now: BrokerTime,
    ) -> Option<Published> {
        if !routing.is_complete {
            if !self.find_queues(routing, message) {
                return None;
            }
            routing.is_complete = true;
            if routing.is_stamped {
                self.stamp(message, origin);
            }
        }
        let steps = ENQUEUE_STEPS + copy_steps(&message.properties, &message.body);
        while let Some(&queue) = routing.queues.get(routing.given) {
            if self.budget.is_overdrawn() || self.waits_for_dead_letters(queue, message) {
                self.records.suspend(routing, message);
                return None;
            }
            routing.given += 1;
            self.budget.spend(steps);
            routing.is_refused |= !self.enqueue(queue, message, now);
        }
        self.records.append(routing, message);
        Some(match (routing.queues.is_empty(), routing.is_refused) {
            (true, _) => Published::Unroutable,
            (false, false) => Published::Kept,
            (false, true) => Published::Refused,
        })
    }

    /// Finds the queues of a message, each once. False when the budget is spent.
    fn find_queues(&mut self, routing: &mut Routing, message: &InboundMessage) -> bool {
        if message.exchange.is_empty() {
            return self.find_by_name(routing, message);
        }
        let headers = message.properties.headers();
        let mut headers = Headers::new(headers, routing.index.take());
        let is_done = self.ask_all(routing, message, &mut headers);
        routing.index = headers.into_index();
        is_done
    }

    /// Searches the exchanges that the message reaches. False when the budget is spent.
    fn ask_all(
        &mut self,
        routing: &mut Routing,
        message: &InboundMessage,
        headers: &mut Headers<'_>,
    ) -> bool {
        while let Some(&id) = routing.exchanges.get(routing.asked) {
            if !self.ask(id, routing, message, headers) {
                return false;
            }
            routing.asked += 1;
            routing.key = 0;
            // An exchange that was removed leaves its search unfinished: it means nothing to the next one.
            routing.search = Search::default();
            if !std::mem::take(&mut routing.is_routed) {
                self.try_alternate(id, routing);
            }
        }
        true
    }

    /// The default exchange: each key names a queue.
    fn find_by_name(&mut self, routing: &mut Routing, message: &InboundMessage) -> bool {
        while let Some(name) = message.key(routing.key) {
            if self.budget.is_overdrawn() {
                return false;
            }
            routing.key += 1;
            self.budget.spend(1);
            if let Some(&id) = self.queue_names.get(name.as_bytes()) {
                self.reach_queue(id, routing, message);
            }
        }
        true
    }

    /// Searches one exchange for all keys of the message. False when the budget is spent.
    fn ask(
        &mut self,
        id: ExchangeId,
        routing: &mut Routing,
        message: &InboundMessage,
        headers: &mut Headers<'_>,
    ) -> bool {
        loop {
            if !self.follow(routing, message) {
                return false;
            }
            let Some(exchange) = self.exchanges.get_mut(id) else {
                return true;
            };
            let Some(key) = message.key(routing.key) else {
                return true;
            };
            let Routing { search, found, .. } = routing;
            let is_done = exchange.route(key, headers, search, &mut self.budget, found);
            if is_done {
                // To an exchange for which keys do not matter, all of them are the same.
                routing.key = match exchange.kind.uses_key() {
                    true => routing.key + 1,
                    false => usize::MAX,
                };
            }
            if !is_done || self.budget.is_overdrawn() {
                return false;
            }
        }
    }

    /// Follows what was found for one key. False when the budget is spent.
    fn follow(&mut self, routing: &mut Routing, message: &InboundMessage) -> bool {
        while let Some(&destination) = routing.found.get(routing.looked_at) {
            if self.budget.is_overdrawn() {
                return false;
            }
            self.budget.spend(1);
            routing.looked_at += 1;
            match destination {
                Destination::Exchange(id) => self.reach_exchange(id, routing),
                Destination::Queue(id) => self.reach_queue(id, routing, message),
            }
        }
        routing.found.clear();
        routing.looked_at = 0;
        true
    }

    fn reach_queue(&mut self, id: QueueId, routing: &mut Routing, message: &InboundMessage) {
        let Some(queue) = self.queues.get_mut(id) else {
            return;
        };
        routing.is_routed = true;
        let is_new = match &mut routing.seen {
            None => std::mem::replace(&mut queue.seen, routing.epoch) != routing.epoch,
            Some(seen) => seen.queues.insert(id),
        };
        if !is_new {
            return;
        }
        if let Some(deaths) = &message.deaths {
            self.budget.spend(deaths.len());
            if closes_cycle(&queue.name, deaths) {
                return;
            }
        }
        routing.is_stamped |= queue.stamped;
        routing.queues.push(id);
    }

    fn reach_exchange(&mut self, id: ExchangeId, routing: &mut Routing) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        routing.is_routed = true;
        let is_new = match &mut routing.seen {
            None => {
                // The one that it was published to is not marked.
                let is_marked = std::mem::replace(&mut exchange.seen, routing.epoch);
                is_marked != routing.epoch && routing.exchanges.first() != Some(&id)
            }
            Some(seen) => seen.exchanges.insert(id),
        };
        if is_new {
            routing.exchanges.push(id);
        }
    }

    /// Continues with the alternate exchange of an exchange that has no destination for the message.
    fn try_alternate(&mut self, id: ExchangeId, routing: &mut Routing) {
        let alternate: Option<ShortStr> =
            (self.exchanges.get(id)).and_then(|exchange| exchange.alternate.clone());
        if let Some(name) = alternate
            && let Some(&id) = self.exchange_names.get(name.as_bytes())
        {
            self.reach_exchange(id, routing);
            routing.is_routed = false;
        }
    }
}
