//! Health: schedules probes, makes them, and turns runs of outcomes into verdicts.
//!
//! Follows the registry's log and reports verdicts to the catalog. Never removes an instance.

mod check;
mod container;
mod meters;
mod pending;
mod probe;
mod prober;
mod remote;
mod report;
mod schedule;
mod scheduler;
mod script;
mod table;
mod verdict;

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, de::Error};

use crate::{
    model::RemoveAfter,
    quantity::{Bounded, DAY, MIB, YEAR},
};

pub use self::{
    container::in_container,
    prober::LocalProber,
    remote::{RemoteProber, RequestResult, VerdictUse},
    report::Outcome,
    scheduler::Health,
};

/// Section `health`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Default time between two probes, also for `health_check_url`.
    pub interval: Bounded<Duration, 1, YEAR>,
    /// The shortest time between two probes, whatever a check says.
    pub interval_min: Bounded<Duration, 1, DAY>,
    /// Default timeout of a probe.
    pub timeout: Bounded<Duration, 1, DAY>,
    /// The longest timeout, whatever a check says.
    pub timeout_max: Bounded<Duration, 1, DAY>,
    /// Default number of successes in a row that make a check healthy.
    pub healthy_after: Bounded<u32, 1, 1_000>,
    /// Default number of failures in a row that make a check unhealthy.
    pub unhealthy_after: Bounded<u32, 1, 1_000>,
    /// A new check is probed for the first time within this time.
    pub first_within: Bounded<Duration, 0, DAY>,
    /// The most scheduled probes at once. Checks that took a second or longer last time share half of
    /// these places, and together with checks not probed before three quarters.
    pub probes_max: Bounded<usize, 1, 1_000_000>,
    /// The most probes at once on request (`POST /services/{id}/check`), in addition to the scheduled ones;
    /// shared in the same way.
    pub asked_max: Bounded<usize, 1, 100_000>,
    /// Whether HTTP checks may use other methods than GET and HEAD, set a Host header or send credentials.
    pub unsafe_requests: bool,
    /// Whether checks may run programs on this machine: `consul.enable_script_checks`, not a key of this section.
    #[serde(skip)]
    pub scripts: bool,
    /// Whether what a failing check's target answered is kept and shown: the start of an HTTP body, a gRPC
    /// message. The status code always is.
    pub keep_body: bool,
    /// When an instance whose checks fail is removed: `ttl` with its lease, `never`, or at the earliest this
    /// long after its last renewal.
    #[serde(deserialize_with = "remove_after")]
    pub remove_after: RemoveAfter,
    /// Over the queue: how long a request may wait until a prober takes it; with the check's timeout it is
    /// the request's deadline.
    pub queue_wait: Bounded<Duration, 0, DAY>,
    /// Over the queue: how long after the deadline the daemon waits for a verdict before it probes itself.
    pub queue_grace: Bounded<Duration, 0, DAY>,
    /// The most probes at once of the daemon's own prober, which takes requests from the queue.
    pub queue_probes_max: Bounded<u16, 1, 65_535>,
    /// The most bytes of a response body that are read.
    pub body_max: Bounded<ByteSize, 0, { 64 * MIB }>,
    /// How many results of each check are kept.
    pub results_max: Bounded<usize, 1, 1_000>,
    /// The most characters of a result's message that are kept.
    pub text_max: Bounded<usize, 0, 100_000>,
    /// A check with more flips than these within `flap_intervals` is flapping.
    pub flap_flips_max: Bounded<usize, 0, 100_000>,
    /// The window in which flips are counted, in intervals of the check.
    pub flap_intervals: Bounded<u32, 1, 100_000>,
    /// How often a failing TTL check is evaluated, so that a heartbeat is noticed soon.
    pub ttl_recheck: Bounded<Duration, 1, DAY>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30).into(),
            interval_min: Duration::from_secs(1).into(),
            timeout: Duration::from_secs(5).into(),
            timeout_max: Duration::from_secs(60).into(),
            healthy_after: 1.into(),
            unhealthy_after: 3.into(),
            first_within: Duration::from_secs(1).into(),
            probes_max: 1024.into(),
            asked_max: 64.into(),
            unsafe_requests: false,
            scripts: false,
            keep_body: false,
            remove_after: RemoveAfter::Ttl,
            queue_wait: Duration::from_secs(1).into(),
            queue_grace: Duration::from_millis(500).into(),
            queue_probes_max: 256.into(),
            body_max: ByteSize::kib(4).into(),
            results_max: 10.into(),
            text_max: 200.into(),
            flap_flips_max: 5.into(),
            flap_intervals: 10.into(),
            ttl_recheck: Duration::from_secs(1).into(),
        }
    }
}

fn remove_after<'de, D: Deserializer<'de>>(value: D) -> Result<RemoveAfter, D::Error> {
    let text = String::deserialize(value)?;
    text.parse().map_err(D::Error::custom)
}

#[cfg(test)]
mod tests;
