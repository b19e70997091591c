//! Instances as answers and events carry them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{checks, json::Json, requests::CheckDraft, vocabulary::encode};
use crate::model::{Instance, Override, Registration, ServiceId, Status, Timestamp};

/// Appends an instance. The part that does not change between two heartbeats is encoded once.
pub fn instance(out: &mut Vec<u8>, instance: &Instance, last_heartbeat: Timestamp) {
    let lasting = instance.encoded.get_or_init(|| lasting(instance));
    out.reserve(lasting.len() + 32);
    out.extend_from_slice(lasting);
    out.push(b'"');
    last_heartbeat.append_to(out);
    let warns = instance.registration.is_checked()
        && instance
            .last_seen
            .checks()
            .is_some_and(|checks| checks.is_warning());
    out.extend_from_slice(match warns {
        true => b"\",\"warning\":true}",
        false => b"\"}",
    });
}

/// The answer to a registration.
pub fn registered(instance: &Instance, timestamp: Timestamp, warnings: &[String]) -> Vec<u8> {
    encode(&RegisteredJson {
        message: "Service registered successfully",
        service_id: instance.id(),
        timestamp,
        status: instance.status().as_str(),
        revision: instance.revision.0,
        incarnation: instance.incarnation,
        warnings: (!warnings.is_empty()).then_some(warnings),
    })
}

/// Everything up to the value of `last_heartbeat`.
fn lasting(instance: &Instance) -> Box<[u8]> {
    let registration = &*instance.registration;
    let mut json = Json::with_capacity(registration.size() + 400);
    json.open(b'{');
    said(&mut json, registration);
    json.key("status").text(instance.status().as_str());
    if let Some(overridden) = &instance.overridden {
        json.key("observed_status").text(instance.observed.as_str());
        json.key("override").value(OverrideJson::of(overridden));
    }
    if let Some(reason) = &instance.reason {
        json.key("reason").text(reason);
    }
    if let Some(owner) = &instance.owner {
        json.key("owner").text(owner);
    }
    json.key("registered_at").time(instance.registered_at);
    json.key("revision").value(instance.revision.0);
    json.key("incarnation").value(instance.incarnation);
    json.key("last_heartbeat");
    json.into_bytes().into()
}

fn said(json: &mut Json, registration: &Registration) {
    json.key("service_id")
        .text(registration.service_id.as_str());
    json.key("service_name")
        .text(registration.service_name.as_str());
    json.key("host").text(&registration.host);
    json.key("port").value(registration.port);
    json.key("metadata")
        .raw(registration.metadata.as_str().as_bytes());
    json.key("health_check_url")
        .value(registration.health_check_url.as_deref());
    json.key("tags").value(&registration.tags);
    json.key("version").text(&registration.version);
    json.key("ttl").span(registration.ttl);
    json.key("lease").text(registration.lease.as_str());
    json.key("weight").value(registration.weight);
    json.key("zone").value(registration.zone.as_deref());
    json.key("checks").open(b'[');
    for check in &registration.checks {
        checks::write(json.item(), check);
    }
    json.close(b']');
}

/// An instance.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Instance)]
pub struct InstanceJson {
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
    /// The means by which the lease is renewed: ttl, connection or none.
    pub lease: String,
    /// The share of the traffic.
    pub weight: u16,
    /// Where it runs.
    pub zone: Option<String>,
    /// Its checks, with every default filled in.
    pub checks: Vec<CheckDraft>,
    /// starting, healthy, unhealthy, stopping or unknown.
    pub status: String,
    /// The result of its checks, while an override is set.
    pub observed_status: Option<String>,
    /// The operator's override.
    pub r#override: Option<OverrideJson>,
    /// Why it changed last, where there is more to say than the status does.
    pub reason: Option<String>,
    /// The identity that registered it.
    pub owner: Option<String>,
    /// When it was registered first.
    pub registered_at: Timestamp,
    /// Its last change.
    pub revision: u64,
    /// Which registration of this id it is.
    pub incarnation: u64,
    /// Up to 1 s old in lists.
    pub last_heartbeat: Timestamp,
    /// True when a check passes with a warning and none fails; left out otherwise.
    pub warning: Option<bool>,
    /// With the answer to a change: what of the request was ignored.
    pub warnings: Option<Vec<String>>,
}

/// An operator's override.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Override)]
pub struct OverrideJson {
    /// unhealthy or stopping.
    pub status: String,
    /// Why.
    pub reason: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

impl OverrideJson {
    fn of(overridden: &Override) -> Self {
        Self {
            status: Status::from(overridden.status).to_string(),
            reason: overridden.reason.as_deref().map(str::to_owned),
            since: overridden.since,
        }
    }
}

/// The answer to a registration.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Registered)]
pub struct RegisteredJson<'a> {
    /// "Service registered successfully".
    pub message: &'static str,
    /// The instance.
    #[schema(value_type = String)]
    pub service_id: &'a ServiceId,
    /// When.
    pub timestamp: Timestamp,
    /// Its status.
    pub status: &'static str,
    /// Its last change.
    pub revision: u64,
    /// Send it with heartbeats, so that they never renew the lease of a successor.
    pub incarnation: u64,
    /// The ignored parts of the request, and other warnings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warnings: Option<&'a [String]>,
}

/// The answer to a discovery.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Discovered)]
pub struct DiscoveredJson {
    /// The instances, by id.
    pub services: Vec<InstanceJson>,
    /// How many.
    pub total_count: u64,
}

/// Every instance, by service.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(as = Services)]
pub struct ServicesJson(pub BTreeMap<String, Vec<InstanceJson>>);

#[cfg(test)]
mod tests;
