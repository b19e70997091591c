//! The registry's rules: a command in, numbered events out. Pure: no lock, no clock, no task.

mod connection;
mod expiry;
mod route;
mod status;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock, atomic::Ordering},
};

use self::status::{observed_again, observed_at_first};
use super::{
    Change, Config, Refusal, Registered, bound::Bound, clock::Now, guard::Guard, leases::Leases,
    routes::RouteTable, service::Table,
};
use crate::model::{
    Beat, Epoch, Event, EventKind, Instance, Lease, Registration, Revision, Route, RouteId,
    ServiceName,
};

/// What a change does to its service besides the instance.
pub(super) type Events = Vec<Numbered>;

/// A change and the place of the change of the same service before it.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) event: Event,
    pub(super) previous: Revision,
}

/// The only writer of the table.
#[derive(Debug)]
pub(super) struct State {
    pub(super) config: Config,
    pub(super) table: Arc<Table>,
    pub(super) route_table: Arc<RouteTable>,
    routes: BTreeMap<RouteId, Arc<Route>>,
    pub(super) leases: Leases,
    pub(super) bound: Bound,
    pub(super) guards: HashMap<ServiceName, Guard>,
    epoch: Epoch,
    revision: Revision,
    incarnation: u64,
    /// Before this revision nothing is known of a service that is not in the table.
    pub(super) floor: Revision,
}

impl State {
    /// An empty registry; incarnations count up from `incarnation`.
    pub(super) fn new(config: Config, epoch: Epoch, incarnation: u64) -> Self {
        Self {
            config,
            table: Arc::default(),
            route_table: Arc::default(),
            routes: BTreeMap::new(),
            leases: Leases::default(),
            bound: Bound::default(),
            guards: HashMap::new(),
            epoch,
            revision: Revision::default(),
            incarnation,
            floor: Revision::default(),
        }
    }

    pub(super) fn register(
        &mut self,
        registration: Registration,
        incarnation: Option<u64>,
        now: Now,
        out: &mut Events,
    ) -> Result<Registered, Refusal> {
        let lease = connection::without_connection(&registration)?;
        self.register_with(lease, registration, incarnation, now, out)
    }

    /// The same over a connection of the embedded broker, on which the lease may hang.
    pub(super) fn register_over(
        &mut self,
        connection: u64,
        registration: Registration,
        incarnation: Option<u64>,
        now: Now,
        out: &mut Events,
    ) -> Result<Registered, Refusal> {
        let known = self.table.instance(registration.service_id.as_str());
        let lease = connection::over(connection, &registration, known.as_deref());
        self.register_with(lease, registration, incarnation, now, out)
    }

    fn register_with(
        &mut self,
        lease: Lease,
        registration: Registration,
        incarnation: Option<u64>,
        now: Now,
        out: &mut Events,
    ) -> Result<Registered, Refusal> {
        let Some(known) = self.table.instance(registration.service_id.as_str()) else {
            return self.register_new(lease, registration, now, out);
        };
        let incarnation = match incarnation {
            Some(given) if given < known.incarnation => return Err(conflict(&known)),
            Some(given) if given == known.incarnation => given,
            _ => self.next_incarnation(),
        };
        known.beat.heard(now.mono_ms);
        Ok(self.take_over(&known, registration, incarnation, lease, now, out))
    }

    fn register_new(
        &mut self,
        lease: Lease,
        registration: Registration,
        now: Now,
        out: &mut Events,
    ) -> Result<Registered, Refusal> {
        if self.table.n_instances.load(Ordering::Relaxed) >= self.config.instances_max.get() {
            return Err(Refusal::Full {
                max: self.config.instances_max.get(),
            });
        }
        let observed = observed_at_first(&registration);
        let instance = Instance {
            registration: Arc::new(registration),
            observed,
            overridden: None,
            lease,
            registered_at: now.wall,
            revision: self.revision,
            incarnation: self.next_incarnation(),
            beat: Arc::new(Beat::new(now.mono_ms)),
            encoded: OnceLock::new(),
        };
        let instance = self.put(instance, None, EventKind::Registered, None, now, out);
        Ok(Registered {
            instance,
            change: Change::New,
        })
    }

