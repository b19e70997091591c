//! What operators read about the daemon itself: its limits, its configuration and its watchers.

use serde::Serialize;
use utoipa::ToSchema;

use crate::model::{Cursor, Timestamp};

/// The unit of a limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LimitUnit {
    /// A number of things.
    Count,
    /// Bytes.
    Bytes,
}

/// A limit and how much of it is used.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitUse {
    /// What is limited.
    pub name: &'static str,
    /// The key of the configuration that sets it.
    pub key: &'static str,
    /// How much there is.
    pub used: u64,
    /// How much there may be.
    pub max: u64,
    /// count or bytes.
    pub unit: LimitUnit,
    /// What happens when it is reached.
    pub when_full: &'static str,
}

/// The limits of the daemon.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Limits)]
pub struct LimitList {
    /// Each limit.
    pub limits: Vec<LimitUse>,
    /// When.
    pub timestamp: Timestamp,
}

/// One key of the configuration in effect.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Its name, with dots between its parts.
    pub key: String,
    /// Its value as TOML; a secret is shown as "...".
    pub value: String,
    /// Where the value comes from: default, file, environment or command line.
    pub source: String,
    /// The value without any source; null for a key of your own, such as a user.
    pub default: Option<String>,
    /// What it is for.
    pub about: String,
}

/// The configuration in effect.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Settings)]
pub struct SettingList {
    /// Every key. Empty when a program that embeds the daemon made the configuration.
    pub settings: Vec<Setting>,
    /// What the dashboard may do: on, read or off.
    pub dashboard: &'static str,
    /// The version of the daemon.
    pub version: &'static str,
    /// When.
    pub timestamp: Timestamp,
}

/// A stream, a WebSocket, a request that waits, or a callback of the program that embeds the daemon.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenWatcher {
    /// sse, websocket, long_poll, gateway or callback.
    pub kind: &'static str,
    /// The address of its client; "in process" for a callback.
    pub address: String,
    /// The identity of its client; null without authentication.
    pub identity: Option<String>,
    /// The services that it follows, "*" for all.
    pub scope: String,
    /// Since when.
    pub since: Timestamp,
    /// The last change that it was sent; null for a request that waits.
    pub cursor: Option<Cursor>,
    /// How many changes of the registry came after that.
    pub lag: Option<u64>,
    /// Why the last delivery to a callback failed, while it fails.
    pub error: Option<String>,
}

/// The streams, the waiting requests and the callbacks.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OpenWatchers)]
pub struct OpenWatcherList {
    /// Callbacks first, then the longest open, at most 1000.
    pub streams: Vec<OpenWatcher>,
    /// How many there are.
    pub total_count: usize,
}
