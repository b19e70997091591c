//! What the registry answers: refusals, what a registration did, sizes.

use std::sync::Arc;

use crate::model::{CANARY, Instance};

/// Why a command was refused. Nothing has changed then.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// No instance has this id.
    #[error("Service not found")]
    Unknown,
    /// No route has this id.
    #[error("Route not found")]
    UnknownRoute,
    /// The incarnation is not the current one.
    #[error(
        "incarnation {current} has taken this id over: stop, or register anew without an incarnation"
    )]
    Conflict {
        /// The one that is registered.
        current: u64,
    },
    /// The lease needs a connection to the embedded broker, and the command came over none.
    #[error(
        "\"connection\" needs an AMQP connection to the embedded broker with a heartbeat of 1 to 600 seconds: \
         register over one, or with \"ttl\""
    )]
    NoConnection,
    /// The id or the name is the canary's.
    #[error("\"{CANARY}\" is reserved for the migration's canary: choose another id and name")]
    Reserved,
    /// A patch makes the metadata too large.
    #[error("would be {bytes} bytes long, at most {max} are allowed")]
    MetadataTooLarge {
        /// Its size after the patch.
        bytes: usize,
        /// `registry.metadata_max`.
        max: u64,
    },
    /// A patch makes the metadata unreadable.
    #[error("would be nested too deep")]
    MetadataTooDeep,
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
    /// The daemon stops before the command was committed.
    #[error("the daemon is stopping")]
    Stopping,
}

impl Refusal {
    /// The HTTP status code that says the same.
    pub fn status(&self) -> u16 {
        match self {
            Self::Unknown | Self::UnknownRoute => 404,
            Self::Conflict { .. } => 409,
            Self::NoConnection
            | Self::Reserved
            | Self::MetadataTooLarge { .. }
            | Self::MetadataTooDeep => 422,
            Self::Full { .. } | Self::RoutesFull { .. } | Self::Stopping => 503,
        }
    }

    /// The field of the command that the message is about.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::NoConnection => Some("lease"),
            Self::Reserved => Some("service_id"),
            Self::MetadataTooLarge { .. } | Self::MetadataTooDeep => Some("metadata"),
            _ => None,
        }
    }
}

/// What a registration did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
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
    pub change: Change,
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
