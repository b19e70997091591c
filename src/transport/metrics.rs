//! Metrics of callbacks and webhooks.

use std::{sync::Arc, time::Duration};

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use super::DeliveryError;
use crate::{
    model::Timestamp,
    telemetry::{Latencies, Metrics},
};

/// The label of callbacks.
pub(super) const CALLBACK: &str = "callback";

/// The metrics of the direct transport, made once.
#[derive(Clone, Debug)]
pub struct DirectMetrics {
    delivery_seconds: Histogram,
    deliveries: IntCounterVec,
    latencies: Arc<Latencies>,
    pub(super) callbacks: IntGauge,
    pub(super) webhooks: IntGauge,
    pub(super) circuits_open: IntGauge,
    pub(super) lag: IntGauge,
}

impl DirectMetrics {
    /// Registers the metrics; once for each set of metrics.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            delivery_seconds: metrics.seconds(
                "musterd_event_delivery_seconds",
                "Time from an event to its successful delivery to a callback or webhook",
            ),
            deliveries: metrics.counters(
                "musterd_deliveries_total",
                "Attempts to deliver an event or a snapshot, by way and result",
                &["way", "result"],
            ),
            latencies: Arc::clone(metrics.latencies()),
            callbacks: metrics.gauge("musterd_callbacks", "In-process callbacks subscribed"),
            webhooks: metrics.gauge("musterd_webhooks", "Webhooks registered"),
            circuits_open: metrics.gauge(
                "musterd_webhook_circuits_open",
                "Webhooks that pause because their receiver failed too often",
            ),
            lag: metrics.gauge(
                "musterd_webhook_lag_events",
                "Events that the webhook furthest behind has not received",
            ),
        }
    }

    pub(super) fn of(&self, way: &'static str) -> DeliveryCounters {
        let result = |result| self.deliveries.with_label_values(&[way, result]);
        DeliveryCounters {
            seconds: self.delivery_seconds.clone(),
            // The time of a webhook's receiver says nothing about the transport.
            latencies: (way == CALLBACK).then(|| Arc::clone(&self.latencies)),
            delivered: result("delivered"),
            resynced: result("resynced"),
            failed: result("failed"),
            refused: result("refused"),
            panicked: result("panicked"),
            late: result("late"),
            gone: result("gone"),
        }
    }
}

/// Increments a gauge until it is dropped.
#[derive(Debug)]
pub(super) struct Present(IntGauge);

impl Present {
    pub(super) fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The counters of one kind of subscriber, looked up once.
#[derive(Clone, Debug)]
pub struct DeliveryCounters {
    seconds: Histogram,
    latencies: Option<Arc<Latencies>>,
    delivered: IntCounter,
    resynced: IntCounter,
    failed: IntCounter,
    refused: IntCounter,
    panicked: IntCounter,
    late: IntCounter,
    gone: IntCounter,
}

impl DeliveryCounters {
    pub(super) fn delivered(&self, since: Timestamp, now: Timestamp) {
        self.delivered.inc();
        let ms = u32::try_from(now.0.saturating_sub(since.0)).unwrap_or(0);
        self.seconds.observe(f64::from(ms) / 1_000.0);
        if let Some(latencies) = &self.latencies {
            latencies
                .delivery
                .observe(Duration::from_millis(u64::from(ms)));
        }
    }

    pub(super) fn resynced(&self) {
        self.resynced.inc();
    }

    pub(super) fn failed(&self, error: &DeliveryError) {
        let counter = match error {
            DeliveryError::Refused(_) => &self.refused,
            DeliveryError::Panicked => &self.panicked,
            DeliveryError::Late(_) => &self.late,
            DeliveryError::Gone => &self.gone,
            DeliveryError::Failed(_) | DeliveryError::Busy { .. } => &self.failed,
        };
        counter.inc();
    }
}
