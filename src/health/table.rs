//! All checks: when each is due, its verdict, and the status that follows for its instance.
//!
//! Pure: takes events and outcomes with their times, returns probes and judgements.

mod check_state;
mod shown;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use self::check_state::CheckState;
pub(super) use self::{
    check_state::{CheckView, FinishedProbe, StoredResult},
    shown::{DueRemoval, StandingReport},
};
use super::{
    Config,
    check::CheckSource,
    report::Outcome,
    schedule::{CheckId, Schedule, next_turn},
    verdict::Verdict,
};
use crate::{
    model::{Instance, LastSeen, Registration, Revision, ServiceId, Standing, Status},
    outbound::{Pace, Shares},
};

/// A probe that is due.
#[derive(Clone, Debug)]
pub(super) struct ScheduledProbe {
    pub(super) check: CheckId,
    pub(super) of: Arc<Registration>,
    pub(super) source: CheckSource,
    pub(super) timeout: Duration,
    pub(super) due_ms: u64,
    /// How long it took last time.
    pub(super) pace: Pace,
}

/// The status that the checks of a registration add up to.
#[derive(Clone, Debug)]
pub(super) struct Judgement {
    pub(super) of: Arc<Registration>,
    pub(super) status: Status,
    pub(super) reason: Option<String>,
}

/// Work that was due.
#[derive(Debug)]
pub(super) enum Due {
    Probe(ScheduledProbe),
    /// A TTL check, which needs no probe, was evaluated.
    Looked {
        outcome: Outcome,
        judgement: Option<Judgement>,
    },
}

#[derive(Debug)]
struct ProbeTarget {
    of: Arc<Registration>,
    last_seen: Arc<LastSeen>,
    /// Events up to this revision are ignored.
    revision: Revision,
    checks: Box<[CheckId]>,
}

/// Sizes for metrics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct TableSizes {
    pub(super) checks: usize,
    pub(super) flapping: usize,
    pub(super) waiting: usize,
}

#[derive(Debug)]
pub(super) struct CheckTable {
    config: Config,
    targets: HashMap<ServiceId, ProbeTarget>,
    checks: HashMap<CheckId, CheckState>,
    schedule: Schedule,
    /// Slow checks that are due while their share of the places is taken.
    waiting_slow: Schedule,
    /// The same of checks that were not probed before.
    waiting_new: Schedule,
    /// When instances are removed whose checks stay critical.
    removals: Schedule,
    /// Instances whose checks say something else than was shown last.
    changed: HashSet<ServiceId>,
    flapping: usize,
    last_id: u64,
    random: fastrand::Rng,
}

impl CheckTable {
    pub(super) fn new(config: Config, random: fastrand::Rng) -> Self {
        Self {
            config,
            targets: HashMap::new(),
            checks: HashMap::new(),
            schedule: Schedule::default(),
            waiting_slow: Schedule::default(),
            waiting_new: Schedule::default(),
            removals: Schedule::default(),
            changed: HashSet::new(),
            flapping: 0,
            last_id: 0,
            random,
        }
    }

    pub(super) fn sizes(&self) -> TableSizes {
        TableSizes {
            checks: self.checks.len(),
            flapping: self.flapping,
            waiting: self.waiting_slow.len() + self.waiting_new.len(),
        }
    }

    /// Takes an instance as of `revision`: schedules new checks, keeps unchanged ones with their
    /// verdicts, drops the others.
    pub(super) fn observe(
        &mut self,
        instance: &Instance,
        revision: Revision,
        now_ms: u64,
    ) -> Option<Judgement> {
        let known = self.targets.get_mut(instance.id());
        if let Some(subject) = known {
            if revision <= subject.revision {
                return None;
            }
            subject.revision = revision;
            subject.last_seen = Arc::clone(&instance.last_seen);
            if Arc::ptr_eq(&subject.of, &instance.registration) {
                return None;
            }
        } else if !instance.registration.is_checked() {
            return None;
        }
        let old = self.targets.remove(instance.id());
        let of = Arc::clone(&instance.registration);
        let checks = self.follow(&of, old.as_ref(), instance.observed, now_ms);
        for check in old.iter().flat_map(|old| &old.checks) {
            if !checks.contains(check) {
                self.drop_check(*check);
            }
        }
        if checks.is_empty() {
            return None;
        }
        let subject = ProbeTarget {
            of,
            last_seen: Arc::clone(&instance.last_seen),
            revision,
            checks,
        };
        let judgement = self.judge(&subject);
        self.changed.insert(instance.id().clone());
        let booked = subject.checks.clone();
        self.targets.insert(instance.id().clone(), subject);
        for check in booked {
            self.book_removal(check, now_ms);
        }
        judgement
    }

