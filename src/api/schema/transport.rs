//! The flag.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The transport: each channel, and the broker.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Transport {
    /// events, health and discovery.
    pub channels: BTreeMap<String, TransportChannel>,
    /// The broker.
    pub broker: TransportBroker,
    /// on, or off when the direct way is closed for good.
    pub direct: String,
    /// When.
    pub timestamp: String,
}

/// One channel.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TransportChannel {
    /// direct, dual or queue.
    pub mode: String,
    /// The last change that the broker confirmed.
    pub cursor: Option<String>,
    /// Changes that it has not confirmed yet.
    pub lag: Option<u64>,
    /// Messages confirmed, requests answered.
    pub sent: u64,
    /// Messages refused, returned or not answered.
    pub failed: u64,
    /// What came by both ways.
    pub compared: u64,
    /// What came by the direct way only.
    pub missing: u64,
    /// What came over the broker later than allowed.
    pub late: u64,
    /// What said something else.
    pub different: u64,
}

/// The broker.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TransportBroker {
    /// embedded, external or none.
    pub kind: String,
    /// Where it is, without a password.
    pub url: String,
    /// off, up or away.
    pub state: String,
    /// Since when.
    pub since: String,
    /// For how long it has not answered.
    pub silent_ms: Option<f64>,
    /// What went wrong last.
    pub error: Option<String>,
    /// Connections made since the start.
    pub connections: u64,
    /// Messages put into `musterd.dead` since then, because nobody could read them.
    pub dead_letters: u64,
    /// Answers to commands that could not be sent since then, most likely because their `reply_to` was made up.
    pub answers_lost: u64,
}

/// A change of the flag.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct TransportDraft {
    /// direct, dual or queue, for every channel.
    pub mode: Option<String>,
    /// The same for events, health or discovery.
    pub channels: Option<BTreeMap<String, String>>,
}
