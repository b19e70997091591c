//! The rules and the tables without lock, journal and log.

use std::sync::Arc;

use crate::{
    model::{
        Epoch, Event, Instance, OverrideStatus, Registration, RemoveAfter, Route, RouteDraft,
        Status,
    },
    registry::{
        CloseConnection, Command, Config, Deregister, Draft, Heartbeat, LiftOverride, Now, Observe,
        Origin, Refusal, Register, Registered, RemoveRoute, SetOverride, SetRoute,
        draft::Changes,
        expiry::{Expiry, Step},
        state::State,
    },
};

pub(super) struct Machine {
    state: State,
    changes: Changes,
    expiry: Expiry,
}

pub(super) type Events = Vec<Arc<Event>>;

impl std::ops::Deref for Machine {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl Machine {
    pub(super) fn new(config: Config, remove_after: RemoveAfter) -> Self {
        let state = State::new(config, remove_after, Epoch(7), 100);
        let table = Arc::clone(&state.table);
        Self {
            expiry: Expiry::new(table, config.guard, remove_after, [], 0),
            state,
            changes: Changes::default(),
        }
    }

    pub(super) fn run<C: Command>(
        &mut self,
        command: C,
        connection: Option<u64>,
        now: Now,
        out: &mut Events,
    ) -> Result<C::Outcome, Refusal> {
        self.changes.begin(&self.state);
        let outcome = command.decide(&mut Draft {
            state: &self.state,
            changes: &mut self.changes,
            origin: Origin { now, connection },
            rights: None,
        });
        if outcome.is_err() {
            assert!(self.changes.records.is_empty(), "a refusal changes nothing");
        }
        for effect in self.changes.effects.drain(..) {
            self.state.take(effect);
        }
        for record in &self.changes.records {
            out.extend(self.state.apply(record).map(|logged| logged.event));
        }
        outcome
    }

    pub(super) fn register(
        &mut self,
        registration: Registration,
        incarnation: Option<u64>,
        now: Now,
        out: &mut Events,
    ) -> Result<Registered, Refusal> {
        let command = Register {
            registration,
            incarnation,
        };
        self.run(command, None, now, out)
    }

    pub(super) fn register_over(
        &mut self,
        connection: u64,
        registration: Registration,
        incarnation: Option<u64>,
        now: Now,
        out: &mut Events,
    ) -> Result<Registered, Refusal> {
        let command = Register {
            registration,
            incarnation,
        };
        self.run(command, Some(connection), now, out)
    }

    pub(super) fn deregister(
        &mut self,
        id: &str,
        incarnation: Option<u64>,
        now: Now,
        out: &mut Events,
    ) -> Result<Arc<Instance>, Refusal> {
        let command = Deregister {
            service_id: id.into(),
            incarnation,
        };
        self.run(command, None, now, out)
    }

    pub(super) fn heartbeat_over(
        &mut self,
        id: &str,
        incarnation: Option<u64>,
        connection: u64,
        now: Now,
        out: &mut Events,
    ) -> Result<(), Refusal> {
        let command = Heartbeat {
            service_id: id.into(),
            incarnation,
        };
        self.run(command, Some(connection), now, out).map(drop)
    }

    pub(super) fn connection_closed(
        &mut self,
        connection: u64,
        now: Now,
        out: &mut Events,
    ) -> usize {
        let closed = CloseConnection { connection };
        self.run(closed, None, now, out).unwrap().lost
    }

    pub(super) fn set_override(
        &mut self,
        id: &str,
        overridden: Option<(OverrideStatus, Option<Box<str>>)>,
        now: Now,
        out: &mut Events,
    ) -> Result<Arc<Instance>, Refusal> {
        let service_id = id.into();
        let Some((status, reason)) = overridden else {
            return self.run(LiftOverride { service_id }, None, now, out);
        };
        let command = SetOverride {
            service_id,
            status,
            reason,
        };
        self.run(command, None, now, out)
    }

    pub(super) fn set_observed(
        &mut self,
        of: &Arc<Registration>,
        observed: Status,
        reason: Option<&str>,
        now: Now,
        out: &mut Events,
    ) -> bool {
        let command = Observe {
            registration: Arc::clone(of),
            observed,
            reason: reason.map(Into::into),
        };
        self.run(command, None, now, out).unwrap()
    }

    pub(super) fn set_route(
        &mut self,
        route: RouteDraft,
        now: Now,
        out: &mut Events,
    ) -> Result<Arc<Route>, Refusal> {
        self.run(SetRoute { route }, None, now, out)
    }

    pub(super) fn remove_route(
        &mut self,
        id: &str,
        now: Now,
        out: &mut Events,
    ) -> Result<Arc<Route>, Refusal> {
        let route_id = id.into();
        self.run(RemoveRoute { route_id }, None, now, out)
    }

    /// One pass of the expiry. Answers with the number of its steps that changed something.
    pub(super) fn expire(&mut self, now: Now, out: &mut Events) -> usize {
        let mut turns = 0;
        self.expiry.begin(now.mono_ms);
        loop {
            let leases = &self.state.leases;
            match self.expiry.next(|max| leases.due(now.mono_ms, max)) {
                Step::Over => return turns,
                Step::Again => (),
                Step::Decide(turn) => {
                    turns += 1;
                    let report = self.run(turn.clone(), None, now, out).unwrap();
                    self.expiry.done(&turn, &report, now.mono_ms);
                }
            }
        }
    }
}
