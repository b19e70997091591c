use std::net::IpAddr;

use super::{TooManyWatchers, WatcherKind, WatcherLimit};
use crate::{http::watch::Config, telemetry::Metrics};

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

    let first = limit.enter(one, WatcherKind::Stream).unwrap();
    let second = limit.enter(mapped, WatcherKind::LongPoll).unwrap();
    let refused = limit.enter(one, WatcherKind::Stream).unwrap_err();
    let address_full = TooManyWatchers::AddressFull {
        address: one,
        max: 2,
    };
    assert_eq!(refused, address_full);
    let third = limit.enter(two, WatcherKind::Stream).unwrap();
    assert_eq!(
        limit.enter(two, WatcherKind::Socket).unwrap_err(),
        TooManyWatchers::Full { max: 3 }
    );
    let text = metrics.render();
    assert!(text.contains("musterd_watchers{kind=\"sse\"} 2"), "{text}");
    assert!(text.contains("musterd_watchers_refused_total 2"), "{text}");

    drop(second);
    let again = limit.enter(one, WatcherKind::Socket).unwrap();
    drop((first, third, again));
    let inside = limit.0.inside.lock();
    assert_eq!(inside.total, 0);
    assert!(inside.by_address.is_empty());
    let text = metrics.render();
    assert!(text.contains("musterd_watchers{kind=\"sse\"} 0"), "{text}");
}
