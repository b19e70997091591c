//! Section `http.watch`.

use std::time::Duration;

use serde::Deserialize;

use crate::quantity::{Bounded, DAY};

/// Section `http.watch`: streams and long polls.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The most streams and long polls at once.
    pub watchers_max: Bounded<usize, 1, 10_000_000>,
    /// The most streams and long polls of one client address.
    pub watchers_per_address_max: Bounded<usize, 1, 10_000_000>,
    /// The most services that one stream may name.
    pub services_max: Bounded<usize, 1, 10_000>,
    /// The most events in one answer.
    pub events_max: Bounded<usize, 1, 1_000_000>,
    /// How often a silent stream shows that it is alive.
    pub keep_alive: Bounded<Duration, 10, DAY>,
    /// The longest that a long poll may wait.
    pub wait_max: Bounded<Duration, 0, DAY>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            watchers_max: 16_384.into(),
            watchers_per_address_max: 1_024.into(),
            services_max: 64.into(),
            events_max: 1_000.into(),
            keep_alive: Duration::from_secs(15).into(),
            wait_max: Duration::from_secs(300).into(),
        }
    }
}
