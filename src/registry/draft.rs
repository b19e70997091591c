//! The draft that commands are decided on: the state, with the changes of the batch so far on top.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, atomic::Ordering},
};

use super::{
    InstanceRights, Origin, Record, Refusal,
    state::{State, lease_ends_ms},
};
use crate::model::{
    Event, EventKind, Instance, LastSeen, Registration, Revision, Route, RouteId, ServiceId,
    ServiceName,
};

/// The state as a command of a batch sees it. Its changes are not visible elsewhere before they are committed.
#[derive(Debug)]
pub struct Draft<'a> {
    pub(super) state: &'a State,
    pub(super) changes: &'a mut Changes,
    pub(super) origin: Origin,
    /// What its sender may do; none for everything.
    pub(super) rights: Option<&'a dyn InstanceRights>,
}

/// The changes of a batch; kept from batch to batch for its memory.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) records: Vec<Record>,
    pub(super) effects: Vec<Effect>,
    revision: Revision,
    pub(super) incarnation: u64,
    instances: usize,
    routes: usize,
    bytes: usize,
    /// The records up to here are in `shown`.
    n_shown: usize,
    shown: Shown,
}

/// Effects of a batch that no journal keeps: renewals and timers.
#[derive(Debug)]
pub(super) enum Effect {
    /// A heartbeat or a registration.
    Heartbeat(Arc<LastSeen>, u64),
    /// A renewal by a check, or by a connection that was open until now.
    Renewed(Arc<LastSeen>, u64),
    /// A timer is due later than it was booked for.
    Timer(ServiceId, u64),
    /// A timer without an instance.
    NoTimer(ServiceId),
}

/// The values of changed keys, for later commands of the same batch.
#[derive(Debug, Default)]
struct Shown {
    instances: HashMap<ServiceId, Option<Arc<Instance>>>,
    routes: HashMap<RouteId, Option<Arc<Route>>>,
    guards: HashMap<ServiceName, bool>,
}

impl Changes {
    /// Starts a batch.
    pub(super) fn begin(&mut self, state: &State) {
        self.records.clear();
        self.effects.clear();
        self.revision = state.revision;
        self.incarnation = state.incarnation;
        self.instances = state.table.n_instances.load(Ordering::Relaxed);
        self.routes = state.routes.len();
        self.bytes = state.bytes;
        if self.n_shown > 0 {
            self.n_shown = 0;
            self.shown = Shown::default();
        }
    }

    /// Lets the next command of the batch see what was decided so far.
    pub(super) fn show(&mut self) {
        for record in &self.records[self.n_shown..] {
            self.shown.take(record);
        }
        self.n_shown = self.records.len();
    }
}

impl Shown {
    fn take(&mut self, record: &Record) {
        let instance = |event: &Event| event.instance.clone();
        match record {
            Record::Silent(instance) => {
                let id = instance.id().clone();
                self.instances.insert(id, Some(Arc::clone(instance)));
            }
            // The record behind it has the same id.
            Record::Moved(_) => (),
            Record::Event(event) => match event.kind {
                EventKind::GuardEngaged | EventKind::GuardReleased => {
                    let name = event.service_name.clone();
                    let engaged = event.kind == EventKind::GuardEngaged;
                    self.guards.extend(name.map(|name| (name, engaged)));
                }
                EventKind::RouteSet | EventKind::RouteRemoved => {
                    let route = event.route.as_ref();
                    let set = event.kind == EventKind::RouteSet;
                    let changed =
                        route.map(|route| (route.route_id.clone(), set.then(|| Arc::clone(route))));
                    self.routes.extend(changed);
                }
                EventKind::Deregistered | EventKind::Expired => {
                    let gone = instance(event).map(|known| (known.id().clone(), None));
                    self.instances.extend(gone);
                }
                _ => {
                    let known = instance(event).map(|known| (known.id().clone(), Some(known)));
                    self.instances.extend(known);
                }
            },
        }
    }
}

