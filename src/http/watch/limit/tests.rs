use std::net::IpAddr;

use super::{TooManyWatchers, WatcherEntry, WatcherKind, WatcherLimit};
use crate::{
    http::{serve::connection::HttpPeer, watch::Config},
    model::{Revision, Timestamp},
    telemetry::Metrics,
};

fn entry(address: IpAddr, kind: WatcherKind) -> WatcherEntry {
    WatcherEntry::new(&HttpPeer::at(address), kind, "*", Timestamp(7))
}

#[test]
fn watchers_are_limited_in_all_and_by_address() {
    let metrics = Metrics::default();
    let config = Config {
        watchers_max: 3.into(),
        watchers_per_address_max: 2.into(),
        ..Config::default()
    };
    let limit = WatcherLimit::new(&config, &metrics);
    let one: IpAddr = "192.0.2.1".parse().unwrap();
    let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
    let two: IpAddr = "2001:db8::1".parse().unwrap();

    let first = limit.enter(entry(one, WatcherKind::Stream)).unwrap();
    let second = limit.enter(entry(mapped, WatcherKind::LongPoll)).unwrap();
    let refused = limit.enter(entry(one, WatcherKind::Stream)).unwrap_err();
    let address_full = TooManyWatchers::AddressFull {
        address: one,
        max: 2,
    };
    assert_eq!(refused, address_full);
    let third = limit.enter(entry(two, WatcherKind::Stream)).unwrap();
    assert_eq!(
        limit.enter(entry(two, WatcherKind::Socket)).unwrap_err(),
        TooManyWatchers::Full { max: 3 }
    );
    let text = metrics.render();
    assert!(text.contains("musterd_watchers{kind=\"sse\"} 2"), "{text}");
    assert!(text.contains("musterd_watchers_refused_total 2"), "{text}");

    first.entry().reached(Revision(5));
    let (open, total) = limit.open(2);
    let shown = open.iter().map(|one| (one.kind.as_str(), one.cursor()));
    let expected = [("sse", Some(Revision(5))), ("long_poll", None)];
    assert_eq!(shown.collect::<Vec<_>>(), expected);
    assert_eq!((total, limit.used()), (3, (3, 3)));

    drop(second);
    let again = limit.enter(entry(one, WatcherKind::Socket)).unwrap();
    drop((first, third, again));
    let inside = limit.0.inside.lock();
    assert_eq!(inside.total, 0);
    assert!(inside.by_address.is_empty());
    assert!(inside.open.is_empty());
    let text = metrics.render();
    assert!(text.contains("musterd_watchers{kind=\"sse\"} 0"), "{text}");
}
