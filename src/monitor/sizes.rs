//! Gauges of every collection of the registry, read when a page of metrics is made.

use crate::{
    registry::{Counts, Registry},
    telemetry::Metrics,
};

/// Shows the registry's sizes among the metrics.
pub(super) fn show(metrics: &Metrics, registry: &Registry) {
    let gauges = SIZES.map(|(name, help, _)| metrics.gauge(name, help));
    let revision = metrics.gauge("musterd_revision", "The newest change.");
    let registry = registry.clone();
    metrics.before_render(move || {
        let counts = registry.counts();
        for (gauge, (_, _, size)) in gauges.iter().zip(SIZES) {
            gauge.set(i64::try_from(size(&counts)).unwrap_or(i64::MAX));
        }
        revision.set(i64::try_from(registry.newest().0).unwrap_or(i64::MAX));
    });
}

/// Name, help and value of each gauge.
type Size = (&'static str, &'static str, fn(&Counts) -> usize);

const SIZES: [Size; 10] = [
    ("musterd_instances", "Instances registered.", |counts| {
        counts.instances
    }),
    (
        "musterd_instances_healthy",
        "Instances whose effective status is healthy.",
        |counts| counts.healthy,
    ),
    (
        "musterd_services",
        "Services with at least one instance.",
        |counts| counts.services,
    ),
    (
        "musterd_services_known",
        "Services in memory, those included that are only watched or in the log.",
        |counts| counts.services_known,
    ),
    ("musterd_gateway_routes", "Gateway routes.", |counts| {
        counts.routes
    }),
    ("musterd_log_entries", "Events in the log.", |counts| {
        counts.log_entries
    }),
    (
        "musterd_log_bytes",
        "Bytes that the events in the log keep.",
        |counts| counts.log_bytes,
    ),
    ("musterd_leases", "Lease timers.", |counts| counts.leases),
    (
        "musterd_leases_bound",
        "Instances whose leases are on an open AMQP connection.",
        |counts| counts.connection_leases,
    ),
    (
        "musterd_guards_engaged",
        "Services whose expiry guard is engaged.",
        |counts| counts.guards,
    ),
];
