//! The shapes of answers about changes and for gateways.

use serde::Deserialize;
use utoipa::ToSchema;

use super::{Event, Instance, Route, Snapshot};

/// Some events.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// Newest last.
    pub events: Vec<Event>,
    /// There is no other event up to here.
    pub revision: u64,
    /// The same as a cursor, to go on from.
    pub cursor: String,
    /// True when events were missed; then the snapshot is what to start over from.
    pub resync: Option<bool>,
    /// With `resync`.
    pub snapshot: Option<Snapshot>,
}

/// The routes of the gateway.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Routes {
    /// Best match first.
    pub routes: Vec<Route>,
    /// How many.
    pub total_count: usize,
}

/// An instance as a gateway needs it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Its identity.
    pub service_id: String,
    /// A name or an address.
    pub host: String,
    /// 1-65535.
    pub port: u16,
    /// Its share of the traffic.
    pub weight: u16,
    /// Where it runs.
    pub zone: Option<String>,
    /// Its version.
    pub version: String,
}

/// A route with those that get its requests.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct Target {
    /// The route.
    #[serde(flatten)]
    pub route: Route,
    /// The healthy instances.
    pub endpoints: Vec<Endpoint>,
}

/// All that a gateway needs.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// The numbering's life.
    pub epoch: String,
    /// The last change of any of it.
    pub revision: u64,
    /// The same as a cursor: the index to wait for a change of.
    pub cursor: String,
    /// Best match first.
    pub routes: Vec<Target>,
}

/// Where a request goes.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Resolved {
    /// The route it belongs to.
    pub route: Route,
    /// Who gets it.
    pub instance: Instance,
    /// The path to ask the instance for.
    pub path: String,
}

/// What was done to a route.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteRemoved {
    /// For people.
    pub message: String,
    /// The route's identity.
    pub route_id: String,
    /// RFC 3339, UTC.
    pub timestamp: String,
}
