//! The tables that readers see, and the one function that changes them.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, atomic::Ordering},
};

use super::{
    Config, Record,
    connection_leases::ConnectionLeases,
    draft::Effect,
    leases::Leases,
    routes::{RouteChanges, RouteTable},
    service::{Service, Tables},
};
use crate::model::{
    Epoch, Event, EventKind, Instance, Lease, RemoveAfter, Revision, Route, RouteId, ServiceName,
    Status,
};

/// What a change replaces besides an instance: the nodes of its service's map from the root to it.
const VIEW_BYTES: usize = 4096;

/// An event on its way into the log.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) event: Arc<Event>,
    /// The change of the same service before it.
    pub(super) previous: Revision,
    /// None for a route.
    pub(super) service: Option<Arc<Service>>,
}

/// Everything that the records make.
#[derive(Debug)]
pub(super) struct State {
    pub(super) config: Config,
    pub(super) remove_after: RemoveAfter,
    pub(super) table: Arc<Tables>,
    pub(super) route_table: Arc<RouteTable>,
    pub(super) routes: BTreeMap<RouteId, Arc<Route>>,
    pub(super) leases: Leases,
    pub(super) connection_leases: ConnectionLeases,
    /// The services whose expiry guard is engaged.
    pub(super) guards: HashSet<ServiceName>,
    pub(super) epoch: Epoch,
    pub(super) revision: Revision,
    /// The highest incarnation given.
    pub(super) incarnation: u64,
    /// The memory of instances and routes, see [`Instance::memory`] and [`Route::memory`].
    pub(super) bytes: usize,
    /// Nothing before this revision is known of a service that is not in the table.
    pub(super) floor: Revision,
}

impl State {
    /// An empty registry; incarnations count up from `incarnation`.
    pub(super) fn new(
        config: Config,
        remove_after: RemoveAfter,
        epoch: Epoch,
        incarnation: u64,
    ) -> Self {
        Self {
            config,
            remove_after,
            table: Arc::default(),
            route_table: Arc::default(),
            routes: BTreeMap::new(),
            leases: Leases::default(),
            connection_leases: ConnectionLeases::default(),
            guards: HashSet::new(),
            epoch,
            revision: Revision::default(),
            incarnation,
            bytes: 0,
            floor: Revision::default(),
        }
    }

    /// Changes the tables by one record. The only writer: new records, those of a leader and those of an
    /// earlier run come this way. Answers with what belongs into the log.
    pub(super) fn apply(&mut self, record: &Record) -> Option<Logged> {
        match record {
            Record::Silent(instance) => {
                let service = self.service(instance.name());
                let revision = service.view().revision;
                service.put(Arc::clone(instance), revision);
                self.put(instance);
                None
            }
            Record::Moved(event) => Some(self.apply_left(event)),
            Record::Event(event) => Some(self.apply_event(event)),
        }
    }

    /// Takes over what applies with a batch and is in no journal.
    pub(super) fn take(&mut self, effect: Effect) {
        match effect {
            Effect::Heartbeat(last_seen, at_ms) => last_seen.record_heartbeat(at_ms),
            Effect::Renewed(last_seen, at_ms) => last_seen.record_pass(at_ms),
            Effect::Timer(id, ends_ms) => self.leases.book_again(&id, ends_ms),
            Effect::NoTimer(id) => self.leases.cancel(&id),
        }
    }

    fn apply_event(&mut self, event: &Arc<Event>) -> Logged {
        match event.kind {
            EventKind::RouteSet | EventKind::RouteRemoved => self.apply_route(event),
            EventKind::GuardEngaged | EventKind::GuardReleased => self.apply_guard(event),
            EventKind::Deregistered | EventKind::Expired => {
                let logged = self.apply_left(event);
                if let Some(known) = &event.instance {
                    self.remove(known);
                }
                logged
            }
            _ => self.apply_changed(event),
        }
    }

    /// An instance that appeared or changed.
    fn apply_changed(&mut self, event: &Arc<Event>) -> Logged {
        self.revision = event.revision;
        let Some(instance) = &event.instance else {
            return without_service(event);
        };
        let service = self.service(instance.name());
        let view = service.view();
        let previous = view.revision;
        let before = view.instances.get(instance.id());
        let same_names =
            before.is_some_and(|before| before.registration.tags == instance.registration.tags);
        service.put(Arc::clone(instance), event.revision);
        let stamp = self.table.stamps.mark(service.stamp(), !same_names);
        instance.last_seen.set_stamp(stamp);
        self.put(instance);
        Logged {
            event: Arc::clone(event),
            previous,
            service: Some(service),
        }
    }

    /// An instance that left its service.
    fn apply_left(&mut self, event: &Arc<Event>) -> Logged {
        self.revision = event.revision;
        let Some(known) = &event.instance else {
            return without_service(event);
        };
        let service = self.service(known.name());
        let previous = service.view().revision;
        service.remove(known.id(), event.revision);
        self.table.stamps.mark(service.stamp(), true);
        Logged {
            event: Arc::clone(event),
            previous,
            service: Some(service),
        }
    }

