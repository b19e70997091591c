//! What the checks say one by one, for those who show it, and what follows when one stays critical. Clients report on
//! some checks themselves.

use std::sync::Arc;

use super::{CheckTable, FinishedProbe, Judgement};
use crate::{
    health::{report::Outcome, schedule::CheckId},
    model::{Registration, ShownCheck, ShownChecks, Span, Standing},
};

/// How long a removal that did not happen is waited for before it is asked for again.
const REMOVAL_PAUSE_MS: u64 = 30_000;

/// A report by a client on one of its checks.
#[derive(Clone, Copy, Debug)]
pub(in crate::health) struct StandingReport<'a> {
    pub(in crate::health) id: &'a str,
    pub(in crate::health) check: &'a str,
    pub(in crate::health) standing: Standing,
    pub(in crate::health) text: &'a str,
}

/// An instance whose check has been critical for too long.
#[derive(Clone, Debug)]
pub(in crate::health) struct DueRemoval {
    pub(in crate::health) of: Arc<Registration>,
    pub(in crate::health) reason: String,
}

impl CheckTable {
    /// Takes a report; none when the instance has no such check, or not one that is reported on.
    pub(in crate::health) fn report(
        &mut self,
        report: StandingReport<'_>,
        now_ms: u64,
    ) -> Option<Option<Judgement>> {
        let check = self.check_of(report.id, report.check)?;
        let track = self.checks.get_mut(&check)?;
        let subject = self.targets.get(&track.subject)?;
        if !track.source.is_reported(&subject.of) {
            return None;
        }
        let interval_ms = track.source.interval_ms(&subject.of, &self.config);
        track.reported_ms = Some(now_ms);
        self.schedule
            .book(check, now_ms.saturating_add(interval_ms).saturating_add(1));
        let outcome = match report.standing {
            Standing::Passing => Outcome::Passed,
            Standing::Warning => Outcome::Warned,
            Standing::Critical => Outcome::Failed,
        };
        Some(self.record(check, FinishedProbe::reported(outcome, report.text, now_ms)))
    }

    /// Whether a check's report is overdue: the outcome then.
    pub(super) fn overdue(&self, check: CheckId, now_ms: u64) -> Option<FinishedProbe> {
        let track = self.checks.get(&check)?;
        let subject = self.targets.get(&track.subject)?;
        let interval_ms = track.source.interval_ms(&subject.of, &self.config);
        let since_ms = track.reported_ms.unwrap_or(track.started_ms);
        if now_ms.saturating_sub(since_ms) <= interval_ms {
            return None;
        }
        let interval = Span(std::time::Duration::from_millis(interval_ms));
        let text = match track.output() {
            "" => format!("TTL expired: no report for more than {interval}"),
            last => format!("TTL expired (last output before timeout follows): {last}"),
        };
        Some(FinishedProbe::reported(Outcome::Failed, &text, now_ms))
    }

    /// Books or cancels the removal of an instance by what a check says now.
    pub(super) fn book_removal(&mut self, check: CheckId, now_ms: u64) {
        let Some(track) = self.checks.get(&check) else {
            return;
        };
        let of = self.targets.get(&track.subject).map(|subject| &subject.of);
        let after_ms = of.and_then(|of| track.source.remove_after_ms(of));
        match after_ms.filter(|_| track.standing == Standing::Critical) {
            None => self.removals.remove(check),
            Some(after_ms) if !self.removals.is_booked(check) => {
                self.removals.book(check, now_ms.saturating_add(after_ms));
            }
            Some(_) => (),
        }
    }

    /// An instance that is to be removed now.
    pub(in crate::health) fn take_removal(&mut self, now_ms: u64) -> Option<DueRemoval> {
        while let Some((check, _)) = self.removals.take_due(now_ms) {
            let Some(track) = self.checks.get(&check) else {
                continue;
            };
            let Some(subject) = self.targets.get(&track.subject) else {
                continue;
            };
            // Until the removal is seen in the log.
            self.removals
                .book(check, now_ms.saturating_add(REMOVAL_PAUSE_MS));
            let name = track.source.name(&subject.of);
            let after_ms = track.source.remove_after_ms(&subject.of).unwrap_or(0);
            let after = Span(std::time::Duration::from_millis(after_ms));
            return Some(DueRemoval {
                of: Arc::clone(&subject.of),
                reason: format!("check \"{name}\" was critical for {after}"),
            });
        }
        None
    }

    /// Takes what the checks of changed instances say.
    pub(in crate::health) fn take_shown(&mut self) -> Vec<(Arc<Registration>, ShownChecks)> {
        let changed = std::mem::take(&mut self.changed);
        let targets = changed.iter().filter_map(|id| self.targets.get(id));
        let shown = targets.map(|subject| {
            let checks = subject.checks.iter().filter_map(|id| self.checks.get(id));
            let shown = checks.map(|track| ShownCheck {
                name: track.source.name(&subject.of).into(),
                standing: track.standing,
                output: track.shared_output(),
            });
            (Arc::clone(&subject.of), ShownChecks(shown.collect()))
        });
        shown.collect()
    }
}
