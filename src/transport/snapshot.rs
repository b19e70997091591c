//! The current state, for a subscriber whose cursor is no longer in the log.

use std::collections::BTreeSet;

use super::{Filter, filter::is_canary};
use crate::{
    model::{Cursor, ServiceName, Timestamp},
    registry::{self, Registry, Service},
};

/// The current state of what a subscriber follows.
#[derive(Debug)]
pub struct FeedSnapshot {
    /// The cursor of the state; later events follow, without those that the state already shows.
    pub cursor: Cursor,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// The only service in it; none when it holds all, and the routes.
    pub service: Option<ServiceName>,
    /// The services with their instances.
    pub state: registry::Snapshot,
}

impl FeedSnapshot {
    /// The state of what a filter selects: one service, or everything, with or without the canary.
    pub fn take(registry: &Registry, filter: &Filter) -> Self {
        let service = filter.service.as_ref();
        let mut state = match service {
            None => registry.snapshot(),
            Some(name) => registry.snapshot_of(std::slice::from_ref(name)),
        };
        if filter.without_canary {
            let is_wanted = |service: &Service| !is_canary(Some(service.name()));
            state.services.retain(|(service, _)| is_wanted(service));
        }
        let state = filter.sight.of(state);
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
