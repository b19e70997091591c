//! The state machine of services: a command in, numbered events out. Never waits for a reader.

mod answer;
mod bound;
mod clock;
mod command;
mod config;
mod expiry;
mod guard;
mod leases;
mod log;
mod notices;
mod pending;
mod routes;
mod service;
mod snapshot;
mod state;
mod wake;

use std::sync::{Arc, atomic::Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

pub use self::{
    answer::{Change, Counts, Refusal, Registered},
    clock::{Clock, Now},
    command::{
        CloseConnection, Command, Deregister, Draft, Heartbeat, LiftOverride, Observe, Operation,
        Origin, PatchInstance, Register, RemoveRoute, SetOverride, SetRoute, Target,
    },
    config::Config,
    guard::GuardConfig,
    log::Compacted,
    notices::{NoticeEntry, Notices},
    pending::Pending,
    routes::Routes,
    service::{Body, Following, Service, View},
    snapshot::Snapshot,
    wake::waking_afterwards,
};
use self::{
    log::{Log, Writer},
    routes::RouteTable,
    service::Table,
    state::{Numbered, State},
};
use crate::model::{
    Cursor, Epoch, Event, Instance, Lease, LeaseKind, Registration, Revision, ServiceName,
    Timestamp,
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
        let (log, writer) = Log::new(config.log_entries_max.get(), bytes_max);
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

    /// Decides a command, commits and shows what it changes. The answer is ready at once while the journal
    /// is in memory.
    ///
    /// # Errors
    /// The command is refused. Nothing has changed then.
    pub fn submit<C: Command>(&self, command: C, connection: Option<u64>) -> Pending<C::Outcome> {
        Pending::ready(self.change(|state, now, out| {
            let origin = Origin { now, connection };
            command.decide(Draft { state, out }, origin)
        }))
    }

    /// Renews a lease: one look-up and one atomic store, no lock, unless the lease moves to another
    /// connection. Answers with the time recorded.
    ///
    /// # Errors
    /// The id is unknown, or `incarnation` is not the current one.
    pub fn heartbeat(
        &self,
        id: &str,
        incarnation: Option<u64>,
        connection: Option<u64>,
    ) -> Pending<Timestamp> {
        let instances = self.inner.table.instances.pin();
        let Some(instance) = instances.get(id) else {
            return Pending::ready(Err(Refusal::Unknown));
        };
        if let Err(refusal) = state::current(instance, incarnation) {
            return Pending::ready(Err(refusal));
        }
        if let Some(connection) = connection
            && instance.registration.lease == LeaseKind::Connection
            && instance.lease != Lease::Bound(connection)
        {
            let service_id = id.into();
            let heartbeat = Heartbeat {
                service_id,
                incarnation,
            };
            return self.submit(heartbeat, Some(connection));
        }
        let now = self.inner.clock.now();
        instance.beat.heard(now.mono_ms);
        Pending::ready(Ok(now.wall))
    }

    /// Renews the lease because a check of `registration` passed, without a lock. A lost connection's
    /// lease is not renewed: the instance would stay unhealthy for ever.
    pub fn check_passed(&self, registration: &Arc<Registration>) {
        let instances = self.inner.table.instances.pin();
        let known = instances.get(&registration.service_id);
        let known = known.filter(|known| known.lease != Lease::Lost);
        if let Some(instance) = known.filter(|known| Arc::ptr_eq(&known.registration, registration))
        {
            instance.beat.passed(self.inner.clock.now().mono_ms);
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
mod testing;
#[cfg(test)]
mod tests;
