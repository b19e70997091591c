//! The baseline: latencies before the migration changes anything.

use std::time::Duration;

use super::{
    config::Config,
    window::{Measured, Measurements, Percentile, Window, WindowSize, ms},
};
use crate::api::{MigrationBaseline, StoredBaseline};

/// The latencies of the baseline, each measured in its own window: long enough, with enough samples.
#[derive(Clone, Debug)]
pub(super) struct Baseline {
    windows: [Window; 3],
    found: [Option<Percentile>; 3],
    open: bool,
}

impl Baseline {
    pub(super) fn begin(now_ms: u64, sources: &Measurements) -> Self {
        let window = |what| Window::begin(now_ms, sources.of(what));
        Self {
            windows: Measured::ALL.map(window),
            found: [None; 3],
            open: true,
        }
    }

    /// Continues one of an earlier run: what was not measured then is measured from the start.
    pub(super) fn resume(stored: &StoredBaseline, now_ms: u64, sources: &Measurements) -> Self {
        let mut baseline = Self::begin(now_ms, sources);
        baseline.open = stored.open;
        for (found, stored) in baseline.found.iter_mut().zip(&stored.found) {
            *found = stored.map(|(p95, samples)| Percentile { p95, samples });
        }
        baseline
    }

    pub(super) fn stored(&self) -> StoredBaseline {
        let found = self.found.iter();
        let found = found.map(|found| found.map(|tail| (tail.p95, tail.samples)));
        StoredBaseline {
            found: found.collect(),
            open: self.open,
        }
    }

    /// How many latencies are measured.
    pub(super) fn measured(&self) -> usize {
        self.found.iter().flatten().count()
    }

    /// Takes the result of each window that is full.
    pub(super) fn look(&mut self, now_ms: u64, sources: &Measurements, config: &Config) {
        if !self.open {
            return;
        }
        let size = WindowSize {
            span: config.baseline.get(),
            samples_min: config.samples_min.get(),
        };
        for what in Measured::ALL {
            let at = what as usize;
            if self.found[at].is_none()
                && let Some(super::window::WindowEnd::Full(tail)) =
                    self.windows[at].close(now_ms, sources.of(what), size)
            {
                self.found[at] = Some(tail);
            }
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Ends the measurement: latencies that were not measured stay unknown.
    pub(super) fn close(&mut self) {
        self.open = false;
    }

    /// True when at least one latency was measured, so that at least one rule can judge.
    pub(super) fn is_usable(&self) -> bool {
        self.found.iter().any(Option::is_some)
    }

    /// The latencies of which too few samples were measured, with their number; empty when there are none.
    pub(super) fn lacks(&self, sources: &Measurements, config: &Config) -> String {
        let missing = Measured::ALL
            .into_iter()
            .filter(|what| self.p95(*what).is_none())
            .map(|what| {
                let tail = self.windows[what as usize].tail(sources.of(what));
                let samples = tail.map_or(0, |tail| tail.samples);
                format!(
                    "{} {samples} of {} samples",
                    what.as_str(),
                    config.samples_min
                )
            });
        missing.collect::<Vec<_>>().join(", ")
    }

    /// The 95th percentile; none when too few samples were measured.
    pub(super) fn p95(&self, what: Measured) -> Option<Duration> {
        self.found[what as usize].map(|tail| tail.p95)
    }

    /// The highest value allowed: the baseline plus this share of it, but at least plus the floor.
    pub(super) fn allowed(&self, what: Measured, share: f64, floor: Duration) -> Option<Duration> {
        let p95 = self.p95(what)?;
        Some(p95.mul_f64(1.0 + share).max(p95 + floor))
    }

    pub(super) fn report(&self, sources: &Measurements) -> Vec<MigrationBaseline> {
        let report = |what: Measured| {
            let at = what as usize;
            let so_far = || {
                let tail = self.windows[at].tail(sources.of(what));
                tail.filter(|_| self.open).map_or(0, |tail| tail.samples)
            };
            MigrationBaseline {
                name: what.as_str(),
                p95_ms: self.p95(what).map(ms),
                samples: self.found[at].map_or_else(so_far, |tail| tail.samples),
            }
        };
        Measured::ALL.map(report).into()
    }
}
