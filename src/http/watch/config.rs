//! Section `http.watch`.

use std::time::Duration;

use serde::Deserialize;

/// Section `http.watch`: streams and long polls.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The most streams and long polls at once.
    pub watchers_max: usize,
    /// The most streams and long polls of one client address.
    pub watchers_per_address_max: usize,
    /// The most services that one stream may name.
    pub services_max: usize,
    /// The most events in one answer.
    pub events_max: usize,
    /// How often a silent stream shows that it is alive.
    #[serde(with = "humantime_serde")]
    pub keep_alive: Duration,
    /// The longest that a long poll may wait.
    #[serde(with = "humantime_serde")]
    pub wait_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            watchers_max: 16_384,
            watchers_per_address_max: 1_024,
            services_max: 64,
            events_max: 1_000,
            keep_alive: Duration::from_secs(15),
            wait_max: Duration::from_secs(300),
        }
    }
}

impl Config {
    /// Everything that is wrong with it, each as a sentence that names the key.
    pub(in crate::http) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let counts = [
            ("watchers_max", self.watchers_max),
            ("watchers_per_address_max", self.watchers_per_address_max),
            ("services_max", self.services_max),
            ("events_max", self.events_max),
        ];
        for (key, value) in counts {
            if value == 0 {
                faults.push(format!("http.watch.{key} must be at least 1"));
            }
        }
        if self.keep_alive < Duration::from_millis(10) {
            faults.push("http.watch.keep_alive must be at least 10ms".to_owned());
        }
        faults
    }
}
