//! Removal of queues, exchanges and bindings. Their names are free at once; their bindings, consumers and messages are
//! removed in as many turns as needed.

use std::{fmt, sync::Arc, sync::atomic::Ordering::Relaxed};

use super::{BrokerTime, HeldPublish, Vhost, deferred::Task, footprint, messages::LogPlace};
use crate::broker::{
    channel::ConsumerId,
    durable::TopologyTable,
    exchange::{BindingId, Destination, Exchange, ExchangeId, ExchangeKind, topic::pattern_steps},
    message_log::{LogPosition, QueueNumber},
    pieces::Ring,
    queue::{ConnectionId, Queue, QueueId, ready::Entry},
    wire::method::basic,
};

/// Steps that it costs to take a queue out of the vhost.
const QUEUE_STEPS: usize = 20;
/// Steps that it costs to take a binding out of both its ends.
const BINDING_STEPS: usize = 10;
/// Steps that it costs to cancel a consumer.
pub(super) const CONSUMER_STEPS: usize = 10;
/// Steps that it costs to drop a message.
const MESSAGE_STEPS: usize = 2;

type Pieces<T> = Box<dyn Iterator<Item = T> + Send>;

/// The objects that are still to be removed.
#[derive(Default)]
pub(super) struct Removal {
    queues: Option<Pieces<QueueId>>,
    /// Exchanges that may have lost their last binding.
    exchanges: Vec<ExchangeId>,
    bindings: Vec<Pieces<BindingId>>,
    consumers: Vec<Pieces<ConsumerId>>,
    messages: Vec<Discarded>,
    garbage: Vec<Pieces<()>>,
    /// Queues whose rows and messages stay stored until their dead letters are durable where they were routed to.
    stored: Vec<LeavingQueue>,
}

/// A removed queue that is still stored.
#[derive(Clone, Copy, Debug)]
struct LeavingQueue {
    number: QueueNumber,
    /// Its dead letters are durable when this position is; none while some of them wait to be routed.
    durable: Option<LogPosition>,
}

/// The messages of a queue that are dropped.
struct Discarded {
    /// The queue's number in the log, if its messages are settled one by one.
    number: QueueNumber,
    entries: Pieces<Entry>,
}

impl fmt::Debug for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Removal")
            .field("bindings", &self.bindings.len())
            .field("messages", &self.messages.len())
            .finish_non_exhaustive()
    }
}

/// The next piece of the last collection; one that is used up is dropped.
fn next<T>(collections: &mut Vec<Pieces<T>>) -> Option<T> {
    loop {
        match collections.last_mut()?.next() {
            None => drop(collections.pop()),
            piece => return piece,
        }
    }
}

impl Removal {
    /// The position that has to be durable before it continues, once that is known.
    pub(super) fn awaited(&self) -> Option<LogPosition> {
        self.stored.last().and_then(|leaving| leaving.durable)
    }

    /// Takes what waits in a queue: how many messages. `number` is the queue's in the log, if they are settled one by
    /// one.
    fn add_messages(&mut self, queue: &mut Queue, number: QueueNumber) -> usize {
        let messages = queue.ready.take();
        let count = messages.len();
        if messages.hot() > 0 {
            self.messages.push(Discarded {
                number,
                entries: Box::new(messages.into_entries()),
            });
        }
        count
    }
}

impl Vhost {
    /// Drops all waiting messages of a queue: how many.
    pub(super) fn purge(
        &mut self,
        id: QueueId,
        connection: ConnectionId,
        now: BrokerTime,
    ) -> usize {
        let mut removal = Removal::default();
        let Some(queue) = self.queues.get_mut(id) else {
            return 0;
        };
        let number = queue.number;
        if let Some(cold) = queue.ready.cold() {
            self.records.settle_all(number, cold.first, cold.last);
        }
        let count = removal.add_messages(queue, number);
        if count > 0 {
            self.begin(connection, Task::Remove(Box::new(removal)), now);
        }
        count
    }

