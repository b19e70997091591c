//! Section `migration`: durations of phases, and the limits of the guard.

use std::time::Duration;

use serde::Deserialize;

use crate::api::MigrationMode;

/// The longest duration.
const TIME_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

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

/// Who changes the flag again after a rollback.
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
    /// Who changes the flag again after a rollback by the guard.
    pub r#return: ReturnSetting,
    /// The default mode: who decides when a phase ends.
    pub mode: MigrationMode,
    /// How long latencies are measured before the first change.
    #[serde(with = "humantime_serde")]
    pub baseline: Duration,
    /// The default minimum duration of each phase.
    #[serde(with = "humantime_serde")]
    pub soak: Duration,
    /// A phase that can't be left for this long is rolled back; zero: never.
    #[serde(with = "humantime_serde")]
    pub phase_max: Duration,
    /// Time between two runs of the canary.
    #[serde(with = "humantime_serde")]
    pub canary_interval: Duration,
    /// How long each step of the canary may take.
    #[serde(with = "humantime_serde")]
    pub canary_timeout: Duration,
    /// How many of the canary's last runs are judged together.
    pub canary_runs: usize,
    /// The share of these runs that may fail.
    pub canary_failures_max: f64,
    /// How long the broker may leave requests unanswered.
    #[serde(with = "humantime_serde")]
    pub broker_away: Duration,
    /// The minimum length of a window of latencies and failures.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// In how many windows in a row a rule must be broken.
    pub windows: u32,
    /// The minimum number of samples of a window.
    pub samples_min: u64,
    /// By what share the 95th percentile of a latency may be above the baseline.
    pub latency_increase_max: f64,
    /// An increase by less than this is ignored.
    #[serde(with = "humantime_serde")]
    pub latency_floor: Duration,
    /// By what share it may be above the baseline after a rollback.
    pub latency_back: f64,
    /// The share of discovery requests that may fail.
    pub discovery_failures_max: f64,
    /// How many items must be compared before a phase that compares both ways ends.
    pub compared_min: u64,
    /// The share of them that may be missing over the broker.
    pub missing_max: f64,
    /// The share of them that may be late over the broker.
    pub late_max: f64,
    /// The share of them that may differ.
    pub different_max: f64,
    /// A phase ends only while the broker is behind by at most this many events.
    pub lag_max: u64,
    /// How long a rollback waits until consumers are drained.
    #[serde(with = "humantime_serde")]
    pub settle_max: Duration,
    /// How long a rollback waits for the canary, and then for the latencies.
    #[serde(with = "humantime_serde")]
    pub verify_max: Duration,
    /// The wait before an automatic return after a rollback; doubled with each further rollback.
    #[serde(with = "humantime_serde")]
    pub cool_down: Duration,
    /// The longest such wait.
    #[serde(with = "humantime_serde")]
    pub cool_down_max: Duration,
    /// The most automatic returns.
    pub returns_max: u32,
    /// After this long without a rollback, earlier ones no longer count.
    #[serde(with = "humantime_serde")]
    pub returns_forgotten: Duration,
    /// The steps that are kept for the report.
    pub history_max: usize,
    /// The notices that are kept for readers.
    pub notices_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            guard: GuardSetting::Auto,
            r#return: ReturnSetting::Manual,
            mode: MigrationMode::Auto,
            baseline: Duration::from_secs(60),
            soak: Duration::from_secs(60),
            phase_max: Duration::from_secs(60 * 60),
            canary_interval: Duration::from_secs(5),
            canary_timeout: Duration::from_secs(2),
            canary_runs: 40,
            canary_failures_max: 0.2,
            broker_away: Duration::from_secs(10),
            window: Duration::from_secs(10),
            windows: 3,
            samples_min: 30,
            latency_increase_max: 0.5,
            latency_floor: Duration::from_millis(5),
            latency_back: 0.1,
            discovery_failures_max: 0.05,
            compared_min: 1,
            missing_max: 0.0,
            late_max: 0.01,
            different_max: 0.0,
            lag_max: 100,
            settle_max: Duration::from_secs(5),
            verify_max: Duration::from_secs(120),
            cool_down: Duration::from_secs(60),
            cool_down_max: Duration::from_secs(60 * 60),
            returns_max: 3,
            returns_forgotten: Duration::from_secs(24 * 60 * 60),
            history_max: 200,
            notices_max: 64,
        }
    }
}

impl Config {
    /// Everything that is wrong with it, each as a sentence that names the key.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let times = [
            ("canary_interval", self.canary_interval),
            ("canary_timeout", self.canary_timeout),
            ("broker_away", self.broker_away),
            ("window", self.window),
            ("settle_max", self.settle_max),
            ("verify_max", self.verify_max),
            ("cool_down", self.cool_down),
        ];
        for (key, value) in times {
            if value < Duration::from_millis(10) {
                faults.push(format!("migration.{key} must be at least 10ms"));
            }
        }
        let longer = [
            ("baseline", self.baseline),
            ("soak", self.soak),
            ("phase_max", self.phase_max),
            ("cool_down_max", self.cool_down_max),
            ("returns_forgotten", self.returns_forgotten),
        ];
        // Found here, not when the value is first used.
        for (key, value) in times.into_iter().chain(longer) {
            if value > TIME_MAX {
                faults.push(format!("migration.{key} must be at most 365days"));
            }
        }
        let shares = [
            ("canary_failures_max", self.canary_failures_max),
            ("discovery_failures_max", self.discovery_failures_max),
            ("missing_max", self.missing_max),
            ("late_max", self.late_max),
            ("different_max", self.different_max),
        ];
        for (key, value) in shares {
            if !(0.0..=1.0).contains(&value) {
                faults.push(format!("migration.{key} must be between 0 and 1"));
            }
        }
        let increases = [
            ("latency_increase_max", self.latency_increase_max),
            ("latency_back", self.latency_back),
        ];
        for (key, value) in increases {
            if !(0.0..=100.0).contains(&value) {
                faults.push(format!("migration.{key} must be between 0 and 100"));
            }
        }
        let counts = [
            ("canary_runs", self.canary_runs == 0),
            ("windows", self.windows == 0),
            ("samples_min", self.samples_min == 0),
            ("history_max", self.history_max == 0),
            ("notices_max", self.notices_max == 0),
        ];
        for (key, _) in counts.into_iter().filter(|(_, is_zero)| *is_zero) {
            faults.push(format!("migration.{key} must be at least 1"));
        }
        if self.cool_down > self.cool_down_max {
            let told = "migration.cool_down must not exceed migration.cool_down_max";
            faults.push(told.to_owned());
        }
        faults
    }
}

#[cfg(test)]
mod tests;
