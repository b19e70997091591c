//! Section `http.broker`.

use serde::Deserialize;

/// Section `http.broker`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The most items of one list.
    pub items_max: usize,
    /// The most messages of a queue in one answer.
    pub messages_max: usize,
    /// The most queues with metrics of their own, the largest first; the others are added up.
    pub metrics_queues_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            items_max: 10_000,
            messages_max: 100,
            metrics_queues_max: 100,
        }
    }
}
