//! The connection's part of GET /transport.

use std::sync::atomic::Ordering;

use super::{Link, LinkState};
use crate::{api::TransportBroker, transport::amqp::AmqpError};

impl Link {
    /// The state of the connection.
    pub fn report(&self) -> TransportBroker {
        let shared = &self.shared;
        let (state, since, error) = match &*shared.state.borrow() {
            LinkState::Off { since } => ("off", *since, None),
            LinkState::Away { error, since } => ("away", *since, Some(error.to_string())),
            LinkState::Up { connected, since } => {
                let blocked = connected.connection().is_blocked();
                let error = blocked.then(|| AmqpError::Blocked.to_string());
                ("up", *since, error)
            }
        };
        TransportBroker {
            kind: shared.client.kind(),
            url: shared.client.url(),
            state,
            silent: self.silent(),
            since,
            error,
            connections: shared.connections.load(Ordering::Relaxed),
            dead_letters: shared.dead_letters.total(),
            answers_lost: shared.client.answers_lost(),
        }
    }
}
