//! Section `store`: where state is kept, and when it is durable.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{StoreOptions, SyncMode};
use crate::quantity::{Bounded, SECOND};

/// Section `store`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The folder; empty keeps everything in memory. None: `data` for the daemon, nothing for a library.
    pub path: Option<PathBuf>,
    /// When an answered registration is durable.
    pub sync: SyncChoice,
    /// With `interval`: at most so much later.
    pub sync_interval: Bounded<Duration, 1, { 10 * SECOND }>,
}

/// When an answered registration is durable.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum SyncChoice {
    /// Before it is answered.
    Always,
    /// A short time later.
    #[default]
    Interval,
    /// When the operating system writes it.
    Os,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: None,
            sync: SyncChoice::default(),
            sync_interval: Duration::from_millis(50).into(),
        }
    }
}

impl Config {
    /// The folder, if there is one.
    pub fn folder(&self) -> Option<&PathBuf> {
        self.path
            .as_ref()
            .filter(|path| !path.as_os_str().is_empty())
    }

    /// How the store works.
    pub fn options(&self) -> StoreOptions {
        StoreOptions {
            sync: match self.sync {
                SyncChoice::Always => SyncMode::Always,
                SyncChoice::Interval => SyncMode::Interval(self.sync_interval.get()),
                SyncChoice::Os => SyncMode::Os,
            },
            ..StoreOptions::default()
        }
    }
}
