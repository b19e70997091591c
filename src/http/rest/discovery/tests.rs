use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use crate::{api, http::testing::Api, model::Cursor};

fn ids(answer: &Value) -> Vec<&str> {
    let list = answer["services"].as_array().unwrap();
    list.iter()
        .map(|one| one["service_id"].as_str().unwrap())
        .collect()
}

async fn staged() -> Api {
    let api = Api::new();
    api.register(
        "a",
        "a-1",
        &json!({"tags": ["x", "y"], "zone": "eu", "weight": 0}),
    )
    .await;
    api.register(
        "a",
        "a-2",
        &json!({"tags": ["x"], "version": "2", "metadata": {"k": "v w"}}),
    )
    .await;
    api.register(
        "a",
        "a-3",
        &json!({"health_check_url": "http://127.0.0.1:1/"}),
    )
    .await;
    api
}

#[tokio::test]
async fn filters_are_joined_by_and() {
    let api = staged().await;
    for (query, expected) in [
        ("", &["a-1", "a-2"][..]),
        ("?healthy_only=true", &["a-1", "a-2"]),
        ("?healthy_only=False", &["a-1", "a-2", "a-3"]),
        ("?tag=x", &["a-1", "a-2"]),
        ("?tag=x&tag=y", &["a-1"]),
        ("?version=2", &["a-2"]),
        ("?zone=eu", &["a-1"]),
        ("?metadata.k=v%20w", &["a-2"]),
        ("?metadata.k=v+w&zone=eu", &[]),
        ("?limit=1", &["a-1"]),
        ("?healthy_only=0&limit=1", &["a-1"]),
        ("?colour=blue", &["a-1", "a-2"]),
    ] {
        let path = format!("/services/discover/a{query}");
        let answered = api.expect(200, "GET", &path, "").await;
        assert_eq!(ids(&answered.json), expected, "{query}");
        assert_eq!(answered.json["total_count"], expected.len(), "{query}");
        serde_json::from_value::<api::DiscoveredJson>(answered.json).unwrap();
    }
    let wrong = api
        .expect(
            422,
            "GET",
            "/services/discover/a?healthy_only=x&limit=y",
            "",
        )
        .await;
    assert_eq!(wrong.json["errors"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_unknown_service_has_no_instances() {
    let api = staged().await;
    for name in ["b", "%FF", "%00", &"x".repeat(300), "a%2Fb"] {
        let path = format!("/services/discover/{name}");
        let answered = api.expect(200, "GET", &path, "").await;
        assert_eq!(answered.json, json!({"services": [], "total_count": 0}));
    }
}

#[tokio::test]
async fn the_index_is_the_services_own_revision() {
    let api = staged().await;
    let index = async || {
        let answered = api.expect(200, "GET", "/services/discover/a", "").await;
        let cursor: Cursor = answered.header("x-muster-index").parse().unwrap();
        assert_eq!(cursor.epoch, api.shared.registry.epoch());
        cursor.revision
    };
    let before = index().await;
    api.register("b", "b-1", &json!({})).await;
    assert_eq!(index().await, before, "another service changed");
    api.register("a", "a-4", &json!({})).await;
    assert!(index().await > before);
}

#[tokio::test(start_paused = true)]
async fn a_cached_answer_is_at_most_a_second_old() {
    let api = staged().await;
    let seen = async || {
        let answered = api.expect(200, "GET", "/services/discover/a", "").await;
        answered.json["services"][0]["last_heartbeat"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let first = seen().await;
    tokio::time::advance(Duration::from_millis(500)).await;
    api.expect(200, "POST", "/services/a-1/heartbeat", "").await;
    assert_eq!(seen().await, first, "kept");
    let exact = api.expect(200, "GET", "/services/a-1", "").await.json;
    assert_ne!(exact["last_heartbeat"], *first, "exact");
    tokio::time::advance(Duration::from_millis(600)).await;
    assert_ne!(seen().await, first, "encoded again after a second");
}

#[tokio::test]
async fn a_change_is_seen_at_once() {
    let api = staged().await;
    api.expect(200, "GET", "/services/discover/a", "").await;
    api.expect(200, "DELETE", "/services/a-1", "").await;
    let answered = api.expect(200, "GET", "/services/discover/a", "").await;
    assert_eq!(ids(&answered.json), ["a-2"]);
}

#[tokio::test]
async fn healthy_ones_are_picked_in_turn() {
    let api = staged().await;
    let mut picked = Vec::new();
    for _ in 0..4 {
        let answered = api.expect(200, "GET", "/services/healthy/a", "").await;
        picked.push(answered.json["service_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(picked[..2], picked[2..]);
    assert_eq!(picked.iter().collect::<BTreeSet<_>>().len(), 2);
}

#[tokio::test]
async fn policies_and_what_they_need() {
    let api = staged().await;
    let id = async |query: &str| {
        let path = format!("/services/healthy/a?{query}");
        let answered = api.expect(200, "GET", &path, "").await;
        answered.json["service_id"].as_str().unwrap().to_owned()
    };
    let first = id("policy=hash&key=u%201").await;
    for _ in 0..5 {
        assert_eq!(id("policy=hash&key=u+1").await, first);
        assert_eq!(
            id("policy=weighted").await,
            "a-2",
            "the other weighs nothing"
        );
        assert_eq!(id("zone=eu&policy=random").await, "a-1");
    }
    for (query, field) in [("policy=hash", "key"), ("policy=best", "policy")] {
        let path = format!("/services/healthy/a?{query}");
        let wrong = api.expect(422, "GET", &path, "").await;
        assert_eq!(wrong.json["errors"][0]["field"], field);
    }
    for path in ["b", "a?zone=us", "%FF"] {
        let path = format!("/services/healthy/{path}");
        let none = api.expect(404, "GET", &path, "").await;
        assert_eq!(none.json["detail"], "No healthy instances found");
    }
}
