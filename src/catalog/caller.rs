//! The caller of a command, and its door.

use std::net::SocketAddr;

use crate::{
    model::CANARY,
    registry::{Operation, Refusal, Target},
    security::Principal,
};

/// The identity of a caller.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Identity {
    /// Unknown: it may do everything without authentication, and nothing with it.
    #[default]
    Anonymous,
    /// The daemon.
    Daemon,
    /// Recognised by a token, or as a user of the broker.
    Of(Principal),
}

/// The ways by which a command reaches the catalog.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Door {
    /// The REST API.
    Rest,
    /// The Eureka API.
    Eureka,
    /// The Consul-compatible API.
    Consul,
    /// Command queues.
    Amqp,
    /// The migration's canary, by whichever way.
    Canary,
    /// The health checks.
    Health,
    /// The embedded broker, about its connections.
    Broker,
    /// The program that embeds the daemon as a library.
    Embedding,
}

impl Door {
    /// Every door.
    pub const ALL: [Self; 8] = [
        Self::Rest,
        Self::Eureka,
        Self::Consul,
        Self::Amqp,
        Self::Canary,
        Self::Health,
        Self::Broker,
        Self::Embedding,
    ];

    /// Whether a command may come by this door, for any caller.
    pub(super) fn may(self, operation: Operation, target: Target<'_>) -> Result<(), Refusal> {
        if matches!(self, Self::Canary | Self::Health | Self::Broker) {
            return Ok(());
        }
        let reserved = match target {
            Target::Registration(registration) => {
                registration.service_id.as_str() == CANARY
                    || registration.service_name.as_str() == CANARY
            }
            Target::Instance(id) => id == CANARY && operation != Operation::Heartbeat,
            Target::Route { .. } | Target::Connection(_) | Target::Leases => false,
        };
        if reserved {
            return Err(Refusal::Reserved);
        }
        Ok(())
    }
}

/// The caller of a command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Caller {
    /// Its identity.
    pub identity: Identity,
    /// Where it connects from, if that is known.
    pub address: Option<SocketAddr>,
    /// The door.
    pub door: Door,
    /// The connection of the embedded broker that it uses, if it does.
    pub connection: Option<u64>,
}

impl Caller {
    /// A caller that nothing is known of but its door.
    pub const fn by(door: Door) -> Self {
        Self {
            identity: Identity::Anonymous,
            address: None,
            door,
            connection: None,
        }
    }

    /// A part of the daemon.
    pub const fn daemon(door: Door) -> Self {
        Self {
            identity: Identity::Daemon,
            address: None,
            door,
            connection: None,
        }
    }
}
