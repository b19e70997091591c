//! Tables of gauges and counters that are read from one value when a page of metrics is made.

use crate::telemetry::{IntCounter, IntGauge, Metrics};

/// Name, help text and how the figure is read from a `T`.
pub(super) type MetricRow<T> = (&'static str, &'static str, ReadMetric<T>);

type ReadMetric<T> = fn(&T) -> u64;

/// The gauges and counters of two tables, registered.
#[derive(Debug)]
pub(super) struct Figures<T> {
    gauges: Vec<(IntGauge, ReadMetric<T>)>,
    counters: Vec<(IntCounter, ReadMetric<T>)>,
}

impl<T> Figures<T> {
    pub(super) fn new(
        metrics: &Metrics,
        gauges: &[MetricRow<T>],
        counters: &[MetricRow<T>],
    ) -> Self {
        let gauges = gauges.iter();
        let counters = counters.iter();
        Self {
            gauges: gauges
                .map(|&(name, help, value)| (metrics.gauge(name, help), value))
                .collect(),
            counters: counters
                .map(|&(name, help, value)| (metrics.counter(name, help), value))
                .collect(),
        }
    }

    pub(super) fn show(&self, source: &T) {
        for (gauge, value) in &self.gauges {
            set(gauge, value(source));
        }
        for (counter, value) in &self.counters {
            raise(counter, value(source));
        }
    }
}

pub(super) fn set(gauge: &IntGauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

/// Raises a counter to a total that is counted elsewhere.
pub(super) fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
