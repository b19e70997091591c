//! Dead-lettering: messages that a queue drops or rejects go to the queue's dead-letter exchange.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::{
    BrokerTime, PublisherNames, Vhost,
    deliver::{copy_without, rewrite_steps},
    messages::LogPlace,
    route::Routing,
};
use crate::broker::{
    memory::Charge,
    message::{Death, DeathReason, InboundMessage, Message},
    message_log::QueueNumber,
    queue::{QueueId, ready::Entry},
    wire::{
        Properties, ShortStr, TableRef, ValueRef,
        table::{ArrayBuilder, TableBuilder},
    },
};

/// When so many dead letters wait to be routed, expiry, overflow and deferred settlements pause.
pub(super) const DEAD_MAX: usize = 1024;
/// When so many wait, dead letters that a queue refuses are dropped.
pub(super) const SECOND_DEATHS_MAX: usize = 4 * DEAD_MAX;
/// Steps that it costs to drop a message.
const DEATH_STEPS: usize = 2;
/// How many different deaths a message remembers. One that would forget a death on its way since it was
/// last rejected could be in an undetected cycle: it is dropped.
const DEATHS_MAX: usize = 64;

const HEADERS: [&[u8]; 4] = [
    b"x-death",
    b"x-first-death-exchange",
    b"x-first-death-queue",
    b"x-first-death-reason",
];

/// A dead message, and where the log has it until the letter is stored.
#[derive(Debug)]
struct DeadLetter {
    message: InboundMessage,
    origin: Option<LogPlace>,
}

/// Dead letters that wait to be routed, the oldest first. Their bytes count.
#[derive(Debug)]
pub(super) struct PendingDeadLetters {
    letters: VecDeque<DeadLetter>,
    bytes: usize,
    charge: Charge,
    /// How many letters that are not stored yet come from a queue, which the log still has them in.
    origins: HashMap<QueueNumber, usize>,
    /// The queue that the letter comes from that is being routed.
    routed: Option<QueueNumber>,
}

