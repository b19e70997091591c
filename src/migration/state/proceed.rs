//! The conditions that end a phase, and what happens while they do not hold.

use std::time::Duration;

use super::{Act, DaemonView, MigrationState, PendingAct, Run, millis};
use crate::{
    api::{Comparison, Figure, MigrationMode},
    migration::{
        config::Config, guard::Rule, phase::Phase, plan::Plan, rollback::Cause, window::share,
    },
    model::{Channel, FlagError, Modes, Span},
    registry::Now,
};

/// The pause before another attempt to change the flag, in milliseconds.
const RETRY_MS: u64 = 5_000;

/// The start of what a phase waits for without a baseline.
pub(super) const NO_BASELINE: &str = "a usable baseline";

impl Run {
    pub(super) fn begin(modes: Modes, mode: MigrationMode, soak: Duration, now: Now) -> Self {
        let mut run = Self::begin_with(Plan::from(modes), mode, soak, now);
        run.enter(Phase::Baseline, now);
        run
    }

    pub(super) fn begin_with(plan: Plan, mode: MigrationMode, soak: Duration, now: Now) -> Self {
        Self {
            plan,
            phase: Phase::Baseline,
            mode,
            soak,
            entered: Vec::new(),
            done: Vec::new(),
            entered_ms: now.mono_ms,
            soaks_ms: now.mono_ms,
            mark: None,
            paused: None,
            advance: false,
            waits_for: None,
            noted_wait: false,
            retry_ms: 0,
            error: None,
        }
    }

    /// Begins a phase, or begins it again.
    pub(super) fn enter(&mut self, phase: Phase, now: Now) {
        self.phase = phase;
        self.entered.retain(|(known, _)| *known < phase);
        self.done.retain(|known| *known < phase);
        self.entered.push((phase, now.wall));
        self.begin_soak(now);
    }

    /// Begins the soak of the current phase, or begins it again.
    pub(super) fn begin_soak(&mut self, now: Now) {
        self.entered_ms = now.mono_ms;
        self.soaks_ms = now.mono_ms;
        self.mark = None;
        self.advance = false;
        self.waits_for = None;
        self.noted_wait = false;
        self.error = None;
    }

    /// The minimum duration of the current phase.
    pub(super) fn lasts(&self, config: &Config) -> Duration {
        match self.phase {
            Phase::Baseline => config.baseline.get(),
            _ => self.soak,
        }
    }

    /// The remaining time of its soak.
    pub(super) fn left(&self, config: &Config, now: Now) -> Duration {
        let gone = now.mono_ms.saturating_sub(self.soaks_ms);
        self.lasts(config)
            .saturating_sub(Duration::from_millis(gone))
    }
}

impl MigrationState {
    /// Ends the phase if all conditions hold; otherwise notes what it waits for.
    pub(super) fn proceed(&mut self, look: &DaemonView<'_>) -> Option<Act> {
        let now = look.now;
        self.compare(look);
        if let Some(run) = self.run.as_mut().filter(|run| now.mono_ms >= run.retry_ms) {
            run.error = None;
        }
        let mut waits_for = self.obstacles(look);
        let no_baseline = self.no_baseline(look);
        let run = self.run.as_mut()?;
        waits_for.extend(no_baseline.filter(|_| !run.advance));
        let left = run.left(&self.config, now);
        let soaked = left.is_zero() || (run.advance && run.phase != Phase::Baseline);
        let ready = waits_for.is_empty() && soaked;
        if !left.is_zero() {
            waits_for.push(format!("the soak: {} left", whole_seconds(left)));
        }
        if ready && (run.mode == MigrationMode::Auto || run.advance) {
            run.waits_for = Some(Vec::new());
            return self.next_phase(look);
        }
        if ready {
            waits_for.push("an operator's advance".to_owned());
        }
        run.waits_for = Some(waits_for);
        if left.is_zero() {
            self.note_wait(look, ready);
        }
        None
    }

    /// Notes what was compared before the phase.
    fn compare(&mut self, look: &DaemonView<'_>) {
        let Some(run) = &mut self.run else { return };
        if let Some(channel) = run.phase.compares() {
            run.mark.get_or_insert_with(|| comparison(look, channel));
        }
    }

    /// Restarts the soak if the two ways disagree.
    fn restart_soak(&mut self, look: &DaemonView<'_>) {
        let Some(run) = &mut self.run else { return };
        let Some((channel, mark)) = run.phase.compares().zip(run.mark) else {
            return;
        };
        let seen = comparison(look, channel);
        if disagreement(&self.config, channel, difference(seen, mark)).is_some() {
            run.soaks_ms = look.now.mono_ms;
            run.mark = Some(seen);
        }
    }

