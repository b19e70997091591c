//! The state machine of the migration: takes an observation, returns at most one action. Pure.
//!
//! One action at a time: its result is passed in before the next observation.

mod ask;
mod back;
mod proceed;
mod report;
mod stored;

pub(super) use self::stored::StateMark;
use std::{collections::VecDeque, time::Duration};

use super::{
    baseline::Baseline,
    canary::{CanaryRun, CanaryRuns},
    config::{Config, GuardSetting},
    guard::{Armed, GuardInput, RollbackGuard},
    phase::Phase,
    plan::Plan,
    rollback::{Cause, Rollback},
    window::Measurements,
};
use crate::{
    api::{Comparison, Figure, MigrationMode, MigrationStep, TransportReport},
    model::{FlagError, FlagState, Modes, Timestamp},
    registry::Now,
};

/// The state of the daemon at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct DaemonView<'a> {
    pub(super) now: Now,
    pub(super) flagged: FlagState,
    pub(super) report: &'a TransportReport,
    pub(super) sources: &'a Measurements,
}

/// The next action.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Act {
    /// Change the flag if this is the current version; `MigrationState::turned` takes the result.
    Set { modes: Modes, only_if: u64 },
    /// Wait until direct channels no longer use the broker; `MigrationState::settled` takes the result.
    Settle(Duration),
}

/// The purpose of the act under way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum PendingAct {
    Nothing,
    Enter(Phase),
    Flip,
    Settle,
    Return,
}

/// A step to publish: the event, the text, and whether it is a warning.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct StepNotice {
    pub(super) event: &'static str,
    pub(super) text: String,
    pub(super) is_warning: bool,
}

/// A migration under way.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) plan: Plan,
    pub(super) phase: Phase,
    mode: MigrationMode,
    soak: Duration,
    entered: Vec<(Phase, Timestamp)>,
    /// The phases that ended because all conditions held, not by a pause or a manual change.
    done: Vec<Phase>,
    entered_ms: u64,
    /// Since when both ways have agreed; `mark` holds the counts at that time.
    soaks_ms: u64,
    mark: Option<Comparison>,
    paused: Option<String>,
    /// Whether an operator asked for the next phase.
    advance: bool,
    /// The conditions that the phase waited for at the last observation; none before the first one.
    waits_for: Option<Vec<String>>,
    noted_wait: bool,
    retry_ms: u64,
    error: Option<String>,
}

/// The return after a rollback.
#[derive(Clone, Debug)]
struct ComesBack {
    modes: Modes,
    run: Option<Run>,
    not_before: Now,
    by_itself: bool,
    error: Option<String>,
}

/// Counts of rollbacks and of automatic returns.
#[derive(Clone, Copy, Debug)]
struct Tally {
    rollbacks: u32,
    returns: u32,
    last: Timestamp,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            rollbacks: 0,
            returns: 0,
            last: Timestamp(0),
        }
    }
}

/// The migration.
#[derive(Debug)]
pub(super) struct MigrationState {
    config: Config,
    known: Option<FlagState>,
    direct: bool,
    pending: PendingAct,
    /// The modes of the change that is under way.
    wanted: Option<Modes>,
    run: Option<Run>,
    rollback: Option<Rollback>,
    pending_return: Option<ComesBack>,
    /// The last migration, if it was completed and the flag was not changed since.
    completed: Option<Run>,
    baseline: Option<Baseline>,
    guard: RollbackGuard,
    canary_runs: CanaryRuns,
    tally: Tally,
    history: VecDeque<MigrationStep>,
    /// Steps noted so far.
    steps: u64,
    notices: Vec<StepNotice>,
    /// Increased when the canary should run at once.
    canary_requests: u64,
    has_broker: bool,
    now: Now,
    sources: Measurements,
    figures: Vec<Figure>,
}

impl MigrationState {
    pub(super) fn new(config: Config, now: Now, sources: Measurements) -> Self {
        Self {
            config,
            known: None,
            direct: true,
            pending: PendingAct::Nothing,
            wanted: None,
            run: None,
            rollback: None,
            pending_return: None,
            completed: None,
            baseline: None,
            guard: RollbackGuard::new(now.mono_ms, &sources),
            canary_runs: CanaryRuns::default(),
            tally: Tally::default(),
            history: VecDeque::new(),
            steps: 0,
            notices: Vec::new(),
            canary_requests: 0,
            has_broker: false,
            now,
            sources,
            figures: Vec::new(),
        }
    }

    /// Takes a look and returns what to do.
    pub(super) fn look(&mut self, look: &DaemonView<'_>) -> Option<Act> {
        let act = self.decide(look);
        self.note_wanted(act);
        act
    }

