//! The status of an instance: by its checks and by an operator.

use std::sync::Arc;

use crate::{
    model::{Check, Instance, Override, OverrideStatus, Registration, Standing, Status},
    registry::{Command, Draft, LiftOverride, Observe, Operation, Refusal, SetOverride, Target},
};

impl Command for SetOverride {
    type Outcome = Arc<Instance>;

    const OPERATION: Operation = Operation::Override;

    fn target(&self) -> Target<'_> {
        Target::Instance(&self.service_id)
    }

    fn decide(self, draft: &mut Draft<'_>) -> Result<Arc<Instance>, Refusal> {
        let known = draft.to_change(&self.service_id)?;
        Ok(override_with(
            draft,
            &known,
            Some((self.status, self.reason)),
        ))
    }
}

impl Command for LiftOverride {
    type Outcome = Arc<Instance>;

    const OPERATION: Operation = Operation::Override;

    fn target(&self) -> Target<'_> {
        Target::Instance(&self.service_id)
    }

    fn decide(self, draft: &mut Draft<'_>) -> Result<Arc<Instance>, Refusal> {
        let known = draft.to_change(&self.service_id)?;
        Ok(override_with(draft, &known, None))
    }
}

impl Command for Observe {
    type Outcome = bool;

    const OPERATION: Operation = Operation::Observe;

    fn target(&self) -> Target<'_> {
        Target::Registration(&self.registration)
    }

    fn decide(self, draft: &mut Draft<'_>) -> Result<bool, Refusal> {
        let Some(known) = draft.registered(&self.registration) else {
            return Ok(false);
        };
        if known.observed != self.observed {
            let instance = Instance {
                observed: self.observed,
                ..known.version()
            };
            draft.put_status(instance, &known, self.reason.map(Into::into));
        }
        Ok(true)
    }
}

fn override_with(
    draft: &mut Draft<'_>,
    known: &Arc<Instance>,
    wanted: Option<(OverrideStatus, Option<Box<str>>)>,
) -> Arc<Instance> {
    let same = match (&known.overridden, &wanted) {
        (None, None) => true,
        (Some(old), Some((status, reason))) => old.status == *status && old.reason == *reason,
        _ => false,
    };
    if same {
        return Arc::clone(known);
    }
    let reason = match &wanted {
        None => "override lifted",
        Some((_, reason)) => reason.as_deref().unwrap_or("override"),
    };
    let reason = Some(reason.into());
    let since = draft.origin.now.wall;
    let overridden = wanted.map(|(status, reason)| {
        Arc::new(Override {
            status,
            reason,
            since,
        })
    });
    let instance = Instance {
        overridden,
        ..known.version()
    };
    draft.put_status(instance, known, reason)
}

pub(super) fn observed_at_first(registration: &Registration) -> Status {
    let passes = |check: &Check| check.initial() != Standing::Critical;
    if registration.health_check_url.is_none() && registration.checks.iter().all(passes) {
        Status::Healthy
    } else {
        Status::Starting
    }
}

/// A check whose definition is unchanged keeps its verdict. A new one has none, so the instance is
/// starting again, unless an unchanged check already fails.
pub(super) fn observed_again(known: &Instance, registration: &Registration) -> Status {
    let old = &known.registration;
    if !registration.is_checked() {
        return Status::Healthy;
    }
    let kept = |check: &&Check| old.checks.contains(check);
    let url_kept = registration.health_check_url == old.health_check_url;
    let n_kept = registration.checks.iter().filter(kept).count();
    let all_kept = n_kept == registration.checks.len()
        && (url_kept || registration.health_check_url.is_none());
    let any_kept = n_kept > 0 || (url_kept && registration.health_check_url.is_some());
    let undecided = |check: &Check| check.initial() == Standing::Critical;
    let mut added = registration.checks.iter();
    let is_open = !url_kept || added.any(|one| undecided(one) && !old.checks.contains(one));
    match known.observed {
        observed if all_kept && old.is_checked() => observed,
        Status::Unhealthy if any_kept => Status::Unhealthy,
        Status::Healthy if !is_open => Status::Healthy,
        Status::Starting if any_kept => Status::Starting,
        _ if n_kept == 0 && !is_open => Status::Healthy,
        _ => Status::Starting,
    }
}
