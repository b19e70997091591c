//! Each operation of the API by each identity: the table is made from the list of routes, so a new route without a
//! line here fails.

mod eureka;
mod wrong_tokens;

use std::{collections::BTreeMap, sync::Arc};

use axum::http::Method;
use serde_json::{Value, json};

use crate::{
    http::{rest::routes::operations, testing::Api},
    model::Timestamp,
    security::{AuthMode, Config, Identities, NoTokenRows, RuleConfig, TokenConfig, TokenDigest},
};

/// The identities of the columns, in order; `web` may write the services `web-*`.
const NAMES: [&str; 6] = ["anonymous", "nobody", "reader", "web", "operator", "admin"];

pub(in crate::http) fn secret(name: &str) -> String {
    format!("the-secret-of-{name}-0123456789")
}

/// Identities with one token for each name.
pub(in crate::http) fn identities() -> Identities {
    let rule = |text: &str| -> RuleConfig { serde_json::from_str(text).unwrap() };
    let web = [
        r#"{"resource":"service","pattern":"web-*","access":"write"}"#,
        r#"{"resource":"route","pattern":"web-*","access":"write"}"#,
        r#"{"resource":"watcher","pattern":"web-*","access":"write"}"#,
    ];
    let none = r#"{"resource":"kv","pattern":"none","access":"read"}"#;
    let token = |name: &str| {
        let policies = vec![match name {
            "other" => "web".to_owned(),
            name => name.to_owned(),
        }];
        let sha256 = Some(TokenDigest::of(&secret(name)).to_hex());
        (
            name.to_owned(),
            TokenConfig {
                sha256,
                policies,
                ..TokenConfig::default()
            },
        )
    };
    let hooks = [
        r#"{"resource":"watcher","access":"read"}"#,
        r#"{"resource":"service","pattern":"web-*","access":"read"}"#,
    ];
    let names = [
        "nobody", "reader", "web", "other", "hooks", "operator", "admin",
    ];
    let config = Config {
        auth: AuthMode::On,
        tokens: names.map(token).into(),
        policies: BTreeMap::from([
            ("web".to_owned(), web.map(rule).to_vec()),
            ("hooks".to_owned(), hooks.map(rule).to_vec()),
            ("nobody".to_owned(), vec![rule(none)]),
        ]),
        ..Config::default()
    };
    assert_eq!(config.faults(), [""; 0]);
    let rows = Arc::new(NoTokenRows);
    let loaded = Identities::load(&config, None, Vec::new(), rows, Timestamp(0));
    loaded.unwrap().0
}

fn api() -> Api {
    Api::guarded(identities())
}

