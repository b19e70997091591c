//! Leases on a connection: alive while it is open, lost when it closes, alive again over another one.

use std::{collections::BTreeSet, sync::Arc};

use super::DECISIONS_MAX;
use crate::{
    model::{Instance, Lease, LeaseKind, Registration, ServiceId},
    registry::{
        CloseConnection, Closed, Command, Draft, Operation, Refusal, Target, draft::Effect,
    },
};

/// The lease of a registration that came over `connection`.
pub(super) fn lease_of(
    registration: &Registration,
    connection: Option<u64>,
    known: Option<&Instance>,
) -> Result<Lease, Refusal> {
    match (registration.lease, connection) {
        (LeaseKind::Ttl, _) => Ok(Lease::Running),
        (LeaseKind::Unlimited, _) => Ok(Lease::Unlimited),
        (LeaseKind::Connection, Some(connection)) => {
            Ok(Lease::Connection(newest(connection, known)))
        }
        (LeaseKind::Connection, None) => Err(Refusal::NoConnection),
    }
}

/// The newer connection; connections are numbered as they are opened. A late command over an older one, which
/// may be closed by now, does not move the lease.
fn newest(connection: u64, known: Option<&Instance>) -> u64 {
    match known.map(|known| known.lease) {
        Some(Lease::Connection(current)) => current.max(connection),
        _ => connection,
    }
}

impl Draft<'_> {
    /// Moves a lease on a connection to the one that the command came over.
    pub(super) fn attach(&mut self, known: &Arc<Instance>) {
        let Some(connection) = self.origin.connection else {
            return;
        };
        let lease = Lease::Connection(newest(connection, Some(known)));
        if known.registration.lease == LeaseKind::Connection && known.lease != lease {
            let attached = Instance {
                lease,
                ..known.version()
            };
            let reason = "heartbeat over another AMQP connection";
            self.put_status(attached, known, Some(reason.into()));
        }
    }

    /// The first instances of a connection by their ids, one more than one command decides.
    fn leased_on(&self, connection: u64) -> BTreeSet<ServiceId> {
        let is_leased = |known: &&Arc<Instance>| known.lease == Lease::Connection(connection);
        let indexed = self.state.connection_leases.of(connection);
        let indexed = indexed.filter(|id| {
            let known = self.instance(id.as_str());
            known.as_ref().filter(is_leased).is_some()
        });
        let mut ids: BTreeSet<_> = indexed.take(DECISIONS_MAX + 1).cloned().collect();
        let changed = self.changed().filter(is_leased);
        ids.extend(changed.map(|known| known.id().clone()));
        ids
    }
}

impl Command for CloseConnection {
    type Outcome = Closed;

    const OPERATION: Operation = Operation::CloseConnection;

    fn target(&self) -> Target<'_> {
        Target::Connection(self.connection)
    }

    fn decide(self, draft: &mut Draft<'_>) -> Result<Closed, Refusal> {
        let ids = draft.leased_on(self.connection);
        let now_ms = draft.origin.now.mono_ms;
        for id in ids.iter().take(DECISIONS_MAX) {
            let known = draft.known(id.as_str())?;
            // The open connection renewed it until now: its ttl begins here.
            let last_seen = Arc::clone(&known.last_seen);
            let renewed = Effect::Renewed(last_seen, now_ms);
            draft.changes.effects.push(renewed);
            let lost = Instance {
                lease: Lease::Lost,
                ..known.version()
            };
            let reason = "its AMQP connection closed";
            draft.put_status(lost, &known, Some(reason.into()));
        }
        Ok(Closed {
            lost: ids.len().min(DECISIONS_MAX),
            more: ids.len() > DECISIONS_MAX,
        })
    }
}
