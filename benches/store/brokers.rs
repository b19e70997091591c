//! The release daemon with a store and RabbitMQ, each a process of its own.

use std::{net::SocketAddr, path::Path};

use crate::{
    daemon::Daemon,
    process::{cpu_us, resident},
    rabbitmq::Rabbit,
};

/// A running broker.
pub(crate) enum Broker {
    Musterd(Daemon),
    RabbitMq(Rabbit),
}

impl Broker {
    /// The daemon with its store in this folder, and the default settings but for `keys`.
    pub(crate) fn stored(folder: &Path, keys: &[&str]) -> Self {
        let path = format!("store.path={}", folder.display());
        let keys: Vec<&str> = keys.iter().copied().chain([&*path]).collect();
        Self::Musterd(Daemon::ready(&keys))
    }

    /// The daemon without a store.
    pub(crate) fn in_memory() -> Self {
        Self::Musterd(Daemon::ready(&["store.path="]))
    }

    /// A node with its files below this folder.
    pub(crate) fn rabbitmq(folder: &Path) -> Self {
        Self::RabbitMq(Rabbit::private_in(folder))
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        match self {
            Self::Musterd(daemon) => daemon.amqp,
            Self::RabbitMq(rabbit) => rabbit.addr(),
        }
    }

    /// Where the daemon takes REST.
    pub(crate) fn http(&self) -> SocketAddr {
        match self {
            Self::Musterd(daemon) => daemon.http,
            Self::RabbitMq(_) => unreachable!("RabbitMQ registers nobody"),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        match self {
            Self::Musterd(daemon) => daemon.pid(),
            Self::RabbitMq(rabbit) => rabbit.pid(),
        }
    }

    /// CPU time the process has used so far, in µs.
    pub(crate) fn cpu_us(&self) -> f64 {
        cpu_us(self.pid())
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> f64 {
        resident(&self.pid().to_string())
    }
}
