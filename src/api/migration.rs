//! The migration from direct calls to the broker: what is asked of it, and how it fares.

use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{
    problem::Problem,
    read::{self, Faults, Object, Shape},
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

/// What an operator wants of the migration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MigrationAction {
    /// Begin with the first phase.
    Start,
    /// Go on to the next phase, without waiting for the rest of the soak.
    Advance,
    /// Back to direct.
    Rollback,
    /// Stay in this phase.
    Pause,
    /// Go on after a pause.
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

/// Who says when a phase is left.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MigrationMode {
    /// The daemon, once both ways agree.
    Auto,
    /// An operator, who is refused as long as they don't.
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

/// A request to the migration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MigrationDraft {
    /// What to do.
    pub action: MigrationAction,
    /// With `start`: who says when a phase is left.
    pub mode: Option<MigrationMode>,
    /// With `start`: how long each phase lasts at least.
    pub soak: Option<Duration>,
}

impl MigrationDraft {
    /// Reads `{"action", "mode"?, "soak"?}`, and says what it passed over.
    ///
    /// # Errors
    /// A 422 that names every wrong field.
    pub fn read(body: &[u8]) -> Result<(Self, Warnings), Problem> {
        const SHAPE: Shape = Shape {
            known: &["action", "mode", "soak"],
            own: &["warnings"],
        };
        let object = Object::body(body, SHAPE)?;
        let mut faults = Faults::default();
        let action = faults.required(&object, "action", action);
        let mode = faults.optional(&object, "mode", mode);
        let soak = faults.optional(&object, "soak", |value| read::span(value, SOAKS));
        let is_start = action == Some(MigrationAction::Start);
        for field in ["mode", "soak"] {
            if action.is_some() && !is_start && object.get(field).is_some() {
                faults.add(field, "goes with \"start\" alone");
            }
        }
        match action {
            Some(action) if faults.errors.is_empty() => {
                let draft = Self { action, mode, soak };
                Ok((draft, Warnings::of(&object)))
            }
            _ => Err(Problem::invalid(faults.errors)),
        }
    }
}

fn action(value: &RawValue) -> Result<MigrationAction, String> {
    let word = read::text(value)?.to_ascii_lowercase();
    let found = MigrationAction::ALL
        .into_iter()
        .find(|(known, _)| *known == word);
    found.map(|(_, action)| action).ok_or_else(|| {
        let quoted = read::quoted(value);
        format!("{quoted} is not one of start, advance, rollback, pause, resume")
    })
}

fn mode(value: &RawValue) -> Result<MigrationMode, String> {
    match &*read::text(value)?.to_ascii_lowercase() {
        "auto" => Ok(MigrationMode::Auto),
        "step" => Ok(MigrationMode::Step),
        _ => Err(format!("{} is not one of auto, step", read::quoted(value))),
    }
}

