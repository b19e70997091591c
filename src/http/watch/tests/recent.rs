use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::{
    api,
    http::testing::{
        Api,
        fixture::{register, route},
    },
    model::CANARY,
};

fn revisions(answer: &Value) -> Vec<u64> {
    let events = answer["events"].as_array().unwrap();
    events
        .iter()
        .map(|event| event["revision"].as_u64().unwrap())
        .collect()
}

/// Revisions 1 to 6: a, b, a, a route, b, a.
fn api() -> Api {
    let api = Api::new();
    let registry = &api.shared.registry;
    register(registry, "one", "a", 1);
    register(registry, "two", "b", 1);
    register(registry, "one", "a", 2);
    registry.set_route(route("r", "/", "a")).unwrap();
    register(registry, "two", "b", 2);
    register(registry, "one", "a", 3);
    api
}

#[tokio::test]
async fn the_newest_events_or_those_behind_a_cursor() {
    let api = api();
    let check = async |query: &str, expected: &[u64], cursor: u64| {
        let answered = api.expect(200, "GET", &format!("/events{query}"), "").await;
        assert_eq!(revisions(&answered.json), expected, "{query}");
        assert_eq!(answered.json["revision"], cursor, "{query}");
        let text = format!("{}-{cursor}", api.shared.registry.epoch());
        assert_eq!(answered.json["cursor"], text, "{query}");
        assert_eq!(answered.header("x-muster-index"), text, "{query}");
        serde_json::from_slice::<api::EventsJson>(&answered.bytes).unwrap();
    };
    check("", &[1, 2, 3, 4, 5, 6], 6).await;
    check("?limit=2", &[5, 6], 6).await;
    check("?service=a", &[1, 3, 6], 6).await;
    check("?service=a&limit=2", &[3, 6], 6).await;
    check("?service=a&service=b&limit=4", &[2, 3, 5, 6], 6).await;
    check("?service=nobody", &[], 6).await;
    check("?since=3", &[4, 5, 6], 6).await;
    check("?since=3&limit=2", &[4, 5], 5).await;
    check("?since=0&service=b", &[2, 5], 6).await;
    check("?since=0&service=b&limit=1", &[2], 2).await;
    check("?since=6", &[], 6).await;
    check("?since=0&service=a%2Fb", &[], 6).await;
    let cursor = format!("?since={}-4", api.shared.registry.epoch());
    check(&cursor, &[5, 6], 6).await;
}

