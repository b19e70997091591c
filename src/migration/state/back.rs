//! Rollback and return. A manual change of the flag cancels both.

use std::time::Duration;

use super::{Act, ComesBack, DaemonView, MigrationState, PendingAct, Tally, millis, stored::since};
use crate::{
    migration::{
        baseline::Baseline,
        config::ReturnSetting,
        phase::Phase,
        plan::Plan,
        rollback::{Cause, Rollback, RollbackStep},
    },
    model::{FlagError, FlagState, Mode, Modes, Span, Timestamp},
    registry::Now,
};

/// The pause before another attempt to return, in milliseconds.
const RETRY_MS: u64 = 5_000;

impl MigrationState {
    /// Begins a rollback, unless one is under way.
    pub(super) fn roll_back(&mut self, cause: Cause, reason: String, now: Now) {
        if self.rollback.as_ref().is_some_and(|one| !one.is_over()) {
            return;
        }
        let direct = Modes::all(Mode::Direct);
        let from = self.known.map_or(direct, |known| known.modes);
        let mut rollback = Rollback::begin(cause, reason.clone(), from, now);
        self.warn(
            "migration.rollback_started",
            format!("back to direct ({}): {reason}", cause.as_str()),
        );
        rollback.run = self.run.take();
        self.rollback = Some(rollback);
        self.pending_return = None;
        self.completed = None;
        self.guard.start_over(now.mono_ms, &self.sources);
    }

    /// The next stage of the rollback.
    pub(super) fn continue_rollback(&mut self, look: &DaemonView<'_>) -> Option<Act> {
        let rollback = self.rollback.as_mut()?;
        let next = rollback.next(
            look,
            &self.canary_runs,
            self.baseline.as_ref(),
            &self.config,
        );
        let over = rollback.is_over();
        let act = match next {
            RollbackStep::Act(act) => Some(act),
            RollbackStep::Wait | RollbackStep::Over => None,
        };
        self.pending = match act {
            Some(Act::Set { .. }) => PendingAct::Flip,
            Some(Act::Settle(_)) => PendingAct::Settle,
            None => PendingAct::Nothing,
        };
        if over {
            self.rolled_back(look.now);
        }
        act
    }

    pub(super) fn flipped(&mut self, answer: Result<u64, FlagError>, now: Now) {
        let Some(rollback) = self.rollback.as_mut().filter(|one| !one.is_over()) else {
            return;
        };
        rollback.flipped(answer, now);
        if rollback.is_over() {
            self.rolled_back(now);
        }
    }

    fn rolled_back(&mut self, now: Now) {
        let Some(rollback) = &mut self.rollback else {
            return;
        };
        let (cause, from, run) = (rollback.cause, rollback.report.from, rollback.run.take());
        let text = summary(rollback);
        let flipped = rollback.is_flipped();
        self.warn("migration.rolled_back", text);
        if !flipped || !matches!(cause, Cause::Rule(_)) || !from.use_broker() {
            return;
        }
        if since(self.tally.last, now) >= self.config.returns_forgotten.get() {
            self.tally = Tally::default();
        }
        self.tally.rollbacks += 1;
        self.tally.last = now.wall;
        let by_itself = self.config.r#return == ReturnSetting::Auto
            && self.tally.returns < self.config.returns_max.get();
        self.pending_return = Some(ComesBack {
            modes: from,
            run,
            not_before: later(now, self.cool_down()),
            by_itself,
            error: None,
        });
    }

    /// The wait before a return, doubled with each further rollback.
    fn cool_down(&self) -> Duration {
        let doublings = self.tally.rollbacks.saturating_sub(1).min(30);
        let wait = self.config.cool_down.saturating_mul(1 << doublings);
        wait.min(self.config.cool_down_max.get())
    }

    /// Changes the flag back after the cool-down; fails if the broker does not answer yet.
    pub(super) fn try_return(&mut self, look: &DaemonView<'_>) -> Option<Act> {
        let pending_return = self.pending_return.as_ref().filter(|one| one.by_itself)?;
        if self.run.is_some() || look.now.mono_ms < pending_return.not_before.mono_ms {
            return None;
        }
        self.pending = PendingAct::Return;
        Some(Act::Set {
            modes: pending_return.modes,
            only_if: look.flagged.version,
        })
    }

