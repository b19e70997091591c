//! Logs and metrics: where every room gets its counters from. Never decides anything.

mod latency;
mod logs;
mod metrics;

pub use prometheus::{GaugeVec, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

pub use self::{
    latency::{Latencies, Latency, LatencySnapshot},
    logs::{Config, Format, LogError, Logs},
    metrics::{Metrics, SECONDS_BUCKETS},
};
