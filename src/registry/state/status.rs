//! What an instance's status is: by its checks, by an operator, and what is told when it changes.

use std::sync::Arc;

use super::{Events, State, version_of};
use crate::{
    model::{Check, EventKind, Instance, Override, OverrideStatus, Registration, Status},
    registry::{Refusal, clock::Now},
};

impl State {
    pub(in crate::registry) fn set_override(
        &mut self,
        id: &str,
        overridden: Option<(OverrideStatus, Option<Box<str>>)>,
        now: Now,
        out: &mut Events,
    ) -> Result<Arc<Instance>, Refusal> {
        let known = self.known(id)?;
        let same = match (&known.overridden, &overridden) {
            (None, None) => true,
            (Some(old), Some((status, reason))) => old.status == *status && old.reason == *reason,
            _ => false,
        };
        if same {
            return Ok(known);
        }
        let reason = overridden.as_ref().map_or_else(
            || "override lifted".to_owned(),
            |(_, reason)| reason.as_deref().unwrap_or("override").to_owned(),
        );
        let overridden = overridden.map(|(status, reason)| {
            Arc::new(Override {
                status,
                reason,
                since: now.wall,
            })
        });
        let instance = Instance {
            overridden,
            ..version_of(&known)
        };
        Ok(self.put_status(instance, &known, Some(&reason), now, out))
    }

    /// Takes the word of the checks, while the registration they checked is still the current one.
    pub(in crate::registry) fn set_observed(
        &mut self,
        of: &Arc<Registration>,
        observed: Status,
        reason: Option<&str>,
        now: Now,
        out: &mut Events,
    ) -> bool {
        let Ok(known) = self.known(of.service_id.as_str()) else {
            return false;
        };
        if !Arc::ptr_eq(&known.registration, of) {
            return false;
        }
        if known.observed != observed {
            let instance = Instance {
                observed,
                ..version_of(&known)
            };
            self.put_status(instance, &known, reason, now, out);
        }
        true
    }

    /// A new version whose status may differ: an event only when the effective status does.
    pub(super) fn put_status(
        &mut self,
        instance: Instance,
        known: &Arc<Instance>,
        reason: Option<&str>,
        now: Now,
        out: &mut Events,
    ) -> Arc<Instance> {
        if instance.status() == known.status() {
            return self.replace(instance);
        }
        let kind = kind_of(instance.status());
        self.put(instance, Some(known), kind, reason, now, out)
    }
}

pub(super) fn observed_at_first(registration: &Registration) -> Status {
    if registration.is_checked() {
        Status::Starting
    } else {
        Status::Healthy
    }
}

/// A check whose definition is unchanged keeps its verdict; a new one has none yet, so that the
/// instance is starting again, unless an unchanged check already fails.
pub(super) fn observed_again(known: &Instance, registration: &Arc<Registration>) -> Status {
    let old = &known.registration;
    if Arc::ptr_eq(old, registration) {
        return known.observed;
    }
    if !registration.is_checked() {
        return Status::Healthy;
    }
    let kept = |check: &Check| old.checks.contains(check);
    let url_kept = registration.health_check_url == old.health_check_url;
    let n_kept = registration
        .checks
        .iter()
        .filter(|check| kept(check))
        .count();
    let all_kept = n_kept == registration.checks.len()
        && (url_kept || registration.health_check_url.is_none());
    let any_kept = n_kept > 0 || (url_kept && registration.health_check_url.is_some());
    match known.observed {
        observed if all_kept && old.is_checked() => observed,
        Status::Unhealthy if any_kept => Status::Unhealthy,
        _ => Status::Starting,
    }
}

/// The event that tells of a status. A status with no event of its own is told as an update.
pub(super) fn kind_of(status: Status) -> EventKind {
    match status {
        Status::Healthy => EventKind::Healthy,
        Status::Unhealthy => EventKind::Unhealthy,
        Status::Stopping => EventKind::Stopping,
        Status::Starting | Status::Unknown => EventKind::Updated,
    }
}
