//! Gauges of every collection of the registry, read when a page of metrics is made.

use super::figures::{Figures, MetricRow, set};
use crate::{
    registry::{Counts, Registry},
    telemetry::Metrics,
};

/// Shows the registry's sizes among the metrics.
pub(super) fn show(metrics: &Metrics, registry: &Registry) {
    let sizes = Figures::new(metrics, &SIZES, &[]);
    let revision = metrics.gauge("musterd_revision", "The newest change.");
    let registry = registry.clone();
    metrics.before_render(move || {
        sizes.show(&registry.counts());
        set(&revision, registry.newest().0);
    });
}

const SIZES: [MetricRow<Counts>; 11] = [
    ("musterd_instances", "Instances registered.", |counts| {
        counts.instances as u64
    }),
    (
        "musterd_instances_healthy",
        "Instances whose effective status is healthy.",
        |counts| counts.healthy as u64,
    ),
    (
        "musterd_services",
        "Services with at least one instance.",
        |counts| counts.services as u64,
    ),
    (
        "musterd_services_known",
        "Services in memory, those included that are only watched or in the log.",
        |counts| counts.services_known as u64,
    ),
    ("musterd_gateway_routes", "Gateway routes.", |counts| {
        counts.routes as u64
    }),
    ("musterd_log_entries", "Events in the log.", |counts| {
        counts.log_entries as u64
    }),
    (
        "musterd_log_bytes",
        "Bytes that the events in the log keep.",
        |counts| counts.log_bytes as u64,
    ),
    (
        "musterd_registry_memory_bytes",
        "Bytes counted towards registry.memory_max.",
        |counts| counts.memory as u64,
    ),
    ("musterd_leases", "Lease timers.", |counts| {
        counts.leases as u64
    }),
    (
        "musterd_leases_bound",
        "Instances whose leases are on an open AMQP connection.",
        |counts| counts.connection_leases as u64,
    ),
    (
        "musterd_guards_engaged",
        "Services whose expiry guard is engaged.",
        |counts| counts.guards as u64,
    ),
];
