use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::{
    model::EventKind,
    registry::Config,
    transport::testing::{draft, registration},
};

fn feed(registry: &Registry, filter: Filter) -> (watch::Sender<Filter>, LogFeed) {
    let (tx, rx) = watch::channel(filter);
    (tx, LogFeed::new(registry.clone(), rx))
}

fn service(name: &str) -> Filter {
    Filter::of(ServiceName::parse(name).unwrap())
}

fn register(registry: &Registry, service: &str, ids: std::ops::Range<usize>) {
    for id in ids {
        let registration = registration(service, &format!("{service}-{id}"));
        registry.register(registration, None).unwrap();
    }
}

async fn wakes(feed: &mut LogFeed) -> bool {
    timeout(Duration::from_secs(60), feed.changed())
        .await
        .is_ok()
}

#[track_caller]
fn check(feed: &mut LogFeed, after: u64, revisions: &[u64], up_to: u64) {
    let found = feed.look(Revision(after)).expect("in the log");
    let seen: Vec<_> = found.events.iter().map(|event| event.revision.0).collect();
    assert_eq!((seen.as_slice(), found.up_to.0), (revisions, up_to));
    assert!(!found.more);
}

#[tokio::test(start_paused = true)]
async fn the_reader_of_one_service_is_woken_by_no_other() {
    let registry = Registry::new(Config::default());
    let (_filter, mut one) = feed(&registry, service("a"));
    let (_filter, mut all) = feed(&registry, Filter::default());
    register(&registry, "b", 0..10);
    registry.set_route(draft("r", "a")).unwrap();
    assert!(wakes(&mut all).await);
    assert!(!wakes(&mut one).await);
    check(&mut one, 0, &[], 11);
    register(&registry, "a", 0..1);
    assert!(wakes(&mut one).await);
    check(&mut one, 11, &[12], 12);
    assert!(!wakes(&mut one).await);
}

#[tokio::test(start_paused = true)]
async fn events_outside_the_filter_are_skipped() {
    let registry = Registry::new(Config::default());
    let filter = Filter {
        kinds: [EventKind::RouteSet].into(),
        ..Filter::default()
    };
    let (_filter, mut feed) = feed(&registry, filter);
    register(&registry, "a", 0..10);
    registry.set_route(draft("r", "a")).unwrap();
    register(&registry, "a", 10..12);
    check(&mut feed, 0, &[11], 13);
    check(&mut feed, 11, &[], 13);
}

#[test]
fn a_long_log_is_read_in_parts() {
    let registry = Registry::new(Config::default());
    let (_filter, mut feed) = feed(&registry, service("a"));
    register(&registry, "a", 0..100);
    let found = feed.look(Revision(0)).unwrap();
    assert_eq!(
        (found.events.len(), found.up_to, found.more),
        (BATCH, Revision(64), true)
    );
    let rest: Vec<_> = (65..=100).collect();
    check(&mut feed, 64, &rest, 100);
}

#[test]
fn a_reader_behind_the_log_gets_an_error_unless_its_service_is_quiet() {
    let registry = Registry::new(Config {
        log_entries_max: 10.into(),
        ..Config::default()
    });
    register(&registry, "a", 0..1);
    let (_filter, mut quiet) = feed(&registry, service("a"));
    let (_filter, mut all) = feed(&registry, Filter::default());
    let (_filter, mut loud) = feed(&registry, service("b"));
    register(&registry, "b", 0..50);
    assert!(all.look(Revision(1)).is_err());
    assert!(loud.look(Revision(1)).is_err());
    check(&mut quiet, 1, &[], 51);
}

#[tokio::test(start_paused = true)]
async fn a_new_filter_wakes_the_reader_and_applies_to_later_events() {
    let registry = Registry::new(Config::default());
    let (filter, mut feed) = feed(&registry, service("a"));
    register(&registry, "a", 0..3);
    check(&mut feed, 0, &[1, 2, 3], 3);
    register(&registry, "b", 0..3);
    filter.send_replace(service("b"));
    assert!(wakes(&mut feed).await);
    // Nothing of "a" waited, so that "b" begins with what comes.
    check(&mut feed, 3, &[], 6);
    register(&registry, "b", 3..4);
    register(&registry, "a", 3..4);
    filter.send_replace(Filter::default());
    // Revision 7 of "b" waited: from there on all that the new filter selects.
    check(&mut feed, 6, &[7, 8], 8);
    drop(filter);
    register(&registry, "c", 0..1);
    assert!(wakes(&mut feed).await);
    check(&mut feed, 8, &[9], 9);
}
