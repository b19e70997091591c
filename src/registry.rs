//! The registry: a command in, numbered events out. Writers never wait for readers.

mod answer;
mod clock;
mod codec;
mod command;
mod config;
mod connection_leases;
mod decide;
mod draft;
mod expiry;
mod guard;
mod journal;
mod leases;
mod log;
mod notices;
mod pending;
mod read;
mod record;
mod refusal;
mod reservation;
mod restore;
mod routes;
mod rows;
mod sender;
mod service;
mod snapshot;
mod stamps;
mod state;
mod wake;
mod writer;

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

pub use self::{
    answer::{Change, Counts, Registered},
    clock::{Clock, Now},
    command::{
        ChangeCheck, CloseConnection, Closed, Command, Deregister, Heartbeat, LiftOverride,
        Observe, Operation, Origin, PatchInstance, Register, RegisterKeeping, RegisterReported,
        RemoveCritical, RemoveRoute, SetOverride, SetRoute, Target,
    },
    config::Config,
    draft::Draft,
    guard::GuardConfig,
    journal::{BriefCommit, Commit, Journal, Lost, MemoryJournal},
    log::Compacted,
    notices::{NoticeEntry, Notices},
    pending::Pending,
    record::{Batch, Record},
    refusal::Refusal,
    reservation::Reservation,
    routes::Routes,
    rows::{OwnedBatch, Restored, Rows, UnreadableRow},
    sender::{CommandSender, InstanceRights},
    service::{Following, Service, View},
    snapshot::Snapshot,
    stamps::{ChangeStamp, Stamps},
    wake::waking_afterwards,
};
use self::{
    expiry::Expiry, log::Log, routes::RouteTable, service::Tables, state::State, writer::Writer,
};
use crate::model::{
    Epoch, Instance, Lease, LeaseKind, Registration, RemoveAfter, Revision, ServiceId, ServiceName,
    ShownChecks, Timestamp,
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
    table: Arc<Tables>,
    route_table: Arc<RouteTable>,
    log: Arc<Log>,
    /// Held only for work on maps, never across an await, and by no reader.
    writer: Mutex<Writer>,
    /// Wakes [`Registry::run_commits`].
    committing: Notify,
    newest: watch::Sender<Revision>,
}

/// The content with which a registry begins.
#[derive(Debug)]
pub struct Origins {
    /// When instances with failing checks are removed.
    pub remove_after: RemoveAfter,
    /// Where changes are committed.
    pub journal: Box<dyn Journal>,
    /// The changes of an earlier run, in order, and its epoch.
    pub history: Option<(Epoch, Vec<Record>)>,
    /// The state and the newest changes of an earlier run.
    pub restored: Option<Restored>,
}

impl Default for Origins {
    fn default() -> Self {
        Self {
            remove_after: RemoveAfter::Ttl,
            journal: Box::new(MemoryJournal),
            history: None,
            restored: None,
        }
    }
}

impl Registry {
    /// An empty registry in memory, with a new epoch.
    pub fn new(config: Config) -> Self {
        Self::open(config, Origins::default())
    }

    /// A registry that begins with what `origins` say.
    pub fn open(config: Config, origins: Origins) -> Self {
        let clock = Clock::start();
        let started_ms = clock.now().wall.0.unsigned_abs();
        // Random low bits, so that the epochs of two registries of one millisecond differ.
        let own = Epoch((started_ms << 12) | fastrand::u64(0..1 << 12));
        let earlier = origins.history.as_ref().map(|(epoch, _)| *epoch);
        let restored = origins.restored.as_ref().map(|restored| restored.epoch);
        let epoch = earlier.or(restored).unwrap_or(own);
        let bytes_max = usize::try_from(config.log_bytes_max.as_u64()).unwrap_or(usize::MAX);
        let (log, log_writer) = Log::new(config.log_entries_max.get(), bytes_max);
        // Incarnations start at the time in microseconds: no registry gives more than one in each, so those
        // of an earlier run are smaller.
        let started_us = clock::system_us();
        let state = State::new(config, origins.remove_after, epoch, started_us);
        let inner = Inner {
            epoch,
            clock,
            table: Arc::clone(&state.table),
            route_table: Arc::clone(&state.route_table),
            log,
            writer: Mutex::new(Writer::new(state, log_writer, origins.journal)),
            committing: Notify::new(),
            newest: watch::Sender::new(Revision::default()),
        };
        let registry = Self {
            inner: Arc::new(inner),
        };
        if let Some(restored) = origins.restored {
            registry.restore(restored);
        }
        registry.replay(origins.history.into_iter().flat_map(|(_, records)| records));
        registry
    }

