//! How many failed logins are too many. Pure: the time is a parameter.
//!
//! Failures are counted for an address and for a user. A user who has logged in from an address before is
//! counted separately there. So failures of others, under this name or from this address, do not lock this
//! user out.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::config::Config;

/// A user at an address.
type UserAtAddress = (Arc<str>, IpAddr);

/// The failures that are not forgotten yet.
#[derive(Debug)]
pub(super) struct Throttle {
    addresses: Failures<IpAddr>,
    users: Failures<Arc<str>>,
    /// Of those who have logged in before.
    pairs: Failures<UserAtAddress>,
    known: Known,
}

impl Throttle {
    pub(super) fn new(config: &Config, users: usize) -> Self {
        let Config {
            failures_per_address,
            failures_per_user,
            failures_forgotten,
            addresses,
            ..
        } = *config;
        Self {
            addresses: Failures::new(*failures_per_address, *failures_forgotten, *addresses),
            users: Failures::new(*failures_per_user, *failures_forgotten, users),
            pairs: Failures::new(*failures_per_address, *failures_forgotten, *addresses),
            known: Known {
                last: HashMap::new(),
                capacity: addresses.get(),
            },
        }
    }

    /// Whether a login is refused. For an unknown name only the address counts.
    pub(super) fn refuses(&self, user: Option<&Arc<str>>, peer: IpAddr, now: Instant) -> bool {
        let address = network(peer);
        let Some(user) = user else {
            return self.addresses.too_many(&address, now);
        };
        let pair = (user.clone(), address);
        if self.known.last.contains_key(&pair) {
            return self.pairs.too_many(&pair, now);
        }
        self.addresses.too_many(&address, now) || self.users.too_many(user, now)
    }

    /// Notes a failure.
    pub(super) fn failed(&mut self, user: Option<&Arc<str>>, peer: IpAddr, now: Instant) {
        let address = network(peer);
        let Some(user) = user else {
            return self.addresses.add(address, now);
        };
        let pair = (user.clone(), address);
        if self.known.last.contains_key(&pair) {
            return self.pairs.add(pair, now);
        }
        self.addresses.add(address, now);
        self.users.add(user.clone(), now);
    }

    /// Notes a success.
    pub(super) fn succeeded(&mut self, user: &Arc<str>, peer: IpAddr, now: Instant) {
        self.known.add((user.clone(), network(peer)), now);
    }
}

/// The part of an address that has one owner: an IPv4 address, or the first 64 bits of an IPv6 address.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let host_bits = u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !host_bits))
        }
        v4 => v4,
    }
}

/// Failures by key, each forgotten after its share of the time.
#[derive(Debug)]
struct Failures<K> {
    /// When all failures of the key will be forgotten.
    until: HashMap<K, Instant>,
    allowed: u32,
    forgotten: Duration,
    capacity: usize,
}

impl<K: Clone + Eq + Hash> Failures<K> {
    fn new(allowed: u32, forgotten: Duration, capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self {
            until: HashMap::new(),
            allowed,
            forgotten,
            capacity,
        }
    }

    fn too_many(&self, key: &K, now: Instant) -> bool {
        let Some(until) = self.until.get(key) else {
            return false;
        };
        until.saturating_duration_since(now) + self.share() > self.forgotten
    }

    fn add(&mut self, key: K, now: Instant) {
        if self.until.len() >= self.capacity && !self.until.contains_key(&key) {
            self.make_room(now);
        }
        let share = self.share();
        let until = self.until.entry(key).or_insert(now);
        *until = (*until).max(now) + share;
    }

    /// Drops what is forgotten, or else what will be forgotten next.
    fn make_room(&mut self, now: Instant) {
        self.until.retain(|_, until| *until > now);
        if self.until.len() < self.capacity {
            return;
        }
        let next = self.until.iter().min_by_key(|(_, until)| **until);
        if let Some(key) = next.map(|(key, _)| key.clone()) {
            self.until.remove(&key);
        }
    }

    /// How long one failure lasts.
    fn share(&self) -> Duration {
        self.forgotten / self.allowed
    }
}

/// The last login of each user from each address.
#[derive(Debug)]
struct Known {
    last: HashMap<UserAtAddress, Instant>,
    capacity: usize,
}

impl Known {
    fn add(&mut self, pair: UserAtAddress, now: Instant) {
        if self.last.len() >= self.capacity && !self.last.contains_key(&pair) {
            let oldest = self.last.iter().min_by_key(|(_, last)| **last);
            if let Some(oldest) = oldest.map(|(pair, _)| pair.clone()) {
                self.last.remove(&oldest);
            }
        }
        self.last.insert(pair, now);
    }
}

#[cfg(test)]
mod tests;
