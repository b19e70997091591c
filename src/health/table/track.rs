//! What is kept of one check.

use std::{collections::VecDeque, time::Duration};

use crate::{
    health::{
        check::Source,
        report::Outcome,
        verdict::{Rules, Verdict},
    },
    model::{Registration, ServiceId},
};

/// A probe that is over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::health) struct Ended {
    pub(in crate::health) outcome: Outcome,
    pub(in crate::health) began_ms: u64,
    pub(in crate::health) at_ms: u64,
    pub(in crate::health) latency: Duration,
    pub(in crate::health) text: Box<str>,
}

impl Ended {
    /// What a TTL check says, by the last heartbeat.
    pub(super) fn ttl(heard_ms: u64, interval_ms: u64, now_ms: u64) -> Self {
        let silent_ms = now_ms.saturating_sub(heard_ms);
        let passed = silent_ms <= interval_ms;
        let text = if passed {
            "heartbeat in time".into()
        } else {
            format!("no heartbeat for more than {interval_ms} ms").into()
        };
        Self {
            outcome: if passed {
                Outcome::Passed
            } else {
                Outcome::Failed
            },
            began_ms: now_ms,
            at_ms: now_ms,
            latency: Duration::ZERO,
            text,
        }
    }
}

/// A check as reports show it.
#[derive(Debug)]
pub(in crate::health) struct Kept<'a> {
    pub(in crate::health) source: Source,
    pub(in crate::health) kind: &'static str,
    pub(in crate::health) verdict: &'a Verdict,
    /// Oldest first.
    pub(in crate::health) results: &'a VecDeque<Ended>,
}

#[derive(Debug)]
pub(super) struct Track {
    pub(super) subject: ServiceId,
    pub(super) source: Source,
    pub(super) verdict: Verdict,
    /// It took until its deadline last time.
    pub(super) slow: bool,
    /// Its turns have a random phase already.
    pub(super) in_phase: bool,
    results: VecDeque<Ended>,
}

impl Track {
    pub(super) fn new(subject: ServiceId, source: Source, verdict: Verdict) -> Self {
        Self {
            subject,
            source,
            // A presumed verdict waited for a random phase.
            in_phase: verdict.says().is_some(),
            verdict,
            slow: false,
            results: VecDeque::new(),
        }
    }

    /// Takes an outcome; true when the check says something else now.
    pub(super) fn record(&mut self, ended: Ended, rules: &Rules, results_max: usize) -> bool {
        let outcome = ended.outcome;
        let last = self.results.back();
        if last.is_some_and(|last| ended.began_ms < last.began_ms) {
            return false;
        }
        self.slow = outcome == Outcome::TimedOut;
        let at_ms = ended.at_ms;
        // A TTL check that goes on failing is looked at often: once is enough to tell.
        let told = outcome == Outcome::Failed && last.is_some_and(|last| last.text == ended.text);
        if !(told && ended.latency.is_zero()) {
            if self.results.len() >= results_max.max(1) {
                self.results.pop_front();
            }
            self.results.push_back(ended);
        }
        if outcome == Outcome::Skipped {
            return false;
        }
        self.verdict
            .record(outcome == Outcome::Passed, at_ms, rules)
    }

    pub(super) fn last_failure(&self) -> Option<&str> {
        let failed = |ended: &&Ended| !matches!(ended.outcome, Outcome::Passed | Outcome::Skipped);
        self.results
            .iter()
            .rev()
            .find(failed)
            .map(|ended| &*ended.text)
    }

    pub(super) fn kept<'a>(&'a self, of: &Registration) -> Kept<'a> {
        Kept {
            source: self.source,
            kind: self.source.kind_name(of),
            verdict: &self.verdict,
            results: &self.results,
        }
    }
}