    /// The checks of `of`, including those of `old` that are still defined.
    fn follow(
        &mut self,
        of: &Registration,
        old: Option<&ProbeTarget>,
        observed: Status,
        now_ms: u64,
    ) -> Box<[CheckId]> {
        let mut checks = Vec::new();
        for source in CheckSource::all(of) {
            let kept = old.and_then(|old| {
                let mut ids = old.checks.iter().copied();
                ids.find(|id| {
                    let track = self.checks.get(id);
                    track.is_some_and(|track| source.is_same(of, track.source, &old.of))
                })
            });
            let id = match kept.filter(|id| !checks.contains(id)) {
                Some(id) => id,
                None => self.start(of, source, old.is_none().then_some(observed), now_ms),
            };
            if let Some(track) = self.checks.get_mut(&id) {
                track.source = source;
            }
            checks.push(id);
        }
        checks.into()
    }

    /// Schedules a check. A status from before a restart is presumed to hold, and such a check waits for
    /// a random phase; any other is due within `health.first_within`.
    fn start(
        &mut self,
        of: &Registration,
        source: CheckSource,
        observed: Option<Status>,
        now_ms: u64,
    ) -> CheckId {
        let initial = source.initial(of);
        let verdict = match observed {
            Some(Status::Healthy) => Verdict::presumed(true, now_ms),
            Some(Status::Unhealthy) => Verdict::presumed(false, now_ms),
            _ if initial != Standing::Critical => Verdict::presumed(true, now_ms),
            _ => Verdict::open(now_ms),
        };
        let within_ms = match verdict.says() {
            Some(_) => source.interval_ms(of, &self.config),
            None => u64::try_from(self.config.first_within.as_millis()).unwrap_or(u64::MAX),
        };
        self.last_id += 1;
        let id = CheckId(self.last_id);
        let phase = match source.is_reported(of) {
            true => source.interval_ms(of, &self.config).saturating_add(1),
            false => self.random.u64(0..=within_ms),
        };
        self.schedule.book(id, now_ms.saturating_add(phase));
        let mut track = CheckState::new(of.service_id.clone(), source, verdict);
        track.begin(initial, now_ms);
        self.checks.insert(id, track);
        id
    }

    /// Drops an instance that was removed at `revision`.
    pub(super) fn forget(&mut self, id: &str, revision: Revision) {
        let known = self.targets.get(id);
        if known.is_some_and(|subject| subject.revision < revision) {
            self.drop_target(id);
        }
    }

    /// Drops the instances that are not in `present`.
    pub(super) fn retain(&mut self, present: &HashSet<ServiceId>) {
        let gone: Vec<_> = self
            .targets
            .keys()
            .filter(|id| !present.contains(*id))
            .cloned()
            .collect();
        for id in gone {
            self.drop_target(id.as_str());
        }
    }

    fn drop_target(&mut self, id: &str) {
        let subject = self.targets.remove(id);
        for check in subject.iter().flat_map(|subject| &subject.checks) {
            self.drop_check(*check);
        }
    }

    fn drop_check(&mut self, check: CheckId) {
        self.schedule.remove(check);
        self.waiting_slow.remove(check);
        self.waiting_new.remove(check);
        self.removals.remove(check);
        let track = self.checks.remove(&check);
        let flapped = track.is_some_and(|track| track.verdict.is_flapping());
        self.flapping -= usize::from(flapped);
    }

