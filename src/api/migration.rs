//! The migration from direct calls to the broker: requests and its state.

mod stored;

use std::{borrow::Cow, fmt, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;
use utoipa::ToSchema;

pub use self::stored::{
    StoredBaseline, StoredMigration, StoredModes, StoredReturn, StoredRollback, StoredRun,
};
use super::{
    event::EventJson,
    problem::Problem,
    read,
    vocabulary::{ModesJson, as_span, decimal, decimal_or_null, rounded},
    warnings::Warnings,
};
use crate::model::{Modes, Timestamp};

/// The soaks that can be asked for.
const SOAKS: [Duration; 2] = [Duration::ZERO, Duration::from_secs(30 * 24 * 60 * 60)];

/// A soak as people write it.
///
/// # Errors
/// It is no duration, or too long a one.
pub fn soak(text: &str) -> Result<Duration, String> {
    read::span_within(text, SOAKS)
}

/// Why the migration can't do what it is asked for, in words.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct MigrationRefusal(pub String);

/// What an operator asks of the migration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MigrationAction {
    /// Begin with the first phase.
    Start,
    /// Continue with the next phase, without waiting for the rest of the soak.
    Advance,
    /// Back to direct.
    Rollback,
    /// Stay in this phase.
    Pause,
    /// Continue after a pause.
    Resume,
}

impl MigrationAction {
    const ALL: [(&'static str, Self); 5] = [
        ("start", Self::Start),
        ("advance", Self::Advance),
        ("rollback", Self::Rollback),
        ("pause", Self::Pause),
        ("resume", Self::Resume),
    ];
}

/// Whether phases advance automatically or at an operator's request.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MigrationMode {
    /// Automatically, once both ways agree.
    Auto,
    /// At an operator's request, which is refused while they don't agree.
    Step,
}

impl MigrationMode {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Step => "step",
        }
    }
}

impl fmt::Display for MigrationMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The request to the migration.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrationDraft {
    /// start, advance, rollback, pause or resume.
    #[schema(value_type = String)]
    pub action: MigrationAction,
    /// With start: auto (phases end automatically) or step (an operator advances).
    #[schema(value_type = Option<String>)]
    pub mode: Option<MigrationMode>,
    /// With start: how long each phase lasts at least, such as "30s".
    #[schema(value_type = Option<String>)]
    pub soak: Option<Duration>,
}

impl MigrationDraft {
    /// Reads `{"action", "mode"?, "soak"?}`, and says what it passed over.
    ///
    /// # Errors
    /// A 422 that names every wrong field.
    pub fn read(body: &[u8]) -> Result<(Self, Warnings), Problem> {
        let modes = [MigrationMode::Auto, MigrationMode::Step].map(|mode| (mode.as_str(), mode));
        read::request(body, &["warnings"], |fields| {
            let action = fields.required("action", |v| read::word(v, &MigrationAction::ALL));
            let mode = fields.optional("mode", |value| read::word(value, &modes));
            let soak = fields.optional("soak", |value| read::span(value, SOAKS));
            let action = action?;
            for field in ["mode", "soak"] {
                if action != MigrationAction::Start && fields.get(field).is_some() {
                    fields.add(field, "is allowed with \"start\" only");
                }
            }
            Some(Self { action, mode, soak })
        })
    }
}

/// A word of the daemon itself. One that an earlier run wrote is owned.
pub type OwnWord = Cow<'static, str>;

/// A number with its name.
pub type Figure = (OwnWord, f64);

/// One phase of a migration.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MigrationPhase {
    /// baseline, health dual, … done.
    pub name: &'static str,
    /// done, current, next, or skipped: what it would set was set before.
    pub state: &'static str,
    /// The flag during the phase.
    #[serde(rename = "channels", with = "ModesJson")]
    #[schema(value_type = ModesJson)]
    pub modes: Modes,
    /// Its least duration.
    #[serde(serialize_with = "as_span")]
    #[schema(value_type = String)]
    pub soak: Duration,
    /// When it began.
    pub entered: Option<Timestamp>,
}

/// A latency before the migration changed anything.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MigrationBaseline {
    /// register, discover or delivery.
    pub name: &'static str,
    /// The 95th percentile; null while there are too few samples.
    #[serde(serialize_with = "decimal_or_null")]
    pub p95_ms: Option<f64>,
    /// How many were measured.
    pub samples: u64,
}

/// The rules that roll back.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MigrationGuard {
    /// auto, always or off.
    pub setting: &'static str,
    /// Its rules.
    pub rules: Vec<MigrationRule>,
}

/// One rule of the guard.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MigrationRule {
    /// broker_away, register_latency, discover_latency, delivery_latency, discovery_failures or
    /// canary_failures.
    pub name: &'static str,
    /// `armed`, `no data` while it has nothing to judge or to compare with, or `off`.
    pub state: &'static str,
    /// Whether it would roll back now.
    pub armed: bool,
    /// In the last window; null while there is nothing to judge.
    #[serde(serialize_with = "decimal_or_null")]
    pub value: Option<f64>,
    /// Above this it is broken; null while there is nothing to compare with.
    #[serde(serialize_with = "decimal_or_null")]
    pub threshold: Option<f64>,
    /// s, ms or share.
    pub unit: &'static str,
    /// Windows in a row in which it was broken.
    pub broken: u32,
    /// How many of them make it roll back.
    pub windows: u32,
}

