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
    /// The most memory of instances, routes and encoded answers.
    pub memory_max: ByteSize,
    /// The most events in the log.
    pub log_entries_max: usize,
    /// The most bytes in the log.
    pub log_bytes_max: ByteSize,
    /// The lease of a registration that names none.
    #[serde(with = "humantime_serde")]
    pub ttl_default: Duration,
    /// The most checks of one instance.
    pub checks_max: usize,
    /// The most tags of one instance.
    pub tags_max: usize,
    /// The most metadata of one instance.
    pub metadata_max: ByteSize,
    /// The expiry guard.
    pub guard: GuardConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            instances_max: 1_000_000,
            routes_max: 10_000,
            memory_max: ByteSize::gib(1),
            log_entries_max: 16_384,
            log_bytes_max: ByteSize::mib(16),
            ttl_default: Duration::from_secs(300),
            checks_max: 16,
            tags_max: 128,
            metadata_max: ByteSize::kib(64),
            guard: GuardConfig::default(),
        }
    }
}

impl Config {
    /// Everything that is wrong with it, each as a sentence that names the key.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let sizes = [
            ("instances_max", self.instances_max),
            ("log_entries_max", self.log_entries_max),
        ];
        for (key, size) in sizes {
            if size == 0 {
                faults.push(format!("registry.{key} must be at least 1"));
            }
        }
        if self.ttl_default < Duration::from_secs(1) {
            faults.push("registry.ttl_default must be at least 1s".to_owned());
        }
        let share = self.guard.share;
        if share.is_nan() || share <= 0.0 || share > 1.0 {
            faults.push(format!(
                "registry.guard.share is {share}, it must be above 0 and at most 1"
            ));
        }
        faults
    }
}
