//! Metrics of health checks.

use super::{report::Outcome, table::TableSizes};
use crate::telemetry::{Histogram, IntCounterVec, IntGauge, Metrics};

#[derive(Debug)]
pub(super) struct HealthMetrics {
    probes: IntCounterVec,
    pub(super) lateness: Histogram,
    pub(super) duration: Histogram,
    pub(super) in_flight: IntGauge,
    checks: IntGauge,
    flapping: IntGauge,
    waiting: IntGauge,
}

impl HealthMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            probes: metrics.counters(
                "musterd_health_probes_total",
                "Probes made, by kind of check and outcome.",
                &["kind", "outcome"],
            ),
            lateness: metrics.seconds(
                "musterd_health_probe_lateness_seconds",
                "From when a probe was due to when it began.",
            ),
            duration: metrics.seconds(
                "musterd_health_probe_duration_seconds",
                "From when a probe began to its outcome.",
            ),
            in_flight: metrics.gauge("musterd_health_probes_in_flight", "Probes under way."),
            checks: metrics.gauge("musterd_health_checks", "Checks on the schedule."),
            flapping: metrics.gauge(
                "musterd_health_checks_flapping",
                "Checks that are flapping.",
            ),
            waiting: metrics.gauge(
                "musterd_health_checks_waiting",
                "Slow or new checks that wait for one of their places.",
            ),
        }
    }

    pub(super) fn count(&self, kind: &str, outcome: Outcome) {
        let labels = [kind, outcome.as_str()];
        self.probes.with_label_values(&labels).inc();
    }

    pub(super) fn show(&self, sizes: TableSizes) {
        let number = |size| i64::try_from(size).unwrap_or(i64::MAX);
        self.checks.set(number(sizes.checks));
        self.flapping.set(number(sizes.flapping));
        self.waiting.set(number(sizes.waiting));
    }
}
