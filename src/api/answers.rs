//! Small answers.

use serde::Serialize;
use utoipa::ToSchema;

use super::vocabulary::encode;
use crate::model::{Epoch, Revision, ServiceName, Status, Timestamp};

/// The daemon answers.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Alive {
    status: &'static str,
    timestamp: Timestamp,
}

impl Alive {
    /// `{"status":"healthy","timestamp"}`.
    pub fn at(timestamp: Timestamp) -> Self {
        Self {
            status: "healthy",
            timestamp,
        }
    }
}

/// A change of an instance.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Done<'a> {
    /// The change, in words.
    pub message: &'a str,
    /// The instance.
    pub service_id: &'a str,
    /// When.
    pub timestamp: Timestamp,
}

/// `{"message","service_id","timestamp"}`: a change of an instance.
pub fn done(message: &str, service_id: &str, timestamp: Timestamp) -> Vec<u8> {
    encode(&Done {
        message,
        service_id,
        timestamp,
    })
}

/// The removal of a route.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct RouteRemoved<'a> {
    /// The change, in words.
    pub message: &'a str,
    /// The route.
    pub route_id: &'a str,
    /// When.
    pub timestamp: Timestamp,
}

/// The status of an instance.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct StatusAnswer<'a> {
    /// The instance.
    pub service_id: &'a str,
    /// Its effective status.
    pub status: Status,
    /// Why it changed last, where there is more to say than the status does.
    pub reason: Option<&'a str>,
    /// When.
    pub timestamp: Timestamp,
}

/// Sizes of the registry.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SystemInfo {
    /// Instances.
    pub total_instances: usize,
    /// Instances whose effective status is healthy.
    pub healthy_instances: usize,
    /// Services with at least one instance.
    pub unique_services: usize,
    /// Their names, sorted.
    pub service_names: Vec<ServiceName>,
    /// Always true.
    pub running: bool,
    /// Seconds between two probes of a check that names no interval.
    #[schema(value_type = f64)]
    pub health_check_interval: serde_json::Number,
    /// Services whose expiry guard is engaged.
    pub guarded_services: Vec<ServiceName>,
    /// Gateway routes.
    pub routes: usize,
    /// The epoch of the revisions.
    pub epoch: Epoch,
    /// The newest change.
    pub revision: Revision,
    /// Of the daemon.
    pub version: &'static str,
    /// Seconds since the daemon started.
    pub uptime_seconds: u64,
    /// When.
    pub timestamp: Timestamp,
}

/// A number of seconds, whole where it is one.
pub fn seconds(span: std::time::Duration) -> serde_json::Number {
    if span.subsec_nanos() == 0 {
        return span.as_secs().into();
    }
    serde_json::Number::from_f64(span.as_secs_f64()).unwrap_or_else(|| span.as_secs().into())
}
