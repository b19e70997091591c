//! Where the migration stands, for people.

use super::{Run, State};
use crate::{
    api::{MigrationReport, PhaseReport, ReturnReport},
    migration::{phase::Phase, plan::Plan},
    model::{Mode, Modes},
};

impl State {
    /// Everything but the notices.
    pub(in crate::migration) fn report(&self) -> MigrationReport {
        let run = self.run.as_ref();
        let (canary, _) = self.wants_canary();
        MigrationReport {
            state: self.word(),
            mode: run.map_or(self.config.mode, |run| run.mode),
            modes: self.modes(),
            phase: run.map(|run| run.phase.as_str()),
            waits_for: self.waits_for(),
            phases: self.phases(),
            baseline: self
                .baseline
                .as_ref()
                .map_or_else(Vec::new, |known| known.report(&self.sources)),
            guard: self.config.guard.as_str(),
            rules: self.guard.report(&self.config),
            canary: self.flights.report(canary),
            rollback: self.rollback.as_ref().map(|one| one.report.clone()),
            comes_back: self.comes_back.as_ref().map(|one| ReturnReport {
                modes: one.modes,
                not_before: one.not_before.wall,
                by_itself: one.by_itself,
                returns: self.tally.returns,
                returns_max: self.config.returns_max.get(),
                error: one.error.clone(),
            }),
            history: self.history.iter().cloned().collect(),
            notices: Vec::new(),
        }
    }

    /// The state in a word.
    pub(in crate::migration) fn word(&self) -> &'static str {
        match (&self.rollback, &self.run) {
            (Some(rollback), _) if !rollback.is_over() => "rolling_back",
            (_, Some(run)) if run.paused.is_some() => "paused",
            (_, Some(_)) => "running",
            _ if self.comes_back.is_some() => "rolled_back",
            _ if self.completed => "completed",
            _ => "idle",
        }
    }

    /// The present phase.
    pub(in crate::migration) fn phase(&self) -> Option<Phase> {
        self.run.as_ref().map(|run| run.phase)
    }

    /// The last value of each rule of the guard.
    pub(in crate::migration) fn rules(&self) -> Vec<crate::api::RuleReport> {
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
            None => self.cools_down().into_iter().collect(),
        }
    }

    fn phases(&self) -> Vec<PhaseReport> {
        let modes = self.modes();
        let planned;
        let plan = match &self.run {
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
            PhaseReport {
                name: phase.as_str(),
                state: stands(self.run.as_ref(), phase, step.is_some()),
                modes: flag,
                soak: match (phase, &self.run) {
                    (Phase::Baseline, _) => self.config.baseline.get(),
                    (_, Some(run)) => run.soak,
                    (_, None) => self.config.soak.get(),
                },
                entered: self.run.as_ref().and_then(|run| {
                    let entered = run.entered.iter().find(|(known, _)| *known == phase);
                    entered.map(|(_, at)| *at)
                }),
            }
        });
        phases.collect()
    }
}

fn stands(run: Option<&Run>, phase: Phase, is_planned: bool) -> &'static str {
    let entered = run.is_some_and(|run| run.entered.iter().any(|(known, _)| *known == phase));
    match run {
        Some(run) if run.phase == phase => "current",
        Some(run) if run.phase > phase && entered => "done",
        _ if !is_planned => "skipped",
        Some(run) if run.phase > phase => "skipped",
        _ => "next",
    }
}