#[tokio::test]
async fn an_unusable_cursor_gets_a_resync_and_a_snapshot() {
    let api = api();
    for query in ["since=1-3", "since=99", "since=what", "since="] {
        let path = format!("/events?{query}&wait=5m");
        let answered = api.expect(200, "GET", &path, "").await;
        assert_eq!(answered.json["resync"], true, "{query}");
        assert_eq!(answered.json["events"], json!([]));
        assert_eq!(answered.json["revision"], 6);
        let snapshot = &answered.json["snapshot"];
        assert_eq!(snapshot["services"]["a"][0]["port"], 3);
        assert_eq!(snapshot["cursor"], answered.json["cursor"]);
        assert_eq!(snapshot["routes"][0]["route_id"], "r");
        serde_json::from_slice::<api::EventsJson>(&answered.bytes).unwrap();
    }
    let one = api
        .expect(200, "GET", "/events?since=99&service=b", "")
        .await;
    assert_eq!(
        one.json["snapshot"]["services"].as_object().unwrap().len(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn the_next_event_of_the_service_is_waited_for() {
    let api = Arc::new(api());
    let registry = api.shared.registry.clone();
    let mut polled = Box::pin(api.expect(200, "GET", "/events?since=6&service=a&wait=10s", ""));
    register(&registry, "two", "b", 9);
    assert!(timeout(Duration::from_secs(3), &mut polled).await.is_err());
    let began = Instant::now();
    register(&registry, "one", "a", 9);
    assert_eq!(revisions(&polled.await.json), [8]);
    assert_eq!(began.elapsed(), Duration::ZERO);
    let late = api.expect(200, "GET", "/events?since=8&wait=10s", "").await;
    assert_eq!(revisions(&late.json), [0_u64; 0]);
    assert_eq!(began.elapsed(), Duration::from_secs(10));
}

#[tokio::test]
async fn every_wrong_parameter_is_named() {
    let api = api();
    let services = "&service=x".repeat(65);
    let path = format!("/events?limit=many&wait=soon{services}");
    let answered = api.expect(422, "GET", &path, "").await;
    let errors = answered.json["errors"].as_array().unwrap();
    let mut fields: Vec<_> = errors
        .iter()
        .map(|error| error["field"].as_str().unwrap())
        .collect();
    fields.sort_unstable();
    assert_eq!(fields, ["limit", "service", "wait"]);
}

#[tokio::test]
async fn answers_are_bounded() {
    let api = Api::new();
    for port in 1..=1_200 {
        register(&api.shared.registry, "one", "a", port);
    }
    let check = async |query: &str, count: usize, last: u64| {
        let answered = api.expect(200, "GET", &format!("/events{query}"), "").await;
        let revisions = revisions(&answered.json);
        assert_eq!(
            (revisions.len(), revisions.last().copied()),
            (count, Some(last)),
            "{query}"
        );
    };
    check("", 100, 1_200).await;
    check("?limit=99999", 1_000, 1_200).await;
    check("?since=0&limit=99999", 1_000, 1_000).await;
    check("?service=a&limit=5", 5, 1_200).await;
}

#[tokio::test]
async fn limit_0_is_refused() {
    let api = api();
    for query in ["limit=0", "since=0&limit=0", "since=0&limit=-1"] {
        let path = format!("/events?{query}");
        let refused = api.expect(422, "GET", &path, "").await;
        assert_eq!(refused.json["errors"][0]["field"], "limit", "{query}");
    }
    let path = "/services/discover/a?limit=0";
    let refused = api.expect(422, "GET", path, "").await;
    assert_eq!(refused.json["errors"][0]["field"], "limit");
}

/// Revisions 7 to 20 are the canary's, 21 is not: the index moves over what is left out.
#[tokio::test]
async fn events_without_the_canary() {
    let api = api();
    for port in 1..=14 {
        register(&api.shared.registry, "c", CANARY, port);
    }
    register(&api.shared.registry, "one", "a", 4);
    let check = async |query: &str, expected: &[u64], cursor: u64| {
        let path = format!("/events?canary=false{query}");
        let answered = api.expect(200, "GET", &path, "").await;
        assert_eq!(revisions(&answered.json), expected, "{query}");
        assert_eq!(answered.json["revision"], cursor, "{query}");
    };
    check("", &[1, 2, 3, 4, 5, 6, 21], 21).await;
    check("&limit=2", &[6, 21], 21).await;
    check("&since=6", &[21], 21).await;
    check("&since=5&limit=3", &[6], 8).await;
    check("&since=8&limit=2", &[21], 21).await;
    check("&service=musterd-canary", &[], 21).await;
    check("&service=musterd-canary&service=b&limit=1", &[5], 21).await;
    let path = "/events?canary=maybe";
    let wrong = api.expect(422, "GET", path, "").await;
    assert_eq!(wrong.json["errors"][0]["field"], "canary");

    let registry = api.shared.registry.clone();
    let wait = api.ask("GET", "/events?canary=false&since=21&wait=1m", &[], "");
    let change = async {
        register(&registry, "c", CANARY, 100);
        tokio::task::yield_now().await;
        register(&registry, "one", "a", 5);
    };
    let (answered, ()) = tokio::join!(wait, change);
    assert_eq!(
        revisions(&answered.json),
        [23],
        "the canary's events end no long poll"
    );
}
