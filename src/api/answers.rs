//! Small answers.

use super::json::Json;
use crate::model::{Epoch, Instance, Revision, ServiceName, Timestamp};

/// `{"status":"healthy","timestamp"}`: the daemon answers.
pub fn alive(timestamp: Timestamp) -> Vec<u8> {
    let mut json = Json::with_capacity(64);
    json.open(b'{');
    json.key("status").text("healthy");
    json.key("timestamp").time(timestamp);
    json.close(b'}');
    json.into_bytes()
}

/// `{"message","service_id","timestamp"}`: what was done to an instance.
pub fn done(message: &str, service_id: &str, timestamp: Timestamp) -> Vec<u8> {
    let mut json = Json::with_capacity(96 + message.len() + service_id.len());
    json.open(b'{');
    json.key("message").text(message);
    json.key("service_id").text(service_id);
    json.key("timestamp").time(timestamp);
    json.close(b'}');
    json.into_bytes()
}

/// `{"service_id","status","reason","timestamp"}`; `reason` is that of the last change, or null.
pub fn status(instance: &Instance, timestamp: Timestamp) -> Vec<u8> {
    let service_id = instance.id().as_str();
    let mut json = Json::with_capacity(96 + service_id.len());
    json.open(b'{');
    json.key("service_id").text(service_id);
    json.key("status").text(instance.status().as_str());
    json.key("reason").text_or_null(instance.reason.as_deref());
    json.key("timestamp").time(timestamp);
    json.close(b'}');
    json.into_bytes()
}

/// What the daemon says of itself.
#[derive(Clone, Debug)]
pub struct SystemInfo {
    /// Instances.
    pub total_instances: usize,
    /// Instances whose effective status is healthy.
    pub healthy_instances: usize,
    /// Services with at least one instance, by name.
    pub service_names: Vec<ServiceName>,
    /// Seconds between two probes of a check that says nothing else.
    pub health_check_interval: f64,
    /// Services whose expiry guard is engaged.
    pub guarded: Vec<ServiceName>,
    /// The numbering's life.
    pub epoch: Epoch,
    /// The newest change.
    pub revision: Revision,
    /// Gateway routes.
    pub routes: usize,
    /// How long the daemon has been up, in seconds.
    pub uptime_seconds: u64,
}

impl SystemInfo {
    /// Its JSON.
    pub fn to_json(&self, timestamp: Timestamp) -> Vec<u8> {
        let mut json = Json::with_capacity(512);
        json.open(b'{');
        json.key("total_instances").size(self.total_instances);
        json.key("healthy_instances").size(self.healthy_instances);
        json.key("unique_services").size(self.service_names.len());
        json.key("service_names")
            .texts(self.service_names.iter().map(ServiceName::as_str));
        json.key("running").flag(true);
        json.key("health_check_interval")
            .plain(self.health_check_interval);
        json.key("guarded_services")
            .texts(self.guarded.iter().map(ServiceName::as_str));
        json.key("routes").size(self.routes);
        json.key("epoch").text(&self.epoch.to_string());
        json.key("revision").number(self.revision.0);
        json.key("version").text(env!("CARGO_PKG_VERSION"));
        json.key("uptime_seconds").number(self.uptime_seconds);
        json.key("timestamp").time(timestamp);
        json.close(b'}');
        json.into_bytes()
    }
}
