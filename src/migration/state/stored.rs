//! The state for the next run, and how a run continues with it.
//!
//! A migration under way continues in its phase, whose soak begins again, because what was measured is lost. A paused
//! one stays paused. A rollback under way is completed.

use std::time::Duration;

use super::{Act, ComesBack, MigrationState, PendingAct, Run, Tally};
use crate::{
    api::{StoredMigration, StoredModes, StoredReturn, StoredRollback, StoredRun},
    migration::{
        baseline::Baseline, config::Config, phase::Phase, plan::Plan, rollback::Rollback,
        window::Measurements,
    },
    model::{FlagState, Modes, Timestamp},
    registry::Now,
};

/// Changes whenever the state must be stored again.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(in crate::migration) struct StateMark {
    steps: u64,
    version: Option<u64>,
    pending: Option<Modes>,
    stage: Option<String>,
    measured: usize,
    is_measuring: bool,
    returns_in: Option<u64>,
}

impl MigrationState {
    /// Continues with the state of an earlier run. None when it cannot be understood.
    pub(in crate::migration) fn restore(
        config: Config,
        now: Now,
        sources: Measurements,
        stored: StoredMigration,
        flagged: FlagState,
    ) -> Option<Self> {
        let known = stored.known();
        let mut state = Self::new(config, now, sources);
        state.known = Some(known);
        state.run = run(stored.run, now)?;
        state.completed = run(stored.completed, now)?;
        state.baseline = stored
            .baseline
            .map(|baseline| Baseline::resume(&baseline, now.mono_ms, &state.sources));
        if let Some(StoredRollback { report, run: of }) = stored.rollback {
            state.rollback = Some(Rollback::resume(report, run(of, now)?, now)?);
        }
        if let Some(stored) = stored.pending_return {
            state.pending_return = Some(ComesBack {
                modes: stored.modes.0,
                run: run(stored.run, now)?,
                not_before: moment(stored.not_before, now),
                by_itself: stored.by_itself,
                error: None,
            });
        }
        state.tally = Tally {
            rollbacks: stored.rollbacks,
            returns: stored.returns,
            last: stored.last,
        };
        state.history = stored.history.into();
        state.own_change(stored.pending.map(|modes| modes.0), known, flagged, now);
        state.begin_again(now);
        Some(state)
    }

    /// A change of the modes that was made, but whose result the earlier run did not store.
    fn own_change(
        &mut self,
        wanted: Option<Modes>,
        known: FlagState,
        flagged: FlagState,
        now: Now,
    ) {
        let Some(modes) = wanted else { return };
        if flagged.modes != modes || flagged.version != known.version + 1 {
            return;
        }
        let rolls = self.rollback.as_ref().is_some_and(|one| !one.is_over());
        let next = self.run.as_ref().and_then(|run| run.plan.after(run.phase));
        self.pending = match (rolls, next) {
            (true, _) => PendingAct::Flip,
            (false, Some((phase, _))) => PendingAct::Enter(phase),
            (false, None) => PendingAct::Return,
        };
        self.turned(modes, Ok(flagged.version), now);
    }

    /// Begins to measure again what a restart has lost.
    fn begin_again(&mut self, now: Now) {
        self.canary_requests += 1;
        let Some(run) = self.run.as_mut().filter(|run| run.paused.is_none()) else {
            return;
        };
        let phase = run.phase;
        run.begin_soak(now);
        if phase == Phase::Baseline {
            self.baseline = Some(Baseline::begin(now.mono_ms, &self.sources));
        }
        self.inform(
            "migration.resumed",
            format!("the daemon was restarted; phase \"{phase}\" continues, its soak begins again"),
        );
    }

