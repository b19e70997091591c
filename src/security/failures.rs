//! Wrong tokens by address: after too many an address has to wait.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Config;
use crate::failures::{Failures, network};

/// Counts them.
#[derive(Debug)]
pub(super) struct LoginFailures {
    addresses: Mutex<Failures<IpAddr>>,
    /// Whether there was ever one: without any, a login takes no lock.
    any: AtomicBool,
}

impl LoginFailures {
    pub(super) fn new(config: &Config) -> Self {
        let Config {
            failures_per_address,
            failures_forgotten,
            addresses,
            ..
        } = config;
        let failures = Failures::new(
            failures_per_address.get(),
            failures_forgotten.get(),
            addresses.get(),
        );
        Self {
            addresses: Mutex::new(failures),
            any: AtomicBool::new(false),
        }
    }

    /// How long an address has to wait, if it has to.
    pub(super) fn wait(&self, peer: IpAddr) -> Option<Duration> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        self.addresses.lock().wait(&network(peer), Instant::now())
    }

    /// Notes a failure.
    pub(super) fn add(&self, peer: IpAddr) {
        self.any.store(true, Ordering::Relaxed);
        self.addresses.lock().add(network(peer), Instant::now());
    }
}
