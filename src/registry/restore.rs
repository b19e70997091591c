//! Continues from the state that an earlier run stored.

use std::{collections::HashMap, sync::Arc};

use super::{
    CloseConnection, OwnedBatch, Refusal, Registry, connection_leases::EARLIER_CONNECTION, forget,
    log::Writer as LogWriter, rows::Restored, state::State, writer::Writer,
};
use crate::model::{Event, EventKind, Instance, Registration, Revision, ServiceId};

impl Registry {
    /// Takes over everything: the log first, then the tables.
    pub(super) fn restore(&self, restored: Restored) {
        let mut guard = self.inner.writer.lock();
        let Writer { state, log, .. } = &mut *guard;
        state.incarnation = state.incarnation.max(restored.incarnation);
        let oldest = restored.events.front().map(|event| event.revision.0);
        let newest = restored.events.back().map(|event| event.revision);
        state.floor = Revision(oldest.unwrap_or(1) - 1);
        state.revision = newest.unwrap_or_default();
        log.begin_after(state.floor);
        let known: HashMap<_, _> = restored
            .instances
            .iter()
            .map(|one| (one.id(), one))
            .collect();
        for event in restored.events {
            append(state, log, shared(event, &known));
        }
        drop(known);
        for name in restored.guards {
            let service = state.table.service_or_new(&name, state.floor);
            service.touch(service.logged());
            state.guards.insert(name);
        }
        state.take_instances(restored.instances);
        state.take_routes(restored.routes);
        drop(guard);
        self.wake_or_defer();
    }

    /// The rows that the tables of a journal must hold before the first batch: the epoch.
    pub fn opening_batch(&self) -> OwnedBatch {
        OwnedBatch {
            epoch: self.inner.epoch,
            incarnation: self.inner.writer.lock().state.incarnation,
            records: Vec::new(),
        }
    }

    /// Restarts all leases with one full ttl: they could not be renewed while the daemon was down.
    pub fn begin_leases(&self) {
        let now_ms = self.clock().now().mono_ms;
        for instance in self.inner.table.instances.pin().values() {
            instance.last_seen.record_heartbeat(now_ms);
        }
    }

    /// Ends the leases on connections of an earlier run: none of them is open any more. After an error it can be called
    /// again, also while clients are connected.
    ///
    /// # Errors
    /// The change was not committed.
    pub async fn close_earlier_connections(&self) -> Result<(), Refusal> {
        let connection = EARLIER_CONNECTION;
        while self
            .submit(CloseConnection { connection }, None)
            .await?
            .more
        {}
        Ok(())
    }
}

/// Appends an event of an earlier run to the log, with its place in the chain of its service.
fn append(state: &mut State, log: &mut LogWriter, event: Event) {
    let revision = event.revision;
    let name = event.service_name.clone();
    let is_route = matches!(event.kind, EventKind::RouteSet | EventKind::RouteRemoved);
    let service = name.map(|name| state.table.service_or_new(&name, state.floor));
    let previous = service.as_ref().map(|service| service.logged());
    if let Some(service) = &service {
        // Before older events leave the log: a service is forgotten with its last one.
        service.touch(revision);
    }
    let previous = previous.unwrap_or_default();
    log.append(Arc::new(event), previous, |name, gone| {
        state.floor = gone;
        forget(&state.table, name, gone);
    });
    if let Some(service) = &service {
        service.set_logged(revision);
    }
    log.publish(revision);
    if is_route {
        state.route_table.note(revision);
    }
}

/// The event with the registration of the present instance where it is the same, so that it is in memory once.
fn shared(mut event: Event, known: &HashMap<&ServiceId, &Arc<Instance>>) -> Event {
    let Some(old) = &event.instance else {
        return event;
    };
    let same = |known: &&&Arc<Instance>| same(&known.registration, &old.registration);
    if let Some(known) = known.get(old.id()).filter(same) {
        event.instance = Some(Arc::new(Instance {
            registration: Arc::clone(&known.registration),
            last_seen: Arc::clone(&known.last_seen),
            ..old.version()
        }));
    }
    event
}

fn same(one: &Registration, other: &Registration) -> bool {
    one.metadata == other.metadata && one.same_as(other)
}

impl State {
    fn take_instances(&mut self, instances: Vec<Arc<Instance>>) {
        let mut by_service: HashMap<_, Vec<_>> = HashMap::new();
        for instance in instances {
            self.put(&instance);
            let of_service = by_service.entry(instance.name().clone()).or_default();
            of_service.push((instance.id().clone(), instance));
        }
        for (name, instances) in by_service {
            let service = self.table.service_or_new(&name, self.floor);
            service.fill(instances);
        }
    }

    fn take_routes(&mut self, routes: Vec<Arc<crate::model::Route>>) {
        self.route_table.fill(&routes);
        for route in routes {
            self.bytes += route.memory();
            self.routes.insert(route.route_id.clone(), route);
        }
        let newest = self.route_table.routes.load().revision;
        self.route_table.changed.send_replace(newest);
    }
}
