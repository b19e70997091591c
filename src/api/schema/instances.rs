//! Registrations, instances and what is done with them.

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
    /// What the lease hangs on: ttl (default), or connection: the AMQP connection to the embedded broker by which it registers.
    pub lease: Option<String>,
    /// The share of the traffic; default 1.
    pub weight: Option<u16>,
    /// Where it runs.
    pub zone: Option<String>,
    /// At most `registry.checks_max`, default 16.
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
    /// http: GET (default) or HEAD; others need health.unsafe_requests.
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
    /// http: how many redirects are followed, 0 (default) to 5.
    pub redirects: Option<u8>,
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
    /// What renews the lease: ttl, connection or none.
    pub lease: String,
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
    /// Why it changed last, where there is more to say than the status does.
    pub reason: Option<String>,
    /// RFC 3339, UTC.
    pub registered_at: String,
    /// The change that made it what it is.
    pub revision: u64,
    /// Which registration of this id it is.
    pub incarnation: u64,
    /// RFC 3339, UTC; up to 1 s old in lists.
    pub last_heartbeat: String,
    /// With the answer to a change: fields of its body that were ignored.
    pub warnings: Option<Vec<String>>,
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
    /// Fields that were ignored.
    pub warnings: Option<Vec<String>>,
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
    /// Why it changed last, where there is more to say than the status does.
    pub reason: Option<String>,
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
