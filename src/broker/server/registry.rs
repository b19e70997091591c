//! Who is connected.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use serde::Serialize;

use crate::broker::{
    listing::{Gather, Listing, Wanted},
    peer::Peer,
    queue::ConnectionId,
    vhost::json_table,
    wire::Table,
};

/// The open connections.
#[derive(Debug, Default)]
pub(super) struct Registry {
    open: Mutex<HashMap<ConnectionId, Arc<Entry>>>,
    opened: AtomicU64,
    closed: AtomicU64,
    /// Sockets, also those whose clients have not logged in yet.
    sockets: Arc<AtomicUsize>,
}

/// A socket's place among those that are allowed; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    sockets: Arc<AtomicUsize>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sockets.fetch_sub(1, Relaxed);
    }
}

/// One connection, as others see it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) peer: Arc<Peer>,
    pub(super) address: SocketAddr,
    pub(super) tls: bool,
    pub(super) user: String,
    pub(super) vhost: String,
    pub(super) name: String,
    /// What the client says of itself.
    pub(super) client: Table,
    pub(super) connected_at: u64,
    pub(super) channel_max: u16,
    pub(super) frame_max: u32,
    pub(super) heartbeat_s: u16,
    pub(super) channels: AtomicUsize,
    pub(super) received_bytes: AtomicU64,
    pub(super) blocked: AtomicBool,
    /// Why an operator wants it closed.
    pub(super) kick: Mutex<Option<String>>,
}

/// A connection.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectionView {
    /// Its number, which messages can be stamped with.
    pub id: ConnectionId,
    /// The name it gave itself.
    pub name: String,
    /// The client's address.
    pub peer: String,
    /// The user that logged in.
    pub user: String,
    /// The virtual host it opened.
    pub vhost: String,
    /// Whether it is encrypted.
    pub tls: bool,
    /// running or blocked
    pub state: &'static str,
    /// How many channels are open.
    pub channels: usize,
    /// The channels agreed.
    pub channel_max: u16,
    /// The frame size agreed.
    pub frame_max: u32,
    /// The seconds between heartbeats agreed.
    pub heartbeat_s: u16,
    /// When it was opened, in seconds since 1970.
    pub connected_at: u64,
    /// Bytes that came.
    pub received_bytes: u64,
    /// Bytes that left.
    pub sent_bytes: u64,
    /// Bytes that wait for the client to read.
    pub unsent_bytes: usize,
    /// What the client says of itself.
    pub client_properties: serde_json::Value,
}

impl Registry {
    /// A place for one more socket, if there is one.
    pub(super) fn place(&self, limit: usize) -> Option<Place> {
        let place = Place {
            sockets: Arc::clone(&self.sockets),
        };
        (self.sockets.fetch_add(1, Relaxed) < limit).then_some(place)
    }

    pub(super) fn len(&self) -> usize {
        self.open.lock().len()
    }

    pub(super) fn add(&self, entry: Arc<Entry>) {
        self.opened.fetch_add(1, Relaxed);
        self.open.lock().insert(entry.peer.id, entry);
    }

    pub(super) fn remove(&self, id: ConnectionId) {
        self.closed.fetch_add(1, Relaxed);
        self.open.lock().remove(&id);
    }

    pub(super) fn find(&self, id: ConnectionId) -> Option<Arc<Entry>> {
        self.open.lock().get(&id).cloned()
    }

    pub(super) fn has(&self, id: ConnectionId) -> bool {
        self.open.lock().contains_key(&id)
    }

    /// How many were opened and closed so far.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.opened.load(Relaxed), self.closed.load(Relaxed))
    }

    /// The name of a connection, empty if it is gone.
    pub(super) fn name(&self, id: ConnectionId) -> String {
        self.find(id)
            .map_or_else(String::new, |entry| entry.name.clone())
    }

    /// Those that are wanted, in the order in which they were opened.
    pub(super) fn views(&self, wanted: &Wanted, into: &mut Listing<ConnectionView>) {
        let mut entries: Vec<_> = self.open.lock().values().cloned().collect();
        entries.sort_unstable_by_key(|entry| entry.peer.id);
        let only = wanted.vhost.as_ref();
        for entry in entries {
            if only.is_none_or(|only| *only == entry.vhost) {
                let address = entry.address.to_string();
                into.offer(&[entry.name.as_bytes(), address.as_bytes()], || {
                    entry.view()
                });
            }
        }
    }
}

impl Entry {
    fn view(&self) -> ConnectionView {
        ConnectionView {
            id: self.peer.id,
            name: self.name.clone(),
            peer: self.address.to_string(),
            user: self.user.clone(),
            vhost: self.vhost.clone(),
            tls: self.tls,
            state: if self.blocked.load(Relaxed) {
                "blocked"
            } else {
                "running"
            },
            channels: self.channels.load(Relaxed),
            channel_max: self.channel_max,
            frame_max: self.frame_max,
            heartbeat_s: self.heartbeat_s,
            connected_at: self.connected_at,
            received_bytes: self.received_bytes.load(Relaxed),
            sent_bytes: self.peer.sent_bytes.load(Relaxed),
            unsent_bytes: self.peer.outbox.unsent(),
            client_properties: json_table(&self.client),
        }
    }
}
