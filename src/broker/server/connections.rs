//! The clients that are connected: those that have opened a vhost, and those that have not logged in yet.
//! Each of the two has a separate limit, so that clients that never log in block no others.

mod local;
mod waiting;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

pub(in crate::broker) use self::local::LocalConnection;
pub(super) use self::waiting::WaitingClient;
use self::{local::LocalConnections, waiting::WaitingClients};
use crate::broker::{
    config::Limits,
    listing::{Gather, Listing, Wanted},
    memory::Charge,
    peer::Peer,
    queue::ConnectionId,
    vhost::json_table,
    wire::Table,
};

/// The connected clients.
#[derive(Debug)]
pub(in crate::broker) struct Connections {
    open: Mutex<HashMap<ConnectionId, Arc<OpenConnection>>>,
    local: LocalConnections,
    opened: AtomicU64,
    closed: AtomicU64,
    /// How many have opened a vhost, or are about to.
    permits: Arc<AtomicUsize>,
    /// Those that have not logged in.
    waiting: Arc<Mutex<WaitingClients>>,
    limit: usize,
    waiting_limit: usize,
}

/// One of the connections that are allowed; given back when it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    permits: Arc<AtomicUsize>,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.permits.fetch_sub(1, Relaxed);
    }
}

/// One connection, as others see it.
#[derive(Debug)]
pub(super) struct OpenConnection {
    pub(super) peer: Arc<Peer>,
    pub(super) address: SocketAddr,
    pub(super) tls: bool,
    pub(super) user: String,
    pub(super) vhost: String,
    pub(super) name: String,
    /// The client-properties of the login.
    pub(super) client: Table,
    pub(super) connected_at: u64,
    pub(super) channel_max: u16,
    pub(super) frame_max: u32,
    pub(super) heartbeat_s: u16,
    pub(super) channels: AtomicUsize,
    pub(super) received_bytes: AtomicU64,
    pub(super) blocked: AtomicBool,
    /// Why an operator closes it.
    pub(super) kick: Mutex<Option<String>>,
    /// Counts the name and what the client says of itself.
    pub(super) _charge: Charge,
}

/// A connection.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerConnection)]
pub struct ConnectionView {
    /// Its number.
    #[schema(value_type = u64)]
    pub id: ConnectionId,
    /// The name it gave itself.
    pub name: String,
    /// The client's address.
    pub peer: String,
    /// The user that logged in.
    pub user: String,
    /// Its virtual host.
    pub vhost: String,
    /// True when it is encrypted.
    pub tls: bool,
    /// running or blocked.
    pub state: &'static str,
    /// Open channels.
    pub channels: u64,
    /// The channels agreed.
    pub channel_max: u16,
    /// The frame size agreed.
    pub frame_max: u32,
    /// The seconds between heartbeats agreed.
    pub heartbeat_s: u16,
    /// In seconds since 1970.
    pub connected_at: u64,
    /// Bytes that came.
    pub received_bytes: u64,
    /// Bytes that left.
    pub sent_bytes: u64,
    /// Bytes that wait for the client to read.
    pub unsent_bytes: u64,
    /// The client-properties of the login.
    #[schema(value_type = Object)]
    pub client_properties: serde_json::Value,
}

impl Connections {
    /// No connections yet. Of the `files` that the process may have open, AMQP clients get three fifths at most.
    pub(super) fn new(limits: &Limits, files: usize) -> Self {
        let sockets = (files / 5 * 3).max(2);
        let waiting_limit = limits.unauthenticated.get().min(sockets.div_ceil(4));
        Self {
            open: Mutex::default(),
            local: LocalConnections::default(),
            opened: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            permits: Arc::default(),
            waiting: Arc::default(),
            limit: limits.connections.get().min(sockets - waiting_limit),
            waiting_limit,
        }
    }

    /// How many may be open.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// How many may be there that have not logged in.
    pub(super) fn waiting_limit(&self) -> usize {
        self.waiting_limit
    }