/// Who may pass the route itself, by the first letter of each name that may: `.` is everybody.
const TABLE: &[(&str, &str)] = &[
    ("GET /health", "anrwoa"),
    ("GET /ready", "anrwoa"),
    ("GET /docs", "anrwoa"),
    ("GET /metrics", "--r-oa"),
    ("GET /system/info", "--r-oa"),
    ("GET /system/limits", "--r-oa"),
    ("GET /system/config", "--r-oa"),
    ("GET /system/snapshot", "-----a"),
    ("GET /", "anrwoa"),
    ("GET /ui/{file}", "anrwoa"),
    ("GET /services", "--rwoa"),
    ("POST /services/register", "---woa"),
    ("POST /services/heartbeat", "---woa"),
    ("GET /services/discover/{service_name}", "--rwoa"),
    ("GET /services/healthy/{service_name}", "--rwoa"),
    ("GET /services/{service_id}", "--rwoa"),
    ("PATCH /services/{service_id}", "---woa"),
    ("DELETE /services/{service_id}", "---woa"),
    ("POST /services/{service_id}/heartbeat", "---woa"),
    ("GET /services/{service_id}/status", "--rwoa"),
    ("PUT /services/{service_id}/override", "---woa"),
    ("DELETE /services/{service_id}/override", "---woa"),
    ("POST /services/{service_id}/check", "---woa"),
    ("GET /services/{service_id}/health", "--rwoa"),
    ("GET /v1/sd/prometheus", "--rwoa"),
    ("GET /health/{service_name}", "--rwoa"),
    ("GET /watchers", "---woa"),
    ("GET /watchers/streams", "--r-oa"),
    ("POST /watchers", "---woa"),
    ("GET /watchers/{id}", "---woa"),
    ("DELETE /watchers/{id}", "---woa"),
    ("GET /watch", "--rwoa"),
    ("GET /watch/ws", "--rwoa"),
    ("GET /events", "--rwoa"),
    ("GET /gateway/routes", "--rwoa"),
    ("GET /gateway/routes/{route_id}", "--rwoa"),
    ("PUT /gateway/routes/{route_id}", "---woa"),
    ("DELETE /gateway/routes/{route_id}", "---woa"),
    ("GET /gateway/resolve", "--rwoa"),
    ("GET /gateway/config", "--rwoa"),
    ("GET /gateway/watch", "--rwoa"),
    ("GET /migration", "--r-oa"),
    ("POST /migration", "----oa"),
    ("GET /transport", "--r-oa"),
    ("PUT /transport", "----oa"),
    ("GET /broker/overview", "----oa"),
    ("GET /broker/connections", "----oa"),
    ("GET /broker/channels", "----oa"),
    ("GET /broker/exchanges", "----oa"),
    ("GET /broker/queues", "----oa"),
    ("GET /broker/bindings", "----oa"),
    ("GET /broker/consumers", "----oa"),
    ("GET /broker/queues/{vhost}/{name}", "----oa"),
    ("DELETE /broker/queues/{vhost}/{name}", "----oa"),
    ("GET /broker/queues/{vhost}/{name}/messages", "----oa"),
    ("DELETE /broker/queues/{vhost}/{name}/messages", "----oa"),
    ("POST /broker/publish", "----oa"),
    ("GET /broker/definitions", "----oa"),
    ("POST /broker/definitions", "----oa"),
    ("GET /broker/users", "----oa"),
    ("POST /broker/users", "-----a"),
    ("GET /broker/users/{name}", "----oa"),
    ("PUT /broker/users/{name}", "-----a"),
    ("DELETE /broker/users/{name}", "-----a"),
    ("PUT /broker/users/{name}/permissions/{vhost}", "-----a"),
    ("DELETE /broker/users/{name}/permissions/{vhost}", "-----a"),
    (
        "PUT /broker/users/{name}/topic-permissions/{vhost}/{exchange}",
        "-----a",
    ),
    (
        "DELETE /broker/users/{name}/topic-permissions/{vhost}/{exchange}",
        "-----a",
    ),
    ("GET /auth/tokens", "-----a"),
    ("POST /auth/tokens", "-----a"),
    ("DELETE /auth/tokens/{name}", "-----a"),
    ("POST /auth/tokens/{name}/rotate", "-----a"),
    ("GET /auth/whoami", "-nrwoa"),
    ("POST /auth/ticket", "-nrwoa"),
];

/// The verdict on one operation: the code, and whether it is one of the route's guard.
async fn verdict(api: &Api, name: &str, method: &Method, path: &str) -> u16 {
    let token = format!("Bearer {}", secret(name));
    let headers = [("authorization", &*token)];
    let headers = &headers[usize::from(name == "anonymous")..];
    // Names that `web` may write.
    let path = path.replace(['{', '}'], "").replace("route_id", "web-r");
    // The head of a stream is enough.
    let answered = api.answered(method.as_str(), &path, headers).await;
    answered.status().as_u16()
}

#[tokio::test]
async fn each_operation_by_each_identity() {
    let api = api();
    let table: BTreeMap<_, _> = TABLE.iter().copied().collect();
    let mut seen = 0;
    for (method, path) in operations() {
        let operation = format!("{method} {path}");
        let Some(expected) = table.get(&*operation) else {
            panic!("{operation} has no line in the table of permissions");
        };
        seen += 1;
        for (name, letter) in NAMES.iter().zip(expected.chars()) {
            let code = verdict(&api, name, &method, &path).await;
            match (letter, *name) {
                ('-', "anonymous") => assert_eq!(code, 401, "{operation} by {name}"),
                ('-', _) => assert_eq!(code, 403, "{operation} by {name}"),
                _ => assert!(code != 401 && code != 403, "{operation} by {name}: {code}"),
            }
        }
    }
    assert_eq!(seen, TABLE.len(), "a line of the table is for no operation");
}

/// Asks as an identity.
async fn ask(api: &Api, name: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let token = format!("Bearer {}", secret(name));
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let answered = api
        .ask(method, path, &[("authorization", &token)], body)
        .await;
    (answered.status.as_u16(), answered.json)
}

fn instance(id: &str, service: &str) -> Value {
    json!({"service_id": id, "service_name": service, "host": "127.0.0.1", "port": 8080})
}

