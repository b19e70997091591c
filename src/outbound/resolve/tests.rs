use std::{net::IpAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, advance};

use super::{Found, Memory, Resolver};
use crate::outbound::{OutboundError, Step};

fn memory(names_max: usize) -> Memory {
    Memory {
        ttl: Duration::from_secs(10),
        generation_max: names_max.div_ceil(2),
        known: Mutex::default(),
    }
}

fn found() -> Found {
    Ok(Arc::new([IpAddr::from([127, 0, 0, 1])]))
}

#[tokio::test(start_paused = true)]
async fn names_are_remembered_for_a_while_and_failures_shorter() {
    let memory = memory(10);
    memory.keep("a", found());
    memory.keep("b", Err("no".into()));
    advance(Duration::from_millis(999)).await;
    assert!(memory.recall("a").is_some());
    assert!(memory.recall("b").is_some());
    advance(Duration::from_millis(2)).await;
    assert!(memory.recall("b").is_none());
    advance(Duration::from_secs(9)).await;
    assert!(memory.recall("a").is_none());
}

#[tokio::test(start_paused = true)]
async fn the_memory_is_bounded_and_keeps_the_newest() {
    let memory = memory(100);
    for i in 0..10_000 {
        memory.keep(&format!("name-{i}"), found());
        assert!(memory.recall(&format!("name-{i}")).is_some());
        let known = memory.known.lock();
        assert!(known.young.len() + known.old.len() <= 100);
    }
}

#[tokio::test]
async fn addresses_need_no_resolver() {
    let resolver = Resolver::new(Duration::ZERO, 1, 1);
    let _busy = resolver.turns.acquire().await.expect("open");
    for text in ["127.0.0.1", "::1"] {
        let long_ago = Instant::now();
        let found = resolver.resolve(text, long_ago).await.expect("an address");
        assert_eq!(found[0].to_string(), text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_resolver_is_waited_for_until_the_deadline() {
    let resolver = Resolver::new(Duration::ZERO, 1, 1);
    let _busy = resolver.turns.acquire().await.expect("open");
    let deadline = Instant::now() + Duration::from_secs(1);
    let error = resolver
        .resolve("localhost", deadline)
        .await
        .expect_err("busy");
    assert!(
        matches!(error, OutboundError::Deadline(Step::Resolving)),
        "{error}"
    );
}

#[tokio::test]
async fn a_name_is_resolved_or_the_error_names_it() {
    let resolver = Resolver::new(Duration::from_secs(10), 10, 1);
    let deadline = Instant::now() + Duration::from_secs(20);
    let found = resolver
        .resolve("localhost", deadline)
        .await
        .expect("localhost");
    assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
    assert!(resolver.memory.recall("localhost").is_some());
    let long = "a.".repeat(200);
    let error = resolver
        .resolve(&long, deadline)
        .await
        .expect_err("too long");
    assert!(error.to_string().contains("longer than a name"), "{error}");
}
