//! Index from connection to the instances leased on it.

use std::collections::{BTreeSet, HashMap};

use crate::model::ServiceId;

/// Stands for every connection of an earlier run of the daemon. Brokers count connections from 1.
pub(super) const EARLIER_CONNECTION: u64 = 0;

/// Instances by connection: the same as the leases of the instances say.
#[derive(Debug, Default)]
pub(super) struct ConnectionLeases {
    instances: HashMap<u64, BTreeSet<ServiceId>>,
    connections: HashMap<ServiceId, u64>,
}

impl ConnectionLeases {
    /// Records that the lease of an instance is on a connection, and on no other.
    pub(super) fn attach(&mut self, id: &ServiceId, connection: u64) {
        if self.connections.get(id) == Some(&connection) {
            return;
        }
        self.release(id);
        self.connections.insert(id.clone(), connection);
        let instances = self.instances.entry(connection).or_default();
        instances.insert(id.clone());
    }

    /// Records that the lease of an instance is on no connection.
    pub(super) fn release(&mut self, id: &ServiceId) {
        let Some(connection) = self.connections.remove(id) else {
            return;
        };
        if let Some(instances) = self.instances.get_mut(&connection) {
            instances.remove(id);
            if instances.is_empty() {
                self.instances.remove(&connection);
            }
        }
    }

    /// The instances of a connection, in the order of their ids.
    pub(super) fn of(&self, connection: u64) -> impl Iterator<Item = &ServiceId> {
        self.instances.get(&connection).into_iter().flatten()
    }

    /// How many instances have a lease on a connection.
    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    /// How many connections have an instance.
    #[cfg(test)]
    pub(super) fn connections(&self) -> usize {
        self.instances.len()
    }
}