async fn register(api: &Api, name: &str, id: &str, service: &str) -> u16 {
    let body = instance(id, service);
    ask(api, name, "POST", "/services/register", &body).await.0
}

#[tokio::test]
async fn a_writer_of_some_services_cannot_touch_others() {
    let api = api();
    assert_eq!(register(&api, "admin", "pay-1", "pay").await, 200);
    assert_eq!(register(&api, "web", "web-1", "web-a").await, 200);
    let (code, refused) = ask(
        &api,
        "web",
        "POST",
        "/services/register",
        &instance("x", "pay"),
    )
    .await;
    assert_eq!(code, 403);
    let detail = refused["detail"].as_str().unwrap();
    assert_eq!(
        detail,
        "identity \"web\" has no write access to service \"pay\""
    );
    // An id of a service that it does not see: neither taken over nor shown.
    let (code, refused) = ask(
        &api,
        "web",
        "POST",
        "/services/register",
        &instance("pay-1", "web-a"),
    )
    .await;
    assert_eq!(code, 403);
    assert!(!refused.to_string().contains("\\\"pay\\\""), "{refused}");
    let none = Value::Null;
    for (method, path, body) in [
        ("GET", "/services/pay-1", &none),
        ("GET", "/services/pay-1/status", &none),
        ("GET", "/services/pay-1/health", &none),
        ("POST", "/services/pay-1/check", &none),
        ("POST", "/services/pay-1/heartbeat", &none),
        ("PATCH", "/services/pay-1", &json!({"weight": 2})),
        (
            "PUT",
            "/services/pay-1/override",
            &json!({"status": "stopping"}),
        ),
        ("DELETE", "/services/pay-1/override", &none),
        ("DELETE", "/services/pay-1", &none),
        ("GET", "/services/healthy/pay", &none),
    ] {
        assert_eq!(
            ask(&api, "web", method, path, body).await.0,
            404,
            "{method} {path}"
        );
    }
    let beats = json!({"service_ids": ["pay-1", "web-1"]});
    let (_, verdicts) = ask(&api, "web", "POST", "/services/heartbeat", &beats).await;
    assert!(
        verdicts.to_string().contains("Service not found"),
        "{verdicts}"
    );
    // A reader sees it and may not write.
    assert_eq!(
        ask(&api, "reader", "GET", "/services/pay-1", &none).await.0,
        200
    );
    assert_eq!(
        ask(&api, "reader", "DELETE", "/services/pay-1", &none)
            .await
            .0,
        403
    );
}

