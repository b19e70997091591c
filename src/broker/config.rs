//! The broker's section of the configuration.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    time::Duration,
};

use bytesize::ByteSize;
use serde::Deserialize;

use crate::quantity::{Bounded, DAY, GIB, KIB, MIB, SECOND, TIB, YEAR};

use super::{
    auth::{self, Authenticator, ConfigFault, Mechanism},
    tls,
};

/// Where the management API listens, unless the configuration says otherwise.
pub const MANAGEMENT_LISTEN: &str = "127.0.0.1:15672";

/// The queues whose messages carry the number of their connection. The broker gives the names no meaning.
const STAMPED: [&str; 4] = [
    "service.register",
    "service.deregister",
    "service.heartbeat",
    "service.discover",
];

/// Limits on what clients can make the broker hold.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections at a time.
    pub connections: Bounded<usize, 4, 1_000_000>,
    /// Clients at a time that have not logged in; the oldest gives way to one more.
    pub unauthenticated: Bounded<usize, 1, 1_000_000>,
    /// Channels of one connection: the `channel_max` proposed.
    pub channels_per_connection: Bounded<u16, 32, 65_535>,
    /// The `frame_max` proposed.
    pub frame_size: Bounded<ByteSize, { 4 * KIB }, { 64 * MIB }>,
    /// A message's body.
    pub message_size: Bounded<ByteSize, { 4 * KIB }, GIB>,
    /// Queues of a vhost.
    pub queues: Bounded<usize, 32, 10_000_000>,
    /// Exchanges of a vhost.
    pub exchanges: Bounded<usize, 32, 10_000_000>,
    /// Bindings of a vhost.
    pub bindings: Bounded<usize, 64, 100_000_000>,
    /// Consumers of one channel.
    pub consumers_per_channel: Bounded<usize, 1, 1_000_000>,
    /// Deliveries settled, or publishes committed, by one method in one turn.
    pub settled_at_once: Bounded<usize, 1, 1_000_000>,
    /// Bodies that a channel may hold unacknowledged; beyond that it gets no more deliveries.
    pub unacked_per_channel: Bounded<ByteSize, KIB, TIB>,
    /// Publishes that an open transaction may hold.
    pub transaction_per_channel: Bounded<ByteSize, { 4 * KIB }, TIB>,
    /// Bytes that may wait for a slow client; beyond that it gets no more deliveries.
    pub outbox_per_connection: Bounded<ByteSize, { 4 * KIB }, GIB>,
    /// How long a consumer may hold a delivery, where the queue has no such limit; 0: no limit.
    pub consumer_timeout: Bounded<Duration, 0, YEAR>,
    /// Bytes in memory above which publishers are blocked. Queues, exchanges, bindings, consumers and channels
    /// may take half of them, or 16 MiB if that is more.
    pub memory: Bounded<ByteSize, { 64 * KIB }, TIB>,
    /// Bytes in memory above which persistent messages in durable queues are kept on the disk only, but for the first
    /// ones of each queue. Without a store it has no effect.
    pub queue_memory: Bounded<ByteSize, { 64 * KIB }, TIB>,
    /// How long a client may take from connecting to `connection.open`.
    pub handshake: Bounded<Duration, 10, DAY>,
    /// How long a client may take to answer `connection.close`.
    pub closing: Bounded<Duration, 10, DAY>,
    /// How long all connections together may take to close when the broker stops.
    pub shutdown: Bounded<Duration, 10, DAY>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000.into(),
            unauthenticated: 1000.into(),
            channels_per_connection: 2047.into(),
            frame_size: ByteSize::kib(128).into(),
            message_size: ByteSize::mib(16).into(),
            queues: 100_000.into(),
            exchanges: 10_000.into(),
            bindings: 200_000.into(),
            consumers_per_channel: 10_000.into(),
            settled_at_once: 1024.into(),
            unacked_per_channel: ByteSize::mib(256).into(),
            transaction_per_channel: ByteSize::mib(64).into(),
            outbox_per_connection: ByteSize::kib(256).into(),
            consumer_timeout: Duration::ZERO.into(),
            memory: ByteSize::gib(1).into(),
            queue_memory: ByteSize::mib(256).into(),
            handshake: Duration::from_secs(10).into(),
            closing: Duration::from_secs(30).into(),
            shutdown: Duration::from_secs(2).into(),
        }
    }
}

impl Limits {
    /// The `frame_max` proposed.
    pub fn frame_max(&self) -> u32 {
        u32::try_from(self.frame_size.as_u64()).unwrap_or(u32::MAX)
    }
}

