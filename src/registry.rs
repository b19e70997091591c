//! The state machine of services: a command in, numbered events out. Never waits for a reader.

mod answer;
mod bound;
mod clock;
mod config;
mod expiry;
mod guard;
mod leases;
mod log;
mod notices;
mod routes;
mod service;
mod snapshot;
mod state;
mod wake;

use std::sync::{Arc, atomic::Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

pub use self::{
    answer::{Counts, Outcome, Registered, RegistryError, UpdateError},
    clock::{Clock, Now},
    config::Config,
    guard::GuardConfig,
    log::Compacted,
    notices::{NoticeEntry, Notices},
    routes::Routes,
    service::{Body, Following, Service, View},
    snapshot::Snapshot,
    state::RouteDraft,
    wake::waking_afterwards,
};
use self::{
    log::{Log, Writer},
    routes::RouteTable,
    service::Table,
    state::{Numbered, State},
};
use crate::model::{
    Cursor, Epoch, Event, Instance, Lease, LeaseKind, OverrideStatus, Registration, Revision,
    Route, ServiceName, Status, Timestamp,
};

/// A cheap, cloneable handle to the registry.
#[derive(Clone, Debug)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    epoch: Epoch,
    clock: Clock,
    table: Arc<Table>,
    route_table: Arc<RouteTable>,
    log: Arc<Log>,
    /// Held only for map work, never across an await, and by no reader.
    writer: Mutex<Writing>,
    newest: watch::Sender<Revision>,
}

#[derive(Debug)]
struct Writing {
    state: State,
    log: Writer,
    out: Vec<Numbered>,
}

