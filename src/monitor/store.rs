//! The store among the metrics, read when a page is made.

use super::figures::{Figures, MetricRow, set};
use crate::{
    registry::Registry,
    store::{Store, StoreStats},
    telemetry::Metrics,
};

const GAUGES: [MetricRow<StoreStats>; 4] = [
    (
        "musterd_store_bytes",
        "Bytes of the store's log and snapshot.",
        |stats| stats.bytes,
    ),
    (
        "musterd_store_log_bytes",
        "Bytes of the store's log that no snapshot covers.",
        |stats| stats.log_bytes,
    ),
    (
        "musterd_store_files",
        "Files of the store's log and snapshot.",
        |stats| stats.files as u64,
    ),
    (
        "musterd_store_degraded",
        "1 while the disk is full, or no snapshot can be written.",
        |stats| stats.degraded.is_some().into(),
    ),
];

const COUNTERS: [MetricRow<StoreStats>; 3] = [
    (
        "musterd_store_commits_total",
        "Commits of the store.",
        |stats| stats.commits,
    ),
    (
        "musterd_store_syncs_total",
        "Calls of fsync for commits.",
        |stats| stats.syncs,
    ),
    (
        "musterd_store_snapshots_total",
        "Snapshots of the store that were written.",
        |stats| stats.snapshots,
    ),
];

/// Shows it from now on.
pub(super) fn show(metrics: &Metrics, registry: &Registry, store: Store) {
    let figures = Figures::new(metrics, &GAUGES, &COUNTERS);
    let decimal = |name, help| {
        let gauge = metrics.decimals(name, help, &[]);
        gauge.with_label_values::<&str>(&[])
    };
    let last_sync = decimal(
        "musterd_store_last_sync_seconds",
        "How long the last fsync took.",
    );
    let last_snapshot = decimal(
        "musterd_store_last_snapshot_timestamp_seconds",
        "When the last snapshot was written, in seconds since 1970; 0 before the first of this process.",
    );
    let waiting = metrics.gauge(
        "musterd_store_waiting_commands",
        "Commands of the registry that wait for a commit.",
    );
    let registry = registry.clone();
    metrics.before_render(move || {
        let stats = store.stats();
        figures.show(&stats);
        last_sync.set(stats.last_sync.as_secs_f64());
        let since = std::time::Duration::from_millis(stats.last_snapshot_ms.unwrap_or(0));
        last_snapshot.set(since.as_secs_f64());
        set(&waiting, registry.waiting() as u64);
    });
}
