//! The migration as it is stored for the next run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{MigrationMode, MigrationRollback, MigrationStep};
use crate::{
    api::vocabulary::{ModesJson, encode},
    model::{FlagState, Modes, Timestamp},
};

/// The migration as it is stored for the next run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StoredMigration {
    /// The modes that it knows.
    pub modes: StoredModes,
    /// Their version.
    pub version: u64,
    /// The change of the modes that it is about to make.
    pub pending: Option<StoredModes>,
    /// The migration under way.
    pub run: Option<StoredRun>,
    /// The last one, if it is complete.
    pub completed: Option<StoredRun>,
    /// The last rollback.
    pub rollback: Option<StoredRollback>,
    /// The return that follows it.
    pub pending_return: Option<StoredReturn>,
    /// The baseline.
    pub baseline: Option<StoredBaseline>,
    /// Rollbacks so far.
    pub rollbacks: u32,
    /// Returns so far.
    pub returns: u32,
    /// When the last of these was.
    pub last: Timestamp,
    /// The steps.
    pub history: Vec<MigrationStep>,
}

/// The mode of each channel.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct StoredModes(#[serde(with = "ModesJson")] pub Modes);

/// A migration under way, or complete. Phases are named as in its report.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StoredRun {
    /// Its phases and the modes in each.
    pub plan: Vec<(String, StoredModes)>,
    /// The current phase.
    pub phase: String,
    /// Whether phases advance automatically or at an operator's request.
    pub mode: MigrationMode,
    /// How long each phase lasts at least.
    pub soak: Duration,
    /// When phases began.
    pub entered: Vec<(String, Timestamp)>,
    /// The phases that are done.
    pub done: Vec<String>,
    /// Why it is paused.
    pub paused: Option<String>,
}

/// A rollback under way, or ended.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StoredRollback {
    /// Its report, with its cause and its stage.
    pub report: MigrationRollback,
    /// The migration that it stopped.
    pub run: Option<StoredRun>,
}

/// The return after a rollback.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StoredReturn {
    /// The modes that it sets.
    pub modes: StoredModes,
    /// The migration that then continues.
    pub run: Option<StoredRun>,
    /// Not before.
    pub not_before: Timestamp,
    /// False when an operator has to do it.
    pub by_itself: bool,
}

/// A baseline, as far as it was measured.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StoredBaseline {
    /// The 95th percentile and the number of samples of each latency.
    pub found: Vec<Option<(Duration, u64)>>,
    /// Whether it is still measured.
    pub open: bool,
}

impl StoredMigration {
    /// Its row.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a row; none when it is not one of this version.
    pub fn read(row: &[u8]) -> Option<Self> {
        serde_json::from_slice(row).ok()
    }

    /// The modes that it knows, with their version.
    pub fn known(&self) -> FlagState {
        FlagState {
            modes: self.modes.0,
            version: self.version,
        }
    }
}
