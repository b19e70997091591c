use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::timeout;

use super::{LogReader, Scope, WatchItem, WatchStart};
use crate::{
    api::Seen,
    http::testing::fixture::{name, register, registry, route},
    model::{Cursor, Epoch, Event, EventKind, OverrideStatus, Revision},
    registry::{Registry, Snapshot},
};

/// A watcher's copy of the registry, made from the items that it gets.
#[derive(Debug, Default)]
struct Watcher {
    instances: BTreeMap<String, (String, u16)>,
    routes: BTreeSet<String>,
    cursor: Revision,
    received: Vec<Revision>,
    expects_snapshot: bool,
    n_resyncs: usize,
}

impl Watcher {
    fn take(&mut self, received: WatchItem) {
        match received {
            WatchItem::Resync => {
                assert!(!self.expects_snapshot);
                self.expects_snapshot = true;
                self.n_resyncs += 1;
            }
            WatchItem::Snapshot(snapshot) => self.start_from(&snapshot),
            WatchItem::Event(event) => self.apply(&event),
        }
    }

    fn start_from(&mut self, snapshot: &Snapshot) {
        assert!(snapshot.revision >= self.cursor, "no way back");
        let instances = snapshot
            .services
            .iter()
            .flat_map(|(_, view)| view.instances.values());
        self.instances = instances
            .map(|one| {
                let known = (one.name().to_string(), one.registration.port);
                (one.id().to_string(), known)
            })
            .collect();
        let routes = snapshot.routes.list.iter();
        self.routes = routes.map(|route| route.route_id.to_string()).collect();
        self.cursor = snapshot.revision;
        self.received.clear();
        self.expects_snapshot = false;
    }

    /// Fails on an event that does not fit what is known: sent twice, too late or out of order.
    fn apply(&mut self, event: &Event) {
        assert!(!self.expects_snapshot);
        assert!(event.revision > self.cursor, "{event:?}");
        self.cursor = event.revision;
        self.received.push(event.revision);
        if let Some(route) = &event.route {
            let id = route.route_id.to_string();
            match event.kind {
                EventKind::RouteSet => drop(self.routes.insert(id)),
                _ => assert!(self.routes.remove(&id), "{event:?}"),
            }
        }
        let Some(instance) = &event.instance else {
            return;
        };
        let (id, service) = (instance.id().to_string(), instance.name().to_string());
        let port = instance.registration.port;
        match event.kind {
            EventKind::Registered => {
                let before = self.instances.insert(id, (service, port));
                assert_eq!(before, None, "{event:?}");
            }
            EventKind::Deregistered | EventKind::Expired => {
                assert_eq!(self.instances.remove(&id), Some((service, port)));
            }
            _ => {
                let before = self.instances.insert(id, (service, port));
                assert!(before.is_some(), "{event:?}");
            }
        }
    }

    fn drain(&mut self, reader: &mut LogReader) {
        while let Some(received) = reader.next() {
            self.take(received);
        }
    }
}

fn present(registry: &Registry, names: Option<&[&str]>) -> BTreeMap<String, (String, u16)> {
    let services = registry.services();
    let wanted = services
        .iter()
        .filter(|service| names.is_none_or(|names| names.contains(&service.name().as_str())));
    let views: Vec<_> = wanted.map(|service| service.view()).collect();
    let instances = views.iter().flat_map(|view| view.instances.values());
    instances
        .map(|one| {
            let known = (one.name().to_string(), one.registration.port);
            (one.id().to_string(), known)
        })
        .collect()
}

fn act(registry: &Registry, what: u8, service: u8, id: u8, port: u16) {
    let (id, service) = (format!("{}-{id}", service % 3), format!("s{}", service % 3));
    match what % 6 {
        0 | 1 => register(registry, &id, &service, port),
        2 => drop(registry.deregister(&id, None)),
        3 => drop(registry.set_override(&id, OverrideStatus::Stopping, None)),
        4 => drop(registry.set_route(route(&id, "/x", &format!("v{port}")))),
        _ => drop(registry.remove_route(&id)),
    }
}

