//! Registering, changing, renewing and deregistering instances.

use std::sync::{Arc, OnceLock};

use super::{connection::lease_of, is_current, status};
use crate::{
    model::{
        EventKind, Instance, LastSeen, Lease, MetadataError, Registration, Revision, Status,
        Timestamp,
    },
    registry::{
        Change, ChangeCheck, Command, Deregister, Draft, Heartbeat, Operation, PatchInstance,
        Refusal, Register, RegisterKeeping, RegisterReported, Registered, RemoveCritical, Target,
    },
};

impl Command for Register {
    type Outcome = Registered;

    const OPERATION: Operation = Operation::Register;

    fn target(&self) -> Target<'_> {
        Target::Registration(&self.registration)
    }

    fn decide(self, draft: &mut Draft<'_>) -> Result<Registered, Refusal> {
        register(draft, self, None)
    }
}

impl Command for RegisterReported {
    type Outcome = Registered;

    const OPERATION: Operation = Operation::Register;

    fn target(&self) -> Target<'_> {
        Target::Registration(&self.registration)
    }

    fn decide(self, draft: &mut Draft<'_>) -> Result<Registered, Refusal> {
        let register_it = Register {
            registration: self.registration,
            incarnation: self.incarnation,
        };
        register(draft, register_it, Some(self.status))
    }
}

impl Command for Deregister {
    type Outcome = Arc<Instance>;

    const OPERATION: Operation = Operation::Deregister;

    fn target(&self) -> Target<'_> {
        Target::Instance(&self.service_id)
    }

    fn decide(self, draft: &mut Draft<'_>) -> Result<Arc<Instance>, Refusal> {
        let known = draft.to_change(&self.service_id)?;
        is_current(&known, self.incarnation)?;
        draft.remove(&known, EventKind::Deregistered, None);
        Ok(known)
    }
}

impl Command for Heartbeat {
    type Outcome = Timestamp;

    const OPERATION: Operation = Operation::Heartbeat;

    fn target(&self) -> Target<'_> {
        Target::Instance(&self.service_id)
    }

    fn decide(self, draft: &mut Draft<'_>) -> Result<Timestamp, Refusal> {
        let known = draft.known(&self.service_id)?;
        draft.rights.map_or(Ok(()), |rights| rights.renew(&known))?;
        is_current(&known, self.incarnation)?;
        draft.renew(&known);
        // The heartbeat of another identity must not bind the lease to its own connection.
        if draft.may_change(&known).is_ok() {
            draft.attach(&known);
        }
        Ok(draft.origin.now.wall)
    }
}

impl Command for PatchInstance {
    type Outcome = Arc<Instance>;

    const OPERATION: Operation = Operation::Patch;

    fn target(&self) -> Target<'_> {
        Target::Instance(&self.service_id)
    }

    fn decide(self, draft: &mut Draft<'_>) -> Result<Arc<Instance>, Refusal> {
        let known = draft.to_change(&self.service_id)?;
        let patched = self.patch.apply(&known.registration);
        let registration = patched.map_err(|_: MetadataError| Refusal::MetadataTooDeep)?;
        let bytes = registration.metadata.as_str().len();
        let max = draft.state.config.metadata_max.as_u64();
        if bytes as u64 > max {
            return Err(Refusal::MetadataTooLarge { bytes, max });
        }
        let next = Replacement {
            registration,
            stays: true,
            lease: known.lease,
            owner: known.owner.clone(),
            reported: Some(known.observed),
        };
        Ok(replace(draft, &known, next)?.instance)
    }
}

fn register(
    draft: &mut Draft<'_>,
    command: Register,
    reported: Option<Status>,
) -> Result<Registered, Refusal> {
    let known = draft.instance(command.registration.service_id.as_str());
    let lease = lease_of(
        &command.registration,
        draft.origin.connection,
        known.as_deref(),
    )?;
    let Some(known) = known else {
        return register_new(draft, command.registration, lease, reported);
    };
    may_replace(draft, &known)?;
    is_current(&known, command.incarnation)?;
    let next = Replacement {
        registration: command.registration,
        stays: command.incarnation.is_some(),
        lease,
        owner: known.owner.clone().or_else(|| draft.owner()),
        reported,
    };
    let registered = replace(draft, &known, next)?;
    draft.renew(&known);
    Ok(registered)
}

fn register_new(
    draft: &mut Draft<'_>,
    registration: Registration,
    lease: Lease,
    reported: Option<Status>,
) -> Result<Registered, Refusal> {
    let bytes = Instance::memory(&registration);
    draft.has_room(1, 0, bytes)?;
    let now = draft.origin.now;
    let instance = Instance {
        observed: match reported {
            Some(reported) if !registration.is_checked() => reported,
            _ => status::observed_at_first(&registration),
        },
        registration: Arc::new(registration),
        overridden: None,
        lease,
        registered_at: now.wall,
        revision: Revision::default(),
        incarnation: draft.next_incarnation(),
        reason: None,
        owner: draft.owner(),
        last_seen: Arc::new(LastSeen::new(now.mono_ms)),
        bytes,
        encoded: OnceLock::new(),
    };
    Ok(Registered {
        instance: draft.put(instance, None, EventKind::Registered, None),
        change: Change::New,
    })
}

impl Command for RegisterKeeping {
    type Outcome = Registered;

    const OPERATION: Operation = Operation::Register;