    fn apply_guard(&mut self, event: &Arc<Event>) -> Logged {
        self.revision = event.revision;
        let Some(name) = &event.service_name else {
            return without_service(event);
        };
        if event.kind == EventKind::GuardEngaged {
            self.guards.insert(name.clone());
        } else {
            self.guards.remove(name);
        }
        let service = self.service(name);
        let previous = service.view().revision;
        service.touch(event.revision);
        Logged {
            event: Arc::clone(event),
            previous,
            service: Some(service),
        }
    }

    fn apply_route(&mut self, event: &Arc<Event>) -> Logged {
        self.revision = event.revision;
        if let Some(route) = &event.route {
            let id = &route.route_id;
            let set = (event.kind == EventKind::RouteSet).then_some(route);
            let old = match set {
                Some(route) => self.routes.insert(id.clone(), Arc::clone(route)),
                None => self.routes.remove(id),
            };
            self.bytes += set.map_or(0, |route| route.memory());
            let replaced = old.map_or(0, |old| old.memory());
            self.bytes -= replaced;
            let table = &self.table;
            (table.replaced).fetch_add(replaced as u64, Ordering::Relaxed);
            self.route_table
                .publish(event.revision, &RouteChanges::from([(id, set)]));
        }
        without_service(event)
    }

    fn service(&self, name: &ServiceName) -> Arc<Service> {
        self.table.service_or_new(name, self.floor)
    }

    /// Puts a version into the table of ids, and its lease into the timers.
    pub(super) fn put(&mut self, instance: &Arc<Instance>) {
        self.incarnation = self.incarnation.max(instance.incarnation);
        self.bytes += instance.bytes;
        let table = Arc::clone(&self.table);
        let instances = table.instances.pin();
        let old = instances.insert(instance.id().clone(), Arc::clone(instance));
        self.count(old.map(|old| &**old), Some(instance));
        self.book(instance);
    }

    fn remove(&mut self, known: &Instance) {
        let table = Arc::clone(&self.table);
        let instances = table.instances.pin();
        let old = instances.remove(known.id());
        self.count(old.map(|old| &**old), None);
        self.leases.cancel(known.id());
        self.connection_leases.release(known.id());
    }

    fn count(&mut self, before: Option<&Instance>, after: Option<&Instance>) {
        let (instances, healthy) = (&self.table.n_instances, &self.table.n_healthy);
        if let Some(before) = before {
            self.bytes -= before.bytes;
            let replaced = (before.bytes + VIEW_BYTES) as u64;
            self.table.replaced.fetch_add(replaced, Ordering::Relaxed);
            instances.fetch_sub(1, Ordering::Relaxed);
            healthy.fetch_sub(usize::from(before.is_healthy()), Ordering::Relaxed);
        }
        if let Some(after) = after {
            instances.fetch_add(1, Ordering::Relaxed);
            healthy.fetch_add(usize::from(after.is_healthy()), Ordering::Relaxed);
        }
    }

    /// A held instance has no timer, because its guard decides. Nor has one whose lease does not run.
    fn book(&mut self, instance: &Instance) {
        let id = instance.id();
        if let Lease::Connection(connection) = instance.lease {
            self.connection_leases.attach(id, connection);
        } else {
            self.connection_leases.release(id);
        }
        match instance.lease {
            Lease::Running | Lease::Lost => {
                let ends_ms = lease_ends_ms(instance, self.remove_after);
                self.leases.book(id, ends_ms);
            }
            Lease::Held | Lease::Connection(_) | Lease::Unlimited => self.leases.cancel(id),
        }
    }
}

fn without_service(event: &Arc<Event>) -> Logged {
    Logged {
        event: Arc::clone(event),
        previous: Revision::default(),
        service: None,
    }
}

/// When the lease of an instance runs out, in milliseconds of the registry's monotonic clock. An instance
/// whose checks fail has more time than its ttl where `health.remove_after` says so.
pub(super) fn lease_ends_ms(instance: &Instance, remove_after: RemoveAfter) -> u64 {
    let ends_ms = instance.lease_ends_ms();
    let is_failing = instance.lease == Lease::Running
        && instance.observed == Status::Unhealthy
        && instance.registration.is_checked();
    if !is_failing {
        return ends_ms;
    }
    match remove_after {
        RemoveAfter::Ttl => ends_ms,
        RemoveAfter::Never => u64::MAX,
        RemoveAfter::After(time) => {
            let time_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            let renewed_ms = instance.last_seen.last_renewed_ms();
            ends_ms.max(renewed_ms.saturating_add(time_ms))
        }
    }
}

#[cfg(test)]
mod tests;