    /// When the next check is due, without those that wait for a free place.
    pub(super) fn next_due(&self) -> Option<u64> {
        let removal = self.removals.next_due();
        self.schedule.next_due().into_iter().chain(removal).min()
    }

    /// Takes the check that has been due for longest and that `free` has a place for.
    pub(super) fn take_due(&mut self, now_ms: u64, free: &Shares) -> Option<Due> {
        let waits = |pace, waiting: &mut Schedule| {
            let admitted = free.admits(pace).then(|| waiting.take_due(now_ms));
            admitted.flatten()
        };
        let waited = waits(Pace::Slow, &mut self.waiting_slow)
            .or_else(|| waits(Pace::New, &mut self.waiting_new));
        if let Some((check, due_ms)) = waited {
            return self.scheduled_probe(check, due_ms).map(Due::Probe);
        }
        while let Some((check, due_ms)) = self.schedule.take_due(now_ms) {
            let Some(track) = self.checks.get(&check) else {
                continue;
            };
            let Some(subject) = self.targets.get(&track.subject) else {
                continue;
            };
            if track.source.is_reported(&subject.of) {
                match self.look_for_report(check, now_ms) {
                    Some(due) => return Some(due),
                    None => continue,
                }
            }
            if track.source.is_ttl(&subject.of) {
                return self.look(check, now_ms);
            }
            if !free.admits(track.pace) {
                match track.pace {
                    Pace::Slow => self.waiting_slow.book(check, due_ms),
                    Pace::New => self.waiting_new.book(check, due_ms),
                    // There is no place at all.
                    Pace::Fast => {
                        self.schedule.book(check, due_ms);
                        return None;
                    }
                }
                continue;
            }
            return self.scheduled_probe(check, due_ms).map(Due::Probe);
        }
        None
    }

    /// Fails a check whose report is overdue, once; one that is not due yet has its time booked.
    fn look_for_report(&mut self, check: CheckId, now_ms: u64) -> Option<Due> {
        let ended = self.overdue(check, now_ms)?;
        let outcome = ended.outcome;
        let judgement = self.record(check, ended);
        Some(Due::Looked { outcome, judgement })
    }

    /// Evaluates a TTL check: was there a heartbeat within its interval?
    fn look(&mut self, check: CheckId, now_ms: u64) -> Option<Due> {
        let track = self.checks.get(&check)?;
        let subject = self.targets.get(&track.subject)?;
        let interval_ms = track.source.interval_ms(&subject.of, &self.config);
        let heard_ms = subject.last_seen.last_heartbeat_ms();
        let ended = FinishedProbe::ttl(heard_ms, interval_ms, now_ms);
        let next_ms = if ended.outcome == Outcome::Passed {
            heard_ms.saturating_add(interval_ms).saturating_add(1)
        } else {
            // So that a heartbeat after a failure is noticed soon.
            let pause = u64::try_from(self.config.ttl_recheck.as_millis()).unwrap_or(u64::MAX);
            now_ms.saturating_add(pause.max(1))
        };
        self.schedule.book(check, next_ms.max(now_ms + 1));
        let outcome = ended.outcome;
        let judgement = self.record(check, ended);
        Some(Due::Looked { outcome, judgement })
    }

    fn scheduled_probe(&self, check: CheckId, due_ms: u64) -> Option<ScheduledProbe> {
        let track = self.checks.get(&check)?;
        let subject = self.targets.get(&track.subject)?;
        Some(ScheduledProbe {
            check,
            of: Arc::clone(&subject.of),
            source: track.source,
            timeout: track.source.timeout(&subject.of, &self.config),
            due_ms,
            pace: track.pace,
        })
    }