    /// Takes what is said of an instance now, which is no sign of life by itself.
    pub(super) fn edit(
        &mut self,
        known: &Arc<Instance>,
        registration: Registration,
        now: Now,
        out: &mut Events,
    ) -> Arc<Instance> {
        let (incarnation, lease) = (known.incarnation, known.lease);
        self.take_over(known, registration, incarnation, lease, now, out)
            .instance
    }

    fn take_over(
        &mut self,
        known: &Arc<Instance>,
        registration: Registration,
        incarnation: u64,
        lease: Lease,
        now: Now,
        out: &mut Events,
    ) -> Registered {
        let same = known.registration.same_as(&registration);
        let registration = if same {
            Arc::clone(&known.registration)
        } else {
            Arc::new(registration)
        };
        let instance = Instance {
            observed: observed_again(known, &registration),
            registration,
            lease,
            incarnation,
            ..version_of(known)
        };
        if same {
            let instance = if known.lease == lease && known.incarnation == incarnation {
                Arc::clone(known)
            } else {
                self.put_status(instance, known, Some("registered again"), now, out)
            };
            return Registered {
                instance,
                change: Change::Renewed,
            };
        }
        let instance = if known.name() == instance.name() {
            self.put(instance, Some(known), EventKind::Updated, None, now, out)
        } else {
            let reason = format!("moved to service \"{}\"", instance.name());
            // It stays in the table of ids throughout, so that no heartbeat misses it.
            self.leave(known, EventKind::Deregistered, Some(&reason), now, out);
            self.put(instance, None, EventKind::Registered, None, now, out)
        };
        Registered {
            instance,
            change: Change::Updated,
        }
    }

    pub(super) fn deregister(
        &mut self,
        id: &str,
        incarnation: Option<u64>,
        now: Now,
        out: &mut Events,
    ) -> Result<Arc<Instance>, Refusal> {
        let known = self.known(id)?;
        current(&known, incarnation)?;
        self.take_out(&known, EventKind::Deregistered, None, now, out);
        Ok(known)
    }

    /// A new version that nobody is told of.
    fn replace(&mut self, instance: Instance) -> Arc<Instance> {
        let instance = Arc::new(instance);
        self.book(&instance);
        let service = self.table.service_or_new(instance.name(), self.floor);
        let revision = service.view().revision;
        service.put(Arc::clone(&instance), revision);
        let instances = self.table.instances.pin();
        instances.insert(instance.id().clone(), Arc::clone(&instance));
        instance
    }

    /// The one way by which an instance becomes visible or changes: numbered, then told.
    fn put(
        &mut self,
        mut instance: Instance,
        known: Option<&Arc<Instance>>,
        kind: EventKind,
        reason: Option<&str>,
        now: Now,
        out: &mut Events,
    ) -> Arc<Instance> {
        let revision = self.next_revision();
        instance.revision = revision;
        let instance = Arc::new(instance);
        self.book(&instance);
        self.count(known.map(|known| &**known), Some(&instance));
        let service = self.table.service_or_new(instance.name(), self.floor);
        let previous = service.view().revision;
        service.put(Arc::clone(&instance), revision);
        let instances = self.table.instances.pin();
        instances.insert(instance.id().clone(), Arc::clone(&instance));
        let event = Event {
            service_id: Some(instance.id().clone()),
            service_name: Some(instance.name().clone()),
            status: Some(instance.status()),
            previous_status: known.map(|known| known.status()),
            reason: reason.map(Into::into),
            instance: Some(Arc::clone(&instance)),
            ..self.bare_event(kind, revision, now)
        };
        out.push(Numbered { event, previous });
        instance
    }

