use std::time::Duration;

use bytesize::ByteSize;
use serde_json::Value;

use crate::{
    http::testing::{
        fixture::{register, registration, route},
        live::{Live, LiveClient},
    },
    model::{CANARY, Metadata},
    registry,
};

async fn resumed(live: &Live, path: &str, id: &str) -> LiveClient {
    LiveClient::send(live.address, path, &format!("last-event-id: {id}\r\n")).await
}

#[tokio::test]
async fn a_snapshot_first_then_each_event_of_the_service() {
    let live = Live::start().await;
    register(live.registry(), "one", "a", 1);
    let mut watcher = live.get("/watch?service=a&service=later").await;
    let snapshot = watcher.expect("snapshot").await;
    assert_eq!(snapshot.data["services"]["a"][0]["service_id"], "one");
    assert_eq!(snapshot.data["routes"], Value::Null);
    assert_eq!(snapshot.data["cursor"], snapshot.id.unwrap());
    assert!(watcher.head.contains("cache-control: no-store"));

    register(live.registry(), "other", "b", 1);
    live.registry().set_route(route("r", "/", "a")).unwrap();
    register(live.registry(), "one", "a", 2);
    register(live.registry(), "two", "later", 3);
    live.registry().deregister("one", None).unwrap();
    for (event, id, revision) in [
        ("updated", "one", 4),
        ("registered", "two", 5),
        ("deregistered", "one", 6),
    ] {
        let message = watcher.expect("event").await;
        assert_eq!(message.data["event"], event);
        assert_eq!(message.data["service_id"], id);
        assert_eq!(message.data["revision"], revision);
        let cursor = format!("{}-{revision}", live.registry().epoch());
        assert_eq!(message.id.unwrap(), cursor);
    }
    live.stop().await;
}

#[tokio::test]
async fn a_watcher_of_everything_gets_every_revision() {
    let live = Live::start().await;
    let mut watcher = live.get("/watch").await;
    assert_eq!(watcher.expect("snapshot").await.data["revision"], 0);
    for at in 1..=300_u16 {
        register(
            live.registry(),
            &format!("i{at}"),
            &format!("s{}", at % 7),
            at,
        );
        live.registry()
            .set_route(route("r", &format!("/{at}"), "a"))
            .unwrap();
    }
    for revision in 1..=600 {
        assert_eq!(watcher.expect("event").await.data["revision"], revision);
    }
    live.stop().await;
}

#[tokio::test]
async fn a_watcher_continues_at_its_cursor() {
    let live = Live::start().await;
    register(live.registry(), "one", "a", 1);
    let mut watcher = live.get("/watch?service=a").await;
    watcher.expect("snapshot").await;
    register(live.registry(), "one", "a", 2);
    let id = watcher.expect("event").await.id.unwrap();
    drop(watcher);
    for port in 3..6 {
        register(live.registry(), "one", "a", port);
    }
    let mut back = resumed(&live, "/watch?service=a&since=nonsense", &id).await;
    for port in 3..6 {
        let message = back.expect("event").await;
        assert_eq!(message.data["instance"]["port"], port);
    }
    let mut by_query = live.get(&format!("/watch?since={id}")).await;
    assert_eq!(by_query.expect("event").await.data["instance"]["port"], 3);
    live.stop().await;
}

#[tokio::test]
async fn an_unusable_cursor_is_answered_at_once() {
    let live = Live::start().await;
    for port in 1..4 {
        register(live.registry(), "one", "a", port);
    }
    let epoch = live.registry().epoch();
    for id in [
        "1-1".to_owned(),
        format!("{epoch}-99"),
        "what".to_owned(),
        String::new(),
    ] {
        for path in ["/watch", "/watch?service=a"] {
            let mut back = resumed(&live, path, &id).await;
            let resync = back.expect("resync").await;
            assert_eq!(resync.id, None);
            assert_eq!(resync.data["event"], "resync");
            assert_eq!(resync.data["revision"], Value::Null);
            let snapshot = back.expect("snapshot").await;
            assert_eq!(snapshot.data["services"]["a"][0]["port"], 3);
        }
    }
    live.stop().await;
}