    fn replay(&self, records: impl Iterator<Item = Record>) {
        let mut guard = self.inner.writer.lock();
        let Writer { state, log, .. } = &mut *guard;
        for record in records {
            self.show_one(state, log, &record);
        }
        drop(guard);
        self.wake_or_defer();
    }

    /// Renews a lease: one look-up and one atomic store, no lock, unless the lease moves to another
    /// connection. Answers with the time recorded.
    ///
    /// # Errors
    /// The id is unknown, `incarnation` is not the current one, or the sender may not renew it.
    pub fn heartbeat(
        &self,
        id: &str,
        incarnation: Option<u64>,
        sender: impl Into<CommandSender>,
    ) -> Pending<Timestamp> {
        let sender = sender.into();
        let instances = self.inner.table.instances.pin();
        let Some(instance) = instances.get(id) else {
            return Pending::ready(Err(Refusal::Unknown));
        };
        let allowed = match &sender.rights {
            Some(rights) => rights.renew(instance),
            None => Ok(()),
        };
        if let Err(refusal) = allowed.and_then(|()| decide::is_current(instance, incarnation)) {
            return Pending::ready(Err(refusal));
        }
        if let Some(connection) = sender.connection
            && instance.registration.lease == LeaseKind::Connection
            && instance.lease != Lease::Connection(connection)
        {
            let heartbeat = Heartbeat {
                service_id: id.into(),
                incarnation,
            };
            return self.submit(heartbeat, sender);
        }
        let now = self.inner.clock.now();
        instance.last_seen.record_heartbeat(now.mono_ms);
        Pending::ready(Ok(now.wall))
    }

    /// Renews the lease because a check of `registration` passed, without a lock. A lease whose connection
    /// closed is not renewed: the instance would stay unhealthy for ever.
    pub fn check_passed(&self, registration: &Arc<Registration>) {
        let instances = self.inner.table.instances.pin();
        let known = instances.get(&registration.service_id);
        let known = known.filter(|known| known.lease != Lease::Lost);
        if let Some(instance) = known.filter(|known| Arc::ptr_eq(&known.registration, registration))
        {
            let now_ms = self.inner.clock.now().mono_ms;
            instance.last_seen.record_pass(now_ms);
        }
    }

    /// Shows what the checks of `registration` say one by one; no lock. Does nothing when that registration is no
    /// longer the current one.
    pub fn show_checks(&self, registration: &Arc<Registration>, checks: ShownChecks) {
        let table = &self.inner.table;
        let known = table.instance(registration.service_id.as_str());
        let is_current = |known: &Arc<Instance>| Arc::ptr_eq(&known.registration, registration);
        let Some(instance) = known.filter(is_current) else {
            return;
        };
        if instance.last_seen.checks().as_deref() == Some(&checks) {
            return;
        }
        instance.last_seen.show_checks(checks);
        if let Some(service) = table.service(instance.name().as_str()) {
            let stamp = table.stamps.mark(service.stamp(), false);
            instance.last_seen.set_stamp(stamp);
            service.stamp().wake();
            table.stamps.wake();
        }
    }

    fn expiry(&self) -> Expiry {
        let writer = self.inner.writer.lock();
        let state = &writer.state;
        Expiry::new(
            Arc::clone(&state.table),
            state.config.guard,
            state.remove_after,
            state.guards.iter().cloned(),
            self.inner.clock.now().mono_ms,
        )
    }

    fn due(&self, now_ms: u64, max: usize) -> Vec<ServiceId> {
        self.inner.writer.lock().state.leases.due(now_ms, max)
    }

    fn forget_if_idle(&self, name: &ServiceName) {
        let _writer = self.inner.writer.lock();
        let Some(service) = self.service(name.as_str()) else {
            return;
        };
        if service.logged() < self.oldest() {
            forget(&self.inner.table, name, service.logged());
        }
    }
}

/// Drops a service that has no instance, no watcher and no event in the log.
fn forget(table: &Tables, name: &ServiceName, gone: Revision) {
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
