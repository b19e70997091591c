//! The report.

use super::{MigrationState, Run};
use crate::{
    api::{MigrationGuard, MigrationPhase, MigrationReport, MigrationReturn},
    migration::{phase::Phase, plan::Plan, window::ms},
    model::{Mode, Modes},
};

impl MigrationState {
    /// The report without notices.
    pub(in crate::migration) fn report(&self) -> MigrationReport {
        let run = self.shown();
        let (canary, _) = self.wants_canary();
        MigrationReport {
            state: self.name(),
            mode: run.map_or(self.config.mode, |run| run.mode),
            modes: self.modes(),
            phase: self.phase().map(Phase::as_str),
            waits_for: self.waits_for(),
            soak_left_ms: self
                .run
                .as_ref()
                .map(|run| ms(run.left(&self.config, self.now))),
            phases: self.phases(),
            baseline: self
                .baseline
                .as_ref()
                .map_or_else(Vec::new, |known| known.report(&self.sources)),
            guard: MigrationGuard {
                setting: self.config.guard.as_str(),
                rules: self.guard.report(&self.config),
            },
            canary: self.canary_runs.report(canary),
            rollback: self.rollback.as_ref().map(|one| one.report.clone()),
            pending_return: self.pending_return.as_ref().map(|one| MigrationReturn {
                modes: one.modes,
                not_before: one.not_before.wall,
                by_itself: one.by_itself,
                returns: self.tally.returns,
                returns_max: self.config.returns_max.get(),
                error: one.error.clone(),
            }),
            history: self.history.iter().cloned().collect(),
            notices: Vec::new(),
            timestamp: self.now.wall,
        }
    }

    /// The name of the state.
    pub(in crate::migration) fn name(&self) -> &'static str {
        match (&self.rollback, &self.run) {
            (Some(rollback), _) if !rollback.is_over() => "rolling_back",
            (_, Some(run)) if run.paused.is_some() => "paused",
            (_, Some(_)) => "running",
            _ if self.pending_return.is_some() => "rolled_back",
            _ if self.completed.is_some() => "completed",
            _ => "idle",
        }
    }

    /// The current phase.
    pub(in crate::migration) fn phase(&self) -> Option<Phase> {
        self.run.as_ref().map(|run| run.phase)
    }

    /// The last value of each rule of the guard.
    pub(in crate::migration) fn rules(&self) -> Vec<crate::api::MigrationRule> {
        self.guard.report(&self.config)
    }

    fn modes(&self) -> Modes {
        self.known
            .map_or_else(|| Modes::all(Mode::Direct), |known| known.modes)
    }

    fn waits_for(&self) -> Vec<String> {
        match &self.run {
            Some(run) => match &run.paused {
                Some(why) => vec![why.clone()],
                None => run.waits_for.clone().unwrap_or_default(),
            },
            None => self.cool_down_text().into_iter().collect(),
        }
    }

    /// The migration whose phases are shown: the one under way, or the completed one.
    fn shown(&self) -> Option<&Run> {
        self.run.as_ref().or(self.completed.as_ref())
    }

    fn phases(&self) -> Vec<MigrationPhase> {
        let modes = self.modes();
        let shown = self.shown();
        let planned;
        let plan = match shown {
            Some(run) => &run.plan,
            None => {
                planned = Plan::from(modes);
                &planned
            }
        };
        let mut flag = modes;
        let phases = Phase::ALL.into_iter().map(|phase| {
            let step = plan.steps().iter().find(|(known, _)| *known == phase);
            if let Some((_, modes)) = step {
                flag = *modes;
            }
            MigrationPhase {
                name: phase.as_str(),
                state: phase_state(shown, phase, step.is_some()),
                modes: flag,
                soak: match (phase, shown) {
                    (Phase::Baseline, _) => self.config.baseline.get(),
                    (_, Some(run)) => run.soak,
                    (_, None) => self.config.soak.get(),
                },
                entered: shown.and_then(|run| {
                    let entered = run.entered.iter().find(|(known, _)| *known == phase);
                    entered.map(|(_, at)| *at)
                }),
            }
        });
        phases.collect()
    }
}

fn phase_state(run: Option<&Run>, phase: Phase, is_planned: bool) -> &'static str {
    let Some(run) = run else {
        return if is_planned { "next" } else { "skipped" };
    };
    let is_end = phase == Phase::Done && run.phase == Phase::Done;
    if run.done.contains(&phase) || is_end {
        "done"
    } else if run.phase == phase {
        "current"
    } else if is_planned && run.phase < phase {
        "next"
    } else {
        "skipped"
    }
}