    /// Evaluates the TTL checks of an instance now, and returns a probe for each other check.
    pub(super) fn take_all(
        &mut self,
        id: &str,
        now_ms: u64,
        turns: &mut Vec<ScheduledProbe>,
    ) -> Vec<Judgement> {
        let mut judgements = Vec::new();
        let checks = self.targets.get(id).map(|known| known.checks.clone());
        for check in checks.iter().flatten() {
            let Some(scheduled) = self.scheduled_probe(*check, now_ms) else {
                continue;
            };
            if scheduled.source.is_reported(&scheduled.of) {
                continue;
            }
            if !scheduled.source.is_ttl(&scheduled.of) {
                turns.push(scheduled);
            } else if let Some(Due::Looked { judgement, .. }) = self.look(*check, now_ms) {
                judgements.extend(judgement);
            }
        }
        judgements
    }

    /// Schedules a check again after its probe, however that ended.
    pub(super) fn book_next(&mut self, scheduled: &ScheduledProbe, now_ms: u64) {
        let Some(track) = self.checks.get_mut(&scheduled.check) else {
            return;
        };
        let interval_ms = scheduled.source.interval_ms(&scheduled.of, &self.config);
        let next_ms = if track.in_phase {
            next_turn(scheduled.due_ms, interval_ms, now_ms)
        } else {
            // A random phase spreads checks that were registered together.
            track.in_phase = true;
            now_ms.saturating_add(1 + self.random.u64(0..interval_ms.max(1)))
        };
        self.schedule.book(scheduled.check, next_ms);
    }

    /// Records an outcome; returns the judgement if it changed. Ignores checks that are gone, and probes
    /// that began before the last recorded one.
    pub(super) fn record(&mut self, check: CheckId, ended: FinishedProbe) -> Option<Judgement> {
        let track = self.checks.get_mut(&check)?;
        let subject = self.targets.get(&track.subject)?;
        let rules = track.source.rules(&subject.of, &self.config);
        let flapped = track.verdict.is_flapping();
        let (at_ms, warning_after) = (ended.at_ms, track.source.warning_after(&subject.of));
        let flipped = track.record(ended, &rules, self.config.results_max.get());
        if track.show(warning_after) {
            self.changed.insert(track.subject.clone());
        }
        let flapping = track.verdict.is_flapping();
        self.flapping -= usize::from(flapped);
        self.flapping += usize::from(flapping);
        let judgement = if flipped { self.judge(subject) } else { None };
        self.book_removal(check, at_ms);
        judgement
    }

    /// Any check that fails makes the instance unhealthy; any without a verdict leaves it as it is.
    fn judge(&self, subject: &ProbeTarget) -> Option<Judgement> {
        let mut undecided = false;
        let checks = subject.checks.iter().filter_map(|id| self.checks.get(id));
        for track in checks {
            match track.verdict.says() {
                Some(true) => (),
                None => undecided = true,
                Some(false) => {
                    let name = track.source.name(&subject.of);
                    let reason = match track.last_failure() {
                        Some(text) => format!("check \"{name}\": {text}"),
                        None => format!("check \"{name}\" fails"),
                    };
                    return Some(Judgement {
                        of: Arc::clone(&subject.of),
                        status: Status::Unhealthy,
                        reason: Some(reason),
                    });
                }
            }
        }
        (!undecided).then(|| Judgement {
            of: Arc::clone(&subject.of),
            status: Status::Healthy,
            reason: None,
        })
    }

    /// The check with that name.
    pub(super) fn check_of(&self, id: &str, name: &str) -> Option<CheckId> {
        let subject = self.targets.get(id)?;
        let named = |id: &&CheckId| {
            let track = self.checks.get(id);
            track.is_some_and(|track| track.source.name(&subject.of) == name)
        };
        subject.checks.iter().find(named).copied()
    }

    /// The checks of an instance in order, each with its results.
    pub(super) fn kept(&self, id: &str) -> Option<(Arc<Registration>, Vec<CheckView<'_>>)> {
        let subject = self.targets.get(id)?;
        let checks = subject.checks.iter().filter_map(|id| self.checks.get(id));
        let kept = checks.map(|track| track.kept(&subject.of)).collect();
        Some((Arc::clone(&subject.of), kept))
    }
}

#[cfg(test)]
mod tests;
