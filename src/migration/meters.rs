//! Metrics of the migration.

use super::{canary::CanaryRun, phase::Phase, rollback::Cause, state::MigrationState};
use crate::telemetry::{GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Metrics};

const STATES: [&str; 6] = [
    "idle",
    "running",
    "paused",
    "rolling_back",
    "rolled_back",
    "completed",
];

#[derive(Debug)]
pub(super) struct MigrationMetrics {
    phase: IntGauge,
    state: IntGaugeVec,
    steps: IntCounterVec,
    rollbacks: IntCounterVec,
    values: GaugeVec,
    thresholds: GaugeVec,
    runs: IntCounter,
    failures: IntCounterVec,
}

impl MigrationMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            phase: metrics.gauge(
                "musterd_migration_phase",
                "Phase of the migration: 1 baseline to 8 done, 0 while none runs.",
            ),
            state: metrics.gauges(
                "musterd_migration_state",
                "1 for the state in which the migration is.",
                &["state"],
            ),
            steps: metrics.counters(
                "musterd_migration_steps_total",
                "Steps of migrations, by event.",
                &["event"],
            ),
            rollbacks: metrics.counters(
                "musterd_migration_rollbacks_total",
                "Rollbacks, by the rule that asked for them.",
                &["rule"],
            ),
            values: metrics.decimals(
                "musterd_migration_guard_value",
                "Last value of each rule of the guard, in the rule's unit (s, ms, share).",
                &["rule"],
            ),
            thresholds: metrics.decimals(
                "musterd_migration_guard_threshold",
                "Above this a rule of the guard is broken.",
                &["rule"],
            ),
            runs: metrics.counter("musterd_migration_canary_runs_total", "Runs of the canary."),
            failures: metrics.counters(
                "musterd_migration_canary_failures_total",
                "Steps of the canary that failed.",
                &["step"],
            ),
        }
    }

    /// Sets the gauges.
    pub(super) fn show(&self, state: &MigrationState) {
        self.phase.set(state.phase().map_or(0, Phase::number));
        for word in STATES {
            let is_current = i64::from(state.name() == word);
            self.state.with_label_values(&[word]).set(is_current);
        }
        for rule in state.rules() {
            let set = |gauges: &GaugeVec, value: Option<f64>| match value {
                Some(value) => gauges.with_label_values(&[rule.name]).set(value),
                // A rule without data has no series; there may be none to remove.
                None => drop(gauges.remove_label_values(&[rule.name])),
            };
            set(&self.values, rule.value);
            set(&self.thresholds, rule.threshold);
        }
    }

    pub(super) fn step(&self, event: &str) {
        self.steps.with_label_values(&[event]).inc();
    }

    pub(super) fn rolled_back(&self, cause: Cause) {
        self.rollbacks.with_label_values(&[cause.as_str()]).inc();
    }

    pub(super) fn canary_finished(&self, canary_run: &CanaryRun) {
        self.runs.inc();
        for step in canary_run.steps.iter().filter(|step| step.error.is_some()) {
            self.failures.with_label_values(&[step.name]).inc();
        }
    }
}
