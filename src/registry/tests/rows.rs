//! A registry read again from its rows equals the one that wrote them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use proptest::prelude::*;

use super::{
    journal::{act_or_route, commands, digest, paused},
    registration,
};
use crate::{
    model::{
        Check, CheckKind, Event, HttpCheck, Instance, Lease, LeaseKind, Metadata, Revision, Status,
    },
    registry::{
        Batch, Commit, Config, Journal, Origins, Registry, Restored, Rows, UnreadableRow, codec,
    },
};

type Table = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug, Default)]
struct Tables(BTreeMap<String, Table>);

impl Rows for Tables {
    fn put(&mut self, table: &str, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        let mut value = Vec::new();
        write(&mut value);
        let table = self.0.entry(table.to_owned()).or_default();
        table.insert(key.to_vec(), value);
    }

    fn delete(&mut self, table: &str, key: &[u8]) {
        if let Some(table) = self.0.get_mut(table) {
            table.remove(key);
        }
    }
}

impl Tables {
    fn read(&self, events_max: usize) -> Result<Option<Restored>, UnreadableRow> {
        Restored::read(events_max, |table| {
            let rows = self.0.get(table).into_iter().flatten();
            rows.map(|(key, value)| {
                Ok((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)))
            })
        })
    }
}

#[derive(Clone, Debug, Default)]
struct RowJournal {
    tables: Arc<Mutex<Tables>>,
    events_max: usize,
}

impl Journal for RowJournal {
    fn commit(&mut self, batch: Batch<'_>) -> Commit {
        batch
            .to_owned()
            .write(self.events_max, &mut *self.tables.lock());
        Commit::Done(Ok(()))
    }
}

fn config(events_max: usize) -> Config {
    Config {
        log_entries_max: events_max.into(),
        ..Config::default()
    }
}

fn open(journal: &RowJournal) -> Registry {
    let restored = journal.tables.lock().read(journal.events_max).unwrap();
    let origins = Origins {
        journal: Box::new(journal.clone()),
        restored,
        ..Origins::default()
    };
    Registry::open(config(journal.events_max), origins)
}

fn journal(events_max: usize) -> RowJournal {
    RowJournal {
        events_max,
        ..RowJournal::default()
    }
}

fn events(registry: &Registry) -> Vec<String> {
    let before_oldest = Revision(registry.oldest().0 - 1);
    let events = registry.since(before_oldest, usize::MAX).unwrap();
    let said = |event: &Arc<Event>| {
        let instance = event.instance.as_ref();
        let instance = instance.map(|one| (&one.registration, one.status(), one.incarnation));
        format!(
            "{} {} {:?} {:?} {:?} {:?} {:?} {instance:?} {:?}",
            event.epoch,
            event.revision,
            event.kind,
            event.service_id,
            event.service_name,
            (event.status, event.previous_status, event.timestamp),
            event.reason,
            event
                .route
                .as_ref()
                .map(|route| (&route.route_id, route.revision)),
        )
    };
    events.iter().map(said).collect()
}

async fn run(registry: &Registry, commands: &[(u8, u8, u16)]) {
    for command in commands {
        act_or_route(registry, *command);
        if command.2 % 16 == 0 {
            tokio::time::advance(Duration::from_millis(400)).await;
            registry.expire_now();
        }
    }
}

/// As a later run reads it: its connections are all of an earlier one.
fn digest_of_earlier(registry: &Registry) -> String {
    let digest = digest(registry);
    let mut parts = digest.split(" Connection(");
    let mut read = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (_, rest) = part.split_once(')').unwrap();
        read = format!("{read} Connection(0){rest}");
    }
    read
}

proptest! {
    #[test]
    fn a_registry_continues_where_it_ended_before_a_restart(
        earlier in commands(),
        later in commands(),
    ) {
        paused(async {
            let journal = journal(1_000);
            let first = open(&journal);
            run(&first, &earlier).await;
            let again = open(&journal);
            if journal.tables.lock().0.is_empty() {
                return;
            }
            again.inner.writer.lock().state.incarnation =
                first.inner.writer.lock().state.incarnation;
            assert_eq!(digest(&again), digest_of_earlier(&first));
            assert_eq!(events(&again), events(&first));
            run(&again, &later).await;
            let third = open(&journal);
            third.inner.writer.lock().state.incarnation =
                again.inner.writer.lock().state.incarnation;
            assert_eq!(digest(&third), digest_of_earlier(&again));
            assert_eq!(third.epoch(), first.epoch());
        });
    }

    #[test]
    fn the_newest_events_are_kept_and_their_chains_hold(commands in commands(), max in 1_usize..12) {
        paused(async {
            let journal = journal(max);
            let first = open(&journal);
            run(&first, &commands).await;
            if journal.tables.lock().0.is_empty() {
                return;
            }
            let again = open(&journal);
            assert_eq!(events(&again), events(&first));
            assert_eq!((again.oldest(), again.newest()), (first.oldest(), first.newest()));
            for service in first.services() {
                let of_again = again.service(service.name().as_str()).unwrap();
                for cursor in first.oldest().0 - 1..=first.newest().0 {
                    let revisions = |registry: &Registry, service: &_| {
                        let events = registry.since_of(service, Revision(cursor), 100).unwrap();
                        events.iter().map(|event| event.revision).collect::<Vec<_>>()
                    };
                    assert_eq!(revisions(&again, &of_again), revisions(&first, &service));
                }
            }
        });
    }
}

