use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::Throttle;
use crate::broker::auth::config::Config;

const MINUTE: Duration = Duration::from_secs(60);

/// Three failures per address, five per user, forgotten in a minute; room for four addresses.
fn throttle() -> Throttle {
    let config = Config {
        failures_per_address: 3.into(),
        failures_per_user: 5.into(),
        failures_forgotten: MINUTE.into(),
        addresses: 4.into(),
        ..Config::default()
    };
    Throttle::new(&config, 2)
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn user(name: &str) -> Arc<str> {
    name.into()
}

#[test]
fn an_address_that_fails_too_often_waits() {
    let (mut throttle, now, peer) = (throttle(), Instant::now(), ip("10.0.0.1"));
    for _ in 0..3 {
        assert!(!throttle.refuses(None, peer, now));
        throttle.failed(None, peer, now);
    }
    assert!(throttle.refuses(None, peer, now));
    assert!(
        throttle.refuses(Some(&user("u")), peer, now),
        "whatever the name"
    );
    assert!(
        !throttle.refuses(None, ip("10.0.0.2"), now),
        "other addresses are not throttled"
    );
    assert!(throttle.refuses(None, peer, now + Duration::from_secs(19)));
    assert!(
        !throttle.refuses(None, peer, now + Duration::from_secs(20)),
        "one is forgotten"
    );
    throttle.failed(None, peer, now + Duration::from_secs(20));
    assert!(throttle.refuses(None, peer, now + Duration::from_secs(21)));
}

#[test]
fn a_user_attacked_from_everywhere_waits() {
    let (mut throttle, now, name) = (throttle(), Instant::now(), user("u"));
    for n in 0..5 {
        throttle.failed(Some(&name), ip(&format!("10.0.0.{n}")), now);
    }
    assert!(throttle.refuses(Some(&name), ip("10.0.1.1"), now));
    assert!(!throttle.refuses(Some(&user("v")), ip("10.0.1.1"), now));
}

#[test]
fn known_clients_are_not_locked_out_by_others() {
    let (mut throttle, now, name, peer) = (throttle(), Instant::now(), user("u"), ip("10.0.0.1"));
    throttle.succeeded(&name, peer, now);
    for _ in 0..20 {
        throttle.failed(None, peer, now);
        throttle.failed(Some(&name), ip("10.0.0.2"), now);
    }
    assert!(!throttle.refuses(Some(&name), peer, now));
    for _ in 0..3 {
        throttle.failed(Some(&name), peer, now);
    }
    assert!(
        throttle.refuses(Some(&name), peer, now),
        "but may not guess for ever"
    );
    assert!(!throttle.refuses(Some(&name), peer, now + MINUTE));
}

#[test]
fn an_ipv6_network_is_one_address() {
    let (mut throttle, now) = (throttle(), Instant::now());
    for n in 0..3 {
        throttle.failed(None, ip(&format!("2001:db8::{n}")), now);
    }
    assert!(throttle.refuses(None, ip("2001:db8::ffff"), now));
    assert!(!throttle.refuses(None, ip("2001:db8:0:1::1"), now));
    for _ in 0..3 {
        throttle.failed(None, ip("::ffff:10.0.0.1"), now);
    }
    assert!(throttle.refuses(None, ip("10.0.0.1"), now));
}

#[test]
fn memory_is_bounded() {
    let (mut throttle, now, name) = (throttle(), Instant::now(), user("u"));
    let peer = |n: u8| ip(&format!("10.0.0.{n}"));
    for _ in 0..3 {
        throttle.failed(None, peer(200), now);
    }
    for n in 0..100 {
        throttle.failed(None, peer(n), now);
        throttle.succeeded(&name, peer(n), now + Duration::from_secs(n.into()));
    }
    assert_eq!(throttle.addresses.keys(), 4);
    assert_eq!(throttle.known.last.len(), 4);
    assert!(
        throttle.refuses(None, peer(200), now),
        "the worst are kept longest"
    );
    assert!(
        throttle.known.last.contains_key(&(name.clone(), peer(99))),
        "and the newest friends"
    );
}
