//! Section `http.broker`.

use serde::Deserialize;

use crate::quantity::Bounded;

/// Section `http.broker`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The most items of one list.
    pub items_max: Bounded<usize, 0, 1_000_000>,
    /// The most messages of a queue in one answer.
    pub messages_max: Bounded<usize, 0, 100_000>,
    /// The most queues with separate metrics, the largest first; the others are added up.
    pub metrics_queues_max: Bounded<usize, 0, 100_000>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            items_max: 10_000.into(),
            messages_max: 100.into(),
            metrics_queues_max: 100.into(),
        }
    }
}
