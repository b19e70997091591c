//! How long the requests take that make up nearly all of the traffic.

use std::{sync::Arc, time::Duration};

use crate::telemetry::{Histogram, Latencies, Metrics};

/// The metrics of endpoints, each looked up once.
#[derive(Clone, Debug)]
pub(in crate::http) struct RestMetrics {
    register: Histogram,
    discover: Histogram,
    heartbeat: Histogram,
    latencies: Arc<Latencies>,
}

impl RestMetrics {
    pub(in crate::http) fn new(metrics: &Metrics) -> Self {
        let seconds = |name, what| metrics.seconds(name, what);
        Self {
            register: seconds("musterd_register_seconds", "Time to answer a registration."),
            discover: seconds("musterd_discover_seconds", "Time to answer a discovery."),
            heartbeat: seconds("musterd_heartbeat_seconds", "Time to answer a heartbeat."),
            latencies: Arc::clone(metrics.latencies()),
        }
    }

    /// A registration was answered.
    pub(super) fn registered(&self, took: Duration) {
        self.register.observe(took.as_secs_f64());
        self.latencies.register.observe(took);
    }

    /// A discovery was answered.
    pub(super) fn discovered(&self, took: Duration) {
        self.discover.observe(took.as_secs_f64());
        self.latencies.discover.observe(took);
    }

    /// A heartbeat was answered.
    pub(super) fn heartbeat(&self, took: Duration) {
        self.heartbeat.observe(took.as_secs_f64());
    }
}