impl Draft<'_> {
    /// The current version of an instance.
    pub(super) fn instance(&self, id: &str) -> Option<Arc<Instance>> {
        if self.changes.n_shown > 0
            && let Some(changed) = self.changes.shown.instances.get(id)
        {
            return changed.clone();
        }
        self.state.table.instance(id)
    }

    /// The same, or the refusal of a command that names it.
    pub(super) fn known(&self, id: &str) -> Result<Arc<Instance>, Refusal> {
        self.instance(id).ok_or(Refusal::Unknown)
    }

    /// The same for a command that changes, replaces or removes it.
    pub(super) fn to_change(&self, id: &str) -> Result<Arc<Instance>, Refusal> {
        let known = self.known(id)?;
        self.may_change(&known)?;
        Ok(known)
    }

    /// The instance of a registration, while that is the current one.
    pub(super) fn registered(&self, registration: &Arc<Registration>) -> Option<Arc<Instance>> {
        let known = self.instance(registration.service_id.as_str());
        known.filter(|known| Arc::ptr_eq(&known.registration, registration))
    }

    /// Whether the sender may change, replace or remove an instance.
    pub(super) fn may_change(&self, known: &Instance) -> Result<(), Refusal> {
        self.rights.map_or(Ok(()), |rights| rights.change(known))
    }

    /// The sender, as the owner of what it registers.
    pub(super) fn owner(&self) -> Option<Arc<str>> {
        self.rights.map(InstanceRights::owner)
    }

    /// Whether the sender sees a route.
    pub(super) fn sees_route(&self, known: &Route) -> bool {
        self.rights.is_none_or(|rights| rights.sees_route(known))
    }

    /// The instances that this batch has changed so far.
    pub(super) fn changed(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.changes.shown.instances.values().flatten()
    }

    /// The current version of a route.
    pub(super) fn route(&self, id: &str) -> Option<Arc<Route>> {
        if self.changes.n_shown > 0
            && let Some(changed) = self.changes.shown.routes.get(id)
        {
            return changed.clone();
        }
        self.state.routes.get(id).cloned()
    }

    /// Whether the expiry guard of a service is engaged.
    pub(super) fn is_guarded(&self, name: &ServiceName) -> bool {
        let changed = self.changes.shown.guards.get(name);
        changed.map_or_else(|| self.state.guards.contains(name), |engaged| *engaged)
    }

    /// When the lease of an instance runs out.
    pub(super) fn lease_ends_ms(&self, instance: &Instance) -> u64 {
        lease_ends_ms(instance, self.state.remove_after)
    }

    pub(super) fn next_incarnation(&mut self) -> u64 {
        self.changes.incarnation += 1;
        self.changes.incarnation
    }

    /// The revision that the next change gets.
    pub(super) fn upcoming_revision(&self) -> Revision {
        self.changes.revision.next()
    }

    fn next_revision(&mut self) -> Revision {
        self.changes.revision = self.changes.revision.next();
        self.changes.revision
    }

    /// A command that is about to add `bytes`, and instances or routes, is refused when there is no room.
    pub(super) fn has_room(
        &self,
        instances: usize,
        routes: usize,
        bytes: usize,
    ) -> Result<(), Refusal> {
        let config = &self.state.config;
        if instances > 0 && self.changes.instances + instances > config.instances_max.get() {
            let max = config.instances_max.get();
            return Err(Refusal::Full { max });
        }
        if routes > 0 && self.changes.routes + routes > config.routes_max.get() {
            let max = config.routes_max.get();
            return Err(Refusal::RoutesFull { max });
        }
        let max = config.memory_max.get().as_u64();
        let caches = self.state.table.cached.bytes();
        let sum = self
            .changes
            .bytes
            .saturating_add(caches)
            .saturating_add(bytes);
        if bytes > 0 && sum as u64 > max {
            return Err(Refusal::MemoryFull {
                max: config.memory_max.get(),
            });
        }
        Ok(())
    }

    /// The lease of an instance is renewed by a heartbeat or a registration.
    pub(super) fn renew(&mut self, instance: &Instance) {
        let last_seen = Arc::clone(&instance.last_seen);
        let now_ms = self.origin.now.mono_ms;
        self.changes
            .effects
            .push(Effect::Heartbeat(last_seen, now_ms));
    }

    /// A version without an event.
    pub(super) fn put_silent(&mut self, instance: Instance, known: &Instance) -> Arc<Instance> {
        self.resize(Some(known), Some(&instance));
        let instance = Arc::new(instance);
        let record = Record::Silent(Arc::clone(&instance));
        self.changes.records.push(record);
        instance
    }

    /// A version with an event.
    pub(super) fn put(
        &mut self,
        mut instance: Instance,
        known: Option<&Instance>,
        kind: EventKind,
        reason: Option<Arc<str>>,
    ) -> Arc<Instance> {
        let revision = self.next_revision();
        instance.revision = revision;
        instance.reason.clone_from(&reason);
        self.resize(known, Some(&instance));
        let instance = Arc::new(instance);
        let event = Event {
            service_id: Some(instance.id().clone()),
            service_name: Some(instance.name().clone()),
            status: Some(instance.status()),
            previous_status: known.map(Instance::status),
            reason,
            instance: Some(Arc::clone(&instance)),
            ..self.bare_event(kind, revision)
        };
        self.changes.records.push(Record::Event(Arc::new(event)));
        instance
    }

    /// A version whose status may differ: an event only when the effective status does.
    pub(super) fn put_status(
        &mut self,
        instance: Instance,
        known: &Instance,
        reason: Option<Arc<str>>,
    ) -> Arc<Instance> {
        let status = instance.status();
        if status == known.status() {
            return self.put_silent(instance, known);
        }
        self.put(instance, Some(known), EventKind::of(status), reason)
    }

    /// An instance that leaves the registry.
    pub(super) fn remove(
        &mut self,
        known: &Arc<Instance>,
        kind: EventKind,
        reason: Option<Arc<str>>,
    ) {
        self.resize(Some(known), None);
        let event = self.left(known, kind, reason);
        self.changes.records.push(Record::Event(event));
    }

    /// An instance that appears in another service with the next record.
    pub(super) fn move_from(&mut self, known: &Arc<Instance>, reason: Option<Arc<str>>) {
        let event = self.left(known, EventKind::Deregistered, reason);
        self.changes.records.push(Record::Moved(event));
        self.resize(Some(known), None);
    }

    fn left(
        &mut self,
        known: &Arc<Instance>,
        kind: EventKind,
        reason: Option<Arc<str>>,
    ) -> Arc<Event> {
        let revision = self.next_revision();
        Arc::new(Event {
            service_id: Some(known.id().clone()),
            service_name: Some(known.name().clone()),
            previous_status: Some(known.status()),
            reason,
            instance: Some(Arc::clone(known)),
            ..self.bare_event(kind, revision)
        })
    }

    /// A guard that engages or ends.
    pub(super) fn guard(&mut self, name: &ServiceName, kind: EventKind, reason: String) {
        let revision = self.next_revision();
        let event = Event {
            service_name: Some(name.clone()),
            reason: Some(reason.into()),
            ..self.bare_event(kind, revision)
        };
        self.changes.records.push(Record::Event(Arc::new(event)));
    }

    /// A route that is set or removed.
    pub(super) fn put_route(&mut self, route: &Arc<Route>, known: Option<&Route>, kind: EventKind) {
        let set = kind == EventKind::RouteSet;
        let changes = &mut *self.changes;
        changes.routes = changes.routes + usize::from(set) - usize::from(known.is_some());
        changes.bytes += if set { route.memory() } else { 0 };
        changes.bytes = changes.bytes.saturating_sub(known.map_or(0, Route::memory));
        let revision = self.next_revision();
        let event = Event {
            route: Some(Arc::clone(route)),
            ..self.bare_event(kind, revision)
        };
        self.changes.records.push(Record::Event(Arc::new(event)));
    }

    fn bare_event(&self, kind: EventKind, revision: Revision) -> Event {
        Event {
            epoch: self.state.epoch,
            revision,
            kind,
            service_id: None,
            service_name: None,
            status: None,
            previous_status: None,
            reason: None,
            timestamp: self.origin.now.wall,
            instance: None,
            route: None,
            encoded: OnceLock::new(),
        }
    }

    fn resize(&mut self, before: Option<&Instance>, after: Option<&Instance>) {
        let changes = &mut *self.changes;
        changes.instances += usize::from(after.is_some());
        changes.instances -= usize::from(before.is_some());
        changes.bytes += after.map_or(0, |after| after.bytes);
        changes.bytes = changes
            .bytes
            .saturating_sub(before.map_or(0, |before| before.bytes));
    }
}
