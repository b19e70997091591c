//! Section `registry`: how much it holds, and for how long.

use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

use crate::quantity::{Bounded, GIB, SECOND, TIB, YEAR};

use super::GuardConfig;

/// Section `registry`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The most instances.
    pub instances_max: Bounded<usize, 1, 100_000_000>,
    /// The most gateway routes.
    pub routes_max: Bounded<usize, 0, 1_000_000>,
    /// The most memory of instances, routes, webhooks and encoded answers.
    pub memory_max: Bounded<ByteSize, 1, TIB>,
    /// The most events in the log.
    pub log_entries_max: Bounded<usize, 1, 16_777_216>,
    /// The most bytes in the log.
    pub log_bytes_max: Bounded<ByteSize, 1, TIB>,
    /// The lease of a registration that names none.
    pub ttl_default: Bounded<Duration, SECOND, YEAR>,
    /// The most checks of one instance.
    pub checks_max: Bounded<usize, 0, 1_024>,
    /// The most tags of one instance.
    pub tags_max: Bounded<usize, 0, 10_000>,
    /// The most metadata of one instance.
    pub metadata_max: Bounded<ByteSize, 0, GIB>,
    /// The expiry guard.
    pub guard: GuardConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            instances_max: 1_000_000.into(),
            routes_max: 10_000.into(),
            memory_max: ByteSize::gib(1).into(),
            log_entries_max: 16_384.into(),
            log_bytes_max: ByteSize::mib(16).into(),
            ttl_default: Duration::from_secs(300).into(),
            checks_max: 16.into(),
            tags_max: 128.into(),
            metadata_max: ByteSize::kib(64).into(),
            guard: GuardConfig::default(),
        }
    }
}