    /// The one way by which an instance goes.
    fn take_out(
        &mut self,
        known: &Arc<Instance>,
        kind: EventKind,
        reason: Option<&str>,
        now: Now,
        out: &mut Events,
    ) {
        self.leases.cancel(known.id());
        self.bound.release(known.id());
        self.leave(known, kind, reason, now, out);
        self.table.instances.pin().remove(known.id());
    }

    /// Takes an instance out of its service and tells of it.
    fn leave(
        &mut self,
        known: &Arc<Instance>,
        kind: EventKind,
        reason: Option<&str>,
        now: Now,
        out: &mut Events,
    ) {
        let revision = self.next_revision();
        self.count(Some(known), None);
        if let Some(guard) = self.guards.get_mut(known.name()) {
            guard.left(known.id());
        }
        let service = self.table.service_or_new(known.name(), self.floor);
        let previous = service.view().revision;
        service.remove(known.id(), revision);
        let event = Event {
            service_id: Some(known.id().clone()),
            service_name: Some(known.name().clone()),
            previous_status: Some(known.status()),
            reason: reason.map(Into::into),
            instance: Some(Arc::clone(known)),
            ..self.bare_event(kind, revision, now)
        };
        out.push(Numbered { event, previous });
    }

    fn bare_event(&self, kind: EventKind, revision: Revision, now: Now) -> Event {
        Event {
            epoch: self.epoch,
            revision,
            kind,
            service_id: None,
            service_name: None,
            status: None,
            previous_status: None,
            reason: None,
            timestamp: now.wall,
            instance: None,
            route: None,
            encoded: OnceLock::new(),
        }
    }

    /// A held instance has no timer: its guard decides. Nor has one that hangs on an open connection.
    fn book(&mut self, instance: &Instance) {
        let id = instance.id();
        if let Lease::Bound(connection) = instance.lease {
            self.leases.cancel(id);
            self.bound.bind(id, connection);
            return;
        }
        self.bound.release(id);
        match instance.lease {
            Lease::Held => self.leases.cancel(id),
            _ => self.leases.book(id, instance.lease_ends_ms()),
        }
    }

    fn count(&self, before: Option<&Instance>, after: Option<&Instance>) {
        let (instances, healthy) = (&self.table.n_instances, &self.table.n_healthy);
        if let Some(before) = before {
            instances.fetch_sub(1, Ordering::Relaxed);
            healthy.fetch_sub(usize::from(before.is_healthy()), Ordering::Relaxed);
        }
        if let Some(after) = after {
            instances.fetch_add(1, Ordering::Relaxed);
            healthy.fetch_add(usize::from(after.is_healthy()), Ordering::Relaxed);
        }
    }

    fn known(&self, id: &str) -> Result<Arc<Instance>, Refusal> {
        self.table.instance(id).ok_or(Refusal::Unknown)
    }

    fn next_revision(&mut self) -> Revision {
        self.revision = self.revision.next();
        self.revision
    }

    fn next_incarnation(&mut self) -> u64 {
        self.incarnation += 1;
        self.incarnation
    }
}

/// Refuses a caller that names an older incarnation than the current one.
pub(super) fn current(known: &Instance, incarnation: Option<u64>) -> Result<(), Refusal> {
    match incarnation {
        Some(given) if given < known.incarnation => Err(conflict(known)),
        _ => Ok(()),
    }
}

fn conflict(known: &Instance) -> Refusal {
    Refusal::Conflict {
        current: known.incarnation,
    }
}

/// The same instance as a value to build its next version from.
fn version_of(known: &Instance) -> Instance {
    Instance {
        registration: Arc::clone(&known.registration),
        observed: known.observed,
        overridden: known.overridden.clone(),
        lease: known.lease,
        registered_at: known.registered_at,
        revision: known.revision,
        incarnation: known.incarnation,
        beat: Arc::clone(&known.beat),
        encoded: OnceLock::new(),
    }
}

#[cfg(test)]
mod tests;
