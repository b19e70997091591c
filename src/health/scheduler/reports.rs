//! Reports by clients on their own checks, what the checks say one by one, and instances whose checks stay critical.

use super::{CALLER, FollowedLog, Health, Scheduler, log_change};
use crate::{
    catalog::RemoveCritical,
    health::{
        probe::in_one_line,
        report::Outcome,
        table::{DueRemoval, StandingReport},
    },
    model::{Standing, Status},
};

/// The most characters of a report that are kept, as Consul keeps them.
const REPORT_CHARS_MAX: usize = 4096;

impl Health {
    /// Takes a client's report on a check of its instance. False when the instance has no such check, or one that the
    /// daemon makes itself.
    pub fn report_standing(&self, id: &str, check: &str, standing: Standing, text: &str) -> bool {
        let shared = &self.shared;
        let mut following = shared.followed();
        let now_ms = shared.now_ms();
        let text = in_one_line(text, REPORT_CHARS_MAX);
        let report = StandingReport {
            id,
            check,
            standing,
            text: &text,
        };
        let Some(judgement) = following.table.report(report, now_ms) else {
            return false;
        };
        if let Some(judgement) = judgement {
            shared.report_judgement(&judgement);
        }
        shared.show_checks(&mut following);
        true
    }
}

impl Scheduler {
    /// Shows what changed. Called under the table's lock, so that it is shown in order.
    pub(super) fn show_checks(&self, following: &mut FollowedLog) {
        for (of, checks) in following.table.take_shown() {
            self.registry.show_checks(&of, checks);
        }
    }

    pub(super) fn remove_critical(&self, removal: DueRemoval) {
        let DueRemoval { of, reason } = removal;
        let id = of.service_id.as_str();
        let command = RemoveCritical {
            registration: of.clone(),
            reason: reason.as_str().into(),
        };
        // One that is committed later is seen in the log.
        match self.catalog.write(&CALLER, command).now() {
            Some(Ok(true)) | None => {
                tracing::info!(service.id = id, "instance \"{id}\" is removed: {reason}");
            }
            Some(Ok(false)) => log_change(id, None, None, &reason),
            Some(Err(refusal)) => {
                tracing::warn!(
                    service.id = id,
                    "instance \"{id}\" is not removed yet: {refusal}"
                );
            }
        }
    }

    /// What another instance's checks say.
    pub(super) fn alias(&self, id: &str) -> (Outcome, Box<str>) {
        let Some(instance) = self.registry.instance(id) else {
            let text = format!("no instance has the id \"{id}\"");
            return (Outcome::Failed, text.into());
        };
        match instance.status() {
            Status::Healthy => {
                let checks = instance.last_seen.checks();
                match checks.is_some_and(|checks| checks.is_warning()) {
                    true => (Outcome::Warned, "a check of the instance warns".into()),
                    false => (Outcome::Passed, "all checks of the instance pass".into()),
                }
            }
            status => (Outcome::Failed, format!("the instance is {status}").into()),
        }
    }
}
