use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::{
    api,
    http::testing::{
        Api,
        fixture::{register, registration, route},
        live::Live,
    },
    model::OverrideStatus,
};

async fn set(api: &Api, id: &str, body: Value) -> Value {
    let path = format!("/gateway/routes/{id}");
    let answered = api.expect(200, "PUT", &path, body.to_string()).await;
    serde_json::from_slice::<api::RouteAnswer>(&answered.bytes).unwrap();
    answered.json
}

#[tokio::test]
async fn routes_are_set_read_listed_and_removed() {
    let api = Api::new();
    let body = json!({"path_prefix": "/api", "service_name": "users", "methods": ["get", "POST"], "priority": "5", "strip_prefix": "yes"});
    let made = set(&api, "a%2Fb", body.clone()).await;
    let expected = json!({
        "route_id": "a/b", "path_prefix": "/api", "service_name": "users", "strip_prefix": true,
        "methods": ["GET", "POST"], "priority": 5, "revision": 1,
    });
    assert_eq!(made, expected);
    assert_eq!(
        set(&api, "a%2Fb", body).await["revision"],
        1,
        "the same is no change"
    );
    assert_eq!(set(&api, "a%2Fb", expected.clone()).await, expected);
    let one = api.expect(200, "GET", "/gateway/routes/a%2Fb", "").await;
    assert_eq!(one.json, expected);
    set(
        &api,
        "c",
        json!({"path_prefix": "/api/v1", "service_name": "users"}),
    )
    .await;
    let all = api.expect(200, "GET", "/gateway/routes", "").await;
    let list = serde_json::from_slice::<api::RouteList>(&all.bytes).unwrap();
    let ids: Vec<_> = list.routes.iter().map(|route| &*route.route_id).collect();
    assert_eq!(ids, ["c", "a/b"], "best match first");
    assert_eq!(list.total_count, 2);
    let gone = api.expect(200, "DELETE", "/gateway/routes/c", "").await;
    assert_eq!(gone.json["route_id"], "c");
    for method in ["GET", "DELETE"] {
        let answered = api.expect(404, method, "/gateway/routes/c", "").await;
        assert_eq!(answered.json["detail"], "Route not found");
    }
}

#[tokio::test]
async fn every_wrong_field_of_a_route_is_named() {
    let api = Api::new();
    let check = async |id: &str, body: Value, fields: &[&str]| {
        let path = format!("/gateway/routes/{id}");
        let answered = api.expect(422, "PUT", &path, body.to_string()).await;
        let errors = answered.json["errors"].as_array().unwrap();
        let named: Vec<_> = errors
            .iter()
            .map(|error| error["field"].as_str().unwrap())
            .collect();
        assert_eq!(named, fields, "{body}");
    };
    check("r", json!({}), &["path_prefix", "service_name"]).await;
    check("r", json!([]), &["body"]).await;
    let wrong = json!({"path_prefix": "api", "service_name": "a/b", "strip_prefix": "maybe", "methods": "GET", "priority": 1.5});
    let all = [
        "path_prefix",
        "service_name",
        "strip_prefix",
        "methods",
        "priority",
    ];
    check("r", wrong, &all).await;
    check(
        "%20",
        json!({"path_prefix": 1}),
        &["route_id", "path_prefix", "service_name"],
    )
    .await;
    assert!(api.shared.registry.routes().list.is_empty());
}

