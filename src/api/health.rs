//! The health of an instance, and of the daemon itself.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::vocabulary::{as_millis, millis_or_null};
use crate::model::{ServiceId, Status, Timestamp};

/// The health of one instance, check by check.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct HealthReport {
    /// The instance.
    pub service_id: ServiceId,
    /// The effective status.
    pub status: Status,
    /// When the report was made.
    pub timestamp: Timestamp,
    /// Every check of the instance, `health_check_url` first.
    pub checks: Vec<CheckReport>,
}

/// The state of one check.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CheckReport {
    /// Its name, unique within the instance.
    pub name: Box<str>,
    /// http, tcp, grpc, ttl, udp, h2ping, alias or script.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its verdict: starting, healthy or unhealthy.
    pub status: Status,
    /// True when it passes with a warning; left out otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub warning: bool,
    /// When the verdict last changed.
    pub since: Timestamp,
    /// True while the verdict is kept because it changed too often.
    pub flapping: bool,
    /// Milliseconds of the last probe.
    #[serde(rename = "latency_ms", serialize_with = "millis_or_null")]
    #[schema(value_type = Option<f64>)]
    pub latency: Option<Duration>,
    /// The last results, newest first.
    pub results: Vec<ProbeResult>,
}

/// The result of one probe.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProbeResult {
    /// When it ended.
    pub at: Timestamp,
    /// True when it passed.
    pub passed: bool,
    /// How long it took, in milliseconds.
    #[serde(rename = "latency_ms", serialize_with = "as_millis")]
    #[schema(value_type = f64)]
    pub latency: Duration,
    /// The answer of the service, or the reason why there is none.
    pub message: Box<str>,
}

/// Whether every part of the daemon is ready.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Readiness)]
pub struct ReadyAnswer {
    /// "ready" or "not ready".
    pub status: &'static str,
    /// When.
    pub timestamp: Timestamp,
    /// Each part.
    pub checks: Vec<ReadyPart>,
}

/// Whether one part of the daemon is ready.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, ToSchema)]
pub struct ReadyPart {
    /// The part.
    pub name: &'static str,
    /// True when it is ready.
    pub ok: bool,
    /// Its state, or what it waits for.
    pub detail: String,
}

impl ReadyAnswer {
    /// Ready when every part is.
    pub fn new(parts: Vec<ReadyPart>, timestamp: Timestamp) -> Self {
        let ready = parts.iter().all(|part| part.ok);
        Self {
            status: if ready { "ready" } else { "not ready" },
            timestamp,
            checks: parts,
        }
    }

    /// True when every part is ready.
    pub fn is_ready(&self) -> bool {
        self.status == "ready"
    }
}
