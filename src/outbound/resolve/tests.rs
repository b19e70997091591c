use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::time::{Instant, advance};

use super::{LookupCache, LookupResult, Pace, Resolver};
use crate::outbound::{OutboundError, RequestStep};

fn memory(names_max: usize) -> LookupCache {
    LookupCache {
        ttl: Duration::from_secs(10),
        generation_max: names_max.div_ceil(2),
        known: Mutex::default(),
    }
}

fn found() -> LookupResult {
    Ok(Arc::new([IpAddr::from([127, 0, 0, 1])]))
}

#[tokio::test(start_paused = true)]
async fn names_are_remembered_for_a_while_and_failures_shorter() {
    let memory = memory(10);
    memory.keep("a", found(), Pace::Fast);
    memory.keep("b", Err("no".into()), Pace::Fast);
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
        memory.keep(&format!("name-{i}"), found(), Pace::Fast);
        assert!(memory.recall(&format!("name-{i}")).is_some());
        let known = memory.known.lock();
        assert!(known.young.len() + known.old.len() <= 100);
    }
}

#[tokio::test]
async fn addresses_need_no_resolver() {
    let resolver = Resolver::new(Duration::ZERO, 1, 1);
    let _busy = resolver.places.enter(Pace::Fast).await;
    for text in ["127.0.0.1", "::1"] {
        let long_ago = Instant::now();
        let found = resolver.resolve(text, long_ago).await.expect("an address");
        assert_eq!(found[0].to_string(), text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_resolver_is_waited_for_until_the_deadline() {
    let resolver = Resolver::new(Duration::ZERO, 1, 1);
    let _busy = resolver.places.enter(Pace::Fast).await;
    let deadline = Instant::now() + Duration::from_secs(1);
    let error = resolver
        .resolve("localhost", deadline)
        .await
        .expect_err("busy");
    assert!(
        matches!(error, OutboundError::Deadline(RequestStep::Place)),
        "{error}"
    );
    assert!(error.is_local(), "it says nothing of the name");
}

/// Names that begin with "slow" are not answered until the test ends; it counts the lookups.
struct Dns {
    resolver: Resolver,
    lookups: Arc<AtomicUsize>,
    _answer: std::sync::mpsc::Sender<()>,
}

fn dns(resolving_max: usize) -> Dns {
    let (answer, wait) = std::sync::mpsc::channel();
    let wait = Mutex::new(wait);
    let lookups = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lookups);
    let mut resolver = Resolver::new(Duration::ZERO, 1_000, resolving_max);
    resolver.look_up = Arc::new(move |name| {
        counted.fetch_add(1, Ordering::SeqCst);
        if name.starts_with("slow") {
            // Until the sender is gone.
            let _: Result<(), _> = wait.lock().recv();
        }
        found()
    });
    Dns {
        resolver,
        lookups,
        _answer: answer,
    }
}

#[tokio::test]
async fn names_that_are_not_answered_leave_places_to_names_that_were() {
    let dns = dns(16);
    let far = || Instant::now() + Duration::from_secs(20);
    dns.resolver.resolve("good", far()).await.expect("found");
    let slow: Vec<_> = (0..60).map(|n| format!("slow{n}")).collect();
    let soon = Instant::now() + Duration::from_millis(50);
    let waiting = slow.iter().map(|name| dns.resolver.resolve(name, soon));
    let ended = join_all(waiting).await;
    let asked = ended
        .iter()
        .filter(|ended| matches!(ended, Err(OutboundError::Deadline(RequestStep::Resolving))))
        .count();
    assert_eq!(asked, 12, "three quarters of the places");
    dns.resolver.resolve("good", far()).await.expect("found");
}

#[tokio::test]
async fn one_name_is_looked_up_once_at_a_time() {
    let dns = dns(16);
    for _ in 0..5 {
        let soon = Instant::now() + Duration::from_millis(10);
        let both = [(); 2].map(|()| dns.resolver.resolve("slow", soon));
        for ended in join_all(both).await {
            ended.expect_err("not answered");
        }
    }
    assert_eq!(dns.lookups.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_cancelled_lookup_that_waits_is_taken_over() {
    let dns = dns(1);
    let busy = dns.resolver.places.enter(Pace::Fast).await;
    let soon = Instant::now() + Duration::from_millis(20);
    let far = Instant::now() + Duration::from_secs(20);
    let (first, second, ()) = tokio::join!(
        dns.resolver.resolve("good", soon),
        dns.resolver.resolve("good", far),
        async {
            tokio::time::sleep_until(soon + Duration::from_millis(20)).await;
            drop(busy);
        }
    );
    first.expect_err("no place in time");
    second.expect("found");
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
