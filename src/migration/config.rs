//! Section `migration`: how long each phase lasts, and what the guard lets pass.

use std::time::Duration;

use serde::Deserialize;

use crate::quantity::{Bounded, YEAR};

use crate::api::MigrationMode;

/// When the guard's rules are armed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum GuardSetting {
    /// That of the lost broker whenever a channel is not direct, the others while a migration runs.
    Auto,
    /// All of them, and the canary, whenever a channel is not direct.
    Always,
    /// None.
    Off,
}

impl GuardSetting {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Off => "off",
        }
    }
}

/// Who turns the flag again after a rollback.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum ReturnSetting {
    /// An operator.
    Manual,
    /// The daemon, after the cool-down, when the broker is back.
    Auto,
}

/// Section `migration`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// When the guard's rules are armed.
    pub guard: GuardSetting,
    /// Who turns the flag again after a rollback by the guard.
    pub r#return: ReturnSetting,
    /// Who says when a phase is left, for a start that does not say.
    pub mode: MigrationMode,
    /// How long latencies are measured before the first change.
    pub baseline: Bounded<Duration, 0, YEAR>,
    /// How long each phase lasts at least, for a start that does not say.
    pub soak: Bounded<Duration, 0, YEAR>,
    /// A phase that can't be left for so long is rolled back; zero: never.
    pub phase_max: Bounded<Duration, 0, YEAR>,
    /// Time between two runs of the canary.
    pub canary_interval: Bounded<Duration, 10, YEAR>,
    /// How long each step of the canary may take.
    pub canary_timeout: Bounded<Duration, 10, YEAR>,
    /// The last runs of the canary that are judged together.
    pub canary_runs: Bounded<usize, 1, 100_000>,
    /// The share of them that may fail.
    pub canary_failures_max: Bounded<f64, 0, 1_000>,
    /// How long the broker may be silent.
    pub broker_away: Bounded<Duration, 10, YEAR>,
    /// How long a window of latencies and failures is at least.
    pub window: Bounded<Duration, 10, YEAR>,
    /// The windows in a row in which a rule must be broken.
    pub windows: Bounded<u32, 1, 10_000>,
    /// A window waits until it has so many samples.
    pub samples_min: Bounded<u64, 1, 1_000_000_000>,
    /// By what share the 95th percentile of a latency may be above the baseline.
    pub latency_increase_max: Bounded<f64, 0, 100_000>,
    /// An increase by less than this is none.
    pub latency_floor: Bounded<Duration, 0, YEAR>,
    /// By what share it may be above the baseline after a rollback.
    pub latency_back: Bounded<f64, 0, 100_000>,
    /// The share of discovery requests that may fail.
    pub discovery_failures_max: Bounded<f64, 0, 1_000>,
    /// So much must have come by both ways before a phase that compares them is left.
    pub compared_min: Bounded<u64, 0, 1_000_000_000>,
    /// The share of it that may be missing at the broker's way.
    pub missing_max: Bounded<f64, 0, 1_000>,
    /// The share of it that may be late there.
    pub late_max: Bounded<f64, 0, 1_000>,
    /// The share of it that may differ.
    pub different_max: Bounded<f64, 0, 1_000>,
    /// A phase is left only while the broker is behind by no more events.
    pub lag_max: Bounded<u64, 0, 1_000_000_000>,
    /// How long a rollback waits for consumers to be drained.
    pub settle_max: Bounded<Duration, 10, YEAR>,
    /// How long it waits for the canary and for the latencies.
    pub verify_max: Bounded<Duration, 10, YEAR>,
    /// How long after a rollback there is no return by itself; doubled with each further rollback.
    pub cool_down: Bounded<Duration, 10, YEAR>,
    /// The longest it gets.
    pub cool_down_max: Bounded<Duration, 0, YEAR>,
    /// The most returns by itself.
    pub returns_max: Bounded<u32, 0, 1_000_000>,
    /// Without a rollback for so long, earlier ones are forgotten.
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
            let told = "migration.cool_down must not exceed migration.cool_down_max";
            faults.push(told.to_owned());
        }
        faults
    }
}

#[cfg(test)]
mod tests;
