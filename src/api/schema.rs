//! The shapes of bodies, for the OpenAPI document. That they are what is really written is checked
//! by reading real answers into them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A registration. Numbers may come as strings, and true and false in other words.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// 1-200 bytes; not register, heartbeat, discover or healthy.
    pub service_id: String,
    /// 1-200 bytes without "/".
    pub service_name: String,
    /// A name or an address.
    pub host: String,
    /// 1-65535.
    #[schema(minimum = 1)]
    pub port: u16,
    /// Any JSON object.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// An HTTP check in short form: an absolute URL.
    pub health_check_url: Option<String>,
    /// Labels to filter by.
    pub tags: Option<Vec<String>>,
    /// Default "1.0.0".
    pub version: Option<String>,
    /// The lease, "1s" to "24h"; default "300s".
    pub ttl: Option<String>,
    /// The share of the traffic; default 1.
    pub weight: Option<u16>,
    /// Where it runs.
    pub zone: Option<String>,
    /// At most 16.
    pub checks: Option<Vec<Check>>,
}

/// A check of an instance.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// http, tcp, grpc or ttl.
    pub r#type: String,
    /// Unique within the instance; default its type.
    pub name: Option<String>,
    /// http: an absolute URL.
    pub url: Option<String>,
    /// http: instead of a URL, a path at the instance's host and port.
    pub path: Option<String>,
    /// http: default GET.
    pub method: Option<String>,
    /// http: sent along.
    pub headers: Option<BTreeMap<String, String>>,
    /// http: codes that pass, such as 200, "2xx" or "200-299" (default).
    #[schema(value_type = Option<Vec<String>>)]
    pub expected: Option<Vec<Value>>,
    /// tcp, grpc: "host:port"; default the instance's.
    pub address: Option<String>,
    /// grpc: the service asked for; default the server as a whole.
    pub service: Option<String>,
    /// grpc: over TLS.
    pub tls: Option<bool>,
    /// http, grpc: accept any certificate.
    pub tls_skip_verify: Option<bool>,
    /// Default "30s".
    pub interval: Option<String>,
    /// Default "5s".
    pub timeout: Option<String>,
    /// Successes in a row that make it healthy; default 1.
    pub healthy_after: Option<u32>,
    /// Failures in a row that make it unhealthy; default 3.
    pub unhealthy_after: Option<u32>,
}

/// An instance as it is answered.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// Its identity.
    pub service_id: String,
    /// The service it belongs to.
    pub service_name: String,
    /// A name or an address.
    pub host: String,
    /// 1-65535.
    pub port: u16,
    /// Any JSON object.
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// An HTTP check in short form.
    pub health_check_url: Option<String>,
    /// Labels to filter by.
    pub tags: Vec<String>,
    /// Its version.
    pub version: String,
    /// The lease.
    pub ttl: String,
    /// The share of the traffic.
    pub weight: u16,
    /// Where it runs.
    pub zone: Option<String>,
    /// Its checks, every default filled in.
    pub checks: Vec<Check>,
    /// starting, healthy, unhealthy, stopping or unknown.
    pub status: String,
    /// What the checks say, while an override stands.
    pub observed_status: Option<String>,
    /// An operator's word, while it stands.
    pub r#override: Option<Override>,
    /// RFC 3339, UTC.
    pub registered_at: String,
    /// The change that made it what it is.
    pub revision: u64,
    /// Which registration of this id it is.
    pub incarnation: u64,
    /// RFC 3339, UTC; up to 1 s old in lists.
    pub last_heartbeat: String,
}

/// An operator's word.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// unhealthy or stopping.
    pub status: String,
    /// Why.
    pub reason: Option<String>,
    /// Since when.
    pub since: String,
}

/// What an operator wants to stand.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OverrideDraft {
    /// unhealthy or stopping.
    pub status: String,
    /// Why.
    pub reason: Option<String>,
}

/// The answer to a registration.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Registered {
    /// "Service registered successfully".
    pub message: String,
    /// Whose.
    pub service_id: String,
    /// When.
    pub timestamp: String,
    /// The status it has now.
    pub status: String,
    /// The change that made it what it is.
    pub revision: u64,
    /// To be sent with heartbeats, so that a successor's lease is never touched.
    pub incarnation: u64,
    /// Fields that were ignored.
    pub warnings: Option<Vec<String>>,
}

/// What was done to an instance.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// What.
    pub message: String,
    /// Whose.
    pub service_id: String,
    /// When.
    pub timestamp: String,
}

