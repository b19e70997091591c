//! Leases that ran out: removed, or held by the expiry guard of their service.

use std::{collections::HashMap, sync::Arc};

use crate::{
    model::{EventKind, Instance, Lease, LeaseKind, ServiceId, ServiceName},
    registry::{
        Command, Draft, Operation, Refusal, Target,
        draft::Effect,
        guard::{Release, Suspect},
    },
};

/// One step of the expiry, about at most [`super::DECISIONS_MAX`] instances.
#[derive(Clone, Debug)]
pub(in crate::registry) enum Turn {
    /// Timers that are due.
    Due {
        ids: Vec<ServiceId>,
        /// The services whose guard engages now, with how many of how many leases run out.
        engages: HashMap<ServiceName, (usize, usize)>,
    },
    /// Held instances that may have been renewed.
    Return(Vec<ServiceId>),
    /// The guard of a service ends.
    Release(ServiceName, Release),
    /// Instances of an ended guard.
    Leave(Vec<(ServiceId, Suspect)>),
}

/// The result of a turn.
#[derive(Debug, Default)]
pub(in crate::registry) struct Report {
    pub(in crate::registry) engaged: Vec<ServiceName>,
    pub(in crate::registry) held: Vec<Arc<Instance>>,
    pub(in crate::registry) removed: Vec<ServiceId>,
    /// Why a guard engaged or ended.
    pub(in crate::registry) guards: Vec<(ServiceName, EventKind, String)>,
}

impl Command for Turn {
    type Outcome = Report;

    const OPERATION: Operation = Operation::Expire;

    fn target(&self) -> Target<'_> {
        Target::Leases
    }

    fn decide(self, draft: &mut Draft<'_>) -> Result<Report, Refusal> {
        let mut report = Report::default();
        match self {
            Self::Due { ids, engages } => {
                for id in ids {
                    draft.due(&id, &engages, &mut report);
                }
            }
            Self::Return(ids) => {
                for id in ids {
                    draft.take_back(&id);
                }
            }
            Self::Release(name, release) => {
                let reason = release.to_string();
                draft.guard(&name, EventKind::GuardReleased, reason.clone());
                report.guards.push((name, EventKind::GuardReleased, reason));
            }
            Self::Leave(ids) => {
                for (id, suspect) in ids {
                    draft.leave(&id, suspect, &mut report);
                }
            }
        }
        Ok(report)
    }
}

impl Draft<'_> {
    fn due(
        &mut self,
        id: &ServiceId,
        engages: &HashMap<ServiceName, (usize, usize)>,
        report: &mut Report,
    ) {
        let Some(known) = self.instance(id.as_str()) else {
            return self.changes.effects.push(Effect::NoTimer(id.clone()));
        };
        let ends_ms = self.lease_ends_ms(&known);
        if ends_ms > self.origin.now.mono_ms {
            let later = Effect::Timer(id.clone(), ends_ms);
            return self.changes.effects.push(later);
        }
        let name = known.name();
        if !self.is_guarded(name) && !report.engaged.contains(name) {
            let Some((n, of)) = engages.get(name) else {
                self.expire(&known, "lease ran out", report);
                return;
            };
            let reason = format!("{n} of {of} leases run out together: held, not removed");
            self.guard(name, EventKind::GuardEngaged, reason.clone());
            report.engaged.push(name.clone());
            let notice = (name.clone(), EventKind::GuardEngaged, reason);
            report.guards.push(notice);
        }
        let held = Instance {
            lease: Lease::Held,
            ..known.version()
        };
        let reason = "lease ran out, held by the expiry guard";
        self.put_status(held, &known, Some(reason.into()));
        report.held.push(known);
    }

    fn expire(&mut self, known: &Arc<Instance>, reason: &str, report: &mut Report) {
        self.remove(known, EventKind::Expired, Some(reason.into()));
        report.removed.push(known.id().clone());
    }

    /// The status of a renewed instance is again the verdict of its checks.
    fn take_back(&mut self, id: &ServiceId) {
        let held = self.instance(id.as_str());
        let Some(held) = held.filter(|held| held.lease == Lease::Held) else {
            return;
        };
        let back = Instance {
            lease: match held.registration.lease {
                LeaseKind::Ttl => Lease::Running,
                LeaseKind::Unlimited => Lease::Unlimited,
                // It has more time, but no connection yet.
                LeaseKind::Connection => Lease::Lost,
            },
            ..held.version()
        };
        self.put_status(back, &held, Some("lease renewed".into()));
    }

    fn leave(&mut self, id: &ServiceId, suspect: Suspect, report: &mut Report) {
        let held = self.instance(id.as_str());
        let Some(held) = held.filter(|held| held.lease == Lease::Held) else {
            return;
        };
        if suspect.is_back(&held) {
            self.take_back(id);
        } else {
            self.expire(&held, "lease ran out, the expiry guard ended", report);
        }
    }
}