fn scope(names: Option<&[&str]>) -> Scope {
    names.map_or(Scope::All, |names| {
        Scope::Services(names.iter().map(|text| name(text)).collect())
    })
}

/// Whether an event is for a watcher of these services.
fn is_for(event: &Event, names: Option<&[&str]>) -> bool {
    names.is_none_or(|names| {
        let service = event.service_name.as_ref();
        service.is_some_and(|service| names.contains(&service.as_str()))
    })
}

const SCOPES: [Option<&[&str]>; 4] = [None, Some(&["s0"]), Some(&["s0", "s2"]), Some(&[])];

proptest! {
    /// Whatever changes between which steps of whichever reader: each event once and in order.
    #[test]
    fn each_event_is_delivered_once_and_in_order(
        steps in prop::collection::vec((any::<u8>(), any::<u8>(), 0_u8..3, 1_u16..4, 0_usize..6), 1..200),
        log_entries_max in 2_usize..50,
    ) {
        let registry = registry(log_entries_max);
        let mut recorded: Vec<Arc<Event>> = Vec::new();
        let mut readers: Vec<_> = SCOPES
            .iter()
            .map(|names| (LogReader::new(&registry, scope(*names), WatchStart::Fresh), Watcher::default()))
            .collect();
        for (what, service, id, port, reads) in steps {
            let before = registry.newest();
            act(&registry, what, service, id, port);
            recorded.extend(registry.since(before, usize::MAX).unwrap());
            // Readers advance at their own pace: this one a few steps, the others not at all.
            let (reader, watcher) = &mut readers[usize::from(what) % SCOPES.len()];
            for _ in 0..reads {
                if let Some(received) = reader.next() {
                    watcher.take(received);
                }
            }
        }
        for ((reader, watcher), names) in readers.iter_mut().zip(SCOPES) {
            watcher.drain(reader);
            prop_assert_eq!(&watcher.instances, &present(&registry, names));
            // Since the last snapshot, nothing was left out.
            let first = watcher.received.first().copied().unwrap_or(Revision(u64::MAX));
            let wanted: Vec<_> = recorded
                .iter()
                .filter(|event| event.revision >= first && is_for(event, names))
                .map(|event| event.revision)
                .collect();
            prop_assert_eq!(&watcher.received, &wanted);
        }
        let routes: BTreeSet<_> = registry.routes().list.iter().map(|one| one.route_id.to_string()).collect();
        prop_assert_eq!(&readers[0].1.routes, &routes);
    }
}

