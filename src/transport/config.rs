//! Section `transport`: how many are told of changes, and how patiently.

use std::time::Duration;

use serde::Deserialize;

use super::Policy;

/// The longest that anything waits.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Section `transport`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// In-process callbacks at most.
    pub callbacks_max: usize,
    /// Webhooks at most.
    pub webhooks_max: usize,
    /// Webhook requests under way at once, to receivers that did not fail last time.
    pub deliveries_max: usize,
    /// Webhook requests under way at once, to receivers that failed last time; so they can't hold up
    /// the others.
    pub retries_max: usize,
    /// Webhook requests under way at once that carry a snapshot, which can be large.
    pub snapshots_max: usize,
    /// How long a webhook's receiver may take to answer.
    #[serde(with = "humantime_serde")]
    pub webhook_timeout: Duration,
    /// The longest wait after a first failure; it doubles with each further one.
    #[serde(with = "humantime_serde")]
    pub backoff_first: Duration,
    /// The longest wait between two attempts while the circuit is closed.
    #[serde(with = "humantime_serde")]
    pub backoff_max: Duration,
    /// Failures in a row that open a receiver's circuit.
    pub circuit_after: u32,
    /// The longest time an open circuit waits before it lets one attempt through; half of it is the
    /// shortest.
    #[serde(with = "humantime_serde")]
    pub circuit_open: Duration,
    /// Refusals (4xx) of one event in a row after which a snapshot is sent in its place.
    pub refusals_max: u32,
    /// At a stop, the longest time to deliver what is left.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            callbacks_max: 1_000,
            webhooks_max: 1_000,
            deliveries_max: 256,
            retries_max: 64,
            snapshots_max: 16,
            webhook_timeout: Duration::from_secs(5),
            backoff_first: Duration::from_millis(200),
            backoff_max: Duration::from_secs(10),
            circuit_after: 5,
            circuit_open: Duration::from_secs(15),
            refusals_max: 10,
            drain: Duration::from_secs(5),
        }
    }
}

impl Config {
    /// Everything that is wrong with it, each as a sentence that names the key.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let times = [
            ("webhook_timeout", self.webhook_timeout),
            ("backoff_first", self.backoff_first),
            ("backoff_max", self.backoff_max),
            ("circuit_open", self.circuit_open),
        ];
        for (key, value) in times {
            if value < Duration::from_millis(1) || value > DURATION_MAX {
                faults.push(format!("transport.{key} must be between 1ms and 1day"));
            }
        }
        if self.backoff_first > self.backoff_max {
            faults.push("transport.backoff_first must not exceed transport.backoff_max".to_owned());
        }
        let counts = [
            ("deliveries_max", self.deliveries_max),
            ("retries_max", self.retries_max),
            ("snapshots_max", self.snapshots_max),
            (
                "circuit_after",
                usize::try_from(self.circuit_after).unwrap_or(usize::MAX),
            ),
            (
                "refusals_max",
                usize::try_from(self.refusals_max).unwrap_or(usize::MAX),
            ),
        ];
        for (key, value) in counts {
            if value == 0 {
                faults.push(format!("transport.{key} must be at least 1"));
            }
        }
        faults
    }

    /// How long to wait after a failure.
    pub fn policy(&self) -> Policy {
        Policy {
            backoff_first: self.backoff_first,
            backoff_max: self.backoff_max,
            circuit_after: self.circuit_after,
            circuit_open: self.circuit_open,
            refusals_max: self.refusals_max,
        }
    }
}

#[cfg(test)]
mod tests;
