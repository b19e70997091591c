//! How many failed logins are too many. Pure: the time is a parameter.
//!
//! Failures are counted for an address and for a user. A user who has logged in from an address before is
//! counted separately there. So failures of others, under this name or from this address, do not lock this
//! user out.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use tokio::time::Instant;

use super::config::Config;
use crate::failures::{Failures, network};

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