#[tokio::test]
async fn a_request_goes_to_the_longest_prefix_in_turn() {
    let api = Api::new();
    for at in 1..=3 {
        register(&api.shared.registry, &format!("u{at}"), "users", at);
    }
    register(&api.shared.registry, "w1", "web", 9);
    set(
        &api,
        "root",
        json!({"path_prefix": "/", "service_name": "web"}),
    )
    .await;
    set(&api, "v1", json!({"path_prefix": "/api/v1", "service_name": "users", "strip_prefix": true, "methods": ["GET"]})).await;
    set(
        &api,
        "none",
        json!({"path_prefix": "/none", "service_name": "nobody"}),
    )
    .await;

    let check = async |query: &str, route: &str, path: &str| {
        let answered = api
            .expect(200, "GET", &format!("/gateway/resolve?{query}"), "")
            .await;
        serde_json::from_slice::<api::ResolvedJson>(&answered.bytes).unwrap();
        assert_eq!(answered.json["route"]["route_id"], route, "{query}");
        assert_eq!(answered.json["path"], path, "{query}");
        answered.json["instance"]["service_id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let mut picked = Vec::new();
    for _ in 0..6 {
        picked.push(check("path=/api/v1/users/1&method=get", "v1", "/users/1").await);
    }
    assert_eq!(picked[..3], picked[3..]);
    picked.sort();
    picked.dedup();
    assert_eq!(picked, ["u1", "u2", "u3"]);
    check("path=/api/v1", "v1", "/").await;
    check("path=/api/v1%3Fq=1", "v1", "/").await;
    check("path=/api/v1/x&method=DELETE", "root", "/api/v1/x").await;
    check("path=/api/v10", "root", "/api/v10").await;

    let none = api
        .expect(404, "GET", "/gateway/resolve?path=/none", "")
        .await;
    assert_eq!(none.json["detail"], "No healthy instances found");
    let unknown = api
        .expect(404, "GET", "/gateway/resolve?path=nowhere", "")
        .await;
    assert_eq!(unknown.json["detail"], "Route not found");
    let missing = api.expect(422, "GET", "/gateway/resolve", "").await;
    assert_eq!(missing.json["errors"][0]["field"], "path");
}

#[tokio::test]
async fn the_configuration_has_the_healthy_endpoints_with_their_weights() {
    let api = Api::new();
    let registry = &api.shared.registry;
    let mut heavy = registration("u1", "users", 1);
    heavy.weight = 7;
    registry.register(heavy, None).unwrap();
    register(registry, "u2", "users", 2);
    registry
        .set_override("u2", OverrideStatus::Stopping, None)
        .unwrap();
    set(
        &api,
        "r",
        json!({"path_prefix": "/", "service_name": "users"}),
    )
    .await;
    set(
        &api,
        "none",
        json!({"path_prefix": "/none", "service_name": "nobody"}),
    )
    .await;
    let answered = api.expect(200, "GET", "/gateway/config", "").await;
    let config = &answered.json;
    assert_eq!(answered.header("x-muster-index"), config["cursor"]);
    assert_eq!(config["revision"], 5);
    assert_eq!(config["routes"].as_array().unwrap().len(), 2);
    assert_eq!(config["routes"][0]["endpoints"], json!([]));
    let users = &config["routes"][1];
    assert_eq!(users["route_id"], "r");
    assert_eq!(users["endpoints"].as_array().unwrap().len(), 1);
    assert_eq!(users["endpoints"][0]["service_id"], "u1");
    assert_eq!(users["endpoints"][0]["weight"], 7);
    let again = api.expect(200, "GET", "/gateway/config", "").await;
    assert_eq!(again.bytes, answered.bytes);
}

#[tokio::test]
async fn only_routes_and_the_services_they_name_wake_gateways() {
    let live = Live::start().await;
    let registry = live.registry().clone();
    registry.set_route(route("r", "/", "users")).unwrap();
    let mut gateway = live.get("/gateway/watch").await;
    let first = gateway.expect("snapshot").await;
    assert_eq!(first.data["routes"][0]["endpoints"], json!([]));

    register(&registry, "u1", "users", 1);
    let second = gateway.expect("snapshot").await;
    assert_eq!(second.data["routes"][0]["endpoints"][0]["service_id"], "u1");
    assert_eq!(second.id.as_deref(), second.data["cursor"].as_str());

    let changes = live.shared.gateway.follow();
    for port in 1..50 {
        register(&registry, "o1", "others", port);
    }
    assert!(gateway.is_silent().await);
    assert!(!changes.has_changed().unwrap(), "nobody was woken");

    registry.set_route(route("s", "/o", "others")).unwrap();
    let third = gateway.expect("snapshot").await;
    assert_eq!(third.data["routes"][0]["endpoints"][0]["port"], 49);
    register(&registry, "o1", "others", 50);
    let fourth = gateway.expect("snapshot").await;
    assert_eq!(fourth.data["routes"][0]["endpoints"][0]["port"], 50);

    registry.remove_route("s").unwrap();
    gateway.expect("snapshot").await;
    register(&registry, "o1", "others", 51);
    assert!(
        gateway.is_silent().await,
        "a service that no route names any more"
    );
    live.stop().await;
    assert!(gateway.next().await.is_none());
}

#[tokio::test]
async fn gateways_continue_at_their_index() {
    let live = Live::start().await;
    let registry = live.registry().clone();
    registry.set_route(route("r", "/", "users")).unwrap();
    let id = live
        .get("/gateway/watch")
        .await
        .expect("snapshot")
        .await
        .id
        .unwrap();
    let mut back = live.get(&format!("/gateway/watch?since={id}")).await;
    back.read_head().await;
    assert!(back.is_silent().await, "it has the present one");
    register(&registry, "u1", "users", 1);
    back.expect_snapshot_with(1).await;
    live.get(&format!("/gateway/watch?since={id}"))
        .await
        .expect_snapshot_with(1)
        .await;
    for lost in ["1-1", "99", "what"] {
        let mut gateway = live.get(&format!("/gateway/watch?since={lost}")).await;
        gateway.expect("resync").await;
        gateway.expect_snapshot_with(1).await;
    }
    live.stop().await;
}

#[tokio::test]
async fn a_configuration_is_waited_for() {
    let live = Live::start().await;
    let registry = live.registry().clone();
    registry.set_route(route("r", "/", "users")).unwrap();
    let mut polled = live.get("/gateway/config?index=1&wait=5m").await;
    live.until_watchers("long_poll", "1").await;
    register(&registry, "o1", "others", 1);
    assert!(polled.is_silent().await);
    register(&registry, "u1", "users", 1);
    let config = polled.json().await;
    assert_eq!(config["revision"], 3);
    assert_eq!(polled.header("x-muster-index"), config["cursor"]);

    for (index, waits) in [("1", false), ("99", false), ("1-3", false), ("3", true)] {
        let began = Instant::now();
        let mut polled = live
            .get(&format!("/gateway/config?index={index}&wait=200ms"))
            .await;
        assert_eq!(polled.json().await["revision"], 3);
        assert_eq!(
            began.elapsed() >= Duration::from_millis(200),
            waits,
            "{index}"
        );
    }
    live.stop().await;
}

/// Whatever changes around it: who polls for the configuration ends up with the present one.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nothing_is_missed_amid_changes() {
    let live = Live::start().await;
    let registry = live.registry().clone();
    for at in 0..4 {
        registry
            .set_route(route(
                &format!("r{at}"),
                &format!("/{at}"),
                &format!("s{at}"),
            ))
            .unwrap();
    }
    let changes = async {
        for turn in 0..2_000_u16 {
            let service = turn % 5;
            register(
                &registry,
                &format!("i{service}"),
                &format!("s{service}"),
                turn + 1,
            );
            if turn % 8 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    };
    let polls = async {
        let mut index = String::from("0");
        loop {
            let path = format!("/gateway/config?index={index}&wait=400ms");
            let mut polled = live.get(&path).await;
            let config = polled.json().await;
            let next = polled.header("x-muster-index").to_owned();
            if next == index {
                return config;
            }
            index = next;
        }
    };
    let (config, ()) = timeout(Duration::from_secs(60), async {
        tokio::join!(polls, changes)
    })
    .await
    .unwrap();
    for route in config["routes"].as_array().unwrap() {
        let service = route["service_name"].as_str().unwrap();
        let view = registry.service(service).unwrap().view();
        let port = view.healthy()[0].registration.port;
        assert_eq!(route["endpoints"][0]["port"], port, "{service}");
    }
    live.stop().await;
}
