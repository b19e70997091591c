mod brief;
mod connections;
mod journal;
mod replay;
mod reported;
mod rights;
mod rows;
mod stamps;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::prelude::*;

use super::{Config, Refusal, Registry};
use crate::model::{
    Cursor, Epoch, Event, EventKind, LeaseKind, Metadata, OverrideStatus, Registration, Revision,
    ServiceId, ServiceName, Status,
};

pub(super) fn registration(id: &str, name: &str, port: u16) -> Registration {
    Registration {
        service_id: ServiceId::parse(id).unwrap(),
        service_name: ServiceName::parse(name).unwrap(),
        host: "127.0.0.1".into(),
        port,
        metadata: Metadata::default(),
        health_check_url: Some("http://127.0.0.1/".into()),
        tags: Box::default(),
        version: "1.0.0".into(),
        ttl: Duration::from_secs(1),
        lease: LeaseKind::Ttl,
        weight: 1,
        zone: None,
        checks: Box::default(),
    }
}

fn registry(log_entries_max: usize) -> Registry {
    Registry::new(Config {
        log_entries_max: log_entries_max.into(),
        log_bytes_max: bytesize::ByteSize::gib(1).into(),
        ..Config::default()
    })
}

/// What a watcher knows of an instance.
type Known = (String, u16, Status);

/// The table as one who has seen every event has it.
fn replay(events: &[Arc<Event>]) -> BTreeMap<String, Known> {
    let mut table = BTreeMap::new();
    for event in events {
        let (Some(id), Some(instance)) = (&event.service_id, &event.instance) else {
            continue;
        };
        let id = id.to_string();
        let known = table.get(&id).map(|(_, _, status)| *status);
        match event.kind {
            EventKind::Deregistered | EventKind::Expired => {
                assert_eq!(event.previous_status, known, "{event:?}");
                table.remove(&id);
            }
            _ => {
                assert_eq!(event.previous_status, known, "{event:?}");
                let status = event.status.unwrap();
                assert_eq!(instance.status(), status);
                let name = instance.name().to_string();
                table.insert(id, (name, instance.registration.port, status));
            }
        }
    }
    table
}

/// The table as readers see it.
fn shown(registry: &Registry) -> BTreeMap<String, Known> {
    let mut table = BTreeMap::new();
    for service in registry.services() {
        for instance in service.view().instances.values() {
            let found = registry.instance(instance.id().as_str()).unwrap();
            assert!(Arc::ptr_eq(&found, instance), "both look-ups agree");
            let known = (
                service.name().to_string(),
                instance.registration.port,
                instance.status(),
            );
            assert!(
                table.insert(instance.id().to_string(), known).is_none(),
                "in one service"
            );
        }
    }
    table
}

fn check_counts(registry: &Registry) {
    let shown = shown(registry);
    let counts = registry.counts();
    let healthy = shown
        .values()
        .filter(|(_, _, status)| *status == Status::Healthy)
        .count();
    assert_eq!(
        (
            counts.instances,
            counts.healthy,
            counts.leases + counts.connection_leases
        ),
        (shown.len(), healthy, shown.len())
    );
}

/// One command, chosen by three numbers; what it answers does not matter here.
fn act(registry: &Registry, what: u8, id: u8, port: u16) {
    let id = format!("i{}", id % 6);
    let name = ["web", "api"][usize::from(port % 2)];
    let connection = u64::from(port % 3);
    match what % 12 {
        0..3 => drop(registry.register(registration(&id, name, port % 4 + 1), None)),
        8 | 9 => {
            let mut hanging = registration(&id, name, port % 4 + 1);
            hanging.lease = LeaseKind::Connection;
            drop(registry.register_over(connection, hanging, None));
        }
        10 => drop(registry.renew_over(connection, &id, None)),
        11 => {
            registry.connection_closed(connection);
        }
        3 => drop(registry.deregister(&id, None)),
        4 => {
            let status = [Status::Healthy, Status::Unhealthy][usize::from(port % 2)];
            if let Some(instance) = registry.instance(&id) {
                registry.set_observed(&instance.registration, status, None);
            }
        }
        5 => drop(registry.set_override(&id, OverrideStatus::Stopping, None)),
        6 => drop(registry.lift_override(&id)),
        _ => drop(registry.renew(&id, None)),
    }
}