/// The canary: a synthetic instance.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct MigrationCanary {
    /// Whether it runs regularly.
    pub active: bool,
    /// Runs since the daemon's start.
    pub runs: u64,
    /// Those that failed.
    pub failures: u64,
    /// When the last one ended.
    pub at: Option<Timestamp>,
    /// Each step of the last run.
    pub steps: Vec<MigrationCanaryStep>,
}

/// One step of a run of the canary.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MigrationCanaryStep {
    /// watch, register, probe, discover or deregister.
    pub name: &'static str,
    /// How long it took.
    #[serde(serialize_with = "decimal")]
    pub took_ms: f64,
    /// Why it failed.
    pub error: Option<String>,
}

/// Something that happened.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct MigrationStep {
    /// When.
    pub at: Timestamp,
    /// migration.started and the like.
    #[schema(value_type = String)]
    pub event: OwnWord,
    /// The phase at that time.
    #[schema(value_type = Option<String>)]
    pub phase: Option<OwnWord>,
    /// The step and its reason.
    pub text: String,
    /// The figures at that time.
    #[serde(serialize_with = "figures", deserialize_with = "read_figures")]
    #[schema(value_type = std::collections::BTreeMap<String, f64>)]
    pub figures: Vec<Figure>,
}

/// A rollback, from its cause to its verification.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct MigrationRollback {
    /// The rule that caused it, "phase_max" or "by hand".
    #[schema(value_type = String)]
    pub rule: OwnWord,
    /// Why, with figures.
    pub reason: String,
    /// flip, drain, canary, latency; at the end verified, unverified or ended by hand.
    #[schema(value_type = String)]
    pub stage: OwnWord,
    /// The flag before.
    #[serde(with = "ModesJson")]
    #[schema(value_type = ModesJson)]
    pub from: Modes,
    /// When it began.
    pub began: Timestamp,
    /// How long it took until the flag was direct.
    #[serde(serialize_with = "decimal_or_null")]
    pub flipped_ms: Option<f64>,
    /// Whether consumers were drained and the connection closed cleanly in time.
    pub drained: Option<bool>,
    /// How long that took.
    #[serde(serialize_with = "decimal_or_null")]
    pub drain_ms: Option<f64>,
    /// Whether the canary passed over direct.
    pub canary_passed: Option<bool>,
    /// Latencies after it; without those of which too few were measured.
    pub latencies: Vec<MigrationLatencyBack>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Remarks.
    pub notes: Vec<String>,
}

/// A latency after a rollback.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct MigrationLatencyBack {
    /// register, discover or delivery.
    #[schema(value_type = String)]
    pub name: OwnWord,
    /// The 95th percentile.
    #[serde(serialize_with = "decimal")]
    pub p95_ms: f64,
    /// The largest that counts as recovered.
    #[serde(serialize_with = "decimal")]
    pub max_ms: f64,
}

/// The return after a rollback.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MigrationReturn {
    /// The flag that it would set.
    #[serde(rename = "channels", with = "ModesJson")]
    #[schema(value_type = ModesJson)]
    pub modes: Modes,
    /// Not before.
    pub not_before: Timestamp,
    /// False when an operator has to do it.
    pub by_itself: bool,
    /// Returns so far.
    pub returns: u32,
    /// The most there are.
    pub returns_max: u32,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// The state of the migration.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Migration)]
pub struct MigrationReport {
    /// idle, running, paused, rolling_back, rolled_back or completed.
    pub state: &'static str,
    /// auto (phases end automatically) or step (an operator advances).
    pub mode: MigrationMode,
    /// The flag.
    #[serde(rename = "channels", with = "ModesJson")]
    #[schema(value_type = ModesJson)]
    pub modes: Modes,
    /// The current phase.
    pub phase: Option<&'static str>,
    /// The conditions that the current phase waits for, or the reason why it does not advance.
    pub waits_for: Vec<String>,
    /// What is left of the current phase's soak; null without one.
    #[serde(serialize_with = "decimal_or_null")]
    pub soak_left_ms: Option<f64>,
    /// Every phase; when none is current, those of a start.
    pub phases: Vec<MigrationPhase>,
    /// The latencies that later ones are compared with.
    pub baseline: Vec<MigrationBaseline>,
    /// The rules that roll back.
    pub guard: MigrationGuard,
    /// The synthetic instance.
    pub canary: MigrationCanary,
    /// The last rollback.
    pub rollback: Option<MigrationRollback>,
    /// The return after the rollback.
    #[serde(rename = "return")]
    pub pending_return: Option<MigrationReturn>,
    /// The steps, oldest first.
    pub history: Vec<MigrationStep>,
    /// The last notices as watchers get them, oldest first.
    #[schema(value_type = Vec<EventJson>)]
    pub notices: Vec<Value>,
    /// When.
    pub timestamp: Timestamp,
}

fn figures<S: Serializer>(figures: &[Figure], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(figures.iter().map(|(name, value)| (name, rounded(*value))))
}

/// Figures in their order.
fn read_figures<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Figure>, D::Error> {
    struct InOrder;

    impl<'de> Visitor<'de> for InOrder {
        type Value = Vec<Figure>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("numbers by name")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut figures = Vec::new();
            while let Some((name, value)) = map.next_entry::<String, f64>()? {
                figures.push((name.into(), value));
            }
            Ok(figures)
        }
    }

    deserializer.deserialize_map(InOrder)
}

#[cfg(test)]
mod tests;
