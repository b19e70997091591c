//! Requests of an operator, and why they are refused.

use super::{MigrationState, PendingAct, Run, Tally, proceed::NO_BASELINE};
use crate::{
    api::{MigrationAction, MigrationDraft, MigrationMode, MigrationRefusal},
    migration::{baseline::Baseline, phase::Phase, plan::Plan, rollback::Cause},
    model::{FlagState, Span},
    registry::Now,
};

type Accepted = Result<(), MigrationRefusal>;

fn refused(why: impl Into<String>) -> Accepted {
    Err(MigrationRefusal(why.into()))
}

impl MigrationState {
    /// Takes an operator's request, which is acted on at the next look. `flagged` is the flag at this
    /// moment: a change that was answered before the request is not one that comes after it.
    pub(in crate::migration) fn ask(
        &mut self,
        draft: MigrationDraft,
        flagged: FlagState,
        now: Now,
    ) -> Accepted {
        self.now = now;
        self.note_change(flagged, now);
        if self.rollback.as_ref().is_some_and(|one| !one.is_over()) {
            return refused(
                "a rollback is under way: wait for its report, or set the flag (PUT /transport)",
            );
        }
        match draft.action {
            MigrationAction::Start => self.start(draft, now),
            MigrationAction::Advance => self.advance(now),
            MigrationAction::Rollback => self.roll_back_by_hand(now),
            MigrationAction::Pause => self.pause_by_hand(),
            MigrationAction::Resume => self.resume(now),
        }
    }

    /// Takes note of a change of the flag that no look has seen yet.
    fn note_change(&mut self, flagged: FlagState, now: Now) {
        let Some(known) = self.known else { return };
        // The result of the migration's own change is passed to `turned`.
        if self.pending == PendingAct::Nothing && known.version != flagged.version {
            self.known = Some(flagged);
            self.changed_by_hand(flagged, known.modes, now);
        }
    }

    fn start(&mut self, draft: MigrationDraft, now: Now) -> Accepted {
        if let Some(run) = &self.run {
            let how = match run.paused {
                Some(_) => "is paused: resume it, or roll back",
                None => "runs already",
            };
            return refused(format!("a migration {how} (phase \"{}\")", run.phase));
        }
        let Some(known) = self.known else {
            return refused("the daemon has just started: ask again");
        };
        if self.pending != PendingAct::Nothing {
            return refused(
                "an automatic return is under way: ask again, or set the flag (PUT /transport)",
            );
        }
        if !self.has_broker {
            return refused(
                "there is no broker to migrate to: set broker.listen or transport.amqp_url",
            );
        }
        if !self.direct {
            return refused("transport.direct is \"off\": the migration is complete");
        }
        if Plan::from(known.modes).is_empty() {
            return refused("nothing to migrate: every channel uses the broker already");
        }
        let mode = draft.mode.unwrap_or(self.config.mode);
        let soak = draft.soak.unwrap_or(*self.config.soak);
        self.pending_return = None;
        self.completed = None;
        self.tally = Tally::default();
        self.run = Some(Run::begin(known.modes, mode, soak, now));
        self.baseline = Some(Baseline::begin(now.mono_ms, &self.sources));
        self.guard.start_over(now.mono_ms, &self.sources);
        self.canary_requests += 1;
        let how = match mode {
            MigrationMode::Auto => "automatically",
            MigrationMode::Step => "step by step",
        };
        self.inform(
            "migration.started",
            format!(
                "{how}, baseline {}, soak {}, from {}",
                Span(self.config.baseline.get()),
                Span(soak),
                known.modes
            ),
        );
        Ok(())
    }

    fn advance(&mut self, now: Now) -> Accepted {
        let config = &self.config;
        let Some(run) = &mut self.run else {
            return refused("nothing to advance: no migration runs");
        };
        if run.paused.is_some() {
            return refused("the migration is paused: resume it first");
        }
        if let PendingAct::Enter(phase) = self.pending {
            return refused(format!(
                "the flag is being changed for phase \"{phase}\": ask again"
            ));
        }
        let left = run.left(config, now);
        let waits_for = match &run.waits_for {
            None => return refused("the phase has only just begun: ask again"),
            Some(waits_for) => waits_for.iter().filter(|what| !is_time(what)),
        };
        let waits_for: Vec<_> = waits_for.map(String::as_str).collect();
        if !waits_for.is_empty() {
            let waits_for = waits_for.join("; ");
            return refused(format!("phase \"{}\" waits for {waits_for}", run.phase));
        }
        if run.phase == Phase::Baseline && !left.is_zero() {
            let left = left.as_secs_f64();
            return refused(format!("the baseline is measured for {left:.0} s more"));
        }
        run.advance = true;
        Ok(())
    }

    fn roll_back_by_hand(&mut self, now: Now) -> Accepted {
        if self.run.is_none() && !self.uses_broker() {
            return self.refused_unless_returning("nothing to roll back: every channel is direct");
        }
        if !self.direct {
            return refused("transport.direct is \"off\": there is nothing to go back to");
        }
        self.tally = Tally::default();
        self.roll_back(Cause::ByHand, "an operator asked for it".to_owned(), now);
        Ok(())
    }

    fn pause_by_hand(&mut self) -> Accepted {
        match &self.run {
            None => self.refused_unless_returning("nothing to pause: no migration runs"),
            Some(run) if run.paused.is_some() => refused("the migration is paused already"),
            Some(_) => {
                self.pause("paused by an operator: resume it".to_owned());
                Ok(())
            }
        }
    }

    /// Adds how to cancel the automatic return, if there is one.
    fn refused_unless_returning(&self, why: &str) -> Accepted {
        if self
            .pending_return
            .as_ref()
            .is_some_and(|one| one.by_itself)
        {
            return refused(format!(
                "{why}; to cancel the automatic return, set the flag as it is (PUT /transport)"
            ));
        }
        refused(why)
    }

    fn resume(&mut self, now: Now) -> Accepted {
        match &self.run {
            None => refused("nothing to resume: no migration runs"),
            Some(run) if run.paused.is_none() => refused("the migration is not paused"),
            Some(_) => {
                self.continue_after_pause(now);
                Ok(())
            }
        }
    }
}

/// True for what an operator may skip.
fn is_time(what: &str) -> bool {
    what.starts_with("the soak: ")
        || what.starts_with(NO_BASELINE)
        || what == "an operator's advance"
}
