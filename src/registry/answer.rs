//! What the registry answers: refusals, what a registration did, sizes.

use std::sync::Arc;

use crate::model::Instance;

/// Why a command was refused. Nothing has changed then.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RegistryError {
    /// No instance has this id.
    #[error("Service not found")]
    Unknown,
    /// No route has this id.
    #[error("Route not found")]
    UnknownRoute,
    /// The caller was registered once, and its successor is now.
    #[error(
        "incarnation {current} has taken this id over: stop, or register anew without an incarnation"
    )]
    Conflict {
        /// The one that is registered.
        current: u64,
    },
    /// The lease shall hang on a connection, and none of the embedded broker's is there.
    #[error(
        "lease \"connection\" needs a connection to the embedded broker: register over it, or with lease \"ttl\""
    )]
    NoConnection,
    /// `registry.instances_max` is reached.
    #[error("the registry is full: registry.instances_max is {max}")]
    Full {
        /// The limit.
        max: usize,
    },
    /// `registry.routes_max` is reached.
    #[error("there are too many routes: registry.routes_max is {max}")]
    RoutesFull {
        /// The limit.
        max: usize,
    },
}

/// Why an edit was refused.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError<E> {
    /// By the registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// By the caller's own rule.
    #[error("{0}")]
    Refused(E),
}

/// What a registration did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The id is new.
    New,
    /// The id says something else now.
    Updated,
    /// Nothing but the lease.
    Renewed,
}

/// An instance as it stands after it registered.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The instance.
    pub instance: Arc<Instance>,
    /// What registering did.
    pub outcome: Outcome,
}

/// Sizes for reports and metrics.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Instances.
    pub instances: usize,
    /// Instances whose effective status is healthy.
    pub healthy: usize,
    /// Services with at least one instance.
    pub services: usize,
    /// Services kept because somebody watches them or the log still knows them, included.
    pub services_known: usize,
    /// Routes.
    pub routes: usize,
    /// Events in the log.
    pub log_entries: usize,
    /// Bytes in the log.
    pub log_bytes: usize,
    /// Timers.
    pub leases: usize,
    /// Instances whose leases hang on an open connection.
    pub bound: usize,
    /// Engaged guards.
    pub guards: usize,
}