    /// Removes a queue with its messages, consumers and bindings: how many messages waited.
    pub(super) fn remove_queue(
        &mut self,
        id: QueueId,
        connection: ConnectionId,
        now: BrokerTime,
    ) -> usize {
        let mut removal = Removal::default();
        let count = self.take_queue(id, &mut removal);
        self.begin(connection, Task::Remove(Box::new(removal)), now);
        count
    }

    /// Removes the queues of a connection that has ended.
    pub fn forget_connection(&mut self, connection: ConnectionId, now: BrokerTime) {
        self.waiting.forget(connection);
        self.drop_answers(connection);
        if let Some(owned) = self.owned.remove(&connection) {
            let removal = Removal {
                queues: Some(Box::new(owned.into_iter())),
                ..Removal::default()
            };
            self.begin(connection, Task::Remove(Box::new(removal)), now);
        }
    }

    /// Drops publishes that a transaction has held back.
    pub fn drop_publishes(
        &mut self,
        connection: ConnectionId,
        publishes: Ring<HeldPublish>,
        now: BrokerTime,
    ) {
        if !publishes.is_empty() {
            let removal = Removal {
                garbage: vec![Box::new(publishes.into_iter().map(drop))],
                ..Removal::default()
            };
            self.begin(connection, Task::Remove(Box::new(removal)), now);
        }
    }

    /// Deleted queues that are still stored, until their dead letters are durable elsewhere.
    pub fn leaving_queues(&self) -> usize {
        self.leaving
    }

    /// Removes an exchange with its bindings.
    pub(super) fn remove_exchange(
        &mut self,
        id: ExchangeId,
        connection: ConnectionId,
        now: BrokerTime,
    ) {
        let mut removal = Removal::default();
        self.take_exchange(id, &mut removal);
        self.begin(connection, Task::Remove(Box::new(removal)), now);
    }

    /// Removes a binding, and its source exchange if that is auto-delete and unused.
    pub(super) fn remove_binding(
        &mut self,
        id: BindingId,
        connection: ConnectionId,
        now: BrokerTime,
    ) {
        let mut removal = Removal::default();
        self.unlink(id, &mut removal);
        if !removal.exchanges.is_empty() || !removal.garbage.is_empty() {
            self.begin(connection, Task::Remove(Box::new(removal)), now);
        }
    }

    /// Removes a part within the budget. True when all is removed.
    pub(super) fn remove_on(&mut self, removal: &mut Removal) -> bool {
        while !self.budget.is_overdrawn() {
            if let Some(id) = next(&mut removal.bindings) {
                self.unlink(id, removal);
            } else if let Some(id) = next(&mut removal.consumers) {
                self.cancel_orphan(id);
            } else if next(&mut removal.garbage).is_some() {
                self.budget.spend(1);
            } else if self.discard(removal) {
                self.budget.spend(MESSAGE_STEPS);
            } else if let Some(id) = removal.exchanges.pop() {
                let exchange = self.exchanges.get(id);
                if exchange.is_some_and(|exchange| exchange.auto_delete && !exchange.is_used()) {
                    self.take_exchange(id, removal);
                }
            } else if let Some(id) = removal.queues.as_mut().and_then(Iterator::next) {
                self.take_queue(id, removal);
            } else if removal.stored.is_empty() {
                return true;
            } else if !self.delete_stored(removal) {
                return false;
            }
        }
        false
    }

    /// Deletes what is stored of one queue, if its dead letters are durable; whether it was deleted. So a crash never
    /// finds a dead letter neither in its queue nor in the one that it was routed to. On a full disk nothing waits:
    /// what is deleted makes room.
    fn delete_stored(&mut self, removal: &mut Removal) -> bool {
        let Some(leaving) = removal.stored.last_mut() else {
            return true;
        };
        let number = leaving.number;
        if !self.dead.has_routed_all_of(number) {
            return false;
        }
        let durable = *leaving.durable.get_or_insert(self.records.newest);
        if self.records.can_advance() && !self.records.is_durable(durable) {
            return false;
        }
        removal.stored.pop();
        self.leaving = self.leaving.saturating_sub(1);
        self.budget.spend(QUEUE_STEPS);
        self.delete_stored_queue(number);
        true
    }