/// An RFC 7396 merge patch.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    /// Merged into the metadata; null removes a key.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// Replaces the tags.
    pub tags: Option<Vec<String>>,
    /// Replaces the weight.
    pub weight: Option<u16>,
}

/// Many heartbeats.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchHeartbeat {
    /// Whose; at most 10,000.
    pub service_ids: Vec<String>,
}

/// The answer to many heartbeats.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchVerdicts {
    /// One for each id, in their order.
    pub results: Vec<BatchVerdict>,
    /// How many were received.
    pub received: u64,
    /// How many were not.
    pub refused: u64,
    /// When.
    pub timestamp: String,
}

/// The answer to one of many heartbeats.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchVerdict {
    /// Whose.
    pub service_id: String,
    /// True when the lease was renewed.
    pub ok: bool,
    /// In words; "Service not found" means: register again.
    pub detail: String,
}

/// The status of an instance.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusAnswer {
    /// Whose.
    pub service_id: String,
    /// starting, healthy, unhealthy, stopping or unknown.
    pub status: String,
    /// When.
    pub timestamp: String,
}

/// Every instance, by service.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Services(pub BTreeMap<String, Vec<Instance>>);

/// The answer to a discovery.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Discovered {
    /// The instances, by id.
    pub services: Vec<Instance>,
    /// How many.
    pub total_count: u64,
}

/// The health of an instance.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthReport {
    /// Whose.
    pub service_id: String,
    /// The effective status.
    pub status: String,
    /// When.
    pub timestamp: String,
    /// Every check.
    pub checks: Vec<CheckReport>,
}

/// What is known of one check.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckReport {
    /// Its name.
    pub name: String,
    /// http, tcp, grpc or ttl.
    pub r#type: String,
    /// Its verdict.
    pub status: String,
    /// Since when the verdict stands.
    pub since: Option<String>,
    /// True while its flips are held down.
    pub flapping: bool,
    /// When it is due again.
    pub next: Option<String>,
    /// Of the last probe.
    pub latency_ms: Option<f64>,
    /// The last outcomes, newest first.
    pub results: Vec<ProbeOutcome>,
}

/// How one probe went.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeOutcome {
    /// When it ended.
    pub at: String,
    /// True when it passed.
    pub passed: bool,
    /// How long it took.
    pub latency_ms: f64,
    /// What was found.
    pub message: String,
}

/// The daemon answers.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Alive {
    /// "healthy".
    pub status: String,
    /// When.
    pub timestamp: String,
}

/// Whether every part of the daemon can do its work.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Readiness {
    /// "ready" or "not ready".
    pub status: String,
    /// When.
    pub timestamp: String,
    /// Each part.
    pub checks: Vec<ReadyPart>,
}

/// One part of the daemon.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadyPart {
    /// The part.
    pub name: String,
    /// True when it can do its work.
    pub ok: bool,
    /// What it waits for, or how it is.
    pub detail: String,
}

/// What the registry holds.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SystemInfo {
    /// Instances.
    pub total_instances: u64,
    /// Instances whose effective status is healthy.
    pub healthy_instances: u64,
    /// Services with at least one instance.
    pub unique_services: u64,
    /// Their names, sorted.
    pub service_names: Vec<String>,
    /// True.
    pub running: bool,
    /// In seconds.
    pub health_check_interval: f64,
    /// Services whose expiry guard is engaged.
    pub guarded_services: Vec<String>,
    /// Gateway routes.
    pub routes: u64,
    /// The numbering's life.
    pub epoch: String,
    /// The newest change.
    pub revision: u64,
    /// Of the daemon.
    pub version: String,
    /// How long the daemon has been up.
    pub uptime_seconds: u64,
    /// When.
    pub timestamp: String,
}

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
    /// Signs what is sent; never answered.
    pub secret: Option<String>,
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
    /// Since when.
    pub created_at: String,
    /// How far it has come.
    pub cursor: String,
    /// "active", or why nothing is sent to it now.
    pub state: String,
    /// Events it took.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
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
}

/// An error, as RFC 9457 has it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// "about:blank".
    pub r#type: String,
    /// The status code in words.
    pub title: String,
    /// The status code.
    pub status: u16,
    /// The message.
    pub detail: String,
    /// With a 422: every wrong field.
    pub errors: Option<Vec<FieldError>>,
}

/// One wrong field.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldError {
    /// Its path in the body.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}