impl PendingDeadLetters {
    pub(super) fn new(charge: Charge) -> Self {
        Self {
            letters: VecDeque::new(),
            bytes: 0,
            charge,
            origins: HashMap::new(),
            routed: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// Whether every dead letter of a queue was routed.
    pub(super) fn has_routed_all_of(&self, queue: QueueNumber) -> bool {
        !self.origins.contains_key(&queue)
    }

    /// The letter that was being routed is in the log, or was dropped.
    fn end_routed(&mut self) {
        if let Some(queue) = self.routed.take() {
            self.end(queue);
        }
    }

    fn end(&mut self, queue: QueueNumber) {
        if let Some(count) = self.origins.get_mut(&queue) {
            *count -= 1;
            if *count == 0 {
                self.origins.remove(&queue);
            }
        }
    }

    fn push_back(&mut self, letter: DeadLetter) {
        if let Some(origin) = letter.origin {
            *self.origins.entry(origin.queue).or_default() += 1;
        }
        self.bytes += letter.message.bytes();
        self.charge.follow(self.bytes);
        self.letters.push_back(letter);
    }

    fn pop_front(&mut self) -> Option<DeadLetter> {
        let letter = self.letters.pop_front()?;
        self.bytes -= letter.message.bytes();
        self.charge.follow(self.bytes);
        Some(letter)
    }
}

impl Vhost {
    /// Removes a message of a queue for a reason, and dead-letters it.
    pub(super) fn die_entry(
        &mut self,
        id: QueueId,
        entry: &Entry,
        reason: DeathReason,
        now: BrokerTime,
    ) {
        let mut origin = None;
        if let Some(queue) = self.queues.get_mut(id) {
            queue.counters.dead += 1;
            origin = self.records.take(queue, entry);
        }
        self.die(id, &entry.message, origin, reason, now);
    }

    /// Dead-letters a message if the queue has a dead-letter exchange. `origin` is where the log has it: there it is
    /// settled together with the letter.
    pub(super) fn die(
        &mut self,
        id: QueueId,
        message: &Arc<Message>,
        origin: Option<LogPlace>,
        reason: DeathReason,
        now: BrokerTime,
    ) {
        self.budget.spend(DEATH_STEPS);
        match self.dead_letter_of(id, message, reason, now) {
            Some(message) => self.dead.push_back(DeadLetter { message, origin }),
            None => self.records.settle(origin),
        }
    }

    /// The letter that a dead message becomes, if the queue has a dead-letter exchange.
    fn dead_letter_of(
        &mut self,
        id: QueueId,
        message: &Arc<Message>,
        reason: DeathReason,
        now: BrokerTime,
    ) -> Option<InboundMessage> {
        let queue = self.queues.get(id)?;
        let exchange = queue.settings.dead_letter_exchange.clone()?;
        let before = message.deaths.as_deref().unwrap_or_default();
        if loses_its_way(before, reason) {
            return None;
        }
        self.budget.spend(rewrite_steps(&message.properties));
        let copies = copies(message.properties.headers());
        let key = queue.settings.dead_letter_routing_key.clone();
        let death = Death {
            queue: queue.name.clone(),
            reason,
            count: 1,
            exchange: message.exchange.clone(),
            routing_keys: std::iter::once(&message.routing_key)
                .chain(&copies)
                .cloned()
                .collect(),
            expiration: message.properties.expiration().and_then(ShortStr::copied),
            time: now.unix_s(),
        };
        let deaths = with_death(before, death);
        let properties = properties(&message.properties, &deaths, key.is_some());
        let explicit = key.is_some();
        let routing_key = key.unwrap_or_else(|| message.routing_key.clone());
        let hidden = message.hidden_keys.clone();
        let body = message.body.clone();
        let mut letter = InboundMessage::new(exchange, routing_key, properties, body);
        letter.body_owned = true;
        letter.priority = message.priority;
        letter.persistent = message.persistent;
        letter.deaths = Some(deaths);
        if !explicit {
            letter.extra_keys = copies;
            letter
                .extra_keys
                .extend(hidden.iter().flat_map(|keys| keys.iter().cloned()));
            letter.hidden_keys = hidden;
        }
        Some(letter)
    }

    /// Routes dead letters as their queues' arguments say, as far as the budget allows.
    pub(super) fn dead_letter(&mut self, now: BrokerTime) {
        let unknown = PublisherNames::default();
        while !self.budget.is_overdrawn() {
            let begun = self.dead_letter.take();
            let Some((mut message, mut routing)) = begun.or_else(|| self.next_dead_letter()) else {
                return;
            };
            let published = self.deliver_to_queues(&mut routing, &mut message, &unknown, now);
            if published.is_some() {
                self.dead.end_routed();
                self.routing = Some(routing);
            } else {
                routing.suspend();
                self.dead_letter = Some((message, routing));
            }
        }
    }

    fn next_dead_letter(&mut self) -> Option<(InboundMessage, Box<Routing>)> {
        // Should the routing of the last one have panicked.
        self.dead.end_routed();
        loop {
            let DeadLetter {
                mut message,
                origin,
            } = self.dead.pop_front()?;
            self.budget.spend(DEATH_STEPS);
            let Ok(id) = self.exchange_id(&message.exchange) else {
                self.records.settle(origin);
                if let Some(origin) = origin {
                    self.dead.end(origin.queue);
                }
                continue;
            };
            if let Some(exchange) = self.exchanges.get(id) {
                message.exchange = exchange.name.clone();
            }
            let mut routing = self.begin_routing(id);
            routing.group = self.records.group_with(origin);
            self.dead.routed = origin.map(|origin| origin.queue);
            return Some((message, routing));
        }
    }
}

/// Whether a message would return to a queue without having been rejected by a consumer on the way.
pub(super) fn closes_cycle(queue: &ShortStr, deaths: &[Death]) -> bool {
    let was_here = deaths.iter().position(|death| death.queue == *queue);
    was_here.is_some_and(|index| {
        let way = &deaths[..=index];
        way.iter()
            .all(|death| death.reason != DeathReason::Rejected)
    })
}

/// Whether one more death makes a message forget a queue it came through since it was last rejected.
fn loses_its_way(before: &[Death], reason: DeathReason) -> bool {
    let mut reasons = before.iter().map(|death| death.reason).chain([reason]);
    before.len() >= DEATHS_MAX && reasons.all(|reason| reason != DeathReason::Rejected)
}

/// The newest first; one that happened before is counted.
fn with_death(before: &[Death], mut death: Death) -> Arc<[Death]> {
    let same = |other: &&Death| other.queue == death.queue && other.reason == death.reason;
    if let Some(earlier) = before.iter().find(same) {
        let count = earlier.count.saturating_add(1);
        death = Death {
            count,
            ..earlier.clone()
        };
    }
    let others = before
        .iter()
        .filter(|other| other.queue != death.queue || other.reason != death.reason)
        .cloned();
    let first = death.clone();
    std::iter::once(first)
        .chain(others)
        .take(DEATHS_MAX)
        .collect()
}

/// The routing keys in a message's CC header.
fn copies(headers: Option<TableRef<'_>>) -> Vec<ShortStr> {
    let copies = headers
        .and_then(|headers| headers.field(b"CC"))
        .and_then(ValueRef::as_array);
    let Some(copies) = copies else {
        return Vec::new();
    };
    copies
        .iter()
        .filter_map(ValueRef::as_str_bytes)
        .filter_map(ShortStr::copied)
        .collect()
}

/// The properties of a dead message: its deaths in the headers, no expiration.
fn properties(before: &Properties, deaths: &[Death], drop_copies: bool) -> Properties {
    let mut headers = TableBuilder::new();
    let had_first = before.headers().is_some_and(|headers| {
        deaths.iter().map(|death| death.count).sum::<u64>() > 1
            && headers.field(b"x-first-death-queue").is_some()
    });
    let mut dropped: Vec<&[u8]> = if had_first {
        vec![HEADERS[0]]
    } else {
        HEADERS.to_vec()
    };
    if drop_copies {
        dropped.push(b"CC");
    }
    copy_without(before.headers(), &dropped, &mut headers);
    let mut array = ArrayBuilder::new();
    for death in deaths {
        let table = death_table(death);
        array.push(ValueRef::Table(table.view()));
    }
    headers.put_array("x-death", &array);
    if !had_first && let Some(first) = deaths.last() {
        headers.put_str("x-first-death-exchange", &first.exchange);
        headers.put_str("x-first-death-queue", &first.queue);
        headers.put_str("x-first-death-reason", first.reason.name());
    }
    before.with_headers(&headers.build()).without_expiration()
}

fn death_table(death: &Death) -> crate::broker::wire::Table {
    let mut table = TableBuilder::new();
    table.put_long("count", i64::try_from(death.count).unwrap_or(i64::MAX));
    table.put_str("reason", death.reason.name());
    table.put_str("queue", &death.queue);
    table.put("time", ValueRef::Timestamp(death.time));
    table.put_str("exchange", &death.exchange);
    let mut keys = ArrayBuilder::new();
    for key in &death.routing_keys {
        keys.push(ValueRef::Str(key));
    }
    table.put_array("routing-keys", &keys);
    if let Some(expiration) = &death.expiration {
        table.put_str("original-expiration", expiration);
    }
    table.build()
}