proptest! {
    #[test]
    fn the_log_replayed_gives_the_table(
        commands in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u16>()), 0..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let registry = registry(10_000);
            for (what, id, port) in commands {
                act(&registry, what, id, port);
                if port % 16 == 0 {
                    tokio::time::advance(Duration::from_millis(400)).await;
                    registry.expire_now();
                }
            }
            let events = registry.since(Revision(0), usize::MAX).unwrap();
            let revisions: Vec<_> = events.iter().map(|event| event.revision.0).collect();
            let expected: Vec<_> = (1..=revisions.len() as u64).collect();
            assert_eq!(revisions, expected, "no gap, no repetition");
            assert_eq!(replay(&events), shown(&registry));
            check_counts(&registry);
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_tasks_race_for_one_id() {
    let registry = registry(100_000);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..64_u64 {
        let registry = registry.clone();
        tasks.spawn(async move {
            let mut random = fastrand::Rng::with_seed(task);
            for _ in 0..300 {
                act(&registry, random.u8(..), 0, random.u16(..));
                if random.u8(..) == 0 {
                    registry.expire_now();
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    while let Some(joined) = tasks.join_next().await {
        joined.unwrap();
    }
    let events = registry.since(Revision(0), usize::MAX).unwrap();
    assert_eq!(events.len() as u64, registry.newest().0);
    assert_eq!(replay(&events), shown(&registry));
    check_counts(&registry);
}

/// Readers of a snapshot that follow the log from it miss nothing and see nothing twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_snapshot_taken_during_changes_misses_and_repeats_nothing() {
    let registry = registry(1_000_000);
    let writer = {
        let registry = registry.clone();
        tokio::task::spawn_blocking(move || {
            let mut random = fastrand::Rng::with_seed(7);
            for _ in 0..60_000 {
                act(&registry, random.u8(..), random.u8(..), random.u16(..));
            }
        })
    };
    let mut snapshots = Vec::new();
    while !writer.is_finished() {
        snapshots.push(registry.snapshot());
    }
    writer.await.unwrap();
    let last = shown(&registry);
    for snapshot in snapshots.iter().rev().take(200) {
        let mut table = BTreeMap::new();
        for (service, view) in &snapshot.services {
            for instance in view.instances.values() {
                let name = service.name().to_string();
                table.insert(
                    instance.id().to_string(),
                    (name, instance.registration.port, instance.status()),
                );
            }
        }
        for event in registry.since(snapshot.revision, usize::MAX).unwrap() {
            if snapshot.covers(&event) {
                continue;
            }
            let (id, instance) = (
                event.service_id.as_ref().unwrap().to_string(),
                event.instance.as_ref().unwrap(),
            );
            let name = instance.name().to_string();
            match event.kind {
                EventKind::Deregistered | EventKind::Expired => {
                    // An instance that moved meanwhile may already be listed under its new name.
                    if table.get(&id).is_some_and(|(known, _, _)| *known == name) {
                        table.remove(&id);
                    }
                }
                _ => {
                    table.insert(
                        id,
                        (name, instance.registration.port, event.status.unwrap()),
                    );
                }
            }
        }
        assert_eq!(table, last);
    }
}

#[tokio::test]
async fn unrelated_services_do_not_wake_a_follower() {
    let registry = registry(16);
    let web = ServiceName::parse("web").unwrap();
    let mut following = registry.follow_service(&web);
    registry
        .register(registration("a", "api", 1), None)
        .unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(20), following.changed()).await;
    assert!(waited.is_err(), "another service changed");
    registry
        .register(registration("b", "web", 1), None)
        .unwrap();
    following.changed().await;
    let service = registry.service("web").unwrap();
    let events = registry.since_of(&service, Revision(0), 10).unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].revision, Revision(2));
}

#[tokio::test]
async fn a_service_is_forgotten_when_nothing_needs_it() {
    let registry = registry(4);
    let ghost = ServiceName::parse("ghost").unwrap();
    drop(registry.follow_service(&ghost));
    assert_eq!(
        registry.counts().services_known,
        0,
        "the last follower took it along"
    );

    registry
        .register(registration("a", "gone", 1), None)
        .unwrap();
    registry.deregister("a", None).unwrap();
    assert_eq!(
        registry.counts().services_known,
        1,
        "the log still tells of it"
    );
    let following = registry.follow_service(&ServiceName::parse("gone").unwrap());
    for port in 1..10 {
        registry
            .register(registration("b", "web", port), None)
            .unwrap();
    }
    assert_eq!(registry.counts().services_known, 2, "somebody follows it");
    drop(following);
    assert_eq!(registry.counts().services_known, 1);

    let again = registry
        .register(registration("c", "gone", 1), None)
        .unwrap();
    let service = registry.service("gone").unwrap();
    assert!(
        registry.since_of(&service, Revision(0), 9).is_err(),
        "an earlier run is out of the log"
    );
    let cursor = Revision(again.instance.revision.0 - 1);
    assert_eq!(registry.since_of(&service, cursor, 9).unwrap().len(), 1);
}

#[tokio::test]
async fn cursors_lead_to_a_revision_or_a_snapshot() {
    let registry = registry(4);
    for port in 1..=9 {
        registry
            .register(registration("a", "web", port), None)
            .unwrap();
    }
    let at = |revision| registry.place(registry.cursor(Revision(revision)));
    assert_eq!(at(9), Some(Revision(9)));
    assert_eq!(
        at(5),
        Some(Revision(5)),
        "the next one is the oldest in the log"
    );
    assert_eq!(at(4), None, "out of the log");
    assert_eq!(at(10), None, "of the future");
    let foreign = Cursor {
        epoch: Epoch(registry.epoch().0 + 1),
        revision: Revision(9),
    };
    assert_eq!(registry.place(foreign), None, "of another epoch");
}

#[tokio::test(start_paused = true)]
async fn leases_follow_the_monotonic_clock_and_the_room_removes_what_ran_out() {
    let registry = registry(16);
    let stop = tokio_util::sync::CancellationToken::new();
    let mut room = tokio::task::JoinSet::new();
    room.spawn(registry.clone().run(stop.clone()));
    registry
        .register(registration("a", "web", 1), None)
        .unwrap();
    tokio::time::sleep(Duration::from_millis(950)).await;
    assert!(registry.renew("a", None).is_ok());
    tokio::time::sleep(Duration::from_millis(950)).await;
    assert!(registry.instance("a").is_some(), "renewed");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(registry.instance("a").is_none(), "ran out");
    assert_eq!(registry.renew("a", None), Err(Refusal::Unknown));
    stop.cancel();
    room.join_next().await.unwrap().unwrap();
}
