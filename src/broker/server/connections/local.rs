//! Connections of clients in the same process: each of their channels is shown as one connection.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use parking_lot::Mutex;

use super::ConnectionView;
use crate::broker::{peer::Peer, queue::ConnectionId};

/// The name under which they are shown.
pub(super) const NAME: &str = "in process";

/// The open ones. They have no limit and are not counted as clients.
#[derive(Debug, Default)]
pub(super) struct LocalConnections(Mutex<BTreeMap<ConnectionId, LocalConnection>>);

/// The listed properties of one.
#[derive(Clone, Debug)]
pub(in crate::broker) struct LocalConnection {
    pub(in crate::broker) peer: Arc<Peer>,
    pub(in crate::broker) user: &'static str,
    pub(in crate::broker) vhost: Arc<str>,
    /// In seconds since 1970.
    pub(in crate::broker) connected_at: u64,
}

impl LocalConnections {
    pub(super) fn add(&self, connection: LocalConnection) {
        self.0.lock().insert(connection.peer.id, connection);
    }

    pub(super) fn remove(&self, id: ConnectionId) {
        self.0.lock().remove(&id);
    }

    pub(super) fn has(&self, id: ConnectionId) -> bool {
        self.0.lock().contains_key(&id)
    }

    pub(super) fn list(&self) -> Vec<LocalConnection> {
        self.0.lock().values().cloned().collect()
    }
}

impl LocalConnection {
    pub(super) fn view(&self) -> ConnectionView {
        ConnectionView {
            id: self.peer.id,
            name: NAME.to_owned(),
            peer: String::new(),
            user: self.user.to_owned(),
            vhost: self.vhost.to_string(),
            tls: false,
            state: "running",
            channels: 1,
            channel_max: 1,
            frame_max: 0,
            heartbeat_s: 0,
            connected_at: self.connected_at,
            received_bytes: 0,
            sent_bytes: self.peer.sent_bytes.load(Relaxed),
            unsent_bytes: self.peer.outbox.unsent() as u64,
            client_properties: serde_json::json!({}),
        }
    }
}
