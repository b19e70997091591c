//! The present state, for a subscriber whose place among the changes is lost.

use std::collections::BTreeSet;

use crate::{
    model::{Cursor, ServiceName, Timestamp},
    registry::{self, Registry},
};

/// The present state of what a subscriber follows.
#[derive(Debug)]
pub struct Snapshot {
    /// Where it stands; the events after it follow, those that it covers already left out.
    pub cursor: Cursor,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// The only service in it; none when it holds all, and the routes.
    pub service: Option<ServiceName>,
    /// The services with their instances.
    pub state: registry::Snapshot,
}

impl Snapshot {
    /// The state of one service, or of everything.
    pub fn take(registry: &Registry, service: Option<&ServiceName>) -> Self {
        let state = match service {
            None => registry.snapshot(),
            Some(name) => registry.snapshot_of(std::slice::from_ref(name)),
        };
        Self {
            cursor: registry.cursor(state.revision),
            taken_at: registry.clock().now().wall,
            service: service.cloned(),
            state,
        }
    }

    /// The services in it.
    pub(super) fn names(&self) -> BTreeSet<ServiceName> {
        let services = self.state.services.iter();
        services
            .map(|(service, _)| service.name().clone())
            .collect()
    }
}