    /// The missing samples, when the baseline can't be used; an operator may continue without it.
    fn no_baseline(&self, look: &DaemonView<'_>) -> Option<String> {
        let run = self.run.as_ref()?;
        let baseline = self.baseline.as_ref()?;
        let is_over = run.left(&self.config, look.now).is_zero();
        (run.phase == Phase::Baseline && is_over && !baseline.is_usable()).then(|| {
            let lacks = baseline.lacks(look.sources, &self.config);
            format!(
                "{NO_BASELINE}: {lacks}; it is measured further; advance to continue without it"
            )
        })
    }

    /// The conditions that do not hold, time aside.
    fn obstacles(&self, look: &DaemonView<'_>) -> Vec<String> {
        let mut out = Vec::new();
        let Some(run) = &self.run else { return out };
        let config = &self.config;
        let broker = &look.report.broker;
        if look.flagged.modes.use_broker() && (broker.silent.is_some() || broker.state != "up") {
            out.push(match &broker.error {
                Some(error) => format!("the broker, which does not answer: {error}"),
                None => "the broker, which does not answer".to_owned(),
            });
        }
        if let Some(channel) = run.phase.compares() {
            let seen = comparison(look, channel);
            let seen = difference(seen, run.mark.unwrap_or(seen));
            if seen.compared < config.compared_min.get() {
                out.push(format!(
                    "{channel} to be compared: {} of {} were",
                    seen.compared, config.compared_min
                ));
            }
            out.extend(disagreement(config, channel, seen));
        }
        out.extend(lag(look, config.lag_max.get()));
        match self.canary_runs.since(run.entered_ms) {
            None => out.push("the canary's first run in this phase".to_owned()),
            Some(canary_run) => out.extend(
                canary_run
                    .failed_step()
                    .map(|(step, error)| format!("the canary, which fails: {step}: {error}")),
            ),
        }
        if let Some(rule) = self.guard.broken_rule() {
            out.push(format!("the guard's rule {} to hold", rule.as_str()));
        }
        out.extend(
            run.error
                .iter()
                .map(|error| format!("the flag, which could not be changed: {error}")),
        );
        out
    }

    fn next_phase(&mut self, look: &DaemonView<'_>) -> Option<Act> {
        let run = self.run.as_ref()?;
        let (left, (phase, modes)) = (run.phase, run.plan.after(run.phase)?);
        if left == Phase::Baseline {
            self.close_baseline(look);
        }
        if phase == Phase::Done {
            self.complete(look.now);
            return None;
        }
        if modes == look.flagged.modes {
            self.enter(phase, look.now);
            return None;
        }
        self.pending = PendingAct::Enter(phase);
        Some(Act::Set {
            modes,
            only_if: look.flagged.version,
        })
    }

    /// Ends the baseline, and warns about latencies that were not measured.
    fn close_baseline(&mut self, look: &DaemonView<'_>) {
        let Some(baseline) = self.baseline.as_mut().filter(|one| one.is_open()) else {
            return;
        };
        let lacks = baseline.lacks(look.sources, &self.config);
        let is_usable = baseline.is_usable();
        baseline.close();
        if !lacks.is_empty() {
            let what = if is_usable {
                "a part of the baseline is missing"
            } else {
                "there is no baseline"
            };
            let text = format!("{what}, so these rules of the guard have no data: {lacks}");
            self.warn("migration.baseline", text);
        }
    }

    /// The soak is over, but a condition does not hold.
    fn note_wait(&mut self, look: &DaemonView<'_>, ready: bool) {
        let phase_max = millis(self.config.phase_max.get());
        let Some(run) = &mut self.run else { return };
        let waits_for = run.waits_for.clone().unwrap_or_default().join("; ");
        let (phase, waited) = (run.phase, look.now.mono_ms - run.entered_ms);
        let by_itself = run.mode == MigrationMode::Auto && phase_max > 0 && !ready;
        if !std::mem::replace(&mut run.noted_wait, true) {
            self.inform(
                "migration.waiting",
                format!("phase \"{phase}\" waits for {waits_for}"),
            );
        }
        if !by_itself || waited < phase_max {
            self.restart_soak(look);
            return;
        }
        let text = format!(
            "phase \"{phase}\" could not be left for {}: {waits_for}",
            Span(self.config.phase_max.get())
        );
        if phase == Phase::Baseline {
            self.pause(text);
        } else {
            self.roll_back(Cause::PhaseMax, text, look.now);
        }
    }

