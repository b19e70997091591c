//! Counts failures by key; each is forgotten after its share of a time. Pure: the time is a parameter.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use tokio::time::Instant;

/// The part of an address that has one owner: an IPv4 address, or the first 64 bits of an IPv6 address.
pub fn network(peer: IpAddr) -> IpAddr {
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
pub struct Failures<K> {
    /// When all failures of the key will be forgotten.
    until: HashMap<K, Instant>,
    allowed: u32,
    forgotten: Duration,
    capacity: usize,
}

impl<K: Clone + Eq + Hash> Failures<K> {
    /// So many failures in a row are allowed, and all of them are forgotten after this time. At most `capacity` keys
    /// are kept.
    pub fn new(allowed: u32, forgotten: Duration, capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self {
            until: HashMap::new(),
            allowed: allowed.max(1),
            forgotten,
            capacity,
        }
    }

    /// Whether the key had too many.
    pub fn too_many(&self, key: &K, now: Instant) -> bool {
        self.wait(key, now).is_some()
    }

    /// How long it takes until the key has not too many any more; none when it has not.
    pub fn wait(&self, key: &K, now: Instant) -> Option<Duration> {
        let left = self.until.get(key)?.saturating_duration_since(now);
        let most = self.forgotten.saturating_sub(self.share());
        left.checked_sub(most).filter(|wait| !wait.is_zero())
    }

    /// How many keys are kept.
    pub fn keys(&self) -> usize {
        self.until.len()
    }

    /// Notes a failure.
    pub fn add(&mut self, key: K, now: Instant) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_too_many_failures_waits_until_one_is_forgotten() {
        let mut failures = Failures::new(4, Duration::from_secs(40), 2);
        let now = Instant::now();
        for _ in 0..4 {
            assert_eq!(failures.wait(&1, now), None);
            failures.add(1, now);
        }
        assert_eq!(failures.wait(&1, now), Some(Duration::from_secs(10)));
        let later = now + Duration::from_secs(4);
        assert_eq!(failures.wait(&1, later), Some(Duration::from_secs(6)));
        assert!(!failures.too_many(&1, now + Duration::from_secs(10)));
        assert!(!failures.too_many(&2, now));
    }

    #[test]
    fn addresses_of_one_owner_are_one_network() {
        let same =
            |one: &str, two: &str| network(one.parse().unwrap()) == network(two.parse().unwrap());
        assert!(same("10.0.0.1", "::ffff:10.0.0.1"));
        assert!(!same("10.0.0.1", "10.0.0.2"));
        assert!(same("2001:db8::1", "2001:db8::ffff:1"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
    }
}
