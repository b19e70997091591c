//! The broker's section of the configuration.

use std::{net::SocketAddr, time::Duration};

use bytesize::ByteSize;
use serde::Deserialize;

use super::{auth, tls};

/// The queues whose reader wants to know who sent a message. Only names here: the broker gives them no meaning.
const STAMPED: [&str; 4] = [
    "service.register",
    "service.deregister",
    "service.heartbeat",
    "service.discover",
];

/// Bounds on everything that clients can make the broker hold.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Channels of one connection: the `channel_max` proposed.
    pub channels_per_connection: u16,
    /// The `frame_max` proposed.
    pub frame_size: ByteSize,
    /// A message's body.
    pub message_size: ByteSize,
    /// Queues of a vhost.
    pub queues: usize,
    /// Exchanges of a vhost.
    pub exchanges: usize,
    /// Bindings of a vhost.
    pub bindings: usize,
    /// Consumers of one channel.
    pub consumers_per_channel: usize,
    /// Deliveries that one client settles by one method before others have a turn.
    pub settled_at_once: usize,
    /// Bodies that a channel may hold unacknowledged before it gets no more.
    pub unacked_per_channel: ByteSize,
    /// Publishes that an open transaction may hold.
    pub transaction_per_channel: ByteSize,
    /// What may wait for a slow client before it gets no more deliveries.
    pub outbox_per_connection: ByteSize,
    /// How long a consumer may hold a delivery of a queue that does not say so itself; 0: for ever.
    #[serde(with = "humantime_serde")]
    pub consumer_timeout: Duration,
    /// Messages in memory above which publishers are blocked.
    pub memory: ByteSize,
    /// How long a client may take from connecting to `connection.open`.
    #[serde(with = "humantime_serde")]
    pub handshake: Duration,
    /// How long a client may take to answer `connection.close`.
    #[serde(with = "humantime_serde")]
    pub closing: Duration,
    /// How long all connections together may take to close when the broker stops.
    #[serde(with = "humantime_serde")]
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            channels_per_connection: 2047,
            frame_size: ByteSize::kib(128),
            message_size: ByteSize::mib(16),
            queues: 100_000,
            exchanges: 10_000,
            bindings: 200_000,
            consumers_per_channel: 10_000,
            settled_at_once: 1024,
            unacked_per_channel: ByteSize::mib(256),
            transaction_per_channel: ByteSize::mib(64),
            outbox_per_connection: ByteSize::kib(256),
            consumer_timeout: Duration::ZERO,
            memory: ByteSize::gib(1),
            handshake: Duration::from_secs(10),
            closing: Duration::from_secs(30),
            shutdown: Duration::from_secs(5),
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
    /// Address and port; empty switches the door off.
    pub listen: String,
    /// The encrypted door.
    pub tls: tls::Config,
    /// The users by name.
    pub users: auth::Users,
    /// How logins are checked.
    pub auth: auth::Config,
    /// The virtual hosts.
    pub vhosts: Vec<String>,
    /// The time between signs of life that is proposed to clients; 0: none.
    #[serde(with = "humantime_serde")]
    pub heartbeat: Duration,
    /// What clients may make the broker hold.
    pub limits: Limits,
    /// Queues whose messages are stamped with the connection they came over.
    pub stamp_queues: Vec<String>,
    /// The header that carries the stamp.
    pub stamp_header: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:5672".to_owned(),
            tls: tls::Config::default(),
            users: auth::Users::new(),
            auth: auth::Config::default(),
            vhosts: vec!["/".to_owned()],
            heartbeat: Duration::from_secs(60),
            limits: Limits::default(),
            stamp_queues: STAMPED.map(str::to_owned).to_vec(),
            stamp_header: "x-musterd-connection".to_owned(),
        }
    }
}

impl Config {
    /// Where the plain door is, if it is open; the text that cannot be read otherwise.
    pub fn address(&self) -> Result<Option<SocketAddr>, &str> {
        match self.listen.as_str() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| text),
        }
    }

    /// The `heartbeat` proposed, in seconds.
    pub fn heartbeat_s(&self) -> u16 {
        u16::try_from(self.heartbeat.as_secs()).unwrap_or(u16::MAX)
    }
}