    fn decide(&mut self, look: &DaemonView<'_>) -> Option<Act> {
        if self.pending != PendingAct::Nothing {
            return None;
        }
        self.now = look.now;
        self.direct = look.report.direct;
        self.has_broker = look.report.broker.kind != "none";
        self.sources.clone_from(look.sources);
        let known = self.known.replace(look.flagged);
        if let Some(known) = known.filter(|known| known.version != look.flagged.version) {
            self.changed_by_hand(look.flagged, known.modes, look.now);
        }
        self.measure(look);
        self.watch_over(look);
        self.figures = self.figures_of(look);
        if self.rollback.as_ref().is_some_and(|one| !one.is_over()) {
            return self.continue_rollback(look);
        }
        if self.run.as_ref().is_some_and(|run| run.paused.is_none()) {
            return self.proceed(look);
        }
        self.try_return(look)
    }

    /// The result of `Act::Set`.
    pub(super) fn turned(&mut self, modes: Modes, answer: Result<u64, FlagError>, now: Now) {
        self.now = now;
        self.wanted = None;
        if let Ok(version) = answer {
            self.known = Some(FlagState { modes, version });
        }
        match std::mem::replace(&mut self.pending, PendingAct::Nothing) {
            PendingAct::Enter(phase) => self.entered(phase, answer, now),
            PendingAct::Return => self.returned(answer, now),
            PendingAct::Flip => self.flipped(answer, now),
            PendingAct::Settle | PendingAct::Nothing => (),
        }
    }

    /// The result of `Act::Settle`.
    pub(super) fn settled(&mut self, in_time: bool, now: Now) {
        self.now = now;
        self.pending = PendingAct::Nothing;
        if let Some(rollback) = self.rollback.as_mut().filter(|one| !one.is_over()) {
            rollback.settled(in_time, now);
            self.canary_requests += 1;
        }
    }

    /// A run of the canary ended.
    pub(super) fn canary_finished(&mut self, canary_run: CanaryRun) {
        self.guard
            .canary_finished(canary_run.passed(), self.config.canary_runs.get());
        self.canary_runs.add(canary_run);
    }

    /// Whether the canary runs at its interval, and a number that changes when it should run at once. While
    /// a migration is paused it does not run.
    pub(super) fn wants_canary(&self) -> (bool, u64) {
        let rolls = self.rollback.as_ref().is_some_and(|one| !one.is_over());
        let always = self.config.guard == GuardSetting::Always && self.uses_broker();
        let wanted = match &self.run {
            Some(run) => run.paused.is_none(),
            None => always,
        };
        (wanted || rolls, self.canary_requests)
    }

    /// The steps noted since the last call.
    pub(super) fn take_notices(&mut self) -> Vec<StepNotice> {
        std::mem::take(&mut self.notices)
    }

    /// The cause of the rollback that this event is the start of.
    pub(super) fn begun(&self, event: &str) -> Option<Cause> {
        let rollback = self.rollback.as_ref()?;
        (event == "migration.rollback_started").then_some(rollback.cause)
    }

    fn uses_broker(&self) -> bool {
        self.known.is_some_and(|known| known.modes.use_broker())
    }

    /// Measures the baseline while it is open; begins one if the guard is always armed.
    fn measure(&mut self, look: &DaemonView<'_>) {
        let (now_ms, config) = (look.now.mono_ms, &self.config);
        if self.baseline.is_none() && config.guard == GuardSetting::Always {
            self.baseline = Some(Baseline::begin(now_ms, look.sources));
        }
        if let Some(baseline) = &mut self.baseline {
            baseline.look(now_ms, look.sources, config);
        }
    }

    fn armed(&self) -> Armed {
        let rolls = self.rollback.as_ref().is_some_and(|one| !one.is_over());
        let setting = self.config.guard;
        let broker = setting != GuardSetting::Off && self.uses_broker() && self.direct && !rolls;
        let migrates = self
            .run
            .as_ref()
            .is_some_and(|run| run.phase != Phase::Baseline);
        Armed {
            broker,
            others: broker && (migrates || setting == GuardSetting::Always),
        }
    }

    /// Begins a rollback if the guard says so.
    fn watch_over(&mut self, look: &DaemonView<'_>) {
        let input = GuardInput {
            now_ms: look.now.mono_ms,
            silent: look.report.broker.silent,
            trouble: look.report.broker.error.as_deref(),
            sources: look.sources,
            baseline: self.baseline.as_ref(),
            armed: self.armed(),
            config: &self.config,
        };
        if let Some(broken) = self.guard.look(&input) {
            // The figure that broke the rule is part of the step.
            self.figures = self.figures_of(look);
            self.roll_back(Cause::Rule(broken.rule), broken.reason, look.now);
        }
    }

    /// Adds a step to the history and publishes it.
    fn inform(&mut self, event: &'static str, text: String) {
        self.note(event, text, false);
    }

    fn warn(&mut self, event: &'static str, text: String) {
        self.note(event, text, true);
    }

    fn note(&mut self, event: &'static str, text: String, is_warning: bool) {
        let run = self.run.as_ref();
        self.steps += 1;
        self.history.push_back(MigrationStep {
            at: self.now.wall,
            event: event.into(),
            phase: run.map(|run| run.phase.as_str().into()),
            text: text.clone(),
            figures: self.figures.clone(),
        });
        while self.history.len() > self.config.history_max.get() {
            self.history.pop_front();
        }
        self.notices.push(StepNotice {
            event,
            text,
            is_warning,
        });
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
