//! The bodies of requests that are read into types of the model, as the OpenAPI document describes them. What is
//! read from them is more lenient: numbers may come as text, and unknown fields are ignored with a warning.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A registration. Numbers may come as strings, and true and false in other words.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Registration)]
pub struct RegistrationDraft {
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
    /// The means by which the lease is renewed: ttl (default), or connection: the AMQP connection to the
    /// embedded broker over which it registers.
    pub lease: Option<String>,
    /// The share of the traffic; default 1.
    pub weight: Option<u16>,
    /// Where it runs.
    pub zone: Option<String>,
    /// At most `registry.checks_max`, default 16.
    pub checks: Option<Vec<CheckDraft>>,
}

/// A check of an instance.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Check)]
pub struct CheckDraft {
    /// http, tcp, grpc, ttl, udp, h2ping or alias; script only from the Consul-compatible API.
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
    /// tcp, grpc, udp, h2ping: "host:port"; default the instance's.
    pub address: Option<String>,
    /// grpc: the service asked for; default the server as a whole.
    pub service: Option<String>,
    /// alias: the instance whose checks it repeats.
    pub service_id: Option<String>,
    /// script: the program and its arguments.
    pub args: Option<Vec<String>>,
    /// grpc, h2ping: over TLS.
    pub tls: Option<bool>,
    /// http, grpc, h2ping: accept any certificate.
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
    /// Its name in the Consul-compatible API.
    pub title: Option<String>,
    /// Text for people.
    pub notes: Option<String>,
    /// passing, warning or critical: what it says before its first result; default critical.
    pub initial: Option<String>,
    /// Failures in a row that make it warn; default 0, never.
    pub warning_after: Option<u32>,
    /// The instance is removed when the check was critical for so long.
    pub remove_after: Option<String>,
}

/// An RFC 7396 merge patch.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Patch)]
pub struct PatchRequest {
    /// Merged into the metadata; null removes a key.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// Replaces the tags.
    pub tags: Option<Vec<String>>,
    /// Replaces the weight.
    pub weight: Option<u16>,
}

/// The properties of a gateway route.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RouteDraft)]
pub struct RouteRequest {
    /// Starts with "/"; matches whole segments.
    pub path_prefix: String,
    /// The service that gets the requests.
    pub service_name: String,
    /// Whether the gateway takes the prefix off; default false.
    pub strip_prefix: Option<bool>,
    /// Default all.
    pub methods: Option<Vec<String>>,
    /// Decides between prefixes of the same length; default 0.
    pub priority: Option<i32>,
}

/// A message to publish.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerPublish)]
pub struct PublishRequest {
    /// Default "/".
    pub vhost: Option<String>,
    /// Default "", the default exchange, which routes to the queue named by the routing key.
    pub exchange: Option<String>,
    /// Default "".
    pub routing_key: Option<String>,
    /// The body.
    pub payload: String,
    /// string (default) or base64.
    pub payload_encoding: Option<String>,
    /// The content type.
    pub content_type: Option<String>,
    /// The publisher's name for the message.
    pub message_id: Option<String>,
    /// The correlation id.
    pub correlation_id: Option<String>,
    /// Where a reply goes.
    pub reply_to: Option<String>,
    /// Whether a durable queue stores it; default false.
    pub persistent: Option<bool>,
    /// Headers, as text.
    pub headers: Option<BTreeMap<String, String>>,
}
