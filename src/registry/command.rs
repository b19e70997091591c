//! The changes that can be asked of the registry, each with the type of its answer.

use std::sync::Arc;

use super::{Draft, Refusal, clock::Now};
use crate::model::{Check, OverrideStatus, Patch, Registration, RouteDraft, ServiceName, Status};

/// Where and when a command arrived.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Origin {
    /// When it is decided.
    pub now: Now,
    /// The connection of the embedded broker that it came over.
    pub connection: Option<u64>,
}

/// The kinds of commands, for permissions, metrics and tests.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Operation {
    /// Add or replace an instance.
    Register,
    /// Remove an instance.
    Deregister,
    /// Renew a lease.
    Heartbeat,
    /// Change parts of a registration.
    Patch,
    /// Set or lift an operator's override.
    Override,
    /// Record what the checks of an instance say.
    Observe,
    /// Add, change or remove a gateway route.
    Route,
    /// Mark the instances of a closed connection as lost.
    CloseConnection,
    /// Remove or hold instances whose leases ran out.
    Expire,
}

/// The objects that a command changes: permissions are judged by them.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// An instance by its id alone.
    Instance(&'a str),
    /// A registration, with its service.
    Registration(&'a Registration),
    /// A gateway route by its id, with the service that it is to name.
    Route {
        /// The route's id.
        id: &'a str,
        /// None when the route is removed.
        service: Option<&'a ServiceName>,
    },
    /// A connection of the embedded broker.
    Connection(u64),
    /// Leases that ran out, of any instance.
    Leases,
}

/// One change that is asked of the registry.
pub trait Command: std::fmt::Debug + Send + 'static {
    /// The answer of a successful command.
    type Outcome: std::fmt::Debug + Send + 'static;

    /// Its kind.
    const OPERATION: Operation;

    /// The objects that it changes.
    fn target(&self) -> Target<'_>;

    /// Its rule: adds what it changes to the draft. Changes nothing else, and reads no clock.
    ///
    /// # Errors
    /// It is refused, and the draft is as before.
    fn decide(self, draft: &mut Draft<'_>) -> Result<Self::Outcome, Refusal>;
}

/// Adds an instance or replaces what is known of it; the same value again renews the lease and is no event.
///
/// Refused when `incarnation` is not the current one or the registry is full. Also when the lease needs a
/// connection and the command came over none.
#[derive(Clone, Debug)]
pub struct Register {
    /// The instance as its caller describes it.
    pub registration: Registration,
    /// The incarnation that the caller was given.
    pub incarnation: Option<u64>,
}

/// Registers like [`Register`] an instance that reports its own status. The status counts while the instance has
/// no check.
#[derive(Clone, Debug)]
pub struct RegisterReported {
    /// The instance as its caller describes it.
    pub registration: Registration,
    /// The incarnation that the caller was given.
    pub incarnation: Option<u64>,
    /// The status that it reports.
    pub status: Status,
}

/// Removes an instance. Answers with its last version.
#[derive(Clone, Debug)]
pub struct Deregister {
    /// Its id; any text, an unknown one is refused.
    pub service_id: Box<str>,
    /// The incarnation that the caller was given.
    pub incarnation: Option<u64>,
}

/// Renews a lease. Answers with the time recorded. One with a lease on a connection moves it to the
/// connection that the command came over.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// The instance's id; any text, an unknown one is refused.
    pub service_id: Box<str>,
    /// The incarnation that the caller was given.
    pub incarnation: Option<u64>,
}

/// Changes metadata, tags or weight of an instance. Does not renew the lease.
#[derive(Clone, Debug)]
pub struct PatchInstance {
    /// The instance's id.
    pub service_id: Box<str>,
    /// The changes.
    pub patch: Patch,
}

/// Sets an operator's status, which replaces the observed one until it is lifted.
#[derive(Clone, Debug)]
pub struct SetOverride {
    /// The instance's id.
    pub service_id: Box<str>,
    /// The status to show.
    pub status: OverrideStatus,
    /// Why.
    pub reason: Option<Box<str>>,
}

/// Lifts an operator's override.
#[derive(Clone, Debug)]
pub struct LiftOverride {
    /// The instance's id.
    pub service_id: Box<str>,
}

/// Records what the checks of a registration say. Answers false, and changes nothing, when that
/// registration is no longer the current one.
#[derive(Clone, Debug)]
pub struct Observe {
    /// The registration that was checked.
    pub registration: Arc<Registration>,
    /// The status that its checks give it.
    pub observed: Status,
    /// Why.
    pub reason: Option<Box<str>>,
}

/// Registers an instance, and keeps the checks in Consul's form that it has and the new registration does not name.
#[derive(Clone, Debug)]
pub struct RegisterKeeping {
    /// The instance as its caller describes it.
    pub registration: Registration,
}

/// Adds, replaces or removes one check of an instance. Answers with the new version.
#[derive(Clone, Debug)]
pub struct ChangeCheck {
    /// The instance's id.
    pub service_id: Box<str>,
    /// The check's name.
    pub name: Box<str>,
    /// None to remove it.
    pub check: Option<Check>,
}

/// Removes an instance whose check has been critical for too long. Answers false, and changes nothing, when that
/// registration is no longer the current one.
#[derive(Clone, Debug)]
pub struct RemoveCritical {
    /// The registration that was checked.
    pub registration: Arc<Registration>,
    /// Why.
    pub reason: Box<str>,
}

/// Adds or changes a gateway route.
#[derive(Clone, Debug)]
pub struct SetRoute {
    /// The route.
    pub route: RouteDraft,
}

/// Removes a gateway route. Answers with its last version.
#[derive(Clone, Debug)]
pub struct RemoveRoute {
    /// Its id.
    pub route_id: Box<str>,
}

/// Marks instances whose leases are on a closed connection as lost: unhealthy, with their ttl to reconnect.
/// At most 64 at once: ask again while the answer says that there are more.
#[derive(Clone, Copy, Debug)]
pub struct CloseConnection {
    /// The number of the connection.
    pub connection: u64,
}

/// The result of a closed connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Closed {
    /// The instances that were marked.
    pub lost: usize,
    /// Whether there are more on the same connection.
    pub more: bool,
}
