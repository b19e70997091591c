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
mod table;
mod verdict;

use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

pub use self::{
    container::in_container,
    prober::LocalProber,
    remote::{ProbeRequest, RemoteProber, RemoteVerdict, RequestResult, VerdictUse},
    report::{CheckReport, Outcome, ProbeResult, Report},
    scheduler::Health,
};

/// Section `health`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Default time between two probes, also for `health_check_url`.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// The shortest time between two probes, whatever a check says.
    #[serde(with = "humantime_serde")]
    pub interval_min: Duration,
    /// Default timeout of a probe.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// The longest timeout, whatever a check says.
    #[serde(with = "humantime_serde")]
    pub timeout_max: Duration,
    /// Default number of successes in a row that make a check healthy.
    pub healthy_after: u32,
    /// Default number of failures in a row that make a check unhealthy.
    pub unhealthy_after: u32,
    /// A new check is probed for the first time within this time.
    #[serde(with = "humantime_serde")]
    pub first_within: Duration,
    /// The most scheduled probes at once. Checks that took a second or longer last time share half of
    /// these places, and together with checks not probed before three quarters.
    pub probes_max: usize,
    /// The most probes at once on request (`POST /services/{id}/check`), in addition to the scheduled ones;
    /// shared in the same way.
    pub asked_max: usize,
    /// Whether HTTP checks may use other methods than GET and HEAD, set a Host header or send credentials.
    pub unsafe_requests: bool,
    /// Whether what a failing check's target answered is kept and shown: the start of an HTTP body, a gRPC
    /// message. The status code always is.
    pub keep_body: bool,
    /// Over the queue: how long a request may wait until a prober takes it; with the check's timeout it is
    /// the request's deadline.
    #[serde(with = "humantime_serde")]
    pub queue_wait: Duration,
    /// Over the queue: how long after the deadline the daemon waits for a verdict before it probes itself.
    #[serde(with = "humantime_serde")]
    pub queue_grace: Duration,
    /// The most probes at once of the daemon's own prober, which takes requests from the queue.
    pub queue_probes_max: u16,
    /// The most bytes of a response body that are read.
    pub body_max: ByteSize,
    /// How many results of each check are kept.
    pub results_max: usize,
    /// The most characters of a result's message that are kept.
    pub text_max: usize,
    /// A check with more flips than these within `flap_intervals` is flapping.
    pub flap_flips_max: usize,
    /// The window in which flips are counted, in intervals of the check.
    pub flap_intervals: u32,
    /// How often a failing TTL check is evaluated, so that a heartbeat is noticed soon.
    #[serde(with = "humantime_serde")]
    pub ttl_recheck: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            interval_min: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
            timeout_max: Duration::from_secs(60),
            healthy_after: 1,
            unhealthy_after: 3,
            first_within: Duration::from_secs(1),
            probes_max: 1024,
            asked_max: 64,
            unsafe_requests: false,
            keep_body: false,
            queue_wait: Duration::from_secs(1),
            queue_grace: Duration::from_millis(500),
            queue_probes_max: 256,
            body_max: ByteSize::kib(4),
            results_max: 10,
            text_max: 200,
            flap_flips_max: 5,
            flap_intervals: 10,
            ttl_recheck: Duration::from_secs(1),
        }
    }
}

impl Config {
    /// Everything that is wrong with it, each as a sentence that names the key.
    pub fn faults(&self) -> Vec<String> {
        let zero = [
            ("interval_min", self.interval_min.is_zero()),
            ("timeout", self.timeout.is_zero()),
            ("timeout_max", self.timeout_max.is_zero()),
            ("healthy_after", self.healthy_after == 0),
            ("unhealthy_after", self.unhealthy_after == 0),
            ("probes_max", self.probes_max == 0),
            ("asked_max", self.asked_max == 0),
            ("queue_probes_max", self.queue_probes_max == 0),
            ("results_max", self.results_max == 0),
            ("flap_intervals", self.flap_intervals == 0),
        ];
        let zero = zero.into_iter().filter(|(_, is_zero)| *is_zero);
        zero.map(|(key, _)| format!("health.{key} must be more than 0"))
            .collect()
    }
}

#[cfg(test)]
mod tests;
