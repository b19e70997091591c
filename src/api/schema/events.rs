//! Events, those who are told them, and the routes of gateways.

use std::collections::BTreeMap;

use serde::Deserialize;
use utoipa::ToSchema;

use super::Instance;

/// What a new webhook is to be.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WatcherDraft {
    /// A service, or "*" (default) for all.
    pub service_name: Option<String>,
    /// An absolute http or https URL.
    pub callback_url: String,
    /// The kinds of events it wants; default all.
    pub events: Option<Vec<String>>,
    /// Signs what is sent; never answered. Must not be empty.
    pub secret: Option<String>,
    /// Whether the events of the migration's canary are sent; default true.
    pub canary: Option<bool>,
}

/// A webhook.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Watcher {
    /// Its identity.
    pub id: String,
    /// A service, or "*" for all.
    pub service_name: String,
    /// Where events are sent to.
    pub callback_url: String,
    /// The kinds of events it wants; none means all.
    pub events: Vec<String>,
    /// Whether what is sent is signed.
    pub signed: bool,
    /// Whether it gets the events of the migration's canary.
    pub canary: bool,
    /// Since when.
    pub created_at: String,
    /// How far it has come.
    pub cursor: String,
    /// How many changes of what it follows it has not had.
    pub lag: u64,
    /// "active", or why nothing is sent to it now.
    pub state: String,
    /// Events it took.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// With the answer to its making: fields of the body that were ignored.
    pub warnings: Option<Vec<String>>,
}

/// Every webhook.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Watchers {
    /// In the order in which they were made.
    pub watchers: Vec<Watcher>,
    /// How many.
    pub total_count: u64,
}

/// A change of the registry.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// The numbering's life.
    pub epoch: String,
    /// Its number; null for notices such as resync.
    pub revision: Option<u64>,
    /// What happened.
    pub event: String,
    /// Whom it happened to.
    pub service_id: Option<String>,
    /// The service it concerns.
    pub service_name: Option<String>,
    /// The effective status after it.
    pub status: Option<String>,
    /// The effective status before it.
    pub previous_status: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// When.
    pub timestamp: String,
    /// The instance after it, or before it left.
    pub instance: Option<Instance>,
    /// The route after it, or before it was removed.
    pub route: Option<Route>,
}

/// The state of some services, or of all.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The numbering's life.
    pub epoch: String,
    /// Follow from here.
    pub revision: u64,
    /// Both in one.
    pub cursor: String,
    /// Instances by service.
    pub services: BTreeMap<String, Vec<Instance>>,
    /// Gateway routes, for whoever follows everything.
    pub routes: Option<Vec<Route>>,
}

/// What a gateway route is to be.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteDraft {
    /// Starts with "/"; matches whole segments.
    pub path_prefix: String,
    /// Who gets the requests.
    pub service_name: String,
    /// Whether the gateway takes the prefix off; default false.
    pub strip_prefix: Option<bool>,
    /// Default all.
    pub methods: Option<Vec<String>>,
    /// Decides between prefixes of the same length; default 0.
    pub priority: Option<i32>,
}

/// A gateway route.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Its identity.
    pub route_id: String,
    /// Starts with "/"; matches whole segments.
    pub path_prefix: String,
    /// Who gets the requests.
    pub service_name: String,
    /// Whether the gateway takes the prefix off before it forwards.
    pub strip_prefix: bool,
    /// None means all.
    pub methods: Vec<String>,
    /// Decides between prefixes of the same length: the higher one.
    pub priority: i32,
    /// The change that made it.
    pub revision: u64,
    /// With the answer to a change: fields of its body that were ignored.
    pub warnings: Option<Vec<String>>,
}
