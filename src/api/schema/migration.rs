//! The migration from direct calls to the broker.

use std::collections::BTreeMap;

use serde::Deserialize;
use utoipa::ToSchema;

use super::Event;

/// What is asked of the migration.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrationDraft {
    /// start, advance, rollback, pause or resume.
    pub action: String,
    /// With start: auto (phases are left by themselves) or step (an operator advances).
    pub mode: Option<String>,
    /// With start: how long each phase lasts at least, such as "30s".
    pub soak: Option<String>,
}

/// The mode of each channel.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrationChannels {
    /// direct, dual or queue.
    pub events: String,
    /// direct, dual or queue.
    pub health: String,
    /// direct, dual or queue.
    pub discovery: String,
}

/// How the migration fares.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Migration {
    /// idle, running, paused, rolling_back, rolled_back or completed.
    pub state: String,
    /// auto or step.
    pub mode: String,
    /// The flag.
    pub channels: MigrationChannels,
    /// The present phase.
    pub phase: Option<String>,
    /// What the present phase waits for, or why it stands still.
    pub waits_for: Vec<String>,
    /// Every phase; of what a start would do when nothing runs.
    pub phases: Vec<MigrationPhase>,
    /// What latencies are compared with.
    pub baseline: Vec<MigrationBaseline>,
    /// What rolls back.
    pub guard: MigrationGuard,
    /// The synthetic instance.
    pub canary: MigrationCanary,
    /// The last rollback.
    pub rollback: Option<MigrationRollback>,
    /// What follows it.
    pub r#return: Option<MigrationReturn>,
    /// What happened, oldest first.
    pub history: Vec<MigrationStep>,
    /// The last notices as watchers get them, oldest first.
    pub notices: Vec<Event>,
    /// When.
    pub timestamp: String,
}

/// One phase.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrationPhase {
    /// baseline, health dual, … done.
    pub name: String,
    /// done, current, next or skipped.
    pub state: String,
    /// The flag while it lasts.
    pub channels: MigrationChannels,
    /// How long it lasts at least.
    pub soak: String,
    /// When it began.
    pub entered: Option<String>,
}

/// A latency before anything was changed.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrationBaseline {
    /// register, discover or delivery.
    pub name: String,
    /// The 95th percentile; null as long as too few were measured.
    pub p95_ms: Option<f64>,
    /// How many were measured.
    pub samples: u64,
}

/// What rolls back.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrationGuard {
    /// auto, always or off.
    pub setting: String,
    /// Its rules.
    pub rules: Vec<MigrationRule>,
}

/// One rule of the guard.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrationRule {
    /// broker_away, register_latency, discover_latency, delivery_latency, discovery_failures or
    /// canary_failures.
    pub name: String,
    /// armed, "no data" while it has nothing to judge or to compare with, or off.
    pub state: String,
    /// Whether it would roll back now.
    pub armed: bool,
    /// In the last window; null while there is nothing to judge.
    pub value: Option<f64>,
    /// Above this it is broken; null while there is nothing to compare with.
    pub threshold: Option<f64>,
    /// s, ms or share.
    pub unit: String,
    /// Windows in a row in which it was broken.
    pub broken: u64,
    /// So many make it roll back.
    pub windows: u64,
}

/// The synthetic instance.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrationCanary {
    /// Whether it runs now and then.
    pub active: bool,
    /// Runs since the daemon's start.
    pub runs: u64,
    /// Those that failed.
    pub failures: u64,
    /// When the last one ended.
    pub at: Option<String>,
    /// Each step of the last run.
    pub steps: Vec<MigrationCanaryStep>,
}

/// One step of a run of the canary.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrationCanaryStep {
    /// register, probe, discover, deregister or watch.
    pub name: String,
    /// How long it took.
    pub took_ms: f64,
    /// Why it failed.
    pub error: Option<String>,
}

/// A rollback, from its cause to its verification.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrationRollback {
    /// The rule that asked for it, "phase_max" or "by hand".
    pub rule: String,
    /// Why, with figures.
    pub reason: String,
    /// flip, drain, canary, latency; at the end verified, unverified or ended by hand.
    pub stage: String,
    /// The flag before.
    pub from: MigrationChannels,
    /// When it began.
    pub began: String,
    /// How long it took until the flag was direct.
    pub flipped_ms: Option<f64>,
    /// Whether consumers were drained and the connection closed cleanly in time.
    pub drained: Option<bool>,
    /// How long that took.
    pub drain_ms: Option<f64>,
    /// Whether the canary passed over direct.
    pub canary_passed: Option<bool>,
    /// Latencies after it.
    pub latencies: Vec<MigrationLatencyBack>,
    /// When it ended.
    pub ended: Option<String>,
    /// What is left to say.
    pub notes: Vec<String>,
}

/// A latency after a rollback.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrationLatencyBack {
    /// register, discover or delivery.
    pub name: String,
    /// The 95th percentile.
    pub p95_ms: f64,
    /// What it may be.
    pub max_ms: f64,
}

/// What follows a rollback.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrationReturn {
    /// The flag before it.
    pub channels: MigrationChannels,
    /// Not before.
    pub not_before: String,
    /// False when somebody has to do it.
    pub by_itself: bool,
    /// Returns so far.
    pub returns: u64,
    /// The most there are.
    pub returns_max: u64,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// Something that happened.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrationStep {
    /// When.
    pub at: String,
    /// migration.started and the like.
    pub event: String,
    /// The phase then.
    pub phase: Option<String>,
    /// What and why.
    pub text: String,
    /// The figures then.
    pub figures: BTreeMap<String, f64>,
}
