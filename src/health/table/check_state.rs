//! The state of one check.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use crate::{
    health::{
        check::CheckSource,
        report::Outcome,
        verdict::{Verdict, VerdictRules},
    },
    model::{Registration, ServiceId, Span, Standing},
    outbound::Pace,
};

/// Initial capacity for results, so that the default number takes no more memory than it needs.
const RESULTS_AT_ONCE: usize = 10;

/// A probe that ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::health) struct FinishedProbe {
    pub(in crate::health) outcome: Outcome,
    pub(in crate::health) began_ms: u64,
    pub(in crate::health) at_ms: u64,
    pub(in crate::health) latency: Duration,
    pub(in crate::health) text: Box<str>,
}

impl FinishedProbe {
    /// The outcome of a TTL check, from the time of the last heartbeat.
    pub(super) fn ttl(heard_ms: u64, interval_ms: u64, now_ms: u64) -> Self {
        let silent_ms = now_ms.saturating_sub(heard_ms);
        let passed = silent_ms <= interval_ms;
        let text = if passed {
            "heartbeat in time".into()
        } else {
            let interval = Span(Duration::from_millis(interval_ms));
            format!("no heartbeat for more than {interval}").into()
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

impl FinishedProbe {
    /// A report by a client, or that there was none.
    pub(super) fn reported(outcome: Outcome, text: &str, now_ms: u64) -> Self {
        Self {
            outcome,
            began_ms: now_ms,
            at_ms: now_ms,
            latency: Duration::ZERO,
            text: text.into(),
        }
    }
}

/// A result in compact form: by default ten of these are kept for each check.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::health) struct StoredResult {
    pub(in crate::health) at_ms: u64,
    latency_us: u32,
    pub(in crate::health) outcome: Outcome,
    /// Shared with earlier results that have the same message.
    pub(in crate::health) text: Arc<str>,
}

impl StoredResult {
    pub(in crate::health) fn latency(&self) -> Duration {
        Duration::from_micros(self.latency_us.into())
    }
}

/// A check for a report.
#[derive(Debug)]
pub(in crate::health) struct CheckView<'a> {
    pub(in crate::health) source: CheckSource,
    pub(in crate::health) kind: &'static str,
    pub(in crate::health) verdict: &'a Verdict,
    pub(in crate::health) is_warning: bool,
    /// Oldest first.
    pub(in crate::health) results: &'a VecDeque<StoredResult>,
}

#[derive(Debug)]
pub(super) struct CheckState {
    pub(super) subject: ServiceId,
    pub(super) source: CheckSource,
    pub(super) verdict: Verdict,
    /// How long it took last time.
    pub(super) pace: Pace,
    /// Whether its due times have a random phase already.
    pub(super) in_phase: bool,
    /// What it says now.
    pub(super) standing: Standing,
    /// When a client reported on it last.
    pub(super) reported_ms: Option<u64>,
    /// When it was added.
    pub(super) started_ms: u64,
    /// What was shown last.
    shown: Option<Arc<str>>,
    /// When the last recorded probe began.
    began_ms: u64,
    results: VecDeque<StoredResult>,
}

impl CheckState {
    pub(super) fn new(subject: ServiceId, source: CheckSource, verdict: Verdict) -> Self {
        Self {
            subject,
            source,
            // A verdict kept from before already has a random phase.
            in_phase: verdict.says().is_some(),
            verdict,
            pace: Pace::New,
            standing: Standing::Critical,
            reported_ms: None,
            started_ms: 0,
            shown: None,
            began_ms: 0,
            results: VecDeque::new(),
        }
    }

    /// Records an outcome; true when the verdict changed.
    pub(super) fn record(
        &mut self,
        ended: FinishedProbe,
        rules: &VerdictRules,
        results_max: usize,
    ) -> bool {
        let FinishedProbe { outcome, at_ms, .. } = ended;
        if ended.began_ms < self.began_ms {
            return false;
        }
        self.began_ms = ended.began_ms;
        self.pace = match outcome {
            Outcome::TimedOut => Pace::Slow,
            _ => Pace::of(ended.latency),
        };
        self.note(ended, results_max.max(1));
        if outcome == Outcome::Skipped {
            return false;
        }
        self.verdict.record(outcome.is_pass(), at_ms, rules)
    }

    /// What it says before its first result.
    pub(super) fn begin(&mut self, initial: Standing, now_ms: u64) {
        self.started_ms = now_ms;
        self.standing = match self.verdict.says() {
            Some(true) if initial == Standing::Warning => Standing::Warning,
            Some(true) => Standing::Passing,
            Some(false) | None => Standing::Critical,
        };
    }

    /// Finds out what it says now; true when that or its text is new.
    pub(super) fn show(&mut self, warning_after: u32) -> bool {
        let last = self.results.back();
        let warned = last.is_some_and(|last| last.outcome == Outcome::Warned);
        let fails = self.verdict.failures();
        let standing = match self.verdict.says() {
            Some(true) if warned || (warning_after > 0 && fails >= warning_after) => {
                Standing::Warning
            }
            Some(true) => Standing::Passing,
            Some(false) | None => Standing::Critical,
        };
        let text = last.map(|last| Arc::clone(&last.text));
        let is_new = standing != self.standing || text != self.shown;
        self.standing = standing;
        self.shown = text;
        is_new
    }

    /// The text of the last result.
    pub(super) fn output(&self) -> &str {
        self.shown.as_deref().unwrap_or_default()
    }

    /// The same to share.
    pub(super) fn shared_output(&self) -> Arc<str> {
        self.shown.clone().unwrap_or_default()
    }

    fn note(&mut self, ended: FinishedProbe, results_max: usize) {
        let last = self.results.back();
        let same = last.filter(|last| *last.text == *ended.text);
        // A TTL check that keeps failing is evaluated often: one result is enough.
        if ended.latency.is_zero() && ended.outcome == Outcome::Failed && same.is_some() {
            return;
        }
        let noted = StoredResult {
            at_ms: ended.at_ms,
            latency_us: u32::try_from(ended.latency.as_micros()).unwrap_or(u32::MAX),
            outcome: ended.outcome,
            text: same.map_or_else(|| ended.text.into(), |last| Arc::clone(&last.text)),
        };
        if self.results.len() >= results_max {
            self.results.pop_front();
        } else if self.results.is_empty() {
            self.results.reserve_exact(results_max.min(RESULTS_AT_ONCE));
        }
        self.results.push_back(noted);
    }

    pub(super) fn last_failure(&self) -> Option<&str> {
        let failed =
            |noted: &&StoredResult| !noted.outcome.is_pass() && noted.outcome != Outcome::Skipped;
        self.results
            .iter()
            .rev()
            .find(failed)
            .map(|noted| &*noted.text)
    }

    pub(super) fn kept<'a>(&'a self, of: &Registration) -> CheckView<'a> {
        CheckView {
            source: self.source,
            kind: self.source.kind_name(of),
            verdict: &self.verdict,
            is_warning: self.standing == Standing::Warning,
            results: &self.results,
        }
    }
}
