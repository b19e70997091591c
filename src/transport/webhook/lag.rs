//! How many events webhooks are behind.

use std::collections::HashMap;

use crate::{
    model::{Cursor, Revision, ServiceName},
    registry::{Registry, Service},
};

/// Counts for any number of webhooks; reads what they share once.
#[derive(Debug)]
pub(super) struct Lags<'a> {
    registry: &'a Registry,
    /// None for an unknown service.
    chains: HashMap<&'a ServiceName, Option<Chain>>,
}

/// The changes of one service, newest first, as far as they were read.
#[derive(Debug)]
struct Chain {
    revisions: Vec<Revision>,
    next: Revision,
}

impl<'a> Lags<'a> {
    pub(super) fn new(registry: &'a Registry) -> Self {
        Self {
            registry,
            chains: HashMap::new(),
        }
    }

    /// The number of changes after `cursor`, of one service or of all. Counts all if some of the service's
    /// changes are no longer in the log.
    pub(super) fn after(&mut self, cursor: Cursor, service: Option<&'a ServiceName>) -> u64 {
        let (registry, cursor) = (self.registry, cursor.revision);
        let all = registry.newest().0.saturating_sub(cursor.0);
        let Some(name) = service else {
            return all;
        };
        let chain = self.chains.entry(name).or_insert_with(|| {
            let service = registry.service(name.as_str());
            service.map(|service| Chain::of(&service))
        });
        match chain {
            None => 0,
            Some(chain) => chain.after(cursor, registry).unwrap_or(all),
        }
    }
}

impl Chain {
    fn of(service: &Service) -> Self {
        Self {
            revisions: Vec::new(),
            next: service.logged(),
        }
    }

    /// None when the log does not reach back to `cursor`.
    fn after(&mut self, cursor: Revision, registry: &Registry) -> Option<u64> {
        while self.next > cursor {
            let previous = registry.before(self.next)?;
            self.revisions.push(self.next);
            self.next = previous;
        }
        let newer = |revision: &Revision| *revision > cursor;
        Some(self.revisions.partition_point(newer) as u64)
    }
}

#[cfg(test)]
mod tests;