/// A size as a number of bytes in memory.
pub fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}

/// Section `broker`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port; empty: no plain listener.
    pub listen: String,
    /// Address and port of the management API; empty: none.
    pub management_listen: String,
    /// The TLS listener.
    pub tls: tls::Config,
    /// The users by name.
    pub users: auth::Users,
    /// How logins are checked.
    pub auth: auth::Config,
    /// The ways to log in: EXTERNAL is for clients with a certificate only.
    pub auth_mechanisms: Vec<Mechanism>,
    /// The virtual hosts.
    pub vhosts: Vec<String>,
    /// The heartbeat proposed to clients; 0: none.
    pub heartbeat: Bounded<Duration, 0, { 65_535 * SECOND }>,
    /// Limits on what clients can make the broker hold.
    pub limits: Limits,
    /// Queues whose messages are stamped with the connection they came over.
    pub stamp_queues: Vec<String>,
    /// The header that carries the stamp.
    pub stamp_header: String,
    /// The header that carries the user that logged in.
    pub stamp_user_header: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:5672".to_owned(),
            management_listen: MANAGEMENT_LISTEN.to_owned(),
            tls: tls::Config::default(),
            users: auth::Users::new(),
            auth: auth::Config::default(),
            auth_mechanisms: vec![Mechanism::Plain, Mechanism::AmqPlain, Mechanism::External],
            vhosts: vec!["/".to_owned()],
            heartbeat: Duration::from_secs(60).into(),
            limits: Limits::default(),
            stamp_queues: STAMPED.map(str::to_owned).to_vec(),
            stamp_header: "x-musterd-connection".to_owned(),
            stamp_user_header: "x-musterd-user".to_owned(),
        }
    }
}

impl Config {
    /// The address of the plain listener, if there is one.
    ///
    /// # Errors
    /// It is not an address and port, or its host has no address.
    pub fn address(&self) -> io::Result<Option<SocketAddr>> {
        address(&self.listen)
    }

    /// The faults that the types cannot exclude, by key. Files are not read.
    pub fn faults(&self) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        let mut add = |key: &str, message: String| {
            let key = format!("broker.{key}");
            faults.push(ConfigFault { key, message });
        };
        if self.vhosts.is_empty() {
            add(
                "vhosts",
                "names no vhost; broker.listen=\"\" switches the broker off".to_owned(),
            );
        }
        if self.auth_mechanisms.is_empty() {
            let choices = Mechanism::choices();
            let fault =
                format!("names no mechanism, so no client could log in: choose from {choices}");
            add("auth_mechanisms", fault);
        }
        if !self.tls.listen.is_empty() {
            let files = [
                ("certificate", &self.tls.certificate),
                ("key", &self.tls.key),
            ];
            for (key, _) in files.iter().filter(|(_, file)| file.as_os_str().is_empty()) {
                add(
                    &format!("tls.{key}"),
                    "names no file, and broker.tls.listen needs one".to_owned(),
                );
            }
        }
        for vhost in self.vhosts.iter().filter(|name| name.len() > 255) {
            add("vhosts", format!("\"{vhost}\" is longer than 255 bytes"));
        }
        for (name, user) in &self.users {
            let permissions = user.permissions.keys().map(|vhost| ("permissions", vhost));
            let topics = user.topic_permissions.keys();
            let topics = topics.map(|vhost| ("topic_permissions", vhost));
            for (key, vhost) in permissions.chain(topics) {
                if !self.vhosts.contains(vhost) {
                    let key = format!("users.{name}.{key}");
                    add(&key, format!("\"{vhost}\" is not one of broker.vhosts"));
                }
            }
        }
        faults.extend(
            Authenticator::new(&self.auth, &self.users)
                .err()
                .into_iter()
                .flatten(),
        );
        faults
    }

    /// The `heartbeat` proposed, in seconds.
    pub fn heartbeat_s(&self) -> u16 {
        u16::try_from(self.heartbeat.as_secs()).unwrap_or(u16::MAX)
    }
}

/// The address to listen on; none when `listen` is empty. The first address of a host is used.
///
/// # Errors
/// It is not an address and port, or its host has no address.
pub fn address(listen: &str) -> io::Result<Option<SocketAddr>> {
    if listen.is_empty() {
        return Ok(None);
    }
    let first = listen.to_socket_addrs()?.next();
    let none = || io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    first.map(Some).ok_or_else(none)
}
