//! The pool of idle connections: limited in number, the least recently used are closed first.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::tls::{Protocol, Verification};
use crate::telemetry::IntGauge;

/// Connections with equal keys are interchangeable.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct PoolKey {
    pub(super) at: SocketAddr,
    pub(super) verification: Verification,
    /// The name that the certificate was verified for; none without TLS.
    pub(super) host: Option<Box<str>>,
    pub(super) protocol: Protocol,
}

#[derive(Debug)]
pub(super) struct Pool<C> {
    max: usize,
    idle_max: Duration,
    idle: Mutex<Idle<C>>,
    size: IntGauge,
}

#[derive(Debug)]
struct Idle<C> {
    /// The connections of each key, in the order in which they were put back.
    by_key: HashMap<PoolKey, BTreeMap<u64, C>>,
    /// All connections, the oldest first.
    by_turn: BTreeMap<u64, (PoolKey, Instant)>,
    turn: u64,
}

impl<C> Pool<C> {
    pub(super) fn new(max: usize, idle_max: Duration, size: IntGauge) -> Self {
        Self {
            max,
            idle_max,
            idle: Mutex::new(Idle {
                by_key: HashMap::new(),
                by_turn: BTreeMap::new(),
                turn: 0,
            }),
            size,
        }
    }

    /// The most recently used connection for `key`.
    pub(super) fn take(&self, key: &PoolKey) -> Option<C> {
        let oldest = Instant::now().checked_sub(self.idle_max);
        let mut idle = self.idle.lock();
        let turn = *idle.by_key.get(key)?.last_key_value()?.0;
        let (connection, since) = idle.remove(turn)?;
        self.show(&idle);
        drop(idle);
        // If this one was idle for too long, so were the others of its key.
        let fresh = oldest.is_none_or(|oldest| since > oldest);
        fresh.then_some(connection)
    }

    /// Adds a connection; at the limit the oldest one is closed.
    pub(super) fn put(&self, key: PoolKey, connection: C) {
        if self.max == 0 {
            return;
        }
        let mut idle = self.idle.lock();
        let evicted = if idle.by_turn.len() >= self.max {
            idle.remove_oldest()
        } else {
            None
        };
        idle.insert(key, connection, Instant::now());
        self.show(&idle);
        drop(idle);
        // Closing a socket is a system call, so not under the lock.
        drop(evicted);
    }

    /// Closes the connections that were idle for too long.
    pub(super) fn sweep(&self) {
        let Some(oldest) = Instant::now().checked_sub(self.idle_max) else {
            return;
        };
        let mut gone = Vec::new();
        let mut idle = self.idle.lock();
        while let Some((_, (_, since))) = idle.by_turn.first_key_value()
            && *since <= oldest
        {
            gone.extend(idle.remove_oldest());
        }
        self.show(&idle);
        drop(idle);
        drop(gone);
    }

    /// Closes all connections.
    pub(super) fn clear(&self) {
        let mut idle = self.idle.lock();
        let gone = std::mem::take(&mut idle.by_key);
        idle.by_turn.clear();
        self.show(&idle);
        drop(idle);
        drop(gone);
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> i64 {
        self.size.get()
    }

    fn show(&self, idle: &Idle<C>) {
        self.size
            .set(i64::try_from(idle.by_turn.len()).unwrap_or(i64::MAX));
    }
}

impl<C> Idle<C> {
    fn insert(&mut self, key: PoolKey, connection: C, now: Instant) {
        self.turn += 1;
        self.by_turn.insert(self.turn, (key.clone(), now));
        self.by_key
            .entry(key)
            .or_default()
            .insert(self.turn, connection);
    }

    fn remove(&mut self, turn: u64) -> Option<(C, Instant)> {
        let (key, since) = self.by_turn.remove(&turn)?;
        let of_key = self.by_key.get_mut(&key)?;
        let connection = of_key.remove(&turn)?;
        if of_key.is_empty() {
            self.by_key.remove(&key);
        }
        Some((connection, since))
    }

    fn remove_oldest(&mut self) -> Option<C> {
        let turn = *self.by_turn.first_key_value()?.0;
        self.remove(turn).map(|(connection, _)| connection)
    }
}

#[cfg(test)]
mod tests;
