//! Which instances hang on which connection, so that a closed one is dealt with in the number of its own.

use std::collections::{BTreeSet, HashMap};

use crate::model::ServiceId;

/// Instances by connection. Says the same as the leases of the instances themselves.
#[derive(Debug, Default)]
pub(super) struct Bound {
    instances: HashMap<u64, BTreeSet<ServiceId>>,
    connections: HashMap<ServiceId, u64>,
}

impl Bound {
    /// Binds an instance to a connection, and to no other.
    pub(super) fn bind(&mut self, id: &ServiceId, connection: u64) {
        if self.connections.get(id) == Some(&connection) {
            return;
        }
        self.release(id);
        self.connections.insert(id.clone(), connection);
        let instances = self.instances.entry(connection).or_default();
        instances.insert(id.clone());
    }

    /// The instance hangs on no connection any more.
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

    /// Those that hang on a connection, in the order of their ids; none of them does any more.
    pub(super) fn take(&mut self, connection: u64) -> BTreeSet<ServiceId> {
        let instances = self.instances.remove(&connection).unwrap_or_default();
        for id in &instances {
            self.connections.remove(id);
        }
        instances
    }

    /// How many instances hang on a connection.
    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    /// How many connections have an instance.
    #[cfg(test)]
    pub(super) fn connections(&self) -> usize {
        self.instances.len()
    }
}
