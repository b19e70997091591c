//! The registry's rules: a command in, numbered events out. Pure: no lock, no clock, no task.

mod expiry;
mod route;

pub use self::route::RouteDraft;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock, atomic::Ordering},
};

use super::{
    Config, Outcome, Registered, RegistryError, clock::Now, guard::Guard, leases::Leases,
    routes::RouteTable, service::Table,
};
use crate::model::{
    Beat, Check, Epoch, Event, EventKind, Instance, Lease, Override, OverrideStatus, Registration,
    Revision, Route, RouteId, ServiceName, Status,
};

/// What a change does to its service besides the instance.
type Events = Vec<Numbered>;

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
    ) -> Result<Registered, RegistryError> {
        match self.table.instance(registration.service_id.as_str()) {
            None => self.register_new(registration, now, out),
            Some(known) => self.register_again(&known, registration, incarnation, now, out),
        }
    }

    fn register_new(
        &mut self,
        registration: Registration,
        now: Now,
        out: &mut Events,
    ) -> Result<Registered, RegistryError> {
        if self.table.n_instances.load(Ordering::Relaxed) >= self.config.instances_max {
            return Err(RegistryError::Full {
                max: self.config.instances_max,
            });
        }
        let observed = observed_at_first(&registration);
        let instance = Instance {
            registration: Arc::new(registration),
            observed,
            overridden: None,
            lease: Lease::Running,
            registered_at: now.wall,
            revision: self.revision,
            incarnation: self.next_incarnation(),
            beat: Arc::new(Beat::new(now.mono_ms)),
            encoded: OnceLock::new(),
        };
        let instance = self.put(instance, None, EventKind::Registered, None, now, out);
        Ok(Registered {
            instance,
            outcome: Outcome::New,
        })
    }

    fn register_again(
        &mut self,
        known: &Arc<Instance>,
        registration: Registration,
        incarnation: Option<u64>,
        now: Now,
        out: &mut Events,
    ) -> Result<Registered, RegistryError> {
        let incarnation = match incarnation {
            Some(given) if given < known.incarnation => return Err(conflict(known)),
            Some(given) if given == known.incarnation => given,
            _ => self.next_incarnation(),
        };
        known.beat.heard(now.mono_ms);
        let same = known.registration.same_as(&registration);
        let registration = if same {
            Arc::clone(&known.registration)
        } else {
            Arc::new(registration)
        };
        let instance = Instance {
            observed: observed_again(known, &registration),
            registration,
            lease: Lease::Running,
            incarnation,
            ..version_of(known)
        };
        if same {
            let instance = if known.lease == Lease::Held {
                let kind = kind_of(instance.status());
                self.put(
                    instance,
                    Some(known),
                    kind,
                    Some("registered again"),
                    now,
                    out,
                )
            } else if known.incarnation == incarnation {
                Arc::clone(known)
            } else {
                self.replace(instance)
            };
            return Ok(Registered {
                instance,
                outcome: Outcome::Renewed,
            });
        }
        let instance = if known.name() == instance.name() {
            self.put(instance, Some(known), EventKind::Updated, None, now, out)
        } else {
            let reason = format!("moved to service \"{}\"", instance.name());
            // It stays in the table of ids throughout, so that no heartbeat misses it.
            self.leave(known, EventKind::Deregistered, Some(&reason), now, out);
            self.put(instance, None, EventKind::Registered, None, now, out)
        };
        Ok(Registered {
            instance,
            outcome: Outcome::Updated,
        })
    }

    pub(super) fn deregister(
        &mut self,
        id: &str,
        incarnation: Option<u64>,
        now: Now,
        out: &mut Events,
    ) -> Result<Arc<Instance>, RegistryError> {
        let known = self.known(id)?;
        current(&known, incarnation)?;
        self.take_out(&known, EventKind::Deregistered, None, now, out);
        Ok(known)
    }

    pub(super) fn set_override(
        &mut self,
        id: &str,
        overridden: Option<(OverrideStatus, Option<Box<str>>)>,
        now: Now,
        out: &mut Events,
    ) -> Result<Arc<Instance>, RegistryError> {
        let known = self.known(id)?;
        let same = match (&known.overridden, &overridden) {
            (None, None) => true,
            (Some(old), Some((status, reason))) => old.status == *status && old.reason == *reason,
            _ => false,
        };
        if same {
            return Ok(known);
        }
        let reason = overridden.as_ref().map_or_else(
            || "override lifted".to_owned(),
            |(_, reason)| reason.as_deref().unwrap_or("override").to_owned(),
        );
        let overridden = overridden.map(|(status, reason)| {
            Arc::new(Override {
                status,
                reason,
                since: now.wall,
            })
        });
        let instance = Instance {
            overridden,
            ..version_of(&known)
        };
        Ok(self.put_status(instance, &known, Some(&reason), now, out))
    }

    /// Takes the word of the checks, while the registration they checked is still the current one.
    pub(super) fn set_observed(
        &mut self,
        of: &Arc<Registration>,
        observed: Status,
        reason: Option<&str>,
        now: Now,
        out: &mut Events,
    ) -> bool {
        let Ok(known) = self.known(of.service_id.as_str()) else {
            return false;
        };
        if !Arc::ptr_eq(&known.registration, of) {
            return false;
        }
        if known.observed != observed {
            let instance = Instance {
                observed,
                ..version_of(&known)
            };
            self.put_status(instance, &known, reason, now, out);
        }
        true
    }

    /// A new version whose status may differ: an event only when the effective status does.
    fn put_status(
        &mut self,
        instance: Instance,
        known: &Arc<Instance>,
        reason: Option<&str>,
        now: Now,
        out: &mut Events,
    ) -> Arc<Instance> {
        if instance.status() == known.status() {
            return self.replace(instance);
        }
        let kind = kind_of(instance.status());
        self.put(instance, Some(known), kind, reason, now, out)
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

    /// A held instance has no timer: its guard decides.
    fn book(&mut self, instance: &Instance) {
        match instance.lease {
            Lease::Running => self.leases.book(instance.id(), instance.lease_ends_ms()),
            Lease::Held => self.leases.cancel(instance.id()),
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

    fn known(&self, id: &str) -> Result<Arc<Instance>, RegistryError> {
        self.table.instance(id).ok_or(RegistryError::Unknown)
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
pub(super) fn current(known: &Instance, incarnation: Option<u64>) -> Result<(), RegistryError> {
    match incarnation {
        Some(given) if given < known.incarnation => Err(conflict(known)),
        _ => Ok(()),
    }
}

fn conflict(known: &Instance) -> RegistryError {
    RegistryError::Conflict {
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

fn observed_at_first(registration: &Registration) -> Status {
    if registration.is_checked() {
        Status::Starting
    } else {
        Status::Healthy
    }
}

/// A check whose definition is unchanged keeps its verdict; a new one has none yet, so that the
/// instance is starting again, unless an unchanged check already fails.
fn observed_again(known: &Instance, registration: &Arc<Registration>) -> Status {
    let old = &known.registration;
    if Arc::ptr_eq(old, registration) {
        return known.observed;
    }
    if !registration.is_checked() {
        return Status::Healthy;
    }
    let kept = |check: &Check| old.checks.contains(check);
    let url_kept = registration.health_check_url == old.health_check_url;
    let n_kept = registration
        .checks
        .iter()
        .filter(|check| kept(check))
        .count();
    let all_kept = n_kept == registration.checks.len()
        && (url_kept || registration.health_check_url.is_none());
    let any_kept = n_kept > 0 || (url_kept && registration.health_check_url.is_some());
    match known.observed {
        observed if all_kept && old.is_checked() => observed,
        Status::Unhealthy if any_kept => Status::Unhealthy,
        _ => Status::Starting,
    }
}

/// The event that tells of a status. A status with no event of its own is told as an update.
fn kind_of(status: Status) -> EventKind {
    match status {
        Status::Healthy => EventKind::Healthy,
        Status::Unhealthy => EventKind::Unhealthy,
        Status::Stopping => EventKind::Stopping,
        Status::Starting | Status::Unknown => EventKind::Updated,
    }
}

#[cfg(test)]
mod tests;
