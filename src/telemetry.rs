//! Logs and metrics: where every room gets its counters from. Knows no other room but `quantity`.

mod escape;
mod latency;
mod logs;
mod metrics;
mod process;
#[cfg(test)]
pub(crate) mod testing;

pub use prometheus::{GaugeVec, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

pub use self::{
    escape::{escaped, escaped_json},
    latency::{Latencies, Latency, LatencySnapshot},
    logs::{Config, Format, LogError, Logs},
    metrics::{Metrics, SECONDS_BUCKETS},
};
