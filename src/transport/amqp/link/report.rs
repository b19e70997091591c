//! How the connection fares.

use std::sync::atomic::Ordering;

use super::{Link, State};
use crate::{api::BrokerReport, transport::amqp::AmqpError};

impl Link {
    /// How it fares.
    pub fn report(&self) -> BrokerReport {
        let (state, since, error) = match &*self.shared.state.borrow() {
            State::Off { since } => ("off", *since, None),
            State::Away { error, since } => ("away", *since, Some(error.to_string())),
            State::Up { connected, since } => {
                let blocked = connected.sending.status().blocked();
                (
                    "up",
                    *since,
                    blocked.then(|| AmqpError::Blocked.to_string()),
                )
            }
        };
        BrokerReport {
            kind: if self.shared.target.is_embedded() {
                "embedded"
            } else {
                "external"
            },
            url: self.shared.target.shown(),
            state,
            silent: self.silent(),
            since,
            error,
            connections: self.shared.connections.load(Ordering::Relaxed),
            dead_letters: self.shared.dead_letters.total(),
            answers_lost: self.shared.lost_answers.total(),
        }
    }
}