/// Writers on other threads, readers that begin amid their changes: the seam of snapshot and log holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_that_begin_amid_changes_miss_and_repeat_nothing() {
    let registry = registry(100_000);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..3_u8 {
        let registry = registry.clone();
        writers.spawn(async move {
            for turn in 0..4_000_u16 {
                let what = u8::try_from(turn % 251).unwrap();
                act(&registry, what, writer, what / 6 % 5, turn);
                if turn % 64 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    let mut readers = tokio::task::JoinSet::new();
    let written = Arc::new(AtomicBool::new(false));
    for start in 0..24_usize {
        let registry = registry.clone();
        let written = Arc::clone(&written);
        readers.spawn(async move {
            tokio::time::sleep(Duration::from_millis(start as u64)).await;
            let names = SCOPES[start % 3];
            let mut reader = LogReader::new(&registry, scope(names), WatchStart::Fresh);
            let mut watcher = Watcher::default();
            loop {
                let last = written.load(Ordering::SeqCst);
                watcher.drain(&mut reader);
                if last {
                    return (watcher, names);
                }
                let _silence = timeout(Duration::from_millis(20), reader.changed()).await;
            }
        });
    }
    while let Some(joined) = writers.join_next().await {
        joined.unwrap();
    }
    written.store(true, Ordering::SeqCst);
    while let Some(joined) = readers.join_next().await {
        let (watcher, names) = joined.unwrap();
        assert_eq!(watcher.n_resyncs, 0);
        assert_eq!(watcher.instances, present(&registry, names));
    }
}

#[test]
fn a_reader_begins_at_its_cursor_or_with_a_snapshot() {
    let registry = registry(4);
    for port in 1..=6 {
        register(&registry, "one", "s0", port);
    }
    let elsewhere = Cursor {
        epoch: Epoch(1),
        revision: Revision(6),
    };
    let check = |seen: Seen, expected: &[&str]| {
        for names in [None, Some(&["s0"][..]), Some(&["s0", "s1"])] {
            let mut reader = LogReader::new(&registry, scope(names), WatchStart::Behind(seen));
            let received = std::iter::from_fn(|| reader.next()).map(|received| match received {
                WatchItem::Resync => "resync".to_owned(),
                WatchItem::Snapshot(snapshot) => format!("snapshot {}", snapshot.revision),
                WatchItem::Event(event) => event.revision.to_string(),
            });
            assert_eq!(received.collect::<Vec<_>>(), expected, "{seen:?} {names:?}");
        }
    };
    let cursor = |revision| Seen::Cursor(registry.cursor(Revision(revision)));
    check(cursor(6), &[]);
    check(Seen::Revision(Revision(6)), &[]);
    check(cursor(4), &["5", "6"]);
    check(cursor(2), &["3", "4", "5", "6"]);
    let lost = ["resync", "snapshot 6"];
    check(cursor(1), &lost);
    check(cursor(7), &lost);
    check(Seen::Cursor(elsewhere), &lost);
    check(Seen::Unreadable, &lost);
}

#[test]
fn a_reader_behind_the_log_gets_an_error() {
    let registry = registry(8);
    register(&registry, "one", "s0", 1);
    let mut reader = LogReader::new(&registry, scope(Some(&["s0"])), WatchStart::Fresh);
    assert!(matches!(reader.next(), Some(WatchItem::Snapshot(_))));
    assert!(reader.next().is_none());
    for port in 2..100 {
        register(&registry, "one", "s0", port);
    }
    assert!(matches!(reader.next(), Some(WatchItem::Resync)));
    let Some(WatchItem::Snapshot(snapshot)) = reader.next() else {
        panic!("a snapshot follows a resync");
    };
    let (_, view) = &snapshot.services[0];
    assert_eq!(
        view.instances.values().next().unwrap().registration.port,
        99
    );
    assert!(reader.next().is_none());
}

#[test]
fn a_full_log_does_not_resync_a_quiet_service() {
    let registry = registry(8);
    register(&registry, "one", "s0", 1);
    let mut reader = LogReader::new(&registry, scope(Some(&["s0"])), WatchStart::Fresh);
    assert!(matches!(reader.next(), Some(WatchItem::Snapshot(_))));
    for port in 1..100 {
        register(&registry, "two", "s1", port);
    }
    assert!(reader.next().is_none());
    register(&registry, "one", "s0", 2);
    assert!(matches!(reader.next(), Some(WatchItem::Event(_))));
}

#[tokio::test(start_paused = true)]
async fn changes_of_other_services_wake_no_watcher() {
    let registry = registry(100);
    let mut one = LogReader::new(&registry, scope(Some(&["s0"])), WatchStart::Fresh);
    let mut two = LogReader::new(&registry, scope(Some(&["s0", "s1"])), WatchStart::Fresh);
    while one.next().is_some() || two.next().is_some() {}
    let pause = Duration::from_secs(5);
    register(&registry, "two", "s2", 1);
    registry.set_route(route("r", "/", "s0")).unwrap();
    assert!(timeout(pause, one.changed()).await.is_err());
    assert!(timeout(pause, two.changed()).await.is_err());
    register(&registry, "one", "s1", 1);
    assert!(timeout(pause, two.changed()).await.is_ok());
    assert!(matches!(two.next(), Some(WatchItem::Event(_))));
    assert!(timeout(pause, one.changed()).await.is_err());
}
