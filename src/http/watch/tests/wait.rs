use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::{
    api::Seen,
    http::{
        testing::{
            Api,
            fixture::{register, route},
            live::Live,
        },
        watch::is_current,
    },
    model::Revision,
    registry,
};

async fn index(api: &Api, service: &str) -> String {
    let path = format!("/services/discover/{service}");
    let answered = api.expect(200, "GET", &path, "").await;
    answered.header("x-muster-index").to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_service_and_of_no_other_is_an_answer() {
    let api = Api::new();
    let registry = &api.shared.registry;
    register(registry, "one", "a", 1);
    let seen = index(&api, "a").await;
    let path = format!("/services/discover/a?index={seen}&wait=10s");
    let mut polled = Box::pin(api.expect(200, "GET", &path, ""));
    register(registry, "other", "b", 1);
    registry.set_route(route("r", "/", "a")).unwrap();
    assert!(timeout(Duration::from_secs(5), &mut polled).await.is_err());
    let began = Instant::now();
    register(registry, "two", "a", 2);
    let answered = polled.await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(answered.json["total_count"], 2);
    assert_eq!(answered.header("x-muster-index"), index(&api, "a").await);
    // The present index waits, however it is written, for the time that was asked for.
    let (_, bare) = seen.split_once('-').unwrap();
    assert_eq!(bare, "1");
    for (index, wait, waited) in [
        (index(&api, "a").await, "&wait=10s", 10),
        ("4".to_owned(), "&wait=2", 2),
        ("4".to_owned(), "", 30),
        ("4".to_owned(), "&wait=24h", 300),
        (seen.clone(), "&wait=10s", 0),
        ("99".to_owned(), "&wait=10s", 0),
        ("1-4".to_owned(), "&wait=10s", 0),
        ("nonsense".to_owned(), "&wait=10s", 0),
    ] {
        let began = Instant::now();
        let path = format!("/services/discover/a?index={index}{wait}");
        let answered = api.expect(200, "GET", &path, "").await;
        assert_eq!(answered.json["total_count"], 2);
        assert_eq!(began.elapsed(), Duration::from_secs(waited), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_service_is_waited_for() {
    let api = Api::new();
    register(&api.shared.registry, "other", "b", 1);
    for name in ["later", "never%2Fever"] {
        let seen = index(&api, name).await;
        // What others do is no reason to answer.
        register(&api.shared.registry, "other", "b", 2);
        let path = format!("/services/discover/{name}?index={seen}&wait=10s");
        let mut polled = Box::pin(api.expect(200, "GET", &path, ""));
        assert!(timeout(Duration::from_secs(5), &mut polled).await.is_err());
        register(&api.shared.registry, "one", "later", 1);
        let began = Instant::now();
        let answered = polled.await;
        let is_there = name == "later";
        assert_eq!(answered.json["total_count"], u64::from(is_there));
        let waited = if is_there { 0 } else { 5 };
        assert_eq!(began.elapsed(), Duration::from_secs(waited), "{name}");
    }
    assert_eq!(api.shared.registry.counts().services_known, 2);
}

/// Others may fill the log: the index of a quiet service waits all the same, or its callers would spin.
#[test]
fn the_present_index_is_current_however_old_it_is() {
    let registry = registry::Registry::new(registry::Config {
        log_entries_max: 4.into(),
        ..registry::Config::default()
    });
    register(&registry, "one", "a", 1);
    for port in 1..=10 {
        register(&registry, "other", "b", port);
    }
    let check = |index: u64, current: u64, expected: bool| {
        let (revision, current) = (Revision(index), Revision(current));
        let cursor = Seen::Cursor(registry.cursor(revision));
        for seen in [Seen::Revision(revision), cursor] {
            assert_eq!(
                is_current(&registry, seen, current),
                expected,
                "{index} {current}"
            );
        }
    };
    check(1, 1, true);
    check(0, 1, false);
    // Not its own, but in the log: nothing of the service happened since.
    check(9, 1, true);
    check(11, 1, true);
    // Out of the log, of the future.
    check(3, 1, false);
    check(12, 1, false);
    assert!(!is_current(&registry, Seen::Unreadable, Revision(1)));
}

#[tokio::test]
async fn a_disconnected_caller_ends_its_long_poll() {
    let live = Live::start().await;
    register(live.registry(), "one", "a", 1);
    let paths = [
        "/services/discover/a?index=1&wait=5m",
        "/services/discover/later?index=1&wait=5m",
        "/events?since=1&wait=5m",
        "/gateway/config?index=0&wait=5m",
    ];
    let mut waiting = Vec::new();
    for path in paths {
        waiting.push(live.get(path).await);
    }
    live.until_watchers("long_poll", "4").await;
    assert_eq!(live.registry().counts().services_known, 2);
    drop(waiting);
    live.until_watchers("long_poll", "0").await;
    assert_eq!(live.registry().counts().services_known, 1);
    live.stop().await;
}

#[tokio::test]
async fn long_polls_are_answered_when_the_server_stops() {
    let live = Live::start().await;
    register(live.registry(), "one", "a", 1);
    let mut service = live.get("/services/discover/a?index=1&wait=5m").await;
    let mut events = live.get("/events?since=1&wait=5m").await;
    let mut gateway = live.get("/gateway/config?index=0&wait=5m").await;
    live.until_watchers("long_poll", "3").await;
    live.stop().await;
    assert_eq!(service.json().await["total_count"], 1);
    assert_eq!(events.json().await["events"], serde_json::json!([]));
    assert_eq!(gateway.json().await["routes"], serde_json::json!([]));
}