    /// A client has connected. If too many have not logged in yet, one is evicted, of the address that has most of them:
    /// a login takes a moment only.
    pub(super) fn arrive(&self, id: ConnectionId, address: IpAddr) -> WaitingClient {
        WaitingClients::arrive(&self.waiting, (id, address), self.waiting_limit)
    }

    /// One more connection, if there may be one.
    pub(super) fn permit(&self) -> Option<ConnectionPermit> {
        let permit = ConnectionPermit {
            permits: Arc::clone(&self.permits),
        };
        (self.permits.fetch_add(1, Relaxed) < self.limit).then_some(permit)
    }

    pub(super) fn len(&self) -> usize {
        self.open.lock().len()
    }

    pub(super) fn add(&self, connection: Arc<OpenConnection>) {
        self.opened.fetch_add(1, Relaxed);
        self.open.lock().insert(connection.peer.id, connection);
    }

    pub(super) fn remove(&self, id: ConnectionId) {
        self.closed.fetch_add(1, Relaxed);
        self.open.lock().remove(&id);
    }

    /// A connection in the same process, from now on until it is removed.
    pub(in crate::broker) fn add_local(&self, connection: LocalConnection) {
        self.local.add(connection);
    }

    pub(in crate::broker) fn remove_local(&self, id: ConnectionId) {
        self.local.remove(id);
    }

    pub(super) fn find(&self, id: ConnectionId) -> Option<Arc<OpenConnection>> {
        self.open.lock().get(&id).cloned()
    }

    pub(super) fn has(&self, id: ConnectionId) -> bool {
        self.open.lock().contains_key(&id)
    }

    /// Wakes the tasks of all connections.
    pub(super) fn wake_all(&self) {
        for connection in self.open.lock().values() {
            connection.peer.wake.notify_one();
        }
    }

    /// How many each user has open.
    pub(super) fn by_user(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for connection in self.open.lock().values() {
            *counts.entry(connection.user.clone()).or_default() += 1;
        }
        counts
    }

    /// How many were opened and closed so far.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.opened.load(Relaxed), self.closed.load(Relaxed))
    }

    /// The name of a connection, empty if it is gone.
    pub(super) fn name(&self, id: ConnectionId) -> String {
        match self.find(id) {
            Some(connection) => connection.name.clone(),
            None if self.local.has(id) => local::NAME.to_owned(),
            None => String::new(),
        }
    }

    /// Those that are wanted: clients, then those in the same process, each in the order in which they were opened.
    pub(super) fn views(&self, wanted: &Wanted, into: &mut Listing<ConnectionView>) {
        let mut open: Vec<_> = self.open.lock().values().cloned().collect();
        open.sort_unstable_by_key(|connection| connection.peer.id);
        let is_wanted = |vhost: &str| wanted.vhost.as_ref().is_none_or(|only| only == vhost);
        for connection in open.iter().filter(|one| is_wanted(&one.vhost)) {
            let address = connection.address.to_string();
            let names = [connection.name.as_bytes(), address.as_bytes()];
            into.offer(&names, || connection.view());
        }
        let local = self.local.list();
        for connection in local.iter().filter(|one| is_wanted(&one.vhost)) {
            into.offer(&[local::NAME.as_bytes()], || connection.view());
        }
    }
}

impl OpenConnection {
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
            channels: self.channels.load(Relaxed) as u64,
            channel_max: self.channel_max,
            frame_max: self.frame_max,
            heartbeat_s: self.heartbeat_s,
            connected_at: self.connected_at,
            received_bytes: self.received_bytes.load(Relaxed),
            sent_bytes: self.peer.sent_bytes.load(Relaxed),
            unsent_bytes: self.peer.outbox.unsent() as u64,
            client_properties: json_table(&self.client),
        }
    }
}

#[cfg(test)]
mod tests;
