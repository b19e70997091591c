//! The broker's section of the configuration.

use std::{net::SocketAddr, time::Duration};

use serde::Deserialize;

/// Bounds on everything that clients can make the broker hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Channels of one connection: the `channel_max` proposed.
    pub channels_per_connection: u16,
    /// The `frame_max` proposed, in bytes.
    pub frame_bytes: u32,
    /// A message's body, in bytes.
    pub message_bytes: u64,
    /// Queues of a vhost.
    pub queues: usize,
    /// Exchanges of a vhost.
    pub exchanges: usize,
    /// Bindings of a vhost.
    pub bindings: usize,
    /// Consumers of one channel.
    pub consumers_per_channel: usize,
    /// Bodies that a channel may hold unacknowledged before it gets no more, in bytes.
    pub unacked_bytes_per_channel: usize,
    /// Publishes that an open transaction may hold, in bytes.
    pub tx_bytes_per_channel: usize,
    /// Bytes that may wait for a slow client before it gets no more deliveries.
    pub outbox_bytes: usize,
    /// Bytes of messages above which publishers are blocked.
    pub memory_bytes: usize,
    /// How long a client may take from connecting to `connection.open`, in ms.
    pub handshake_ms: u64,
    /// How long a client may take to answer `connection.close`, in ms.
    pub closing_ms: u64,
    /// How long all connections together may take to close when the broker stops, in ms.
    pub shutdown_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            channels_per_connection: 2047,
            frame_bytes: 131_072,
            message_bytes: 16 << 20,
            queues: 100_000,
            exchanges: 10_000,
            bindings: 1_000_000,
            consumers_per_channel: 10_000,
            unacked_bytes_per_channel: 256 << 20,
            tx_bytes_per_channel: 64 << 20,
            outbox_bytes: 256 << 10,
            memory_bytes: 1 << 30,
            handshake_ms: 10_000,
            closing_ms: 30_000,
            shutdown_ms: 5_000,
        }
    }
}

impl Limits {
    /// How long a client may take to log in.
    pub fn handshake(&self) -> Duration {
        Duration::from_millis(self.handshake_ms)
    }

    /// How long all connections together may take to close.
    pub fn shutdown(&self) -> Duration {
        Duration::from_millis(self.shutdown_ms)
    }

    /// How long a client may take to answer `connection.close`.
    pub fn closing(&self) -> Duration {
        Duration::from_millis(self.closing_ms)
    }
}

/// The broker's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where it listens; nothing: nowhere.
    pub listen: Option<SocketAddr>,
    /// The virtual hosts.
    pub vhosts: Vec<String>,
    /// The `heartbeat` proposed, in seconds; 0: none.
    pub heartbeat_s: u16,
    /// What clients may make it hold.
    pub limits: Limits,
    /// Queues whose messages are stamped with the connection they came over.
    pub stamp_queues: Vec<String>,
    /// The header that carries the stamp.
    pub stamp_header: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 5672))),
            vhosts: vec!["/".to_owned()],
            heartbeat_s: 60,
            limits: Limits::default(),
            stamp_queues: Vec::new(),
            stamp_header: "x-connection".to_owned(),
        }
    }
}