/// A client that reads nothing while the log runs on gets a bounded part of it, then a resync.
#[tokio::test]
async fn a_slow_client_gets_a_resync_and_ends_up_to_date() {
    const CHANGES: u16 = 6_000;
    let live = Live::with_registry(registry::Config {
        log_entries_max: 64.into(),
        ..registry::Config::default()
    })
    .await;
    let mut watcher = live.get("/watch?service=a").await;
    watcher.expect("snapshot").await;
    for port in 1..=CHANGES {
        let mut said = registration("one", "a", port);
        said.metadata = Metadata::parse(&format!("{{\"x\":\"{}\"}}", "x".repeat(4_000))).unwrap();
        live.registry().register(said, None).unwrap();
        if port % 16 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let (mut last, mut resyncs, mut bytes) = (0, 0, 0);
    while last < u64::from(CHANGES) {
        let message = watcher.next().await.unwrap();
        bytes += message.data.to_string().len();
        match message.event.as_str() {
            "resync" => resyncs += 1,
            "snapshot" => last = message.data["revision"].as_u64().unwrap(),
            _ => {
                let revision = message.data["revision"].as_u64().unwrap();
                assert_eq!(revision, last + 1, "no gap without a resync");
                last = revision;
            }
        }
    }
    assert!(resyncs > 0);
    assert!(
        bytes < usize::from(CHANGES) * 4_000,
        "most events must be skipped"
    );
    assert!(watcher.is_silent().await);
    live.stop().await;
}

#[tokio::test]
async fn a_large_snapshot_comes_whole() {
    let live = Live::start().await;
    for at in 0..3_000_u16 {
        register(
            live.registry(),
            &format!("i{at}"),
            &format!("s{}", at % 3),
            at + 1,
        );
    }
    let mut watcher = live.get("/watch").await;
    let snapshot = watcher.expect("snapshot").await;
    let services = snapshot.data["services"].as_object().unwrap();
    assert!(
        services
            .values()
            .all(|list| list.as_array().unwrap().len() == 1_000)
    );
    assert_eq!(services.len(), 3);
    live.stop().await;
}

#[tokio::test]
async fn a_silent_stream_shows_that_it_is_alive() {
    let live =
        Live::with(|config| config.watch.keep_alive = Duration::from_millis(20).into()).await;
    let mut watcher = live.get("/watch?service=nobody").await;
    watcher.expect("snapshot").await;
    for _ in 0..3 {
        assert!(watcher.block().await.unwrap().starts_with(':'));
    }
    live.stop().await;
}

#[tokio::test]
async fn invalid_service_names_never_change() {
    let live = Live::start().await;
    register(live.registry(), "one", "a", 1);
    let long = "x".repeat(300);
    let mut watcher = live
        .get(&format!("/watch?service={long}&service=a%2Fb&service="))
        .await;
    let snapshot = watcher.expect("snapshot").await;
    assert_eq!(snapshot.data["services"], serde_json::json!({}));
    register(live.registry(), "two", "a", 1);
    assert!(watcher.is_silent().await);
    live.stop().await;
}

#[tokio::test]
async fn too_many_services_or_watchers_are_refused() {
    let live = Live::with(|config| {
        config.watch.services_max = 2.into();
        config.watch.watchers_per_address_max = 2.into();
    })
    .await;
    let mut wrong = live.get("/watch?service=a&service=b&service=c").await;
    let problem = wrong.json().await;
    assert_eq!(problem["errors"][0]["field"], "service");
    assert_eq!(problem["status"], 422);

    let mut one = live.get("/watch").await;
    one.expect("snapshot").await;
    let mut two = live.get("/watch?service=a").await;
    two.expect("snapshot").await;
    for path in [
        "/watch",
        "/gateway/watch",
        "/services/discover/a?index=0",
        "/gateway/config?index=0",
        "/events?since=0&wait=1s",
    ] {
        let mut third = live.get(path).await;
        let problem = third.json().await;
        assert_eq!(problem["status"], 429, "{path}: {problem}");
        assert_eq!(third.header("retry-after"), "5");
        assert_eq!(third.header("content-type"), "application/problem+json");
    }
    drop(one);
    live.until_watchers("sse", "1").await;
    live.get("/watch").await.expect("snapshot").await;
    live.stop().await;
}

#[tokio::test]
async fn a_disconnected_watcher_is_noticed() {
    let live = Live::start().await;
    let mut watchers = Vec::new();
    for path in ["/watch", "/watch?service=a", "/watch?service=a&service=b"] {
        let mut watcher = live.get(path).await;
        watcher.expect("snapshot").await;
        watchers.push(watcher);
    }
    live.until_watchers("sse", "3").await;
    drop(watchers);
    live.until_watchers("sse", "0").await;
    assert_eq!(live.registry().counts().services_known, 0);
    live.stop().await;
}

#[tokio::test]
async fn streams_end_at_once_with_their_last_event() {
    let live = Live::start().await;
    let mut watchers = Vec::new();
    for path in ["/watch", "/watch?service=a", "/watch?service=b"] {
        let mut watcher = live.get(path).await;
        watcher.expect("snapshot").await;
        watchers.push(watcher);
    }
    register(live.registry(), "one", "a", 1);
    live.stop().await;
    for (watcher, events) in watchers.iter_mut().zip([1, 1, 0]) {
        for _ in 0..events {
            watcher.expect("event").await;
        }
        assert!(watcher.next().await.is_none());
    }
}

/// What a client leaves unread is bounded by its connection's buffers, however large the registry is.
#[tokio::test]
async fn a_snapshot_is_made_no_faster_than_it_is_read() {
    let live = Live::with(|config| config.head_max = ByteSize::kib(64).into()).await;
    for at in 0..250_u16 {
        let mut said = registration(&format!("i{at}"), "a", at + 1);
        let text = format!("{{\"x\":\"{}\"}}", "x".repeat(60_000));
        said.metadata = Metadata::parse(&text).unwrap();
        live.registry().register(said, None).unwrap();
    }
    let encoded = || {
        let view = live.registry().service("a").unwrap().view();
        let instances = view.instances.values();
        instances.filter(|one| one.encoded.get().is_some()).count()
    };
    let mut watcher = live.get("/watch?service=a").await;
    watcher.read_head().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = encoded();
    assert!(
        before < 200,
        "{before} of 250 are encoded for a client that reads nothing"
    );
    let snapshot = watcher.expect("snapshot").await;
    assert_eq!(
        snapshot.data["services"]["a"].as_array().unwrap().len(),
        250
    );
    live.stop().await;
}

/// Neither in the snapshot nor as an event; an id alone moves the client's cursor (HTML, server-sent events).
#[tokio::test]
async fn a_stream_without_the_canary_still_moves_its_cursor() {
    let live =
        Live::with(|config| config.watch.keep_alive = Duration::from_millis(30).into()).await;
    register(live.registry(), "one", "a", 1);
    register(live.registry(), "c", CANARY, 1);
    let mut watcher = live.get("/watch?canary=false").await;
    let snapshot = watcher.expect("snapshot").await;
    assert_eq!(snapshot.data["services"].as_object().unwrap().len(), 1);
    for port in 2..200 {
        register(live.registry(), "c", CANARY, port);
    }
    let newest = live.registry().newest();
    let epoch = live.registry().epoch();
    let expected = format!("id: {epoch}-{newest}");
    while watcher.block().await.unwrap() != expected {}
    register(live.registry(), "one", "a", 2);
    let event = watcher.expect("event").await;
    assert_eq!(event.data["service_id"], "one");
    let mut all = resumed(&live, "/watch", &format!("{epoch}-{newest}")).await;
    assert_eq!(all.expect("event").await.data["service_id"], "one");
    let mut named = live
        .get(&format!("/watch?canary=false&service=a&service={CANARY}"))
        .await;
    let snapshot = named.expect("snapshot").await;
    assert_eq!(snapshot.data["services"].as_object().unwrap().len(), 1);
    live.stop().await;
}
