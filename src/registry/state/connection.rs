//! Leases that hang on a connection: alive while it is open, lost when it closes, alive again over another.

use super::{Events, State, current, version_of};
use crate::{
    model::{Instance, Lease, LeaseKind, Registration},
    registry::{Refusal, clock::Now},
};

/// The lease of a registration that came by no connection of the embedded broker.
pub(super) fn without_connection(registration: &Registration) -> Result<Lease, Refusal> {
    match registration.lease {
        LeaseKind::Ttl => Ok(Lease::Running),
        LeaseKind::Connection => Err(Refusal::NoConnection),
    }
}

/// The lease of a registration that came by `connection`, of an instance that may be known.
pub(super) fn over(
    connection: u64,
    registration: &Registration,
    known: Option<&Instance>,
) -> Lease {
    match registration.lease {
        LeaseKind::Ttl => Lease::Running,
        LeaseKind::Connection => Lease::Bound(newest(connection, known)),
    }
}

/// The connection to hang on: what comes late by an older one, which may be closed by now, changes
/// nothing. Connections are numbered in the order in which they were opened.
fn newest(connection: u64, known: Option<&Instance>) -> u64 {
    match known.map(|known| known.lease) {
        Some(Lease::Bound(present)) => present.max(connection),
        _ => connection,
    }
}

impl State {
    /// Takes the news that a connection closed; answers with how many instances hung on it.
    pub(in crate::registry) fn connection_closed(
        &mut self,
        connection: u64,
        now: Now,
        out: &mut Events,
    ) -> usize {
        let ids = self.bound.take(connection);
        for id in &ids {
            let Some(known) = self.table.instance(id.as_str()) else {
                continue;
            };
            // The open connection was its sign of life until now: here its ttl begins.
            known.beat.passed(now.mono_ms);
            let lost = Instance {
                lease: Lease::Lost,
                ..version_of(&known)
            };
            let reason = "its AMQP connection closed";
            self.put_status(lost, &known, Some(reason), now, out);
        }
        ids.len()
    }

    /// Renews a lease.
    pub(in crate::registry) fn heartbeat(
        &self,
        id: &str,
        incarnation: Option<u64>,
        now: Now,
    ) -> Result<(), Refusal> {
        let known = self.known(id)?;
        current(&known, incarnation)?;
        known.beat.heard(now.mono_ms);
        Ok(())
    }

    /// Renews a lease, and binds one that hangs on a connection to this one.
    pub(in crate::registry) fn heartbeat_over(
        &mut self,
        id: &str,
        incarnation: Option<u64>,
        connection: u64,
        now: Now,
        out: &mut Events,
    ) -> Result<(), Refusal> {
        let known = self.known(id)?;
        current(&known, incarnation)?;
        known.beat.heard(now.mono_ms);
        let lease = Lease::Bound(newest(connection, Some(&known)));
        if known.registration.lease == LeaseKind::Connection && known.lease != lease {
            let bound = Instance {
                lease,
                ..version_of(&known)
            };
            let reason = "heartbeat over another AMQP connection";
            self.put_status(bound, &known, Some(reason), now, out);
        }
        Ok(())
    }
}
