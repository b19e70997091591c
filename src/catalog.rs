//! Every write and read of the registry, the same for each door. Never sees a byte of JSON or a socket.

mod caller;
mod follow;
mod pick;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;

pub use self::{
    caller::{Caller, Door, Identity},
    follow::RouteFollower,
    pick::{PickPolicy, pick},
};
pub use crate::registry::{
    CloseConnection, Command, Deregister, Heartbeat, LiftOverride, Observe, Operation,
    PatchInstance, Pending, Refusal, Register, RemoveRoute, SetOverride, SetRoute,
};
use crate::{
    model::{Instance, InstanceFilter, Registration, Revision, Timestamp},
    registry::{Body, Registry, Target, View},
};

/// How old the times of heartbeats in a list may be, in milliseconds.
const BODY_AGE_MS_MAX: u64 = 1000;

/// A cheap handle for doors.
#[derive(Clone, Debug)]
pub struct Catalog {
    registry: Registry,
}

impl Catalog {
    /// The catalog of one registry.
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }

    /// The registry, for reads.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Submits a command at once, not at the first poll. The answer is ready at the first poll while the
    /// journal is in memory, without an allocation.
    ///
    /// # Errors
    /// The caller may not do this, the command is refused, or its commit failed. Nothing has changed then.
    pub fn write<C: Command>(&self, caller: &Caller, command: C) -> Pending<C::Outcome> {
        match self.judge(caller, C::OPERATION, command.target()) {
            Ok(()) => self.registry.submit(command, caller.connection),
            Err(refusal) => Pending::ready(Err(refusal)),
        }
    }

    /// Renews a lease without a lock or an allocation, unless the lease is on a connection.
    ///
    /// # Errors
    /// The id is unknown, or `incarnation` is not the current one.
    pub fn heartbeat(
        &self,
        caller: &Caller,
        service_id: &str,
        incarnation: Option<u64>,
    ) -> Pending<Timestamp> {
        let target = Target::Instance(service_id);
        if let Err(refusal) = self.judge(caller, Operation::Heartbeat, target) {
            return Pending::ready(Err(refusal));
        }
        self.registry
            .heartbeat(service_id, incarnation, caller.connection)
    }

    /// Renews the lease of an instance because a check of `registration` passed; no lock. Does nothing
    /// when that registration is no longer the current one.
    pub fn check_passed(&self, caller: &Caller, registration: &Arc<Registration>) {
        let target = Target::Registration(registration);
        if self.judge(caller, Operation::Observe, target).is_ok() {
            self.registry.check_passed(registration);
        }
    }

    /// The one point that every write passes.
    fn judge(
        &self,
        caller: &Caller,
        operation: Operation,
        target: Target<'_>,
    ) -> Result<(), Refusal> {
        #[cfg(test)]
        tests::judged(caller, operation);
        caller.door.may(operation, target)
    }

    /// Where and how many of the healthy instances of a service: one of those that `filter` lets
    /// through. None when there is no such instance.
    pub fn pick(
        &self,
        name: &str,
        filter: &InstanceFilter,
        policy: PickPolicy<'_>,
    ) -> Option<Arc<Instance>> {
        let service = self.registry.service(name)?;
        let view = service.view();
        let among: Vec<_> = view
            .healthy()
            .iter()
            .filter(|one| filter.matches(one))
            .collect();
        pick(policy, &among, || service.next_turn()).cloned()
    }

    /// The encoded list of the instances that `filter` lets through, and the revision of the service that
    /// it shows. A list that is filtered by health alone is kept for a second, so every door must pass
    /// the same `encode`.
    pub fn discover(
        &self,
        name: &str,
        filter: &InstanceFilter,
        encode: impl FnOnce(&mut dyn Iterator<Item = &Arc<Instance>>) -> Vec<u8>,
    ) -> (Bytes, Revision) {
        // Read before the service: a registration in between is newer than this revision.
        let newest = self.registry.newest();
        let Some(service) = self.registry.service(name) else {
            return (encode(&mut std::iter::empty()).into(), newest);
        };
        let view = service.view();
        (self.listed(&view, filter, encode), view.revision)
    }

    fn listed(
        &self,
        view: &View,
        filter: &InstanceFilter,
        encode: impl FnOnce(&mut dyn Iterator<Item = &Arc<Instance>>) -> Vec<u8>,
    ) -> Bytes {
        if filter.is_plain() {
            return if filter.healthy_only {
                self.kept(&view.body_healthy, || encode(&mut view.healthy().iter()))
            } else {
                self.kept(&view.body_all, || encode(&mut view.instances.values()))
            };
        }
        let limit = filter.limit.unwrap_or(usize::MAX);
        let matching = view.instances.values().filter(|one| filter.matches(one));
        encode(&mut matching.take(limit)).into()
    }

    /// The bytes made within the last second, or new ones.
    fn kept(&self, slot: &ArcSwapOption<Body>, make: impl FnOnce() -> Vec<u8>) -> Bytes {
        let now_ms = self.registry.clock().now().mono_ms;
        if let Some(body) = &*slot.load()
            && now_ms.saturating_sub(body.made_ms) < BODY_AGE_MS_MAX
        {
            return body.bytes.clone();
        }
        let bytes = Bytes::from(make().into_boxed_slice());
        slot.store(Some(Arc::new(Body {
            bytes: bytes.clone(),
            made_ms: now_ms,
        })));
        bytes
    }

    /// When the lease of an instance was last renewed, by the wall clock.
    pub fn last_heartbeat(&self, instance: &Instance) -> Timestamp {
        let clock = self.registry.clock();
        clock.wall_of(instance.beat.last_renewed_ms())
    }

    /// The wall clock.
    pub fn now(&self) -> Timestamp {
        self.registry.clock().now().wall
    }
}

#[cfg(test)]
mod tests;
