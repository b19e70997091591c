//! Every write and read of the registry, the same for each door. Never sees a byte of JSON or a socket.

mod caller;
mod follow;
mod log;
mod pick;

use std::sync::Arc;

use bytes::Bytes;

pub use self::{
    caller::{Caller, Door, Identity},
    follow::RouteFollower,
    log::{log_deregistered, log_override, log_registered, log_route_removed, log_route_set},
    pick::{PickPolicy, pick},
};
pub use crate::registry::{
    CloseConnection, Closed, Command, Deregister, Heartbeat, LiftOverride, Observe, Operation,
    PatchInstance, Pending, Refusal, Register, RemoveRoute, SetOverride, SetRoute,
};
use crate::{
    model::{Instance, InstanceFilter, Registration, Revision, Timestamp},
    registry::{Registry, Target, View},
};

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

    /// Marks all instances whose leases are on a closed connection as lost, in bounded steps. Answers with
    /// their number.
    ///
    /// # Errors
    /// A step is refused; the instances of the steps before it are marked.
    pub async fn close_connection(
        &self,
        caller: &Caller,
        connection: u64,
    ) -> Result<usize, Refusal> {
        let mut lost = 0;
        loop {
            let closed = self.write(caller, CloseConnection { connection }).await?;
            lost += closed.lost;
            if !closed.more {
                return Ok(lost);
            }
            tokio::task::yield_now().await;
        }
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

    /// One of the healthy instances of a service that `filter` lets through; none when there is none.
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
            let now_ms = self.registry.clock().now().mono_ms;
            return view.encoded(filter.healthy_only, now_ms, encode);
        }
        let limit = filter.limit.unwrap_or(usize::MAX);
        let matching = view.instances.values().filter(|one| filter.matches(one));
        encode(&mut matching.take(limit)).into()
    }

    /// When the lease of an instance was last renewed, by the wall clock.
    pub fn last_heartbeat(&self, instance: &Instance) -> Timestamp {
        let clock = self.registry.clock();
        clock.wall_of(instance.last_seen.last_renewed_ms())
    }

    /// The wall clock.
    pub fn now(&self) -> Timestamp {
        self.registry.clock().now().wall
    }
}

#[cfg(test)]
pub(crate) use self::tests::take_judged;
#[cfg(test)]
mod tests;
