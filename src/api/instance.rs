//! Instances as answers and events carry them.

use std::sync::Arc;

use super::{checks, json::Json};
use crate::model::{Instance, Override, OverrideStatus, Registration, Timestamp};

/// Appends an instance. What does not change between two heartbeats is encoded once in its life.
pub fn instance(out: &mut Vec<u8>, instance: &Instance, last_heartbeat: Timestamp) {
    let lasting = instance.encoded.get_or_init(|| lasting(instance));
    out.reserve(lasting.len() + 32);
    out.extend_from_slice(lasting);
    out.push(b'"');
    last_heartbeat.append_to(out);
    out.extend_from_slice(b"\"}");
}

/// Appends a list of instances.
pub fn instances<'a>(
    out: &mut Vec<u8>,
    instances: impl IntoIterator<Item = &'a Arc<Instance>>,
    last_heartbeat: impl Fn(&Instance) -> Timestamp,
) {
    out.push(b'[');
    for (at, one) in instances.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        instance(out, one, last_heartbeat(one));
    }
    out.push(b']');
}

/// Appends `{name: [instance, …]}`.
pub fn services<'a, L: IntoIterator<Item = &'a Arc<Instance>>>(
    out: &mut Vec<u8>,
    services: impl IntoIterator<Item = (&'a str, L)>,
    last_heartbeat: impl Fn(&Instance) -> Timestamp,
) {
    out.push(b'{');
    for (at, (name, list)) in services.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        super::json::text(out, name);
        out.push(b':');
        instances(out, list, &last_heartbeat);
    }
    out.push(b'}');
}

/// The answer to a registration.
pub fn registered(instance: &Instance, timestamp: Timestamp, warnings: &[String]) -> Vec<u8> {
    let mut json = Json::with_capacity(192);
    json.open(b'{');
    json.key("message").text("Service registered successfully");
    json.key("service_id").text(instance.id().as_str());
    json.key("timestamp").time(timestamp);
    json.key("status").text(instance.status().as_str());
    json.key("revision").number(instance.revision.0);
    json.key("incarnation").number(instance.incarnation);
    if !warnings.is_empty() {
        json.key("warnings")
            .texts(warnings.iter().map(String::as_str));
    }
    json.close(b'}');
    json.into_bytes()
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
        json.key("override");
        write_override(&mut json, overridden);
    }
    if let Some(reason) = &instance.reason {
        json.key("reason").text(reason);
    }
    json.key("registered_at").time(instance.registered_at);
    json.key("revision").number(instance.revision.0);
    json.key("incarnation").number(instance.incarnation);
    json.key("last_heartbeat");
    json.into_bytes().into()
}

fn said(json: &mut Json, registration: &Registration) {
    json.key("service_id")
        .text(registration.service_id.as_str());
    json.key("service_name")
        .text(registration.service_name.as_str());
    json.key("host").text(&registration.host);
    json.key("port").number(registration.port);
    json.key("metadata")
        .raw(registration.metadata.as_str().as_bytes());
    json.key("health_check_url")
        .text_or_null(registration.health_check_url.as_deref());
    json.key("tags")
        .texts(registration.tags.iter().map(|tag| &**tag));
    json.key("version").text(&registration.version);
    json.key("ttl").span(registration.ttl);
    json.key("lease").text(registration.lease.as_str());
    json.key("weight").number(registration.weight);
    json.key("zone").text_or_null(registration.zone.as_deref());
    json.key("checks").open(b'[');
    for check in &registration.checks {
        checks::write(json.item(), check);
    }
    json.close(b']');
}

fn write_override(json: &mut Json, overridden: &Override) {
    let status = match overridden.status {
        OverrideStatus::Unhealthy => "unhealthy",
        OverrideStatus::Stopping => "stopping",
    };
    json.open(b'{');
    json.key("status").text(status);
    json.key("reason")
        .text_or_null(overridden.reason.as_deref());
    json.key("since").time(overridden.since);
    json.close(b'}');
}

#[cfg(test)]
mod tests;
