//! SIGHUP: takes over what can change at run time, and names every changed key that needs a restart.

use super::{Logs, chain};
use crate::{
    config::{Config, ConfigError, Values},
    http::HttpApp,
};

/// Keys, or beginnings of keys, that are taken over at run time.
const RELOADED: [&str; 2] = ["http.cors.", "log.level"];

/// Takes over what can be changed while the daemon runs.
#[derive(Debug)]
pub struct Reloader {
    logs: Logs,
    door: HttpApp,
    /// As they were at the start.
    values: Values,
}

impl Reloader {
    pub(super) fn new(logs: Logs, door: HttpApp, values: Values) -> Self {
        Self { logs, door, values }
    }

    /// Takes over what the new configuration says; a faulty one changes nothing.
    pub fn apply(&self, loaded: Result<(Config, Values), ConfigError>) {
        let (config, values) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::error!("not reloaded: {error}");
                return;
            }
        };
        if let Err(error) = self.door.set_cors(&config.http.cors) {
            tracing::error!("not reloaded: {}", chain(&error));
            return;
        }
        if let Err(error) = self.logs.set_level(&config.log.level) {
            tracing::error!("log.level is not reloaded: {}", chain(&error));
        }
        tracing::info!("reloaded log.level and http.cors");
        let changed = self.values.changed(&values);
        let restart: Vec<_> = changed
            .into_iter()
            .filter(|key| !RELOADED.iter().any(|begin| key.starts_with(begin)))
            .collect();
        if !restart.is_empty() {
            tracing::warn!(
                "changed, but in effect only after a restart: {}",
                restart.join(", ")
            );
        }
    }
}
