//! Why commands are refused.

use std::sync::Arc;

use bytesize::ByteSize;

use crate::model::CANARY;

/// Why a command was refused. Nothing has changed then.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// No instance has this id.
    #[error("Service not found")]
    Unknown,
    /// The instance has no such check.
    #[error("Check not found")]
    UnknownCheck,
    /// The instance has as many checks as it may.
    #[error(
        "the instance would have more than {max} checks (registry.checks_max): deregister some first"
    )]
    TooManyChecks {
        /// The limit.
        max: usize,
    },
    /// No route has this id.
    #[error("Route not found")]
    UnknownRoute,
    /// The incarnation is not the current one.
    #[error(
        "incarnation {current} has taken this id over: stop, or register again without an incarnation"
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
    /// The identity of the caller may not do this.
    #[error("{0}")]
    Forbidden(Arc<str>),
    /// The id is registered in a service that the identity of the caller may not see.
    #[error(
        "the id is registered in a service that this identity may not write: choose another id"
    )]
    IdTaken,
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
    /// `registry.memory_max` is reached.
    #[error("the registry is full: registry.memory_max is {max}")]
    MemoryFull {
        /// The limit.
        max: ByteSize,
    },
    /// Too many commands wait for the journal.
    #[error("{max} commands wait to be committed already, try again")]
    Busy {
        /// The limit.
        max: usize,
    },
    /// The journal did not commit the batch of the command.
    #[error("the change was not committed: {detail}")]
    NotCommitted {
        /// The journal's error.
        detail: Arc<str>,
    },
    /// The journal has no room for the batch of the command.
    #[error(
        "the disk of store.path is full: nothing is registered or changed until it has space again"
    )]
    NoSpace,
    /// The daemon stops before the command was committed.
    #[error("the daemon is stopping")]
    Stopping,
}

impl Refusal {
    /// The HTTP status code that says the same.
    pub fn status(&self) -> u16 {
        match self {
            Self::Unknown | Self::UnknownRoute | Self::UnknownCheck => 404,
            Self::Conflict { .. } => 409,
            Self::Forbidden(_) | Self::IdTaken => 403,
            Self::NoConnection
            | Self::Reserved
            | Self::TooManyChecks { .. }
            | Self::MetadataTooLarge { .. }
            | Self::MetadataTooDeep => 422,
            Self::Full { .. }
            | Self::RoutesFull { .. }
            | Self::Busy { .. }
            | Self::NotCommitted { .. }
            | Self::Stopping => 503,
            Self::MemoryFull { .. } | Self::NoSpace => 507,
        }
    }

    /// The field of the command that the message is about.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::NoConnection => Some("lease"),
            Self::Reserved => Some("service_id"),
            Self::TooManyChecks { .. } => Some("checks"),
            Self::MetadataTooLarge { .. } | Self::MetadataTooDeep => Some("metadata"),
            _ => None,
        }
    }
}
