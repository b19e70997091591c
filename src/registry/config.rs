//! Section `registry`: how much it holds, and for how long.

use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

use super::GuardConfig;

/// Section `registry`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The most instances.
    pub instances_max: usize,
    /// The most gateway routes.
    pub routes_max: usize,
    /// The most events in the log.
    pub log_entries_max: usize,
    /// The most bytes in the log.
    pub log_bytes_max: ByteSize,
    /// The lease of a registration that names none.
    #[serde(with = "humantime_serde")]
    pub ttl_default: Duration,
    /// The expiry guard.
    pub guard: GuardConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            instances_max: 1_000_000,
            routes_max: 10_000,
            log_entries_max: 16_384,
            log_bytes_max: ByteSize::mib(16),
            ttl_default: Duration::from_secs(300),
            guard: GuardConfig::default(),
        }
    }
}
