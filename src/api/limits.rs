//! Defaults for missing fields, and limits.

use std::time::Duration;

/// Values for fields that a registration leaves out, and the limits of those that it has.
#[derive(Clone, Debug, PartialEq)]
pub struct Defaults {
    /// The lease.
    pub ttl: Duration,
    /// Time between two probes of a check.
    pub interval: Duration,
    /// How long a probe may take.
    pub timeout: Duration,
    /// The shortest time between two probes that is kept to.
    pub interval_min: Duration,
    /// The longest time a probe may take, whatever its check says.
    pub timeout_max: Duration,
    /// Successes in a row that make a check healthy.
    pub healthy_after: u32,
    /// Failures in a row that make a check unhealthy.
    pub unhealthy_after: u32,
    /// Whether HTTP checks may use other methods than GET and HEAD, set a Host header or send credentials.
    pub unsafe_requests: bool,
    /// Whether the daemon runs in a container, so that its loopback addresses reach nothing else.
    pub in_container: bool,
    /// The most checks of one instance.
    pub checks_max: usize,
    /// The most tags of one instance.
    pub tags_max: usize,
    /// The most bytes of one instance's metadata.
    pub metadata_bytes_max: usize,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(300),
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            interval_min: Duration::ZERO,
            timeout_max: Duration::MAX,
            healthy_after: 1,
            unhealthy_after: 3,
            unsafe_requests: false,
            in_container: false,
            checks_max: 16,
            tags_max: 128,
            metadata_bytes_max: 64 * 1024,
        }
    }
}

/// The shortest and the longest lease.
pub(super) const TTL: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(24 * 3600)];
/// The shortest and the longest time between two probes.
pub(super) const INTERVAL: [Duration; 2] =
    [Duration::from_millis(100), Duration::from_secs(24 * 3600)];
/// The shortest and the longest patience with a probe.
pub(super) const TIMEOUT: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(300)];
/// The shortest and the longest time after which a critical instance is removed.
pub(super) const REMOVE_AFTER: [Duration; 2] = [
    Duration::from_secs(60),
    Duration::from_secs(365 * 24 * 3600),
];
/// The longest run of outcomes that a verdict may wait for.
pub(super) const RUN_MAX: u32 = 100;
/// The longest host name, in bytes (RFC 1035, section 2.3.4).
pub(super) const HOST_BYTES_MAX: usize = 253;
/// The longest URL, in bytes.
pub(super) const URL_BYTES_MAX: usize = 2048;
/// The longest version, zone, tag or name of a check, in bytes.
pub(super) const LABEL_BYTES_MAX: usize = 200;
/// The longest reason of an override, in bytes.
pub(super) const REASON_BYTES_MAX: usize = 1000;
/// The most headers of one HTTP check.
pub(super) const HEADERS_MAX: usize = 32;
/// The longest value of a header, in bytes.
pub(super) const HEADER_BYTES_MAX: usize = 4096;
/// The most codes or ranges that one HTTP check expects.
pub(super) const EXPECTED_MAX: usize = 32;
/// The most ids of one batch of heartbeats.
pub(super) const BATCH_MAX: usize = 10_000;
/// The most methods of one route.
pub(super) const METHODS_MAX: usize = 16;
/// The longest secret of a webhook, in bytes.
pub(super) const SECRET_BYTES_MAX: usize = 256;
/// The most filters of one discovery.
pub(super) const FILTERS_MAX: usize = 64;
