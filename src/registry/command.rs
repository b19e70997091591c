//! The changes that can be asked of the registry, each with the type of its answer.

use std::sync::Arc;

use super::{
    Refusal, Registered,
    clock::Now,
    state::{Events, State},
};
use crate::model::{
    Instance, MetadataError, OverrideStatus, Patch, Registration, Route, RouteDraft, Status,
    Timestamp,
};

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
}

/// What a command changes: permissions are judged by it.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// An instance by its id alone.
    Instance(&'a str),
    /// A registration, with its service.
    Registration(&'a Registration),
    /// A gateway route by its id.
    Route(&'a str),
    /// A connection of the embedded broker.
    Connection(u64),
}

/// One change that is asked of the registry.
pub trait Command: std::fmt::Debug + Send + 'static {
    /// What a successful command answers.
    type Outcome: std::fmt::Debug + Send + 'static;

    /// Its kind.
    const OPERATION: Operation;

    /// What it changes.
    fn target(&self) -> Target<'_>;

    /// Its rule: what becomes of it on top of `draft`.
    ///
    /// # Errors
    /// It is refused; the draft is as before.
    fn decide(self, draft: Draft<'_>, origin: Origin) -> Result<Self::Outcome, Refusal>;
}

/// What commands decide on.
#[derive(Debug)]
pub struct Draft<'a> {
    pub(super) state: &'a mut State,
    pub(super) out: &'a mut Events,
}

/// Adds an instance or replaces what is known of it; the same value again renews the lease and is no event.
///
/// Refused when `incarnation` is not the registered one, when the registry is full, or when the lease
/// needs a connection and the command came over none.
#[derive(Clone, Debug)]
pub struct Register {
    /// The instance as its caller describes it.
    pub registration: Registration,
    /// The incarnation that the caller was given.
    pub incarnation: Option<u64>,
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

/// Marks the instances whose leases are on a closed connection as lost: unhealthy, with their ttl to
/// come back. Answers with their number.
#[derive(Clone, Copy, Debug)]
pub struct CloseConnection {
    /// The number of the connection.
    pub connection: u64,
}

/// Implements [`Command`] for a type: its outcome, its kind, its target and its rule.
macro_rules! command {
    ($name:ident, $outcome:ty, $operation:ident, |$target:ident| $of:expr,
     |$self:ident, $state:ident, $origin:ident, $out:ident| $decide:expr) => {
        impl Command for $name {
            type Outcome = $outcome;

            const OPERATION: Operation = Operation::$operation;

            fn target(&self) -> Target<'_> {
                let $target = self;
                $of
            }

            fn decide(self, draft: Draft<'_>, $origin: Origin) -> Result<$outcome, Refusal> {
                let Draft {
                    state: $state,
                    out: $out,
                } = draft;
                let $self = self;
                $decide
            }
        }
    };
}

command!(
    Register,
    Registered,
    Register,
    |command| Target::Registration(&command.registration),
    |command, state, origin, out| match origin.connection {
        None => state.register(command.registration, command.incarnation, origin.now, out),
        Some(connection) => state.register_over(
            connection,
            command.registration,
            command.incarnation,
            origin.now,
            out
        ),
    }
);
command!(
    Deregister,
    Arc<Instance>,
    Deregister,
    |command| Target::Instance(&command.service_id),
    |command, state, origin, out| {
        state.deregister(&command.service_id, command.incarnation, origin.now, out)
    }
);
command!(
    Heartbeat,
    Timestamp,
    Heartbeat,
    |command| Target::Instance(&command.service_id),
    |command, state, origin, out| {
        let (id, incarnation) = (&*command.service_id, command.incarnation);
        match origin.connection {
            Some(connection) => {
                state.heartbeat_over(id, incarnation, connection, origin.now, out)?;
            }
            None => state.heartbeat(id, incarnation, origin.now)?,
        }
        Ok(origin.now.wall)
    }
);
command!(
    PatchInstance,
    Arc<Instance>,
    Patch,
    |command| Target::Instance(&command.service_id),
    |command, state, origin, out| {
        let known = state
            .table
            .instance(&command.service_id)
            .ok_or(Refusal::Unknown)?;
        let patched = command.patch.apply(&known.registration);
        let patched = patched.map_err(|_: MetadataError| Refusal::MetadataTooDeep)?;
        let (bytes, max) = (
            patched.metadata.as_str().len(),
            state.config.metadata_max.as_u64(),
        );
        if bytes as u64 > max {
            return Err(Refusal::MetadataTooLarge { bytes, max });
        }
        Ok(state.edit(&known, patched, origin.now, out))
    }
);
command!(
    SetOverride,
    Arc<Instance>,
    Override,
    |command| Target::Instance(&command.service_id),
    |command, state, origin, out| {
        let overridden = Some((command.status, command.reason));
        state.set_override(&command.service_id, overridden, origin.now, out)
    }
);
command!(
    LiftOverride,
    Arc<Instance>,
    Override,
    |command| Target::Instance(&command.service_id),
    |command, state, origin, out| {
        state.set_override(&command.service_id, None, origin.now, out)
    }
);
command!(
    Observe,
    bool,
    Observe,
    |command| Target::Registration(&command.registration),
    |command, state, origin, out| {
        let (of, reason) = (&command.registration, command.reason.as_deref());
        Ok(state.set_observed(of, command.observed, reason, origin.now, out))
    }
);
command!(
    SetRoute,
    Arc<Route>,
    Route,
    |command| Target::Route(command.route.route_id.as_str()),
    |command, state, origin, out| state.set_route(command.route, origin.now, out)
);
command!(
    RemoveRoute,
    Arc<Route>,
    Route,
    |command| Target::Route(&command.route_id),
    |command, state, origin, out| state.remove_route(&command.route_id, origin.now, out)
);
command!(
    CloseConnection,
    usize,
    CloseConnection,
    |command| Target::Connection(command.connection),
    |command, state, origin, out| {
        Ok(state.connection_closed(command.connection, origin.now, out))
    }
);