    /// Drops one message; whether there was one.
    fn discard(&mut self, removal: &mut Removal) -> bool {
        while let Some(discarded) = removal.messages.last_mut() {
            let Some(entry) = discarded.entries.next() else {
                removal.messages.pop();
                continue;
            };
            if discarded.number != 0 && entry.message.persistent {
                self.records.settle(Some(LogPlace {
                    queue: discarded.number,
                    position: entry.position,
                }));
            }
            return true;
        }
        false
    }

    fn take_queue(&mut self, id: QueueId, removal: &mut Removal) -> usize {
        let Some(mut queue) = self.queues.remove(id) else {
            return 0;
        };
        self.budget.spend(QUEUE_STEPS);
        let has_dead_letters = queue.settings.dead_letter_exchange.is_some();
        if has_dead_letters && queue.number != 0 && self.records.log.is_some() {
            self.leaving += 1;
            removal.stored.push(LeavingQueue {
                number: queue.number,
                durable: None,
            });
        } else {
            self.delete_stored_queue(queue.number);
        }
        let count = removal.add_messages(&mut queue, 0);
        self.queue_names.remove(queue.name.as_bytes());
        self.timers.remove(&(queue.timer_at, id));
        if let Some(owner) = queue.owner
            && let Some(owned) = self.owned.get_mut(&owner)
        {
            owned.remove(&id);
        }
        removal.bindings.push(Box::new(queue.bindings.into_iter()));
        let consumers = queue.rotation.into_consumers();
        removal.consumers.push(Box::new(consumers));
        count
    }

    /// Cancels a consumer whose queue is removed.
    fn cancel_orphan(&mut self, id: ConsumerId) {
        self.budget.spend(CONSUMER_STEPS);
        let Some(consumer) = self.consumers.remove(id) else {
            return;
        };
        self.stop_waiting(&consumer);
        let Some(channel) = self.channels.get_mut(consumer.channel) else {
            return;
        };
        channel.consumers.remove(consumer.tag.as_bytes());
        let (peer, number) = (Arc::clone(&channel.peer), channel.number);
        if peer.cancel_notify.load(Relaxed) {
            let cancel = basic::Cancel {
                consumer_tag: consumer.tag,
                nowait: true,
            };
            self.send(&peer, &cancel, number);
        }
    }

    fn take_exchange(&mut self, id: ExchangeId, removal: &mut Removal) {
        let Some(exchange) = self.exchanges.remove(id) else {
            return;
        };
        self.budget.spend(QUEUE_STEPS);
        self.delete_row(TopologyTable::Exchanges, exchange.number);
        self.exchange_names.remove(exchange.name.as_bytes());
        let Exchange {
            bindings,
            inbound,
            router,
            ..
        } = exchange;
        removal.bindings.push(Box::new(bindings.into_values()));
        removal.bindings.push(Box::new(inbound.into_iter()));
        removal.garbage.push(router.into_pieces());
    }

    /// Takes one binding out of both its ends.
    fn unlink(&mut self, id: BindingId, removal: &mut Removal) {
        self.budget.spend(BINDING_STEPS);
        let Some(binding) = self.bindings.remove(id) else {
            return;
        };
        self.delete_row(TopologyTable::Bindings, binding.number);
        match binding.key.destination {
            Destination::Queue(queue) => {
                if let Some(queue) = self.queues.get_mut(queue) {
                    queue.bindings.remove(&id);
                }
            }
            Destination::Exchange(exchange) => {
                if let Some(exchange) = self.exchanges.get_mut(exchange) {
                    exchange.inbound.remove(&id);
                }
            }
        }
        let Some(exchange) = self.exchanges.get_mut(binding.source) else {
            return;
        };
        if exchange.kind == ExchangeKind::Topic {
            self.budget.spend(pattern_steps(&binding.key.routing_key));
        }
        removal.garbage.extend(exchange.detach(id, &binding.key));
        exchange
            .charge
            .set(footprint::of_exchange(exchange) + exchange.routing_bytes());
        exchange.bindings.remove(&binding.key);
        if exchange.auto_delete && !exchange.is_used() {
            removal.exchanges.push(binding.source);
        }
    }
}

#[cfg(test)]
mod tests;