#[test]
fn every_field_of_an_instance_comes_back() {
    let http = HttpCheck {
        url: "http://h/".into(),
        method: "HEAD".into(),
        headers: [("a".into(), "b".into())].into(),
        expected: [200..=299, 404..=404].into(),
        tls_skip_verify: true,
        redirects: 3,
    };
    let kinds = [
        CheckKind::Http(Box::new(http)),
        CheckKind::Tcp {
            host: "h".into(),
            port: 65_535,
        },
        CheckKind::Grpc {
            host: "h".into(),
            port: 1,
            service: "s".into(),
            tls: true,
            tls_skip_verify: false,
        },
        CheckKind::Ttl,
    ];
    let check = |kind| Check {
        name: "näme".into(),
        kind,
        interval: Duration::from_millis(1_500),
        timeout: Duration::from_nanos(7),
        healthy_after: u32::MAX,
        unhealthy_after: 0,
        options: None,
    };
    let mut registration = registration("a", "web", 80);
    registration.metadata = Metadata::parse(r#"{"n":1.00,"s":"ü"}"#).unwrap();
    registration.tags = ["x".into(), "".into()].into();
    registration.zone = Some("z".into());
    registration.weight = u16::MAX;
    registration.lease = LeaseKind::Connection;
    registration.checks = kinds.into_iter().map(check).collect();
    for lease in [
        Lease::Running,
        Lease::Held,
        Lease::Lost,
        Lease::Unlimited,
        Lease::Connection(u64::MAX),
    ] {
        let registry = Registry::new(Config::default());
        let mut plain = registration.clone();
        plain.lease = LeaseKind::Ttl;
        registry.register(plain, None).unwrap();
        let known = registry.instance("a").unwrap();
        let instance = Instance {
            registration: Arc::new(registration.clone()),
            lease,
            observed: Status::Unknown,
            reason: Some("why".into()),
            ..known.version()
        };
        let mut bytes = Vec::new();
        codec::put_instance(&mut bytes, &instance);
        let mut read = codec::instance(&bytes).unwrap();
        read.last_seen = Arc::clone(&instance.last_seen);
        read.bytes = instance.bytes;
        assert_eq!(format!("{read:?}"), format!("{instance:?}"));
        for len in 0..bytes.len() {
            assert!(codec::instance(&bytes[..len]).is_err(), "{len} bytes");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = bytes;
        bytes.insert(0, 1);
        let _ = codec::instance(&bytes);
        let _ = codec::event(&bytes, crate::model::Epoch(1));
        let _ = codec::route(&bytes);
        let _ = codec::counters(&bytes);
    }
}

#[tokio::test]
async fn fencing_holds_and_leases_of_closed_connections_are_lost() {
    let journal = journal(100);
    let first = open(&journal);
    let registered = first.register(registration("a", "web", 80), None).unwrap();
    let mut on_connection = registration("b", "web", 81);
    on_connection.lease = LeaseKind::Connection;
    first.register_over(7, on_connection, None).unwrap();
    let again = open(&journal);
    again.close_earlier_connections().await.unwrap();
    let lost = again.instance("b").unwrap();
    assert_eq!(
        (lost.lease, lost.status()),
        (Lease::Lost, Status::Unhealthy)
    );
    let current = Some(registered.instance.incarnation);
    again.renew("a", current).unwrap();
    let taken_over = again.register(registration("a", "web", 90), None).unwrap();
    assert!(taken_over.instance.incarnation > registered.instance.incarnation);
    assert!(again.renew("a", current).is_err());
    let third = open(&journal);
    assert!(third.renew("a", current).is_err());
    third
        .renew("a", Some(taken_over.instance.incarnation))
        .unwrap();
    assert_eq!(third.instance("b").unwrap().lease, Lease::Lost);
}

#[tokio::test]
async fn connections_of_earlier_runs_are_none_of_this_one() {
    let journal = journal(100);
    let first = open(&journal);
    let on_connection = |id| {
        let mut registration = registration(id, "web", 81);
        registration.lease = LeaseKind::Connection;
        registration
    };
    for id in ["back", "gone"] {
        first.register_over(57, on_connection(id), None).unwrap();
    }
    // A full disk may delay the end of the earlier leases until clients are connected.
    let again = open(&journal);
    again.renew_over(3, "back", None).unwrap();
    again.register_over(57, on_connection("new"), None).unwrap();
    again.close_earlier_connections().await.unwrap();
    let lease = |id| again.instance(id).unwrap().lease;
    assert_eq!(lease("back"), Lease::Connection(3));
    assert_eq!(lease("new"), Lease::Connection(57));
    assert_eq!(lease("gone"), Lease::Lost);
}
