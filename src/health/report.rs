//! Reports about the checks of one instance.

use std::time::Duration;

pub use crate::model::CheckOutcome as Outcome;
use crate::model::{ServiceId, ServiceName, Status, Timestamp};

/// The result of one probe.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProbeResult {
    /// How it ended.
    pub outcome: Outcome,
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub latency: Duration,
    /// The message, in one line.
    pub text: Box<str>,
}

/// One check of an instance.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CheckHealth {
    /// Its name, unique within the instance.
    pub name: Box<str>,
    /// `http`, `tcp`, `grpc` or `ttl`.
    pub kind: &'static str,
    /// `starting`, `healthy` or `unhealthy`.
    pub status: Status,
    /// Since when.
    pub since: Timestamp,
    /// Of the last probe.
    pub latency: Option<Duration>,
    /// The status changed too often and is held until it changes less.
    pub flapping: bool,
    /// The last probes, newest first.
    pub results: Vec<ProbeResult>,
}

/// All checks of an instance.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// The instance.
    pub service_id: ServiceId,
    /// Its service.
    pub service_name: ServiceName,
    /// The effective status, overrides included.
    pub status: Status,
    /// The status by its checks alone.
    pub observed: Status,
    /// Each check, `health_check_url` first; none for an instance without checks.
    pub checks: Vec<CheckHealth>,
}