#[tokio::test]
async fn an_instance_belongs_to_who_registered_it() {
    let api = api();
    assert_eq!(register(&api, "web", "web-1", "web-a").await, 200);
    let none = Value::Null;
    let (_, shown) = ask(&api, "reader", "GET", "/services/web-1", &none).await;
    assert_eq!(shown["owner"], "web");
    assert_eq!(register(&api, "other", "web-1", "web-b").await, 403);
    for (method, path, body) in [
        ("DELETE", "/services/web-1", &none),
        ("PATCH", "/services/web-1", &json!({"weight": 2})),
        (
            "PUT",
            "/services/web-1/override",
            &json!({"status": "stopping"}),
        ),
    ] {
        let (code, refused) = ask(&api, "other", method, path, body).await;
        assert_eq!(code, 403, "{method} {path}");
        let detail = refused["detail"].as_str().unwrap();
        assert!(
            detail.contains("write_any") && detail.contains("\"web\""),
            "{detail}"
        );
    }
    let beat = ask(&api, "other", "POST", "/services/web-1/heartbeat", &none).await;
    assert_eq!(beat.0, 200, "a heartbeat only needs write access");
    assert_eq!(
        ask(
            &api,
            "operator",
            "PATCH",
            "/services/web-1",
            &json!({"weight": 3})
        )
        .await
        .0,
        200
    );
    let (_, shown) = ask(&api, "reader", "GET", "/services/web-1", &none).await;
    assert_eq!(
        (&shown["owner"], &shown["weight"]),
        (&json!("web"), &json!(3))
    );
    assert_eq!(register(&api, "operator", "web-1", "web-a").await, 200);
    let (_, shown) = ask(&api, "reader", "GET", "/services/web-1", &none).await;
    assert_eq!(shown["owner"], "web", "an operator does not take it over");
    assert_eq!(register(&api, "web", "web-1", "web-a").await, 200);
    assert_eq!(
        ask(&api, "operator", "DELETE", "/services/web-1", &none)
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn lists_show_what_the_caller_may_read() {
    let api = api();
    assert_eq!(register(&api, "admin", "pay-1", "pay").await, 200);
    assert_eq!(register(&api, "web", "web-1", "web-a").await, 200);
    let route =
        |service: &str| json!({"path_prefix": format!("/{service}"), "service_name": service});
    let put = async |name: &str, id: &str, service: &str| {
        let path = format!("/gateway/routes/{id}");
        ask(&api, name, "PUT", &path, &route(service)).await.0
    };
    assert_eq!(put("operator", "pay-r", "pay").await, 200);
    assert_eq!(put("web", "web-r", "web-a").await, 200);
    assert_eq!(
        put("web", "web-p", "pay").await,
        403,
        "it does not see the service"
    );
    assert_eq!(put("web", "pay-r", "web-a").await, 403);
    let hook =
        |service: &str| json!({"service_name": service, "callback_url": "http://127.0.0.1:9/"});
    for (name, service, code) in [
        ("web", "web-a", 201),
        ("web", "pay", 403),
        ("web", "*", 403),
        ("admin", "*", 201),
    ] {
        let (found, _) = ask(&api, name, "POST", "/watchers", &hook(service)).await;
        assert_eq!(found, code, "{name} {service}");
    }
    for path in [
        "/services",
        "/services/discover/pay",
        "/events?limit=100",
        "/events?since=0-0",
        "/events?service=pay",
        "/gateway/routes",
        "/gateway/config",
        "/watchers",
    ] {
        let (code, all) = ask(&api, "admin", "GET", path, &Value::Null).await;
        assert_eq!(code, 200, "{path}");
        let (code, some) = ask(&api, "web", "GET", path, &Value::Null).await;
        assert_eq!(code, 200, "{path}");
        if path != "/watchers" {
            assert!(
                all.to_string().contains("pay-1") || all.to_string().contains("pay-r"),
                "{path}: {all}"
            );
        }
        assert!(!some.to_string().contains("pay-"), "{path}: {some}");
    }
    let (_, some) = ask(&api, "web", "GET", "/services", &Value::Null).await;
    assert!(some.to_string().contains("web-1"), "{some}");
    let (_, watchers) = ask(&api, "web", "GET", "/watchers", &Value::Null).await;
    assert_eq!(watchers["total_count"], 1);
    let resolve = async |name: &str, path: &str| {
        let path = format!("/gateway/resolve?path={path}");
        ask(&api, name, "GET", &path, &Value::Null).await.0
    };
    assert_eq!(
        (resolve("web", "/pay").await, resolve("admin", "/pay").await),
        (404, 200)
    );
    assert_eq!(resolve("web", "/web-a").await, 200);
}

#[tokio::test]
async fn a_webhook_is_hidden_with_its_service_and_its_query_is_its_owners() {
    let api = api();
    for (name, service) in [("admin", "pay"), ("web", "web-a")] {
        let url = format!("http://127.0.0.1:9/{name}?key=hidden-{name}");
        let hook = json!({"service_name": service, "callback_url": url});
        let (code, made) = ask(&api, name, "POST", "/watchers", &hook).await;
        assert_eq!((code, &made["callback_url"]), (201, &json!(url)));
    }
    let urls = async |name: &str| {
        let (_, list) = ask(&api, name, "GET", "/watchers", &Value::Null).await;
        let watchers = list["watchers"].as_array().unwrap().iter();
        let url = |one: &Value| one["callback_url"].as_str().unwrap().to_owned();
        watchers.map(url).collect::<Vec<_>>()
    };
    let one = async |name: &str, id: &str| {
        let path = format!("/watchers/w%2F{id}");
        let (code, found) = ask(&api, name, "GET", &path, &Value::Null).await;
        (code, found["callback_url"].clone())
    };
    let (hidden, shown) = (
        "http://127.0.0.1:9/web",
        "http://127.0.0.1:9/web?key=hidden-web",
    );
    assert_eq!(urls("hooks").await, [hidden]);
    assert_eq!(one("hooks", "0").await.0, 404);
    assert_eq!(one("hooks", "1").await, (200, json!(hidden)));
    assert_eq!(urls("web").await, [shown]);
    assert_eq!(one("web", "1").await, (200, json!(shown)));
    let own = "http://127.0.0.1:9/admin?key=hidden-admin";
    assert_eq!(urls("admin").await, [own, hidden]);
}
