//! Health, the daemon itself, and errors.

use serde::Deserialize;
use utoipa::ToSchema;

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