    pub(super) fn returned(&mut self, answer: Result<u64, FlagError>, now: Now) {
        let Some(mut pending_return) = self.pending_return.take() else {
            return;
        };
        match answer {
            Ok(_) => {
                self.tally.returns += 1;
                self.tally.last = now.wall;
                self.guard.start_over(now.mono_ms, &self.sources);
                let (n, max) = (self.tally.returns, self.config.returns_max);
                let mut text = format!(
                    "the broker is back: {} (return {n} of {max})",
                    pending_return.modes
                );
                if let Some(mut run) = pending_return.run.take() {
                    run.enter(run.phase, now);
                    if run.phase == Phase::Baseline {
                        self.baseline = Some(Baseline::begin(now.mono_ms, &self.sources));
                    }
                    text = format!("{text}; the migration continues in phase \"{}\"", run.phase);
                    self.run = Some(run);
                }
                self.canary_requests += 1;
                self.inform("migration.returned", text);
            }
            Err(FlagError::Changed) => self.pending_return = Some(pending_return),
            Err(error) => {
                pending_return.error = Some(error.to_string());
                pending_return.not_before = later(now, Duration::from_millis(RETRY_MS));
                self.pending_return = Some(pending_return);
            }
        }
    }

    /// An operator changed or confirmed the flag: cancels a rollback or return, pauses a migration.
    pub(super) fn changed_by_hand(&mut self, flagged: FlagState, before: Modes, now: Now) {
        let modes = flagged.modes;
        let how = if modes == before {
            "confirmed"
        } else {
            self.guard.start_over(now.mono_ms, &self.sources);
            self.tally = Tally::default();
            self.completed = None;
            "changed"
        };
        let text = format!("the flag was {how} by hand: {modes}");
        if let Some(rollback) = self.rollback.as_mut().filter(|one| !one.is_over()) {
            rollback.overruled(now);
            rollback.run = None;
            self.warn(
                "migration.overruled",
                format!("{text}; the rollback ends here"),
            );
            return;
        }
        if self.pending_return.take().is_some_and(|one| one.by_itself) {
            self.warn(
                "migration.overruled",
                format!("{text}; there is no automatic return"),
            );
        }
        if self.run.as_ref().is_some_and(|run| run.paused.is_none()) {
            self.pause(text);
        }
    }

    /// Continues after a pause, from the current modes.
    pub(super) fn continue_after_pause(&mut self, now: Now) {
        let modes = self
            .known
            .map_or_else(|| Modes::all(Mode::Direct), |known| known.modes);
        let Some(run) = &mut self.run else { return };
        run.paused = None;
        if !run.done.contains(&Phase::Baseline) {
            run.plan = Plan::from(modes);
            run.enter(Phase::Baseline, now);
            self.baseline = Some(Baseline::begin(now.mono_ms, &self.sources));
            self.canary_requests += 1;
            let text = format!("the baseline is measured from the start: {modes}");
            self.inform("migration.resumed", text);
            return;
        }
        let phase = match run.plan.place(modes, run.phase) {
            Some(phase) => phase,
            None => {
                run.plan = Plan::from(modes);
                run.plan
                    .place(modes, Phase::Done)
                    .unwrap_or(Phase::Baseline)
            }
        };
        run.enter(phase, now);
        self.canary_requests += 1;
        self.inform(
            "migration.resumed",
            format!("continues in phase \"{phase}\": {modes}"),
        );
    }
}

fn summary(rollback: &Rollback) -> String {
    let report = &rollback.report;
    let flipped = match report.flipped_ms {
        Some(ms) => format!("direct after {ms:.0} ms"),
        None => "not direct".to_owned(),
    };
    let drained = match report.drained {
        Some(true) => ", drained",
        Some(false) => ", not drained in time",
        None => "",
    };
    let canary = match report.canary_passed {
        Some(true) => ", the canary passes",
        Some(false) => ", the canary fails",
        None => "",
    };
    let mut text = format!("{}: {flipped}{drained}{canary}", report.stage);
    for note in &report.notes {
        text = format!("{text}; {note}");
    }
    text
}

fn later(now: Now, wait: Duration) -> Now {
    let wait = millis(wait);
    Now {
        mono_ms: now.mono_ms.saturating_add(wait),
        wall: Timestamp(now.wall.0.saturating_add_unsigned(wait)),
    }
}

impl MigrationState {
    /// The cool-down in words, for the report.
    pub(super) fn cool_down_text(&self) -> Option<String> {
        let pending_return = self.pending_return.as_ref()?;
        let left = pending_return
            .not_before
            .mono_ms
            .saturating_sub(self.now.mono_ms);
        let left = Span(Duration::from_secs(left.div_ceil(1000)));
        Some(if pending_return.by_itself {
            format!("the broker, which is asked in {left}")
        } else {
            "an operator: start again, or set the flag (PUT /transport)".to_owned()
        })
    }
}
