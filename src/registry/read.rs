//! Reads of the registry. No reader delays a writer.

use std::sync::{Arc, atomic::Ordering};

use tokio::sync::watch;

use super::{Clock, Compacted, Counts, Following, Registry, Routes, Service, Stamps};
use crate::model::{Cursor, Epoch, Event, Instance, Revision, ServiceName};

impl Registry {
    /// The registry's clocks.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// The epoch of the revisions.
    pub fn epoch(&self) -> Epoch {
        self.inner.epoch
    }

    /// The newest change that readers can have.
    pub fn newest(&self) -> Revision {
        self.inner.log.newest()
    }

    /// The oldest change that readers can still have.
    pub fn oldest(&self) -> Revision {
        self.inner.log.oldest()
    }

    /// The cursor of a reader that has seen everything up to `revision`.
    pub fn cursor(&self, revision: Revision) -> Cursor {
        Cursor {
            epoch: self.inner.epoch,
            revision,
        }
    }

    /// One instance.
    pub fn instance(&self, id: &str) -> Option<Arc<Instance>> {
        self.inner.table.instance(id)
    }

    /// One service; it may have no instance any more.
    pub fn service(&self, name: &str) -> Option<Arc<Service>> {
        self.inner.table.service(name)
    }

    /// The services with at least one instance, by name.
    pub fn services(&self) -> Vec<Arc<Service>> {
        let services = self.inner.table.services.pin();
        let mut list: Vec<_> = services.values().cloned().collect();
        list.retain(|service| !service.view().instances.is_empty());
        list.sort_by(|one, two| one.name().cmp(two.name()));
        list
    }

    /// The routes, best match first.
    pub fn routes(&self) -> Arc<Routes> {
        self.inner.route_table.routes.load_full()
    }

    /// Bytes of versions that others have replaced or that are gone, so far: readers may still hold some of them.
    pub fn replaced_bytes(&self) -> u64 {
        self.inner.table.replaced.load(Ordering::Relaxed)
    }

    /// The present sizes.
    pub fn counts(&self) -> Counts {
        let table = &self.inner.table;
        let services = table.services.pin();
        let services_known = services.len();
        // Counted before the lock is taken: there may be many.
        let with_instances = services.values();
        let with_instances = with_instances.filter(|one| !one.view().instances.is_empty());
        let services = with_instances.count();
        let writer = self.inner.writer.lock();
        let (log_entries, log_bytes) = writer.log.size();
        Counts {
            instances: table.n_instances.load(Ordering::Relaxed),
            healthy: table.n_healthy.load(Ordering::Relaxed),
            services,
            services_known,
            routes: self.routes().list.len(),
            log_entries,
            log_bytes,
            leases: writer.state.leases.len(),
            connection_leases: writer.state.connection_leases.len(),
            memory: writer.state.bytes + table.cached.bytes(),
            guards: writer.state.guards.len(),
        }
    }

    /// How many commands wait for the journal, those of the batch in flight included.
    pub fn waiting(&self) -> usize {
        self.inner.writer.lock().waiting()
    }

    /// The services whose expiry guard is engaged, by name.
    pub fn guarded(&self) -> Vec<ServiceName> {
        let writer = self.inner.writer.lock();
        let mut names: Vec<_> = writer.state.guards.iter().cloned().collect();
        drop(writer);
        names.sort();
        names
    }

    /// At most `max` events after `cursor`, oldest first.
    ///
    /// # Errors
    /// Some of them are no longer in the log: start from a snapshot.
    pub fn since(&self, cursor: Revision, max: usize) -> Result<Vec<Arc<Event>>, Compacted> {
        self.inner.log.since(cursor, max)
    }

    /// At most `max` events of one service after `cursor`, oldest first.
    ///
    /// # Errors
    /// Some of them are no longer in the log: start from a snapshot.
    pub fn since_of(
        &self,
        service: &Service,
        cursor: Revision,
        max: usize,
    ) -> Result<Vec<Arc<Event>>, Compacted> {
        self.inner.log.chain(service.logged(), cursor, max)
    }

    /// The change of the same service before this one, 0 where it was the first; none when `revision` is
    /// not in the log.
    pub fn before(&self, revision: Revision) -> Option<Revision> {
        self.inner.log.previous(revision)
    }

    /// Where a reader with `cursor` continues; none when it must start from a snapshot: the cursor is of
    /// another epoch, of the future or older than the log.
    pub fn place(&self, cursor: Cursor) -> Option<Revision> {
        let known = cursor.epoch == self.inner.epoch
            && cursor.revision <= self.newest()
            && cursor.revision.next() >= self.oldest();
        known.then_some(cursor.revision)
    }

    /// The stamps of what is shown, besides those of each service.
    pub fn stamps(&self) -> &Stamps {
        &self.inner.table.stamps
    }

    /// Wakes at every change.
    pub fn follow(&self) -> watch::Receiver<Revision> {
        self.inner.newest.subscribe()
    }

    /// Wakes at every change of a route.
    pub fn follow_routes(&self) -> watch::Receiver<Revision> {
        self.inner.route_table.changed.subscribe()
    }

    /// Wakes at every change of one service, which need not exist yet, and of no other.
    pub fn follow_service(&self, name: &ServiceName) -> Following {
        let writer = self.inner.writer.lock();
        let service = self.inner.table.service_or_new(name, writer.state.floor);
        // Under the lock, so that the service can't be forgotten before it is followed.
        Following::new(service, self.clone())
    }
}
