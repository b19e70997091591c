//! Keys and sessions among the metrics, read when a page is made.

use super::figures::{Figures, MetricRow};
use crate::{
    kv::{KvState, KvStore},
    telemetry::Metrics,
};

const GAUGES: [MetricRow<KvState>; 3] = [
    ("musterd_kv_keys", "Keys of the key/value store.", |state| {
        state.keys() as u64
    }),
    (
        "musterd_kv_bytes",
        "Bytes of all keys and values.",
        |state| state.bytes() as u64,
    ),
    (
        "musterd_kv_sessions",
        "Sessions, which hold locks on keys.",
        |state| state.session_count() as u64,
    ),
];

/// Shows them from now on.
pub(super) fn show(metrics: &Metrics, kv: KvStore) {
    let figures = Figures::new(metrics, &GAUGES, &[]);
    metrics.before_render(move || figures.show(&kv.state()));
}
