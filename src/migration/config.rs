//! Section `migration`: durations of phases, and the limits of the guard.

use std::time::Duration;

use serde::Deserialize;

use crate::quantity::{Bounded, YEAR};

use crate::api::MigrationMode;

/// When the guard's rules are armed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum GuardSetting {
    /// `broker_away` whenever a channel is not direct; the others while a migration runs.
    Auto,
    /// All rules, with the canary, whenever a channel is not direct.
    Always,
    /// No rule.
    Off,
}

impl GuardSetting {
    /// The name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Off => "off",
        }
    }
}

/// Who returns the modes after a rollback.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum ReturnSetting {
    /// An operator.
    Manual,
    /// The daemon, after the cool-down, once the broker answers.
    Auto,
}

/// Section `migration`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// When the guard's rules are armed.
    pub guard: GuardSetting,
    /// Whether the daemon or an operator returns the modes after a rollback by the guard.
    pub r#return: ReturnSetting,
    /// The default mode: who decides when a phase ends.
    pub mode: MigrationMode,
    /// How long latencies are measured before the first change.
    pub baseline: Bounded<Duration, 0, YEAR>,
    /// The default minimum duration of each phase.
    pub soak: Bounded<Duration, 0, YEAR>,
    /// A phase that can't be left for this long is rolled back; zero: never.
    pub phase_max: Bounded<Duration, 0, YEAR>,
    /// Time between two runs of the canary.
    pub canary_interval: Bounded<Duration, 10, YEAR>,
    /// How long each step of the canary may take.
    pub canary_timeout: Bounded<Duration, 10, YEAR>,
    /// How many of the canary's last runs are judged together.
    pub canary_runs: Bounded<usize, 1, 100_000>,
    /// The share of these runs that may fail.
    pub canary_failures_max: Bounded<f64, 0, 1_000>,
    /// How long the broker may leave requests unanswered.
    pub broker_away: Bounded<Duration, 10, YEAR>,
    /// The minimum length of a window of latencies and failures.
    pub window: Bounded<Duration, 10, YEAR>,
    /// In how many windows in a row a rule must be broken.
    pub windows: Bounded<u32, 1, 10_000>,
    /// The minimum number of samples of a window.
    pub samples_min: Bounded<u64, 1, 1_000_000_000>,
    /// By what share the 95th percentile of a latency may be above the baseline.
    pub latency_increase_max: Bounded<f64, 0, 100_000>,
    /// An increase by less than this is ignored.
    pub latency_floor: Bounded<Duration, 0, YEAR>,
    /// By what share it may be above the baseline after a rollback.
    pub latency_back: Bounded<f64, 0, 100_000>,
    /// The share of discovery requests that may fail.
    pub discovery_failures_max: Bounded<f64, 0, 1_000>,
    /// How many items must be compared before a phase that compares both ways ends.
    pub compared_min: Bounded<u64, 0, 1_000_000_000>,
    /// The share of them that may be missing over the broker.
    pub missing_max: Bounded<f64, 0, 1_000>,
    /// The share of them that may be late over the broker.
    pub late_max: Bounded<f64, 0, 1_000>,
    /// The share of them that may differ.
    pub different_max: Bounded<f64, 0, 1_000>,
    /// A phase ends only while the broker is behind by at most this many events.
    pub lag_max: Bounded<u64, 0, 1_000_000_000>,
    /// How long a rollback waits until consumers are drained.
    pub settle_max: Bounded<Duration, 10, YEAR>,
    /// How long a rollback waits for the canary, and then for the latencies.
    pub verify_max: Bounded<Duration, 10, YEAR>,
    /// The wait before an automatic return after a rollback; doubled with each further rollback.
    pub cool_down: Bounded<Duration, 10, YEAR>,
    /// The longest such wait.
    pub cool_down_max: Bounded<Duration, 0, YEAR>,
    /// The most automatic returns.
    pub returns_max: Bounded<u32, 0, 1_000_000>,
    /// After this long without a rollback, earlier ones no longer count.
    pub returns_forgotten: Bounded<Duration, 0, YEAR>,
    /// The steps that are kept for the report.
    pub history_max: Bounded<usize, 1, 100_000>,
    /// The notices that are kept for readers.
    pub notices_max: Bounded<usize, 1, 1_000_000>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            guard: GuardSetting::Auto,
            r#return: ReturnSetting::Manual,
            mode: MigrationMode::Auto,
            baseline: Duration::from_secs(60).into(),
            soak: Duration::from_secs(60).into(),
            phase_max: Duration::from_secs(60 * 60).into(),
            canary_interval: Duration::from_secs(5).into(),
            canary_timeout: Duration::from_secs(2).into(),
            canary_runs: 40.into(),
            canary_failures_max: 0.2.into(),
            broker_away: Duration::from_secs(10).into(),
            window: Duration::from_secs(10).into(),
            windows: 3.into(),
            samples_min: 30.into(),
            latency_increase_max: 0.5.into(),
            latency_floor: Duration::from_millis(5).into(),
            latency_back: 0.1.into(),
            discovery_failures_max: 0.05.into(),
            compared_min: 1.into(),
            missing_max: 0.0.into(),
            late_max: 0.01.into(),
            different_max: 0.0.into(),
            lag_max: 100.into(),
            settle_max: Duration::from_secs(5).into(),
            verify_max: Duration::from_secs(120).into(),
            cool_down: Duration::from_secs(60).into(),
            cool_down_max: Duration::from_secs(60 * 60).into(),
            returns_max: 3.into(),
            returns_forgotten: Duration::from_secs(24 * 60 * 60).into(),
            history_max: 200.into(),
            notices_max: 64.into(),
        }
    }
}

impl Config {
    /// Everything that is wrong with it, each as a sentence that names the key.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if *self.cool_down > *self.cool_down_max {
            let fault = "migration.cool_down must not exceed migration.cool_down_max";
            faults.push(fault.to_owned());
        }
        faults
    }
}

#[cfg(test)]
mod tests;
