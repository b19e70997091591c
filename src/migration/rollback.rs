//! A rollback: sets the flag to direct, drains consumers, checks the canary, then the latencies.
//!
//! Passes its stages once and ends in a report.

use super::{
    baseline::Baseline,
    canary::CanaryRuns,
    config::Config,
    guard::Rule,
    state::{Act, DaemonView, Run},
    window::{Measured, Measurements, Window, WindowEnd, WindowSize, ms},
};
use crate::{
    api::{MigrationLatencyBack, MigrationRollback},
    model::{FlagError, Mode, Modes},
    registry::Now,
};

/// The pause before another attempt to change the flag, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// Why it began.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Cause {
    Rule(Rule),
    ByHand,
    PhaseMax,
}

impl Cause {
    /// The cause that a word names.
    pub(super) fn parse(word: &str) -> Option<Self> {
        let rules = Rule::ALL.map(Self::Rule).into_iter();
        let mut all = rules.chain([Self::ByHand, Self::PhaseMax]);
        all.find(|cause| cause.as_str() == word)
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Rule(rule) => rule.as_str(),
            Self::ByHand => "by hand",
            Self::PhaseMax => "phase_max",
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum RollbackStage {
    Flip,
    Drain,
    Canary,
    Latency,
    Over,
}

impl RollbackStage {
    const UNDER_WAY: [Self; 4] = [Self::Flip, Self::Drain, Self::Canary, Self::Latency];

    fn as_str(self) -> &'static str {
        match self {
            Self::Flip => "flip",
            Self::Drain => "drain",
            Self::Canary => "canary",
            Self::Latency => "latency",
            Self::Over => "over",
        }
    }
}

/// The next step of a rollback.
#[derive(Debug)]
pub(super) enum RollbackStep {
    Wait,
    Act(Act),
    Over,
}

/// A rollback under way or ended.
#[derive(Clone, Debug)]
pub(super) struct Rollback {
    pub(super) report: MigrationRollback,
    pub(super) cause: Cause,
    /// The migration that it stopped.
    pub(super) run: Option<Run>,
    stage: RollbackStage,
    began_ms: u64,
    stage_ms: u64,
    not_before_ms: u64,
    windows: Option<[Window; 3]>,
    back: [bool; 3],
}

impl Rollback {
    pub(super) fn begin(cause: Cause, reason: String, from: Modes, now: Now) -> Self {
        Self {
            report: MigrationRollback {
                rule: cause.as_str().into(),
                reason,
                stage: "flip".into(),
                from,
                began: now.wall,
                flipped_ms: None,
                drained: None,
                drain_ms: None,
                canary_passed: None,
                latencies: Vec::new(),
                ended: None,
                notes: Vec::new(),
            },
            cause,
            run: None,
            stage: RollbackStage::Flip,
            began_ms: now.mono_ms,
            stage_ms: now.mono_ms,
            not_before_ms: now.mono_ms,
            windows: None,
            back: [false; 3],
        }
    }

    /// Continues one of an earlier run: the stage that was under way begins again. None when its cause is unknown.
    pub(super) fn resume(stored: MigrationRollback, run: Option<Run>, now: Now) -> Option<Self> {
        let cause = Cause::parse(&stored.rule)?;
        let mut under_way = RollbackStage::UNDER_WAY.into_iter();
        let stage = under_way.find(|stage| stage.as_str() == stored.stage);
        let mut rollback = Self::begin(cause, String::new(), stored.from, now);
        rollback.report = stored;
        rollback.run = run;
        rollback.stage = stage.unwrap_or(RollbackStage::Over);
        if !rollback.is_over() {
            rollback.note("the daemon was restarted in the meantime".to_owned());
        }
        Some(rollback)
    }

    pub(super) fn is_over(&self) -> bool {
        self.stage == RollbackStage::Over
    }

    /// True once the flag is direct.
    pub(super) fn is_flipped(&self) -> bool {
        self.report.flipped_ms.is_some()
    }

    pub(super) fn next(
        &mut self,
        look: &DaemonView<'_>,
        canary_runs: &CanaryRuns,
        baseline: Option<&Baseline>,
        config: &Config,
    ) -> RollbackStep {
        let now = look.now;
        match self.stage {
            RollbackStage::Flip if now.mono_ms < self.not_before_ms => RollbackStep::Wait,
            RollbackStage::Flip => RollbackStep::Act(Act::Set {
                modes: Modes::all(Mode::Direct),
                only_if: look.flagged.version,
            }),
            RollbackStage::Drain => RollbackStep::Act(Act::Settle(config.settle_max.get())),
            RollbackStage::Canary => {
                self.canary(look, canary_runs, config);
                RollbackStep::Wait
            }
            RollbackStage::Latency => self.latency(look, baseline, config),
            RollbackStage::Over => RollbackStep::Over,
        }
    }

