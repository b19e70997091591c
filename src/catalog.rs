//! Every write and read of the registry, the same for each door. Never sees a byte of JSON or a socket.

mod caller;
mod follow;
mod kv;
mod log;
mod pick;
mod rights;
mod sight;

use std::sync::Arc;

use bytes::Bytes;

use self::rights::CallerRights;
pub use self::{
    caller::{Caller, Door, Identity},
    follow::RouteFollower,
    kv::{KvCatalog, TransactionAnswer},
    log::{log_deregistered, log_override, log_registered, log_route_removed, log_route_set},
    pick::{PickPolicy, pick},
    rights::missing,
    sight::Sight,
};
pub use crate::registry::{
    ChangeCheck, CloseConnection, Closed, Command, Deregister, Heartbeat, LiftOverride, Observe,
    Operation, PatchInstance, Pending, Refusal, Register, RegisterKeeping, RegisterReported,
    RemoveCritical, RemoveRoute, SetOverride, SetRoute,
};
use crate::{
    model::{Instance, InstanceFilter, Registration, Revision, Timestamp},
    registry::{CommandSender, InstanceRights, Registry, Target, View},
    security::{Identities, Principal, Protected, Right},
};

/// A cheap handle for doors.
#[derive(Clone, Debug)]
pub struct Catalog {
    registry: Registry,
    /// With authentication: the rights of a caller without an identity, which are none.
    stranger: Option<Principal>,
}

impl Catalog {
    /// The catalog of one registry, in which a caller without an identity may do everything.
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            stranger: None,
        }
    }

    /// The catalog of one registry: while there is authentication, a caller without an identity may do nothing.
    pub fn guarded(registry: Registry, identities: &Identities) -> Self {
        Self {
            registry,
            stranger: identities.is_on().then(|| Principal::nobody("anonymous")),
        }
    }

    /// The identity whose policies decide; none for a caller that may do everything.
    pub fn restricted<'a>(&'a self, caller: &'a Caller) -> Option<&'a Principal> {
        match &caller.identity {
            Identity::Daemon => None,
            Identity::Anonymous => self.stranger.as_ref(),
            Identity::Of(principal) => Some(principal),
        }
    }

    /// What a caller may read.
    pub fn sight(&self, caller: &Caller) -> Sight {
        let principal = self.restricted(caller);
        principal.map_or(Sight::All, |principal| Sight::Of(principal.clone()))
    }

    fn sees(&self, caller: &Caller, service: &str) -> bool {
        let principal = self.restricted(caller);
        principal.is_none_or(|one| one.allows(Protected::Service, service, Right::Read))
    }

    /// Whether a caller has a right on something.
    ///
    /// # Errors
    /// Names what is missing.
    pub fn require(
        &self,
        caller: &Caller,
        resource: Protected,
        name: &str,
        right: Right,
    ) -> Result<(), Refusal> {
        match self.restricted(caller) {
            Some(principal) if !principal.allows(resource, name, right) => {
                Err(missing(principal, resource, name, right))
            }
            _ => Ok(()),
        }
    }

    /// An instance that the caller may see.
    pub fn instance(&self, caller: &Caller, id: &str) -> Option<Arc<Instance>> {
        let found = self.registry.instance(id)?;
        self.sees(caller, found.name().as_str()).then_some(found)
    }

    fn sender(&self, caller: &Caller) -> CommandSender {
        let rights = self.restricted(caller).cloned();
        CommandSender {
            connection: caller.connection,
            rights: rights.map(|one| Arc::new(CallerRights(one)) as Arc<dyn InstanceRights>),
        }
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
            Ok(()) => self.registry.submit(command, self.sender(caller)),
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
            .heartbeat(service_id, incarnation, self.sender(caller))
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

    /// Judges a report on a check of an instance, which the health checks take: an instance that the caller may
    /// renew.
    ///
    /// # Errors
    /// The id is unknown, or the caller may not do this.
    pub fn may_report(&self, caller: &Caller, service_id: &str) -> Result<Arc<Instance>, Refusal> {
        self.judge(caller, Operation::Heartbeat, Target::Instance(service_id))?;
        let known = self.registry.instance(service_id).ok_or(Refusal::Unknown)?;
        if let Some(principal) = self.restricted(caller) {
            CallerRights(principal.clone()).renew(&known)?;
        }
        Ok(known)
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
        caller.door.may(operation, target)?;
        match self.restricted(caller) {
            None => Ok(()),
            Some(principal) => rights::judge(principal, operation, target),
        }
    }

    /// One of the healthy instances of a service that `filter` lets through; none when there is none.
    pub fn pick(
        &self,
        caller: &Caller,
        name: &str,
        filter: &InstanceFilter,
        policy: PickPolicy<'_>,
    ) -> Option<Arc<Instance>> {
        if !self.sees(caller, name) {
            return None;
        }
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
    /// the same `encode`. A service that the caller may not see is answered like one that does not exist.
    pub fn discover(
        &self,
        caller: &Caller,
        name: &str,
        filter: &InstanceFilter,
        encode: impl FnOnce(&mut dyn Iterator<Item = &Arc<Instance>>) -> Vec<u8>,
    ) -> (Bytes, Revision) {
        // Read before the service: a registration in between is newer than this revision.
        let newest = self.registry.newest();
        let service = self.registry.service(name);
        let Some(service) = service.filter(|_| self.sees(caller, name)) else {
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