    fn target(&self) -> Target<'_> {
        Target::Registration(&self.registration)
    }

    fn decide(mut self, draft: &mut Draft<'_>) -> Result<Registered, Refusal> {
        let registration = &mut self.registration;
        if let Some(known) = draft.instance(registration.service_id.as_str()) {
            let mut checks = std::mem::take(&mut registration.checks).into_vec();
            for check in &known.registration.checks {
                let is_named = checks.iter().any(|one| one.name == check.name);
                if check.options.is_some() && !is_named {
                    checks.push(check.clone());
                }
            }
            let max = draft.state.config.checks_max.get();
            if checks.len() > max {
                return Err(Refusal::TooManyChecks { max });
            }
            registration.checks = checks.into();
        }
        let register = Register {
            registration: self.registration,
            incarnation: None,
        };
        register.decide(draft)
    }
}

impl Command for ChangeCheck {
    type Outcome = Arc<Instance>;

    const OPERATION: Operation = Operation::Patch;

    fn target(&self) -> Target<'_> {
        Target::Instance(&self.service_id)
    }

    fn decide(self, draft: &mut Draft<'_>) -> Result<Arc<Instance>, Refusal> {
        let known = draft.to_change(&self.service_id)?;
        let checks_max = draft.state.config.checks_max.get();
        let mut registration = Registration::clone(&known.registration);
        let mut checks = std::mem::take(&mut registration.checks).into_vec();
        let at = checks.iter().position(|one| one.name == self.name);
        match (at, self.check) {
            (Some(at), Some(check)) => checks[at] = check,
            (Some(at), None) => drop(checks.remove(at)),
            (None, Some(_)) if checks.len() >= checks_max => {
                return Err(Refusal::TooManyChecks { max: checks_max });
            }
            (None, Some(check)) => checks.push(check),
            (None, None) => return Err(Refusal::UnknownCheck),
        }
        registration.checks = checks.into();
        let next = Replacement {
            registration,
            stays: true,
            lease: known.lease,
            owner: known.owner.clone(),
            reported: (!known.registration.is_checked()).then_some(known.observed),
        };
        Ok(replace(draft, &known, next)?.instance)
    }
}

impl Command for RemoveCritical {
    type Outcome = bool;

    const OPERATION: Operation = Operation::Expire;

    fn target(&self) -> Target<'_> {
        Target::Registration(&self.registration)
    }

    fn decide(self, draft: &mut Draft<'_>) -> Result<bool, Refusal> {
        let Some(known) = draft.registered(&self.registration) else {
            return Ok(false);
        };
        draft.remove(&known, EventKind::Expired, Some(self.reason.into()));
        Ok(true)
    }
}

/// The decision about a known instance.
struct Replacement {
    registration: Registration,
    /// Whether it keeps its incarnation.
    stays: bool,
    lease: Lease,
    owner: Option<Arc<str>>,
    /// Its status while it has no check; none for what the rules say.
    reported: Option<Status>,
}

/// The sender of a registration learns nothing of an instance that it may not see, but that the id is taken.
fn may_replace(draft: &Draft<'_>, known: &Instance) -> Result<(), Refusal> {
    draft.may_change(known).map_err(|refusal| match refusal {
        Refusal::Unknown => Refusal::IdTaken,
        other => other,
    })
}

fn replace(
    draft: &mut Draft<'_>,
    known: &Arc<Instance>,
    next: Replacement,
) -> Result<Registered, Refusal> {
    if known.registration.same_as(&next.registration) {
        return Ok(Registered {
            instance: renew(draft, known, next),
            change: Change::Renewed,
        });
    }
    let bytes = Instance::memory(&next.registration);
    draft.has_room(0, 0, bytes.saturating_sub(known.bytes))?;
    let registration = Arc::new(next.registration);
    let instance = Instance {
        observed: match next.reported {
            Some(reported) if !registration.is_checked() => reported,
            _ => status::observed_again(known, &registration),
        },
        registration,
        lease: next.lease,
        owner: next.owner,
        incarnation: incarnation(draft, known, next.stays),
        bytes,
        ..known.version()
    };
    let instance = if known.name() == instance.name() {
        draft.put(instance, Some(known), EventKind::Updated, None)
    } else {
        // Without the name: not everybody who sees the old service may see the new one.
        draft.move_from(known, Some("moved to another service".into()));
        draft.put(instance, None, EventKind::Registered, None)
    };
    Ok(Registered {
        instance,
        change: Change::Updated,
    })
}

/// The same value again: a new version only when its incarnation, its lease, its owner or its reported status is
/// another one.
fn renew(draft: &mut Draft<'_>, known: &Arc<Instance>, next: Replacement) -> Arc<Instance> {
    let observed = match next.reported {
        Some(reported) if !known.registration.is_checked() => reported,
        _ => known.observed,
    };
    let is_same_status = observed == known.observed;
    if next.stays && is_same_status && known.lease == next.lease && known.owner == next.owner {
        return Arc::clone(known);
    }
    let instance = Instance {
        observed,
        lease: next.lease,
        owner: next.owner,
        incarnation: incarnation(draft, known, next.stays),
        ..known.version()
    };
    draft.put_status(instance, known, Some("registered again".into()))
}

fn incarnation(draft: &mut Draft<'_>, known: &Instance, stays: bool) -> u64 {
    if stays {
        known.incarnation
    } else {
        draft.next_incarnation()
    }
}
