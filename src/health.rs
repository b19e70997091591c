//! Health: decides when to probe, probes, and says when a run of outcomes makes a verdict.
//!
//! Follows the registry's log and tells the registry what the checks say; never removes anything.

mod check;
mod elsewhere;
mod meters;
mod pending;
mod probe;
mod prober;
mod report;
mod schedule;
mod scheduler;
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
    elsewhere::{Asked, Elsewhere, Found, Request, Taken},
    prober::Prober,
    report::{CheckReport, Outcome, ProbeResult, Report},
    scheduler::Health,
};

/// Section `health`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Time between two probes of a check that does not say; for `health_check_url`.
    pub interval: Bounded<Duration, 1, YEAR>,
    /// The shortest time between two probes, whatever a check says.
    pub interval_min: Bounded<Duration, 1, DAY>,
    /// How long a probe may take for a check that does not say.
    pub timeout: Bounded<Duration, 1, DAY>,
    /// The longest time a probe may take, whatever a check says.
    pub timeout_max: Bounded<Duration, 1, DAY>,
    /// Successes in a row that make a check healthy when it does not say.
    pub healthy_after: Bounded<u32, 1, 1_000>,
    /// Failures in a row that make a check unhealthy when it does not say.
    pub unhealthy_after: Bounded<u32, 1, 1_000>,
    /// A new check is probed within this time.
    pub first_within: Bounded<Duration, 0, DAY>,
    /// The most scheduled probes at once; half of them may be of checks that timed out last time.
    pub probes_max: Bounded<usize, 1, 1_000_000>,
    /// The most probes at once that somebody asked for, besides the scheduled ones.
    pub asked_max: Bounded<usize, 1, 100_000>,
    /// When an instance whose checks fail is removed: `ttl` with its lease, `never`, or at the earliest after
    /// this time since its last sign of life.
    #[serde(deserialize_with = "remove_after")]
    pub remove_after: RemoveAfter,
    /// Over the queue: how long a request may wait until a prober takes it; with the check's timeout it is
    /// the request's deadline.
    pub queue_wait: Bounded<Duration, 0, DAY>,
    /// Over the queue: how long after its deadline a verdict is waited for, until the daemon probes itself.
    pub queue_grace: Bounded<Duration, 0, DAY>,
    /// The most probes at once of the daemon's own prober, which takes requests from the queue.
    pub queue_probes_max: Bounded<u16, 1, 65_535>,
    /// The most bytes of an answer's body that are read.
    pub body_max: Bounded<ByteSize, 0, { 64 * MIB }>,
    /// The results kept of each check.
    pub results_max: Bounded<usize, 1, 1_000>,
    /// The most characters kept of what a probe brought back.
    pub text_max: Bounded<usize, 0, 100_000>,
    /// A check with more flips than these within `flap_intervals` is flapping.
    pub flap_flips_max: Bounded<usize, 0, 100_000>,
    /// The window in which flips are counted, in intervals of the check.
    pub flap_intervals: Bounded<u32, 1, 100_000>,
    /// How often a TTL check that fails is looked at, so that a heartbeat is noticed.
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
