//! Leases that hang on connections, against a naive model of them.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::{registration, registry};
use crate::{
    model::{Lease, LeaseKind, OverrideStatus, Registration},
    registry::{Refusal, Registry},
};

/// How long the leases of this test are, in milliseconds.
const TTL_MS: u64 = 1_000;

/// What is expected of one instance.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Expected {
    kind: LeaseKind,
    connection: Option<u64>,
    /// The last renewal.
    sign_ms: u64,
}

impl Expected {
    fn lease(self) -> Lease {
        match (self.kind, self.connection) {
            (LeaseKind::Ttl, _) => Lease::Running,
            (LeaseKind::Unlimited, _) => Lease::Unlimited,
            (LeaseKind::Connection, Some(connection)) => Lease::Connection(connection),
            (LeaseKind::Connection, None) => Lease::Lost,
        }
    }
}

#[derive(Default)]
struct Model {
    instances: BTreeMap<String, Expected>,
    now_ms: u64,
}

impl Model {
    fn register(&mut self, id: &str, kind: LeaseKind, connection: u64) {
        // What comes late by an older connection does not take the lease over.
        let known = self.instances.get(id).and_then(|known| known.connection);
        let newest = known.map_or(connection, |known| known.max(connection));
        let expected = Expected {
            kind,
            connection: (kind == LeaseKind::Connection).then_some(newest),
            sign_ms: self.now_ms,
        };
        self.instances.insert(id.to_owned(), expected);
    }

    fn heartbeat(&mut self, id: &str, connection: Option<u64>) {
        let now_ms = self.now_ms;
        if let Some(known) = self.instances.get_mut(id) {
            known.sign_ms = now_ms;
            if known.kind == LeaseKind::Connection && connection.is_some() {
                known.connection = known.connection.max(connection);
            }
        }
    }

    fn close(&mut self, connection: u64) -> usize {
        let mut n = 0;
        for known in self.instances.values_mut() {
            if known.connection == Some(connection) {
                known.connection = None;
                known.sign_ms = self.now_ms;
                n += 1;
            }
        }
        n
    }

    fn expire(&mut self) {
        let now_ms = self.now_ms;
        self.instances
            .retain(|_, known| known.connection.is_some() || known.sign_ms + TTL_MS > now_ms);
    }
}

fn said(id: &str, name: &str, port: u16, lease: LeaseKind) -> Registration {
    Registration {
        health_check_url: None,
        lease,
        ..registration(id, name, port)
    }
}

/// One command to both.
fn act(registry: &Registry, model: &mut Model, (what, id, port): (u8, u8, u16)) {
    let id = format!("i{}", id % 5);
    let name = ["web", "api"][usize::from(port % 2)];
    let connection = u64::from(port / 2 % 3);
    let kind = [LeaseKind::Ttl, LeaseKind::Connection][usize::from(port / 6 % 2)];
    match what % 9 {
        0 | 1 => {
            let one = said(&id, name, port % 3 + 1, kind);
            registry.register_over(connection, one, None).unwrap();
            model.register(&id, kind, connection);
        }
        2 => {
            let one = said(&id, name, port % 3 + 1, kind);
            match (registry.register(one, None), kind) {
                (Ok(_), LeaseKind::Ttl) => model.register(&id, kind, 0),
                (Err(Refusal::NoConnection), LeaseKind::Connection) => (),
                (other, _) => panic!("{other:?}"),
            }
        }
        3 => {
            drop(registry.deregister(&id, None));
            model.instances.remove(&id);
        }
        4 => {
            let _ = registry.renew(&id, None);
            model.heartbeat(&id, None);
        }
        5 => {
            let _ = registry.renew_over(connection, &id, None);
            model.heartbeat(&id, Some(connection));
        }
        6 => assert_eq!(
            registry.connection_closed(connection),
            model.close(connection)
        ),
        7 => drop(registry.set_override(&id, OverrideStatus::Stopping, None)),
        _ => drop(registry.set_weight(&id, port)),
    }
}

fn check(registry: &Registry, model: &Model) {
    let expected: BTreeMap<_, _> = model
        .instances
        .iter()
        .map(|(id, known)| (id.clone(), known.lease()))
        .collect();
    let mut found = BTreeMap::new();
    for service in registry.services() {
        for instance in service.view().instances.values() {
            found.insert(instance.id().to_string(), instance.lease);
        }
    }
    assert_eq!(found, expected);
    let bound = expected
        .values()
        .filter(|lease| matches!(lease, Lease::Connection(_)));
    let counts = registry.counts();
    assert_eq!(counts.connection_leases, bound.count());
    assert_eq!(counts.leases + counts.connection_leases, expected.len());
    let mut connections: Vec<_> = model
        .instances
        .values()
        .filter_map(|known| known.connection)
        .collect();
    connections.sort_unstable();
    connections.dedup();
    let writing = registry.inner.writer.lock();
    assert_eq!(
        writing.state.connection_leases.connections(),
        connections.len()
    );
}

proptest! {
    #[test]
    fn leases_on_connections_agree_with_a_naive_model(
        commands in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u16>()), 0..150),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let registry = registry(10_000);
            let mut model = Model::default();
            for command in commands {
                act(&registry, &mut model, command);
                if command.2 % 5 == 0 {
                    tokio::time::advance(Duration::from_millis(400)).await;
                    model.now_ms += 400;
                    registry.expire_now();
                    model.expire();
                }
                check(&registry, &model);
            }
        });
    }
}
