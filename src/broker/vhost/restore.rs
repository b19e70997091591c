//! Exchanges, queues and bindings of an earlier run, put back before anything is served.

use std::{collections::HashMap, ops::RangeInclusive, sync::Arc};

use super::{BrokerTime, Vhost, topology::alternate_exchange};
use crate::broker::{
    durable::{BindingEnd, BindingRow, ExchangeRow, LoadedMessages, QueueRow},
    exception::Exception,
    exchange::{Binding, BindingKey, Destination, Exchange, ExchangeId, canonical},
    memory::{Memory, TopologyCharge},
    message::Message,
    message_log::{RecoveredQueue, StoredMessage},
    queue::{
        FIRST_POSITION, Queue, QueueId,
        arguments::{self, Properties, QueueKind},
        ready::{ColdRun, Entry, NEVER},
    },
};

/// Steps that it costs to take in a message that was read from the log.
const LOADED_STEPS: usize = 4;

/// The restored objects so far, by the numbers of their rows.
#[derive(Debug, Default)]
pub struct RestoredTopology {
    exchanges: HashMap<u64, ExchangeId>,
    queues: HashMap<u64, QueueId>,
}

impl RestoredTopology {
    /// A queue by its number.
    pub fn queue(&self, number: u64) -> Option<QueueId> {
        self.queues.get(&number).copied()
    }
}

impl Vhost {
    /// Begins with what is always there.
    pub fn begin_restore(&self) -> RestoredTopology {
        let numbers = self.exchanges.iter();
        RestoredTopology {
            exchanges: numbers
                .map(|(id, exchange)| (exchange.number, id))
                .collect(),
            queues: HashMap::new(),
        }
    }

    /// Puts an exchange back. Limits do not count.
    ///
    /// # Errors
    /// Its arguments are not valid any more.
    pub fn restore_exchange(
        &mut self,
        number: u64,
        row: ExchangeRow,
        restored: &mut RestoredTopology,
    ) -> Result<(), Exception> {
        let label = self.exchange_label(&row.name);
        let mut exchange = Exchange::new(row.name, row.kind);
        exchange.durable = true;
        exchange.auto_delete = row.auto_delete;
        exchange.internal = row.internal;
        exchange.alternate = alternate_exchange(&row.arguments, &label)?;
        exchange.arguments = row.arguments;
        exchange.number = number;
        let id = self.add_exchange(exchange);
        restored.exchanges.insert(number, id);
        Ok(())
    }

    /// Puts a queue back, empty. Limits do not count.
    ///
    /// # Errors
    /// Its arguments are not valid any more.
    pub fn restore_queue(
        &mut self,
        number: u64,
        row: QueueRow,
        restored: &mut RestoredTopology,
        now: BrokerTime,
    ) -> Result<(), Exception> {
        let label = self.queue_label(&row.name);
        let properties = Properties {
            durable: true,
            exclusive: false,
            auto_delete: row.auto_delete,
        };
        let settings = arguments::parse(&row.arguments, properties, &label)?;
        let mut queue = Queue::new(row.name, row.arguments, settings, now.ms);
        queue.durable = true;
        queue.auto_delete = row.auto_delete;
        queue.number = number;
        let id = self.add_queue(queue);
        restored.queues.insert(number, id);
        Ok(())
    }

    /// Puts a binding back; false when one of its ends was deleted.
    ///
    /// # Errors
    /// Its arguments are not valid any more.
    pub fn restore_binding(
        &mut self,
        number: u64,
        row: BindingRow,
        restored: &RestoredTopology,
    ) -> Result<bool, Exception> {
        let destination = match row.destination {
            BindingEnd::Queue(queue) => restored.queue(queue).map(Destination::Queue),
            BindingEnd::Exchange(number) => {
                let exchange = restored.exchanges.get(&number).copied();
                exchange.map(Destination::Exchange)
            }
        };
        let source = restored.exchanges.get(&row.source).copied();
        let (Some(source), Some(destination)) = (source, destination) else {
            return Ok(false);
        };
        let pattern = self.pattern(source, &row.arguments)?;
        let binding = Binding {
            source,
            key: BindingKey {
                destination,
                routing_key: row.routing_key,
                arguments: canonical(&row.arguments),
            },
            arguments: row.arguments,
            number,
            charge: TopologyCharge::default(),
        };
        self.add_binding(binding, pattern);
        Ok(true)
    }

