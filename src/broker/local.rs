//! A client in the same process. It has no socket, no login and no frame size, and takes no place of the clients'
//! connections, so clients cannot exclude it.
//!
//! Its methods and messages go straight to a session under the vhost's lock, a bounded number in one turn.
//! Deliveries come back as messages, never encoded.

mod channel;
mod received;

use std::sync::Arc;

use bytes::Bytes;

pub use self::{
    channel::{AfterGet, LocalChannel},
    received::{Received, ReceivedMessage},
};
use super::{
    Broker,
    auth::Grant,
    server::{Shared, VhostCell},
    wire::{Properties, ShortStr},
};

/// Why a channel is of no further use, or a message was not taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LocalError {
    /// The broker has closed the channel.
    #[error("{text}")]
    Closed {
        /// The reply code.
        code: u16,
        /// The name of the code and the explanation.
        text: String,
    },
    /// A queue refused a message (`basic.nack`).
    #[error("a queue refused a message")]
    Refused,
}

/// A message to be published.
#[derive(Clone, Debug)]
pub struct LocalPublish {
    /// The exchange.
    pub exchange: ShortStr,
    /// The routing key.
    pub routing_key: ShortStr,
    /// Its properties.
    pub properties: Properties,
    /// Its body; not copied.
    pub body: Bytes,
}

/// A client of one vhost. Clones are the same one.
#[derive(Clone, Debug)]
pub struct LocalClient {
    shared: Arc<Shared>,
    vhost: Arc<VhostCell>,
    vhost_name: Arc<str>,
}

impl Broker {
    /// A client of this vhost in the same process; none when there is no such vhost.
    pub fn local(&self, vhost: &str) -> Option<LocalClient> {
        let shared = self.shared();
        Some(LocalClient {
            vhost: shared.vhost(vhost)?,
            shared: Arc::clone(shared),
            vhost_name: vhost.into(),
        })
    }
}

impl LocalClient {
    /// Opens a channel.
    pub fn open(&self) -> LocalChannel {
        LocalChannel::open(self.clone())
    }

    /// Opens a channel whose publishes the memory alarm does not block: for what takes the place of messages that
    /// were consumed. Otherwise a consumer that has to publish could not make room.
    pub fn open_exempt(&self) -> LocalChannel {
        let mut channel = self.open();
        channel.exempt = true;
        channel
    }

    /// Opens a channel with the permissions of a user, for an operator. Limits and the memory alarm hold as for clients.
    pub fn open_as(&self, grant: Grant) -> LocalChannel {
        LocalChannel::open_with(self.clone(), grant)
    }

    /// Whether the memory alarm blocks publishers.
    pub fn is_blocked(&self) -> bool {
        self.shared.memory.is_alarm()
    }

    /// Waits until publishers are not blocked. Cancel safe.
    pub async fn until_unblocked(&self) {
        self.shared.memory.alarm_ended().await;
    }
}

#[cfg(test)]
mod tests;
