//! Leases that ran out: removed, or held by the guard of their service.

use std::{collections::BTreeMap, sync::Arc};

use super::{Events, Numbered, State, version_of};
use crate::{
    model::{Event, EventKind, Instance, Lease, LeaseKind, ServiceName},
    registry::{
        clock::Now,
        guard::{Guard, Release},
    },
};

impl State {
    /// Removes or holds what ran out.
    pub(in crate::registry) fn expire(&mut self, now: Now, out: &mut Events) {
        let mut silent = BTreeMap::<ServiceName, Vec<Arc<Instance>>>::new();
        while let Some(id) = self.leases.take_due(now.mono_ms) {
            let Some(instance) = self.table.instance(id.as_str()) else {
                continue;
            };
            let ends_ms = instance.lease_ends_ms();
            if ends_ms > now.mono_ms {
                self.leases.book(&id, ends_ms);
            } else {
                silent
                    .entry(instance.name().clone())
                    .or_default()
                    .push(instance);
            }
        }
        for (name, instances) in silent {
            if self.is_guarded(&name, now, out) {
                for instance in &instances {
                    self.hold(instance, now, out);
                }
            } else {
                for instance in &instances {
                    self.take_out(
                        instance,
                        EventKind::Expired,
                        Some("lease ran out"),
                        now,
                        out,
                    );
                }
            }
        }
        self.look_at_guards(now, out);
    }

    /// True when the guard of a service is engaged, or engages now.
    fn is_guarded(&mut self, name: &ServiceName, now: Now, out: &mut Events) -> bool {
        if self.guards.contains_key(name) {
            return true;
        }
        let Some(service) = self.table.service(name.as_str()) else {
            return false;
        };
        let view = service.view();
        let Some(silent) = self.config.guard.engages(&view, now.mono_ms) else {
            return false;
        };
        let (n, of) = (silent.ids.len(), silent.total);
        self.guards
            .insert(name.clone(), Guard::new(now.mono_ms, silent.ids));
        let reason = format!("{n} of {of} leases run out together: held, not removed");
        self.tell_of_guard(name, EventKind::GuardEngaged, &reason, now, out);
        true
    }

    fn hold(&mut self, instance: &Arc<Instance>, now: Now, out: &mut Events) {
        if let Some(guard) = self.guards.get_mut(instance.name()) {
            guard.suspect(instance.id(), now.mono_ms);
        }
        let held = Instance {
            lease: Lease::Held,
            ..version_of(instance)
        };
        let reason = "lease ran out, held by the expiry guard";
        self.put_status(held, instance, Some(reason), now, out);
    }

    fn look_at_guards(&mut self, now: Now, out: &mut Events) {
        let due = self
            .guards
            .iter()
            .filter(|(_, guard)| guard.is_due(now.mono_ms));
        let names: Vec<_> = due.map(|(name, _)| name.clone()).collect();
        for name in names {
            let Some(mut guard) = self.guards.remove(&name) else {
                continue;
            };
            self.take_back(&mut guard, now, out);
            guard.looked(now.mono_ms);
            match guard.release(&self.config.guard, now.mono_ms) {
                Some(release) => self.release(&name, &guard, release, now, out),
                None => {
                    self.guards.insert(name, guard);
                }
            }
        }
    }

    /// Lets those who gave a sign of life be what their checks say they are.
    fn take_back(&mut self, guard: &mut Guard, now: Now, out: &mut Events) {
        let suspects: Vec<_> = guard.suspects().cloned().collect();
        for id in suspects {
            let Some(instance) = self.table.instance(id.as_str()) else {
                guard.left(&id);
                continue;
            };
            if guard.came_back(&instance) && instance.lease == Lease::Held {
                let back = Instance {
                    lease: match instance.registration.lease {
                        LeaseKind::Ttl => Lease::Running,
                        // It has more time, but no connection yet.
                        LeaseKind::Connection => Lease::Lost,
                    },
                    ..version_of(&instance)
                };
                self.put_status(back, &instance, Some("lease renewed"), now, out);
            }
        }
    }

    fn release(
        &mut self,
        name: &ServiceName,
        guard: &Guard,
        release: Release,
        now: Now,
        out: &mut Events,
    ) {
        let reason = match release {
            Release::Renewed { back, of } => format!("{back} of {of} silent instances came back"),
            Release::Overdue => {
                let held_s = (now.mono_ms - guard.since_ms()) / 1000;
                format!("held for {held_s} s, the longest time allowed")
            }
        };
        self.tell_of_guard(name, EventKind::GuardReleased, &reason, now, out);
        for id in guard.suspects() {
            let held = self
                .table
                .instance(id.as_str())
                .filter(|one| one.lease == Lease::Held);
            if let Some(instance) = held {
                let reason = "lease ran out, the expiry guard ended";
                self.take_out(&instance, EventKind::Expired, Some(reason), now, out);
            }
        }
    }

    fn tell_of_guard(
        &mut self,
        name: &ServiceName,
        kind: EventKind,
        reason: &str,
        now: Now,
        out: &mut Events,
    ) {
        let revision = self.next_revision();
        let service = self.table.service_or_new(name, self.floor);
        let previous = service.view().revision;
        service.touch(revision);
        let event = Event {
            service_name: Some(name.clone()),
            reason: Some(reason.into()),
            ..self.bare_event(kind, revision, now)
        };
        out.push(Numbered { event, previous });
    }
}
