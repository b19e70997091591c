use std::{net::SocketAddr, time::Duration};

use proptest::prelude::*;
use tokio::time::advance;

use super::{Pool, PoolKey, Protocol, Verification};
use crate::telemetry::Metrics;

fn key(port: u16) -> PoolKey {
    PoolKey {
        at: SocketAddr::from(([127, 0, 0, 1], port)),
        verification: Verification::Plain,
        host: None,
        protocol: Protocol::Http1,
    }
}

fn pool(max: usize) -> Pool<u32> {
    let size = Metrics::default().gauge("size", "size");
    Pool::new(max, Duration::from_secs(60), size)
}

#[tokio::test(start_paused = true)]
async fn the_least_recently_used_connection_is_closed_first() {
    let pool = pool(2);
    pool.put(key(1), 10);
    pool.put(key(2), 20);
    assert_eq!(pool.take(&key(1)), Some(10));
    pool.put(key(1), 10);
    pool.put(key(3), 30);
    assert_eq!(pool.take(&key(2)), None);
    assert_eq!(pool.take(&key(1)), Some(10));
    assert_eq!(pool.take(&key(3)), Some(30));
    assert_eq!(pool.size.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn of_one_key_the_last_used_comes_first() {
    let pool = pool(9);
    for connection in 1..=3 {
        pool.put(key(1), connection);
    }
    assert_eq!(pool.take(&key(1)), Some(3));
    assert_eq!(pool.take(&key(1)), Some(2));
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_dropped_after_a_while() {
    let pool = pool(9);
    pool.put(key(1), 1);
    advance(Duration::from_secs(30)).await;
    pool.put(key(2), 2);
    advance(Duration::from_secs(31)).await;
    pool.sweep();
    assert_eq!(pool.size.get(), 1);
    assert_eq!(pool.take(&key(1)), None);
    advance(Duration::from_secs(30)).await;
    assert_eq!(
        pool.take(&key(2)),
        None,
        "too old, also before the next sweep"
    );
    assert_eq!(pool.size.get(), 0);
}

#[test]
fn another_name_or_guard_is_another_connection() {
    let pool = pool(9);
    let verified = PoolKey {
        verification: Verification::Verified,
        host: Some("a".into()),
        ..key(1)
    };
    pool.put(verified.clone(), 1);
    let other_name = PoolKey {
        host: Some("b".into()),
        ..verified.clone()
    };
    let unverified = PoolKey {
        verification: Verification::Unverified,
        ..verified.clone()
    };
    let http2 = PoolKey {
        protocol: Protocol::Http2,
        ..verified.clone()
    };
    for other in [other_name, unverified, http2, key(1)] {
        assert_eq!(pool.take(&other), None, "{other:?}");
    }
    assert_eq!(pool.take(&verified), Some(1));
}

proptest! {
    #[test]
    fn never_more_than_the_limit_and_both_indices_agree(
        steps in prop::collection::vec((any::<bool>(), 1_u16..8), 1..200),
        max in 0_usize..6,
    ) {
        let pool = pool(max);
        for (put, port) in steps {
            if put {
                pool.put(key(port), u32::from(port));
            } else if let Some(found) = pool.take(&key(port)) {
                prop_assert_eq!(found, u32::from(port));
            }
            let idle = pool.idle.lock();
            let kept: usize = idle.by_key.values().map(|of_key| of_key.len()).sum();
            prop_assert_eq!(kept, idle.by_turn.len());
            prop_assert!(kept <= max);
            prop_assert!(idle.by_key.values().all(|of_key| !of_key.is_empty()));
        }
    }
}
