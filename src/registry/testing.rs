//! Commands as plain calls, for tests.

use std::sync::Arc;

use super::{
    CloseConnection, Command, Deregister, LiftOverride, Observe, PatchInstance, Refusal, Register,
    Registered, Registry, RemoveRoute, SetOverride, SetRoute,
    expiry::{Expiry, Step},
};
use crate::model::{
    Edit, Instance, OverrideStatus, Patch, Registration, Route, RouteDraft, Status, Timestamp,
};

impl Registry {
    fn done<C: Command>(&self, command: C, connection: Option<u64>) -> Result<C::Outcome, Refusal> {
        self.submit(command, connection)
            .now()
            .expect("a journal in memory")
    }

    pub(crate) fn register(
        &self,
        registration: Registration,
        incarnation: Option<u64>,
    ) -> Result<Registered, Refusal> {
        self.done(
            Register {
                registration,
                incarnation,
            },
            None,
        )
    }

    pub(crate) fn register_over(
        &self,
        connection: u64,
        registration: Registration,
        incarnation: Option<u64>,
    ) -> Result<Registered, Refusal> {
        self.done(
            Register {
                registration,
                incarnation,
            },
            Some(connection),
        )
    }

    pub(crate) fn deregister(
        &self,
        id: &str,
        incarnation: Option<u64>,
    ) -> Result<Arc<Instance>, Refusal> {
        let service_id = id.into();
        self.done(
            Deregister {
                service_id,
                incarnation,
            },
            None,
        )
    }

    pub(crate) fn renew(&self, id: &str, incarnation: Option<u64>) -> Result<Timestamp, Refusal> {
        let done = self.heartbeat(id, incarnation, None);
        done.now().expect("a journal in memory")
    }

    pub(crate) fn renew_over(
        &self,
        connection: u64,
        id: &str,
        incarnation: Option<u64>,
    ) -> Result<Timestamp, Refusal> {
        let done = self.heartbeat(id, incarnation, Some(connection));
        done.now().expect("a journal in memory")
    }

    pub(crate) fn connection_closed(&self, connection: u64) -> usize {
        let mut lost = 0;
        loop {
            let closed = self.done(CloseConnection { connection }, None);
            lost += closed.as_ref().map_or(0, |closed| closed.lost);
            if closed.is_err() || closed.is_ok_and(|closed| !closed.more) {
                return lost;
            }
        }
    }

    pub(crate) fn set_override(
        &self,
        id: &str,
        status: OverrideStatus,
        reason: Option<Box<str>>,
    ) -> Result<Arc<Instance>, Refusal> {
        let service_id = id.into();
        self.done(
            SetOverride {
                service_id,
                status,
                reason,
            },
            None,
        )
    }

    pub(crate) fn lift_override(&self, id: &str) -> Result<Arc<Instance>, Refusal> {
        let service_id = id.into();
        self.done(LiftOverride { service_id }, None)
    }

    pub(crate) fn set_observed(
        &self,
        of: &Arc<Registration>,
        observed: Status,
        reason: Option<&str>,
    ) -> bool {
        let observe = Observe {
            registration: Arc::clone(of),
            observed,
            reason: reason.map(Into::into),
        };
        self.done(observe, None).unwrap_or(false)
    }

    pub(crate) fn set_weight(&self, id: &str, weight: u16) -> Result<Arc<Instance>, Refusal> {
        let patch = Patch {
            weight: Edit::Set(weight),
            ..Patch::default()
        };
        let service_id = id.into();
        self.done(PatchInstance { service_id, patch }, None)
    }

    pub(crate) fn set_route(&self, route: RouteDraft) -> Result<Arc<Route>, Refusal> {
        self.done(SetRoute { route }, None)
    }

    pub(crate) fn remove_route(&self, id: &str) -> Result<Arc<Route>, Refusal> {
        let route_id = id.into();
        self.done(RemoveRoute { route_id }, None)
    }

    /// One pass over the leases that ran out.
    pub(crate) fn expire_now(&self) {
        let mut expiry = self.expiry();
        self.expire_with(&mut expiry);
    }

    pub(super) fn expire_with(&self, expiry: &mut Expiry) {
        expiry.begin(self.clock().now().mono_ms);
        loop {
            let now_ms = self.clock().now().mono_ms;
            match expiry.next(|max| self.due(now_ms, max)) {
                Step::Over => return,
                Step::Again => (),
                Step::Decide(turn) => {
                    let report = self.done(turn.clone(), None).expect("never refused");
                    expiry.done(&turn, &report, now_ms);
                }
            }
        }
    }
}