impl Registry {
    /// An empty registry with an epoch of its own.
    pub fn new(config: Config) -> Self {
        let clock = Clock::start();
        let started = clock.now().wall.0.unsigned_abs();
        // Random low bits, so that two lives that began in one millisecond differ.
        let epoch = Epoch((started << 12) | fastrand::u64(0..1 << 12));
        let bytes_max = usize::try_from(config.log_bytes_max.as_u64()).unwrap_or(usize::MAX);
        let (log, writer) = Log::new(config.log_entries_max, bytes_max);
        // Incarnations start at the time, so that those of an earlier life are older.
        let state = State::new(config, epoch, started);
        let inner = Inner {
            epoch,
            clock,
            table: Arc::clone(&state.table),
            route_table: Arc::clone(&state.route_table),
            log,
            writer: Mutex::new(Writing {
                state,
                log: writer,
                out: Vec::new(),
            }),
            newest: watch::Sender::new(Revision::default()),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The registry's clocks.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// This life of the numbering.
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

    /// The cursor of somebody who has seen everything up to `revision`.
    pub fn cursor(&self, revision: Revision) -> Cursor {
        Cursor {
            epoch: self.inner.epoch,
            revision,
        }
    }

    /// Adds an instance, or takes what it says of itself now; a value that is the same renews the
    /// lease and is no event.
    ///
    /// # Errors
    /// `incarnation` is older than the registered one, the registry is full, or the lease shall hang on
    /// a connection.
    pub fn register(
        &self,
        registration: Registration,
        incarnation: Option<u64>,
    ) -> Result<Registered, RegistryError> {
        self.change(|state, now, out| state.register(registration, incarnation, now, out))
    }

    /// The same for a caller who came by a connection of the embedded broker: a lease that hangs on its
    /// connection hangs on this one from now on.
    ///
    /// The connection may have closed meanwhile: whoever calls asks the broker afterwards, and tells
    /// [`Self::connection_closed`] if so.
    ///
    /// # Errors
    /// `incarnation` is older than the registered one, or the registry is full.
    pub fn register_over(
        &self,
        connection: u64,
        registration: Registration,
        incarnation: Option<u64>,
    ) -> Result<Registered, RegistryError> {
        self.change(|state, now, out| {
            state.register_over(connection, registration, incarnation, now, out)
        })
    }

    /// Removes an instance; answers with what was removed.
    ///
    /// # Errors
    /// The id is unknown, or `incarnation` is not the registered one.
    pub fn deregister(
        &self,
        id: &str,
        incarnation: Option<u64>,
    ) -> Result<Arc<Instance>, RegistryError> {
        self.change(|state, now, out| state.deregister(id, incarnation, now, out))
    }

    /// Renews a lease: one look-up and one atomic store, no lock. Answers with the time recorded.
    ///
    /// # Errors
    /// The id is unknown, or `incarnation` is not the registered one.
    pub fn heartbeat(
        &self,
        id: &str,
        incarnation: Option<u64>,
    ) -> Result<Timestamp, RegistryError> {
        let instances = self.inner.table.instances.pin();
        let instance = instances.get(id).ok_or(RegistryError::Unknown)?;
        state::current(instance, incarnation)?;
        let now = self.inner.clock.now();
        instance.beat.heard(now.mono_ms);
        Ok(now.wall)
    }

    /// Renews a lease for a caller who came by a connection of the embedded broker; a lease that hangs on
    /// its connection hangs on this one from now on, and is alive again if it was lost. As with
    /// [`Self::register_over`], the connection may have closed meanwhile.
    ///
    /// # Errors
    /// The id is unknown, or `incarnation` is not the registered one.
    pub fn heartbeat_over(
        &self,
        connection: u64,
        id: &str,
        incarnation: Option<u64>,
    ) -> Result<Timestamp, RegistryError> {
        let instance = self.instance(id).ok_or(RegistryError::Unknown)?;
        let stays = match instance.registration.lease {
            LeaseKind::Ttl => true,
            LeaseKind::Connection => instance.lease == Lease::Bound(connection),
        };
        if stays {
            return self.heartbeat(id, incarnation);
        }
        self.change(|state, now, out| {
            state.heartbeat_over(id, incarnation, connection, now, out)?;
            Ok(now.wall)
        })
    }

    /// Takes the news that a connection of the embedded broker closed: the instances whose leases hang
    /// on it are unhealthy from now on, and have their ttl to come back. Answers with how many there are.
    pub fn connection_closed(&self, connection: u64) -> usize {
        self.change(|state, now, out| state.connection_closed(connection, now, out))
    }

    /// Replaces what an instance says of itself by what `edit` makes of it, in one step. The lease is
    /// not renewed: this is no sign of life.
    ///
    /// # Errors
    /// The id is unknown, or `edit` refuses.
    pub fn update<E>(
        &self,
        id: &str,
        edit: impl FnOnce(&Registration) -> Result<Registration, E>,
    ) -> Result<Arc<Instance>, UpdateError<E>> {
        self.change(|state, now, out| {
            let known = state.table.instance(id).ok_or(RegistryError::Unknown)?;
            let edited = edit(&known.registration).map_err(UpdateError::Refused)?;
            Ok(state.edit(&known, edited, now, out))
        })
    }

    /// Sets an operator's word, which wins over what the checks say.
    ///
    /// # Errors
    /// The id is unknown.
    pub fn set_override(
        &self,
        id: &str,
        status: OverrideStatus,
        reason: Option<Box<str>>,
    ) -> Result<Arc<Instance>, RegistryError> {
        self.change(|state, now, out| state.set_override(id, Some((status, reason)), now, out))
    }

    /// Takes an operator's word back.
    ///
    /// # Errors
    /// The id is unknown.
    pub fn lift_override(&self, id: &str) -> Result<Arc<Instance>, RegistryError> {
        self.change(|state, now, out| state.set_override(id, None, now, out))
    }

    /// Takes the word of the checks of `of`; false when that registration is no longer the current
    /// one, so that a late verdict never touches a successor.
    pub fn set_observed(
        &self,
        of: &Arc<Registration>,
        observed: Status,
        reason: Option<&str>,
    ) -> bool {
        self.change(|state, now, out| state.set_observed(of, observed, reason, now, out))
    }

    /// Renews the lease because a check of `of` passed. One whose connection closed is not: it would
    /// stay unhealthy for ever.
    pub fn passed(&self, of: &Arc<Registration>) {
        let instances = self.inner.table.instances.pin();
        let known = instances.get(&of.service_id);
        let known = known.filter(|known| known.lease != Lease::Lost);
        if let Some(instance) = known.filter(|known| Arc::ptr_eq(&known.registration, of)) {
            instance.beat.passed(self.inner.clock.now().mono_ms);
        }
    }

    /// Makes or changes a gateway route.
    ///
    /// # Errors
    /// There are too many.
    pub fn set_route(&self, draft: RouteDraft) -> Result<Arc<Route>, RegistryError> {
        self.change(|state, now, out| state.set_route(draft, now, out))
    }

    /// Removes a gateway route; answers with what was removed.
    ///
    /// # Errors
    /// The id is unknown.
    pub fn remove_route(&self, id: &str) -> Result<Arc<Route>, RegistryError> {
        self.change(|state, now, out| state.remove_route(id, now, out))
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

    /// The present sizes.
    pub fn counts(&self) -> Counts {
        let table = &self.inner.table;
        let services = table.services.pin();
        let with_instances = services
            .values()
            .filter(|service| !service.view().instances.is_empty());
        let (leases, bound, guards, (log_entries, log_bytes)) = {
            let writing = self.inner.writer.lock();
            (
                writing.state.leases.len(),
                writing.state.bound.len(),
                writing.state.guards.len(),
                writing.log.size(),
            )
        };
        Counts {
            instances: table.n_instances.load(Ordering::Relaxed),
            healthy: table.n_healthy.load(Ordering::Relaxed),
            services: with_instances.count(),
            services_known: services.len(),
            routes: self.routes().list.len(),
            log_entries,
            log_bytes,
            leases,
            bound,
            guards,
        }
    }

    /// The services whose expiry guard is engaged, by name.
    pub fn guarded(&self) -> Vec<ServiceName> {
        let mut names: Vec<_> = self
            .inner
            .writer
            .lock()
            .state
            .guards
            .keys()
            .cloned()
            .collect();
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

    /// At most `max` events of one service after `cursor`, oldest first, whatever the others did.
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

    /// Where a reader who shows `cursor` goes on; none when it must start from a snapshot, because
    /// the cursor is of another life, of the future or out of the log.
    pub fn place(&self, cursor: Cursor) -> Option<Revision> {
        let known = cursor.epoch == self.inner.epoch
            && cursor.revision <= self.newest()
            && cursor.revision.next() >= self.oldest();
        known.then_some(cursor.revision)
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
        let writing = self.inner.writer.lock();
        let service = self.inner.table.service_or_new(name, writing.state.floor);
        // Under the lock, so that the service can't be forgotten before it is followed.
        Following::new(service, self.clone())
    }

    /// The one path by which anything changes: decide and show, record, wake.
    fn change<T>(&self, decide: impl FnOnce(&mut State, Now, &mut Vec<Numbered>) -> T) -> T {
        let now = self.inner.clock.now();
        let mut writing = self.inner.writer.lock();
        let Writing { state, log, out } = &mut *writing;
        let answer = decide(state, now, out);
        if !out.is_empty() {
            self.record(state, log, out);
        }
        answer
    }

    fn record(&self, state: &mut State, log: &mut Writer, out: &mut Vec<Numbered>) {
        let mut routes_changed = false;
        for Numbered { event, previous } in out.drain(..) {
            let event = Arc::new(event);
            let revision = event.revision;
            log.append(Arc::clone(&event), previous, |name, gone| {
                state.floor = gone;
                forget(&self.inner.table, name, gone);
            });
            let service = event
                .service_name
                .as_ref()
                .and_then(|name| self.service(name.as_str()));
            // A service knows of its change before anybody counts it as newest, so that who has read
            // `newest` finds all changes up to it, in whichever services they were.
            if let Some(service) = &service {
                service.set_logged(revision);
            }
            log.publish(revision);
            match service {
                Some(service) => service.wake(),
                None => routes_changed = true,
            }
        }
        let newest = self.newest();
        if routes_changed {
            self.inner.route_table.changed.send_replace(newest);
        }
        self.wake_or_owe();
    }

    fn forget_if_idle(&self, name: &ServiceName) {
        let _writing = self.inner.writer.lock();
        let Some(service) = self.service(name.as_str()) else {
            return;
        };
        if service.logged() < self.oldest() {
            forget(&self.inner.table, name, service.logged());
        }
    }
}

/// Drops a service that has nothing left: no instance, no watcher, no event in the log.
fn forget(table: &Table, name: &ServiceName, gone: Revision) {
    let Some(service) = table.service(name.as_str()) else {
        return;
    };
    let view = service.view();
    if view.instances.is_empty() && view.revision <= gone && !service.is_followed() {
        table.services.pin().remove(name);
    }
}

#[cfg(test)]
mod tests;