    /// Puts the log's messages back into a queue. Without priorities, they stay in the log and are read when
    /// they are needed; only requeued messages of a quorum queue are read here, a part at a time, by `read`.
    ///
    /// # Errors
    /// That of `read`.
    pub fn restore_messages<E>(
        &mut self,
        id: QueueId,
        recovered: &RecoveredQueue,
        read: impl Fn(RangeInclusive<u64>) -> Result<Vec<StoredMessage>, E>,
        now: BrokerTime,
    ) -> Result<(), E> {
        let Some(queue) = self.queues.get_mut(id) else {
            return Ok(());
        };
        queue.continue_from(recovered.next_position, recovered.next_return);
        queue.returned_below = recovered.returned_below;
        let in_memory = match queue.ready.may_be_cold() {
            true => 0..=FIRST_POSITION - 1,
            false => 0..=u64::MAX,
        };
        let (mut messages, mut body_bytes) = (recovered.messages, recovered.body_bytes);
        let mut from = *in_memory.start();
        loop {
            let part = read(from..=*in_memory.end())?;
            let Some(last) = part.last().map(|last| last.position) else {
                break;
            };
            messages = messages.saturating_sub(part.len() as u64);
            for message in part {
                body_bytes = body_bytes.saturating_sub(message.body.len() as u64);
                self.put_back(id, message, now);
            }
            from = last.saturating_add(1);
        }
        let size = |number| usize::try_from(number).unwrap_or(usize::MAX);
        if let Some(queue) = self
            .queues
            .get_mut(id)
            .filter(|queue| queue.ready.may_be_cold())
        {
            queue.ready.add_cold(ColdRun {
                first: FIRST_POSITION,
                last: recovered.next_position.saturating_sub(1),
                len: size(messages),
                body_bytes: size(body_bytes),
            });
            self.request_load(id);
        }
        self.arm(id);
        self.touch(id);
        Ok(())
    }

    fn put_back(&mut self, id: QueueId, message: StoredMessage, now: BrokerTime) {
        if let Some(queue) = self.queues.get_mut(id) {
            let entry = DeliveryRule::of(queue).entry(message, now, &self.memory);
            queue.expiring |= entry.expires_at != NEVER;
            match entry.position < FIRST_POSITION {
                true => queue.ready.put_back(entry),
                false => queue.ready.push(entry),
            }
        }
    }

    /// Takes in messages that were read from the log, and continues what has waited for them.
    pub fn on_loaded(&mut self, id: QueueId, loaded: LoadedMessages, now: BrokerTime) {
        self.budget.spend(loaded.messages.len() * LOADED_STEPS);
        if let Some(queue) = self.queues.get_mut(id) {
            queue.is_loading = false;
            let mut expiring = false;
            let (memory, rule) = (&self.memory, DeliveryRule::of(queue));
            let entries = loaded.messages.into_iter().map(|message| {
                let entry = rule.entry(message, now, memory);
                expiring |= entry.expires_at != NEVER;
                entry
            });
            queue.ready.warm(entries, loaded.last);
            queue.expiring |= expiring;
            self.arm(id);
            self.touch(id);
        }
        self.wake_parked();
        self.pump(now);
    }
}

/// How a queue counts deliveries.
#[derive(Clone, Copy, Debug)]
struct DeliveryRule {
    counts: bool,
    limit: Option<u32>,
    /// Messages below this position count as delivered: the run that had them ended without a clean stop. As in
    /// RabbitMQ, a quorum queue counts only those that a consumer held.
    returned_below: u64,
}

impl DeliveryRule {
    fn of(queue: &Queue) -> Self {
        Self {
            counts: queue.counts_deliveries(),
            limit: queue.settings.delivery_limit,
            returned_below: match queue.settings.kind {
                QueueKind::Classic => queue.returned_below,
                QueueKind::Quorum => 0,
            },
        }
    }

    /// A message as it was stored, in its queue. One that a consumer held counts as returned by it; if that was once too
    /// often, it is due at once.
    fn entry(self, message: StoredMessage, now: BrokerTime, memory: &Arc<Memory>) -> Entry {
        let resumed = message.held && self.counts;
        let returns = message.returns.saturating_add(resumed.into());
        let is_given_up = self.limit.is_some_and(|limit| returns > limit);
        let expires_at = match message.deadline {
            _ if is_given_up => now.ms,
            None => NEVER,
            Some(deadline) => {
                let left = deadline.saturating_sub(now.unix_ms);
                now.ms.saturating_add(left)
            }
        };
        Entry {
            message: Message::stored(message.head, message.body, memory),
            position: message.position,
            expires_at,
            returns,
            redelivered: message.redelivered || message.position < self.returned_below,
            resumed,
        }
    }
}
