//! Rows of durable exchanges, queues and bindings: put and deleted with them. Answers wait until they are committed.

use std::sync::Arc;

use super::Vhost;
use crate::broker::{
    durable::{BindingEnd, BindingRow, ExchangeRow, QueueRow, TopologyJournal, TopologyTable},
    exchange::{Binding, Destination, Exchange},
    queue::Queue,
    wire::ShortStr,
};

impl Vhost {
    /// Stores changes of what is durable from now on.
    pub fn set_topology(&mut self, topology: Arc<TopologyJournal>) {
        self.topology = Some(topology);
    }

    /// Whether what is durable survives the process.
    pub fn is_stored(&self) -> bool {
        self.topology.is_some()
    }

    /// How many changes there were so far.
    pub(super) fn changes(&self) -> u64 {
        let topology = self.topology.as_ref();
        topology.map_or(0, |topology| topology.appended())
    }

    /// Whether so many changes are stored.
    pub(super) fn has_stored(&self, changes: u64) -> bool {
        let topology = self.topology.as_ref();
        topology.is_none_or(|topology| topology.has_committed(changes))
    }

    /// Puts the row of a new exchange if it is durable.
    pub(super) fn keep_exchange(&mut self, exchange: &mut Exchange) {
        if exchange.durable {
            let row = |vhost| ExchangeRow {
                vhost,
                name: exchange.name.clone(),
                kind: exchange.kind,
                auto_delete: exchange.auto_delete,
                internal: exchange.internal,
                arguments: exchange.arguments.clone(),
            };
            exchange.number = self.put_row(TopologyTable::Exchanges, |vhost| row(vhost).encode());
        }
    }

    /// Puts the row of a new queue if it is durable.
    pub(super) fn keep_queue(&mut self, queue: &mut Queue) {
        if queue.durable {
            let row = |vhost| QueueRow {
                vhost,
                name: queue.name.clone(),
                auto_delete: queue.auto_delete,
                arguments: queue.arguments.clone(),
            };
            queue.number = self.put_row(TopologyTable::Queues, |vhost| row(vhost).encode());
        }
    }

    /// Puts the row of a new binding if both its ends are durable.
    pub(super) fn keep_binding(&mut self, binding: &mut Binding) {
        let number = |exchange: Option<&Exchange>| exchange.map_or(0, |exchange| exchange.number);
        let source = number(self.exchanges.get(binding.source));
        let (destination, to) = match binding.key.destination {
            Destination::Queue(id) => {
                let to = self.queues.get(id).map_or(0, |queue| queue.number);
                (BindingEnd::Queue(to), to)
            }
            Destination::Exchange(id) => {
                let to = number(self.exchanges.get(id));
                (BindingEnd::Exchange(to), to)
            }
        };
        if source != 0 && to != 0 {
            let row = |vhost| BindingRow {
                vhost,
                source,
                destination,
                routing_key: binding.key.routing_key.clone(),
                arguments: binding.arguments.clone(),
            };
            binding.number = self.put_row(TopologyTable::Bindings, |vhost| row(vhost).encode());
        }
    }

    fn put_row(&mut self, table: TopologyTable, row: impl FnOnce(ShortStr) -> Vec<u8>) -> u64 {
        let Some(topology) = &self.topology else {
            return 0;
        };
        self.unsaved = true;
        topology.put(table, row(ShortStr::truncated(&self.name)))
    }

    /// Deletes a row, if there is one.
    pub(super) fn delete_row(&mut self, table: TopologyTable, number: u64) {
        if let Some(topology) = self.topology.as_ref().filter(|_| number != 0) {
            self.unsaved = true;
            topology.delete(table, number);
        }
    }

    /// Deletes the row of a queue and its messages, if there are any: noted until both are durable.
    pub(super) fn delete_stored_queue(&mut self, number: u64) {
        let topology = self.topology.clone().filter(|_| number != 0);
        if let Some(topology) = &topology {
            topology.note_deleted(number);
        }
        self.delete_row(TopologyTable::Queues, number);
        self.records.delete_queue(number);
        if let Some(topology) = topology {
            topology.forget_deleted(number, self.records.newest);
        }
    }
}