    /// The result of the change of the flag for a phase.
    pub(super) fn entered(&mut self, phase: Phase, answer: Result<u64, FlagError>, now: Now) {
        match answer {
            Ok(_) => self.enter(phase, now),
            // The next look sees the manual change and pauses.
            Err(FlagError::Changed) => (),
            Err(error) => {
                if let Some(run) = &mut self.run {
                    run.error = Some(error.to_string());
                    run.retry_ms = now.mono_ms + RETRY_MS;
                }
            }
        }
    }

    fn enter(&mut self, phase: Phase, now: Now) {
        let Some(run) = &mut self.run else { return };
        run.done.push(run.phase);
        run.enter(phase, now);
        self.canary_requests += 1;
        let modes = self.known.map(|known| known.modes.to_string());
        let modes = modes.unwrap_or_default();
        self.inform(
            "migration.phase",
            format!("phase \"{phase}\" began: {modes}"),
        );
    }

    fn complete(&mut self, now: Now) {
        if let Some(run) = &mut self.run {
            run.done.push(run.phase);
            run.enter(Phase::Done, now);
        }
        let text = "every channel uses the broker alone".to_owned();
        self.inform("migration.completed", text);
        self.completed = self.run.take();
    }

    pub(super) fn pause(&mut self, why: String) {
        if let Some(run) = &mut self.run {
            run.paused = Some(why.clone());
        }
        self.guard.pause_canary();
        self.warn("migration.paused", why);
    }

    /// The figures of a step.
    pub(super) fn figures_of(&self, look: &DaemonView<'_>) -> Vec<Figure> {
        let mut figures = Vec::new();
        let values = [
            ("broker_silent_s", Rule::BrokerAway),
            ("register_p95_ms", Rule::RegisterLatency),
            ("discover_p95_ms", Rule::DiscoverLatency),
            ("delivery_p95_ms", Rule::DeliveryLatency),
            ("discovery_failures", Rule::DiscoveryFailures),
            ("canary_failures", Rule::CanaryFailures),
        ];
        for (name, rule) in values {
            figures.extend(self.guard.value(rule).map(|value| (name.into(), value)));
        }
        let Some(run) = &self.run else {
            return figures;
        };
        if let Some((channel, mark)) = run.phase.compares().zip(run.mark) {
            let seen = difference(comparison(look, channel), mark);
            figures.extend([
                ("compared".into(), number(seen.compared)),
                ("missing".into(), number(seen.missing)),
                ("late".into(), number(seen.late)),
                ("different".into(), number(seen.different)),
            ]);
        }
        let lag = look.report.channels.iter().filter_map(|one| one.lag).max();
        figures.extend(lag.map(|lag| ("lag".into(), number(lag))));
        figures
    }
}

fn comparison(look: &DaemonView<'_>, channel: Channel) -> Comparison {
    let report = look.report.channel(channel);
    report.map_or_else(Comparison::default, |report| report.comparison)
}

fn difference(seen: Comparison, mark: Comparison) -> Comparison {
    Comparison {
        compared: seen.compared.saturating_sub(mark.compared),
        missing: seen.missing.saturating_sub(mark.missing),
        late: seen.late.saturating_sub(mark.late),
        different: seen.different.saturating_sub(mark.different),
    }
}

/// How the two ways disagree by more than is allowed.
fn disagreement(config: &Config, channel: Channel, seen: Comparison) -> Option<String> {
    let kinds = [
        (seen.missing, config.missing_max, "came only directly"),
        (seen.late, config.late_max, "came late over the broker"),
        (
            seen.different,
            config.different_max,
            "differed over the broker",
        ),
    ];
    // Items that came by one way only may not be among those compared.
    let whole = seen.compared.max(1);
    let mut broken = kinds
        .into_iter()
        .filter(|(count, max, _)| share(*count, whole) > max.get());
    broken.next().map(|(count, _, what)| {
        format!(
            "both ways of {channel} to agree: {count} of {} {what}",
            seen.compared
        )
    })
}

fn lag(look: &DaemonView<'_>, max: u64) -> Option<String> {
    let behind = look
        .report
        .channels
        .iter()
        .filter(|one| one.mode.uses_broker());
    let mut behind = behind.filter_map(|one| Some((one.channel, one.lag?)));
    let (channel, lag) = behind.find(|(_, lag)| *lag > max)?;
    Some(format!("{channel}, which is {lag} behind"))
}

fn whole_seconds(left: Duration) -> Span {
    Span(Duration::from_secs(
        left.as_millis()
            .div_ceil(1000)
            .try_into()
            .unwrap_or(u64::MAX),
    ))
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn number(count: u64) -> f64 {
    count as f64
}