    /// The result of the change to direct. `Changed` is handled by the next look.
    pub(super) fn flipped(&mut self, answer: Result<u64, FlagError>, now: Now) {
        match answer {
            Ok(_) => {
                self.report.flipped_ms = Some(whole(now.mono_ms - self.began_ms));
                self.enter(RollbackStage::Drain, now);
            }
            Err(FlagError::Changed) => (),
            Err(FlagError::NoDirect) => {
                self.note(FlagError::NoDirect.to_string());
                self.end("unverified", now);
            }
            Err(error) => {
                self.note(error.to_string());
                self.not_before_ms = now.mono_ms + RETRY_MS;
            }
        }
    }

    /// The result of the drain.
    pub(super) fn settled(&mut self, in_time: bool, now: Now) {
        self.report.drained = Some(in_time);
        self.report.drain_ms = Some(whole(now.mono_ms - self.stage_ms));
        if !in_time {
            self.note("consumers were not drained in time".to_owned());
        }
        self.enter(RollbackStage::Canary, now);
    }

    /// An operator changed the flag: the rollback ends.
    pub(super) fn overruled(&mut self, now: Now) {
        self.end("ended by hand", now);
    }

    fn canary(&mut self, look: &DaemonView<'_>, canary_runs: &CanaryRuns, config: &Config) {
        let now = look.now;
        let since = self.stage_ms;
        self.windows
            .get_or_insert_with(|| begin(now.mono_ms, look.sources));
        let canary_run = canary_runs.since(since);
        if canary_run.is_some_and(|canary_run| canary_run.passed()) {
            self.report.canary_passed = Some(true);
            self.enter(RollbackStage::Latency, now);
            return;
        }
        if now.mono_ms - since >= millis(config) {
            let failed_step = canary_run.and_then(|canary_run| canary_run.failed_step());
            self.note(match failed_step {
                Some((step, error)) => format!("the canary fails over direct: {step}: {error}"),
                None => "the canary did not run over direct".to_owned(),
            });
            self.report.canary_passed = Some(false);
            self.end("unverified", now);
        }
    }

    fn latency(
        &mut self,
        look: &DaemonView<'_>,
        baseline: Option<&Baseline>,
        config: &Config,
    ) -> RollbackStep {
        let now = look.now;
        let size = WindowSize {
            span: config.window.get(),
            samples_min: config.samples_min.get(),
        };
        let windows = self
            .windows
            .get_or_insert_with(|| begin(now.mono_ms, look.sources));
        for what in Measured::ALL {
            let at = what as usize;
            let allowed = baseline
                .and_then(|known| known.allowed(what, *config.latency_back, *config.latency_floor));
            let Some(allowed) = allowed else {
                self.back[at] = true;
                continue;
            };
            let closed = windows[at].close(now.mono_ms, look.sources.of(what), size);
            let Some(WindowEnd::Full(tail)) = closed.filter(|_| !self.back[at]) else {
                continue;
            };
            self.back[at] = tail.p95 <= allowed;
            self.report
                .latencies
                .retain(|one| one.name != what.as_str());
            self.report.latencies.push(MigrationLatencyBack {
                name: what.as_str().into(),
                p95_ms: ms(tail.p95),
                max_ms: ms(allowed),
            });
        }
        if self.back == [true; 3] {
            if self.report.latencies.is_empty() {
                self.note("there is no baseline to compare latencies with".to_owned());
            }
            self.end("verified", now);
            return RollbackStep::Over;
        }
        if now.mono_ms - self.stage_ms >= millis(config) {
            self.give_up(now);
            return RollbackStep::Over;
        }
        RollbackStep::Wait
    }

    /// Ends the wait for latencies that are still too high or have too few samples.
    fn give_up(&mut self, now: Now) {
        let mut outcome = "verified";
        let back = self.back;
        for what in Measured::ALL
            .into_iter()
            .filter(|what| !back[*what as usize])
        {
            let name = what.as_str();
            let seen = self.report.latencies.iter().find(|one| one.name == name);
            let note = match seen {
                Some(one) => {
                    outcome = "unverified";
                    let MigrationLatencyBack { p95_ms, max_ms, .. } = one;
                    format!("{name} is at {p95_ms:.1} ms still, {max_ms:.1} ms are allowed")
                }
                None => format!("too few samples to judge {name}"),
            };
            self.note(note);
        }
        self.end(outcome, now);
    }

    fn note(&mut self, note: String) {
        if !self.report.notes.contains(&note) {
            self.report.notes.push(note);
        }
    }

    fn enter(&mut self, stage: RollbackStage, now: Now) {
        self.stage = stage;
        self.stage_ms = now.mono_ms;
        self.report.stage = stage.as_str().into();
    }

    fn end(&mut self, outcome: &'static str, now: Now) {
        self.enter(RollbackStage::Over, now);
        self.report.stage = outcome.into();
        self.report.ended = Some(now.wall);
    }
}

fn begin(now_ms: u64, sources: &Measurements) -> [Window; 3] {
    Measured::ALL.map(|what| Window::begin(now_ms, sources.of(what)))
}

fn millis(config: &Config) -> u64 {
    u64::try_from(config.verify_max.as_millis()).unwrap_or(u64::MAX)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "durations are far below 2^52 ms"
)]
fn whole(ms: u64) -> f64 {
    ms as f64
}