/// A number with its name.
pub type Figure = (&'static str, f64);

/// One phase of a migration.
#[derive(Clone, Debug)]
pub struct PhaseReport {
    /// Its name.
    pub name: &'static str,
    /// `done`, `current`, `next` or `skipped`: what it would set was set before.
    pub state: &'static str,
    /// The flag while it lasts.
    pub modes: Modes,
    /// How long it lasts at least.
    pub soak: Duration,
    /// When it began.
    pub entered: Option<Timestamp>,
}

/// What latencies are compared with.
#[derive(Clone, Debug)]
pub struct BaselineReport {
    /// `register`, `discover` or `delivery`.
    pub name: &'static str,
    /// The 95th percentile in milliseconds; none as long as too few were measured.
    pub p95_ms: Option<f64>,
    /// How many were measured.
    pub samples: u64,
}

/// One rule of the guard.
#[derive(Clone, Debug)]
pub struct RuleReport {
    /// Its name.
    pub name: &'static str,
    /// `armed`, `no data` while it has nothing to judge or to compare with, or `off`.
    pub state: &'static str,
    /// Whether it would roll back now.
    pub armed: bool,
    /// Its value in the last window; none while there is nothing to judge.
    pub value: Option<f64>,
    /// Above this it is broken; none while there is nothing to compare with.
    pub threshold: Option<f64>,
    /// `s`, `ms` or `share`.
    pub unit: &'static str,
    /// Windows in a row in which it was broken.
    pub broken: u32,
    /// So many make it roll back.
    pub windows: u32,
}

/// The canary.
#[derive(Clone, Debug, Default)]
pub struct CanaryReport {
    /// Whether it runs now and then.
    pub active: bool,
    /// Runs since the daemon's start.
    pub runs: u64,
    /// Those that failed.
    pub failures: u64,
    /// When the last one ended.
    pub at: Option<Timestamp>,
    /// Each step of the last run.
    pub steps: Vec<CanaryStepReport>,
}

/// One step of a run of the canary.
#[derive(Clone, Debug)]
pub struct CanaryStepReport {
    /// `watch`, `register`, `probe`, `discover` or `deregister`.
    pub name: &'static str,
    /// How long it took.
    pub took_ms: f64,
    /// Why it failed; none when it passed.
    pub error: Option<String>,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// When.
    pub at: Timestamp,
    /// `migration.started` and the like.
    pub event: &'static str,
    /// The phase then; none where there is none.
    pub phase: Option<&'static str>,
    /// What and why, in words.
    pub text: String,
    /// The figures then.
    pub figures: Vec<Figure>,
}

/// A rollback, from its cause to its verification.
#[derive(Clone, Debug)]
pub struct RollbackReport {
    /// The rule that asked for it; `by hand`.
    pub rule: &'static str,
    /// Why, with figures.
    pub reason: String,
    /// `flip`, `drain`, `canary`, `latency`, `verified`, `unverified` or `ended by hand`.
    pub stage: &'static str,
    /// The flag before.
    pub from: Modes,
    /// When it began.
    pub began: Timestamp,
    /// How long it took until the flag was direct, in milliseconds.
    pub flipped_ms: Option<f64>,
    /// Whether consumers were drained and the connection closed cleanly in time.
    pub drained: Option<bool>,
    /// How long that took, in milliseconds.
    pub drain_ms: Option<f64>,
    /// Whether the canary passed over direct.
    pub canary_passed: Option<bool>,
    /// Latencies after it: name, p95, what it may be; none where too few were measured.
    pub latencies: Vec<LatencyBack>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// What is left to say.
    pub notes: Vec<String>,
}

/// A latency after a rollback.
#[derive(Clone, Debug)]
pub struct LatencyBack {
    /// `register`, `discover` or `delivery`.
    pub name: &'static str,
    /// The 95th percentile in milliseconds.
    pub p95_ms: f64,
    /// What it may be.
    pub max_ms: f64,
}

/// What follows a rollback.
#[derive(Clone, Debug)]
pub struct ReturnReport {
    /// The flag it would set.
    pub modes: Modes,
    /// Not before.
    pub not_before: Timestamp,
    /// False when somebody has to do it.
    pub by_itself: bool,
    /// Returns so far.
    pub returns: u32,
    /// The most there are.
    pub returns_max: u32,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// The whole migration.
#[derive(Clone, Debug)]
pub struct MigrationReport {
    /// `idle`, `running`, `paused`, `rolling_back`, `rolled_back` or `completed`.
    pub state: &'static str,
    /// Who says when a phase is left.
    pub mode: MigrationMode,
    /// The flag.
    pub modes: Modes,
    /// The present phase.
    pub phase: Option<&'static str>,
    /// What the present phase waits for, or why it stands still.
    pub waits_for: Vec<String>,
    /// Every phase; of what a start would do when nothing runs.
    pub phases: Vec<PhaseReport>,
    /// What latencies are compared with.
    pub baseline: Vec<BaselineReport>,
    /// `auto`, `always` or `off`.
    pub guard: &'static str,
    /// Its rules.
    pub rules: Vec<RuleReport>,
    /// The canary.
    pub canary: CanaryReport,
    /// The last rollback.
    pub rollback: Option<RollbackReport>,
    /// What follows it.
    pub comes_back: Option<ReturnReport>,
    /// What happened, oldest first.
    pub history: Vec<StepReport>,
    /// The last notices as watchers get them, oldest first.
    pub notices: Vec<Bytes>,
}

mod write;

#[cfg(test)]
mod tests;
