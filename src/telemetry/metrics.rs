//! The metrics of one daemon, in the Prometheus text format.

use std::{fmt, pin::Pin, sync::Arc};

use parking_lot::Mutex;
use prometheus::{
    Counter, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder, core::Collector,
};

use super::{Latencies, process::show_process};

/// Upper bounds in seconds, from 10 µs to 10 s.
pub const SECONDS_BUCKETS: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025,
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// A cheap handle from which rooms make their metrics, each once, by its full name.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    registry: Arc<Registry>,
    hooks: Arc<Hooks>,
    lookers: Arc<Lookers>,
    latencies: Arc<Latencies>,
}

/// The functions that are called before a page is made.
#[derive(Default)]
struct Hooks(Mutex<Vec<Box<dyn Fn() + Send + Sync>>>);

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hooks").field(&self.0.lock().len()).finish()
    }
}

type PageHook = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The futures that are awaited before a page is made.
#[derive(Default)]
struct Lookers(Mutex<Vec<Box<dyn Fn() -> PageHook + Send + Sync>>>);

impl fmt::Debug for Lookers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lookers")
            .field(&self.0.lock().len())
            .finish()
    }
}

impl Metrics {
    /// Those of a daemon: with `musterd_build_info` and `process_*` among them.
    pub fn of_process() -> Self {
        let metrics = Self::default();
        show_process(&metrics);
        metrics
    }

    /// A counter. Its name ends in `_total`.
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.own(IntCounter::new(name, help))
    }

    /// Counters distinguished by `labels`, each with few values.
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.own(IntCounterVec::new(Opts::new(name, help), labels))
    }

    /// A gauge.
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.own(IntGauge::new(name, help))
    }

    /// Gauges distinguished by `labels`, each with few values.
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.own(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    /// Gauges with a fraction, distinguished by `labels`, each with few values.
    pub fn decimals(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.own(GaugeVec::new(Opts::new(name, help), labels))
    }

    /// A histogram of durations. Its name ends in `_seconds`.
    pub fn seconds(&self, name: &str, help: &str) -> Histogram {
        let opts = HistogramOpts::new(name, help).buckets(SECONDS_BUCKETS.to_vec());
        self.own(Histogram::with_opts(opts))
    }

    /// Recent latencies, for the migration's guard.
    pub fn latencies(&self) -> &Arc<Latencies> {
        &self.latencies
    }

    /// Calls `hook` before each page, to set gauges that are read off something rather than kept.
    pub fn before_render(&self, hook: impl Fn() + Send + Sync + 'static) {
        self.hooks.0.lock().push(Box::new(hook));
    }

    /// Waits for what `look` makes before each page of [`Self::page`]: for gauges that are read off something that
    /// other threads hold.
    pub fn before_page<F>(&self, look: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let look = move || -> PageHook { Box::pin(look()) };
        self.lookers.0.lock().push(Box::new(look));
    }

    /// Everything as it is now, in the text format 0.0.4.
    pub async fn page(&self) -> String {
        let looks: Vec<PageHook> = self.lookers.0.lock().iter().map(|look| look()).collect();
        for look in looks {
            look.await;
        }
        self.render()
    }

    /// Everything as it was seen last, in the text format 0.0.4.
    pub fn render(&self) -> String {
        for hook in self.hooks.0.lock().iter() {
            hook();
        }
        let page = TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_default();
        without_control(page)
    }

    /// A counter with a fraction. Its name ends in `_total`.
    pub(super) fn fraction(&self, name: &str, help: &str) -> Counter {
        self.own(Counter::new(name, help))
    }

    #[expect(
        clippy::expect_used,
        reason = "names are constants; a wrong one fails every test"
    )]
    fn own<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let metric = made.expect("a valid metric name");
        self.registry
            .register(Box::new(metric.clone()))
            .expect("each metric is made once");
        metric
    }
}

/// The encoder escapes line ends in labels, and no other character that steers a terminal.
fn without_control(page: String) -> String {
    let is_unsafe = |c: char| c.is_control() && c != '\n';
    if !page.contains(is_unsafe) {
        return page;
    }
    let mut out = String::with_capacity(page.len() + 64);
    for c in page.chars() {
        if is_unsafe(c) {
            // A backslash in a label is written twice.
            out.push('\\');
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests;