    /// The row that a restart needs.
    pub(in crate::migration) fn stored(&self) -> Option<StoredMigration> {
        let known = self.known?;
        Some(StoredMigration {
            modes: StoredModes(known.modes),
            version: known.version,
            pending: self.wanted.map(StoredModes),
            run: self.run.as_ref().map(Run::stored),
            completed: self.completed.as_ref().map(Run::stored),
            rollback: self.rollback.as_ref().map(|rollback| StoredRollback {
                report: rollback.report.clone(),
                run: rollback.run.as_ref().map(Run::stored),
            }),
            pending_return: self.pending_return.as_ref().map(|pending| StoredReturn {
                modes: StoredModes(pending.modes),
                run: pending.run.as_ref().map(Run::stored),
                not_before: pending.not_before.wall,
                by_itself: pending.by_itself,
            }),
            baseline: self.baseline.as_ref().map(Baseline::stored),
            rollbacks: self.tally.rollbacks,
            returns: self.tally.returns,
            last: self.tally.last,
            history: self.history.iter().cloned().collect(),
        })
    }

    /// Changes whenever [`Self::stored`] has something that must not be lost.
    pub(in crate::migration) fn mark(&self) -> StateMark {
        let baseline = self.baseline.as_ref();
        StateMark {
            steps: self.steps,
            version: self.known.map(|known| known.version),
            pending: self.wanted,
            stage: self
                .rollback
                .as_ref()
                .map(|one| one.report.stage.to_string()),
            measured: baseline.map_or(0, Baseline::measured),
            is_measuring: baseline.is_some_and(Baseline::is_open),
            returns_in: self
                .pending_return
                .as_ref()
                .map(|one| one.not_before.mono_ms),
        }
    }

    /// Notes the change of the modes that is about to be made.
    pub(super) fn note_wanted(&mut self, act: Option<Act>) {
        if let Some(Act::Set { modes, .. }) = act {
            self.wanted = Some(modes);
        }
    }
}

impl Run {
    fn stored(&self) -> StoredRun {
        let name = |phase: &Phase| phase.as_str().to_owned();
        StoredRun {
            plan: self
                .plan
                .steps()
                .iter()
                .map(|(phase, modes)| (name(phase), StoredModes(*modes)))
                .collect(),
            phase: name(&self.phase),
            mode: self.mode,
            soak: self.soak,
            entered: self
                .entered
                .iter()
                .map(|(phase, at)| (name(phase), *at))
                .collect(),
            done: self.done.iter().map(name).collect(),
            paused: self.paused.clone(),
        }
    }

    fn resume(stored: StoredRun, now: Now) -> Option<Self> {
        let known = |(phase, modes): &(String, StoredModes)| Some((Phase::parse(phase)?, modes.0));
        let plan = stored.plan.iter().map(known).collect::<Option<_>>()?;
        let mut run = Self::begin_with(Plan::of(plan), stored.mode, stored.soak, now);
        let entered = stored.entered.iter();
        let entered = entered.map(|(phase, at)| Some((Phase::parse(phase)?, *at)));
        run.phase = Phase::parse(&stored.phase)?;
        run.entered = entered.collect::<Option<_>>()?;
        run.done = stored
            .done
            .iter()
            .map(|phase| Phase::parse(phase))
            .collect::<Option<_>>()?;
        run.paused = stored.paused;
        Some(run)
    }
}

/// None inside: there was no run. None: it cannot be understood.
#[expect(
    clippy::option_option,
    reason = "no run differs from one that cannot be read"
)]
fn run(stored: Option<StoredRun>, now: Now) -> Option<Option<Run>> {
    match stored {
        None => Some(None),
        Some(stored) => Run::resume(stored, now).map(Some),
    }
}

/// A time of the wall clock that may lie ahead; one that has passed is now.
fn moment(wall: Timestamp, now: Now) -> Now {
    let ahead = u64::try_from(wall.0.saturating_sub(now.wall.0)).unwrap_or(0);
    Now {
        mono_ms: now.mono_ms.saturating_add(ahead),
        wall: Timestamp(wall.0.max(now.wall.0)),
    }
}

/// How long ago a time of the wall clock was; nothing for one that lies ahead.
pub(super) fn since(wall: Timestamp, now: Now) -> Duration {
    let ago = u64::try_from(now.wall.0.saturating_sub(wall.0)).unwrap_or(0);
    Duration::from_millis(ago)
}
