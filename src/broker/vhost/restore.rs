//! Exchanges, queues and bindings of an earlier run, put back before anything is served.

use std::collections::HashMap;

use super::{BrokerTime, Vhost, topology::alternate_exchange};
use crate::broker::{
    durable::{BindingEnd, BindingRow, ExchangeRow, QueueRow},
    exception::Exception,
    exchange::{Binding, BindingKey, Destination, Exchange, ExchangeId, canonical},
    memory::TopologyCharge,
    queue::{
        Queue, QueueId,
        arguments::{self, Properties},
    },
};

/// What was put back so far, by the numbers of the rows.
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
}
