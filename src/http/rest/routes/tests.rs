mod judged;

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::{Value, json};
use utoipa::openapi::{
    InfoBuilder, LicenseBuilder, OpenApiBuilder, Paths, RefOr,
    path::{Operation, ParameterIn},
};
use utoipa_axum::router::OpenApiRouter;

use super::{Action, ApiResource, RouteRow, table};
use crate::http::{config::Config, testing::Api};

/// Every row of the contract that this door answers.
const CONTRACT: &[&str] = &[
    "GET /health",
    "GET /ready",
    "GET /metrics",
    "GET /docs",
    "GET /system/info",
    "GET /services",
    "POST /services/register",
    "POST /services/heartbeat",
    "GET /services/discover/{service_name}",
    "GET /services/healthy/{service_name}",
    "GET /services/{service_id}",
    "PATCH /services/{service_id}",
    "DELETE /services/{service_id}",
    "POST /services/{service_id}/heartbeat",
    "GET /services/{service_id}/status",
    "PUT /services/{service_id}/override",
    "DELETE /services/{service_id}/override",
    "POST /services/{service_id}/check",
    "GET /services/{service_id}/health",
    "GET /v1/sd/prometheus",
    "GET /watchers",
    "POST /watchers",
    "GET /watchers/{id}",
    "DELETE /watchers/{id}",
    "GET /transport",
    "PUT /transport",
    "GET /broker/overview",
    "GET /broker/connections",
    "GET /broker/channels",
    "GET /broker/exchanges",
    "GET /broker/queues",
    "GET /broker/bindings",
    "GET /broker/consumers",
    "GET /broker/queues/{vhost}/{name}",
    "DELETE /broker/queues/{vhost}/{name}",
    "GET /broker/queues/{vhost}/{name}/messages",
    "DELETE /broker/queues/{vhost}/{name}/messages",
];

async fn document() -> Value {
    Api::new()
        .expect(200, "GET", "/openapi.json", "")
        .await
        .json
}

/// `METHOD /path` of each operation in the document.
fn operations(document: &Value) -> BTreeSet<String> {
    let mut operations = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            operations.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    operations
}

#[tokio::test]
async fn every_row_of_the_contract_is_documented() {
    let documented = operations(&document().await);
    for row in CONTRACT {
        assert!(documented.contains(*row), "{row} is not in openapi.json");
    }
}

#[tokio::test]
async fn every_operation_of_the_document_is_answered_by_a_route() {
    let api = Api::new();
    for operation in operations(&document().await) {
        let (method, path) = operation.split_once(' ').unwrap();
        let path = path.replace(['{', '}'], "");
        // Streams would not end; that they are there is what their own tests show.
        if path.ends_with("/watch") {
            continue;
        }
        let answered = api.ask(method, &path, &[], "").await;
        assert_ne!(answered.status, 405, "{operation}");
        let nothing = answered.json["detail"].as_str().unwrap_or_default();
        assert!(!nothing.starts_with("there is nothing"), "{operation}");
    }
}

fn operations_of(paths: &mut Paths) -> impl Iterator<Item = &mut Operation> {
    let items = paths.paths.values_mut();
    items.flat_map(|item| {
        [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.patch,
            &mut item.delete,
        ]
        .into_iter()
        .flatten()
    })
}

/// Parameters that are accepted and not documented: other spellings, and one that has no effect.
const UNDOCUMENTED: &[(&str, &str)] = &[
    ("/services/discover/{service_name}", "tags"),
    ("/services/healthy/{service_name}", "tags"),
    ("/services/healthy/{service_name}", "healthy_only"),
];

/// The query parameters that the document has for an operation.
fn documented(row: &RouteRow) -> BTreeSet<String> {
    let (_, mut paths, _) = (row.documented)();
    let parameters = operations_of(&mut paths)
        .flat_map(|operation| operation.parameters.clone().unwrap_or_default());
    let names = parameters.filter_map(|parameter| match parameter {
        RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => {
            Some(parameter.name.replace("<key>", ""))
        }
        _ => None,
    });
    names.collect()
}

#[test]
fn a_route_row_has_its_tag_and_access() {
    let mut seen = BTreeSet::new();
    for row in table() {
        let (method, path) = (&row.method, &row.path);
        assert!(
            seen.insert(format!("{method} {path}")),
            "{method} {path} is there twice"
        );
        let (action, resource) = row.access;
        let expected = match *method {
            Method::GET => Action::Read,
            _ => Action::Write,
        };
        assert_eq!(action, expected, "{method} {path} of {resource:?}");
        assert!(!row.tag.is_empty(), "{method} {path}");
        let is_accepted = |name: &&str| !UNDOCUMENTED.contains(&(path.as_str(), name));
        let known = row.parameters.iter().copied().filter(is_accepted);
        let known: BTreeSet<_> = known.map(str::to_owned).collect();
        assert_eq!(known, documented(&row), "{method} {path}");
    }
}

/// The resource that permissions are asked for is in the path of its operations.
#[test]
fn a_row_names_the_resource_of_its_path() {
    for row in table() {
        let (path, resource) = (row.path.as_str(), row.access.1);
        let expected = match path {
            "/health" | "/ready" | "/docs" | "/" | "/ui/{file}" => ApiResource::Health,
            "/metrics" | "/system/info" | "/system/limits" | "/system/config" => {
                ApiResource::System
            }
            "/watchers/streams" => ApiResource::System,
            "/health/{service_name}" => ApiResource::Check,
            "/system/snapshot" => ApiResource::Backup,
            "/auth/whoami" | "/auth/ticket" => ApiResource::Own,
            _ if path.starts_with("/auth/tokens") => ApiResource::Token,
            "/transport" => ApiResource::Transport,
            "/migration" => ApiResource::Migration,
            "/events" => ApiResource::Event,
            _ if path.starts_with("/watchers") => ApiResource::Webhook,
            _ if path.starts_with("/watch") => ApiResource::Event,
            _ if path.starts_with("/gateway/") => ApiResource::Route,
            _ if path.starts_with("/broker/users") && row.method != Method::GET => {
                ApiResource::BrokerUser
            }
            _ if path.starts_with("/broker/") => ApiResource::Broker,
            _ if path.ends_with("/override") => ApiResource::Override,
            _ if path.ends_with("/check") || path.ends_with("}/health") => ApiResource::Check,
            _ => ApiResource::Instance,
        };
        assert_eq!(resource, expected, "{path}");
    }
}

/// The document of every route, made from what is written at the endpoints and the schemas.
fn made() -> String {
    let info = InfoBuilder::new()
        .title("musterd")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(env!("CARGO_PKG_DESCRIPTION")))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").build()));
    let mut all = OpenApiRouter::with_openapi(OpenApiBuilder::new().info(info.build()).build());
    for row in table() {
        let (schemas, mut paths, endpoint) = (row.documented)();
        for operation in operations_of(&mut paths) {
            operation.tags = Some(vec![row.tag.to_owned()]);
        }
        all = all.routes((schemas, paths, endpoint));
    }
    all.into_openapi().to_pretty_json().unwrap() + "\n"
}

#[tokio::test]
async fn the_document_is_that_of_the_endpoints() {
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/rest/openapi.json");
    let (served, made) = (document().await, made());
    if served == serde_json::from_str::<Value>(&made).unwrap() {
        return;
    }
    let new = format!("{kept}.new");
    std::fs::write(&new, made).unwrap();
    panic!("the document has changed: look at {new} and move it over {kept}");
}

#[tokio::test]
async fn the_document_names_every_schema_it_uses() {
    let document = document().await;
    let text = document.to_string();
    let mut used = 0;
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(
            document["components"]["schemas"][name].is_object(),
            "{name}"
        );
        used += 1;
    }
    assert!(used > 20);
}

#[tokio::test]
async fn health_and_readiness() {
    let api = Api::new();
    let alive = api.expect(200, "GET", "/health", "").await;
    assert_eq!(alive.json["status"], "healthy");
    let ready = api.expect(200, "GET", "/ready", "").await;
    assert_eq!(ready.json["status"], "ready");
    *api.stage.broken.lock() = Some("waits for its store");
    let ready = api.ask("GET", "/ready", &[], "").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json["checks"][0]["detail"], "waits for its store");
}

#[tokio::test]
async fn errors_are_problems() {
    let api = Api::new();
    let unknown = api.expect(404, "GET", "/nothing/here", "").await;
    assert_eq!(unknown.json["detail"], "there is nothing at /nothing/here");
    let wrong = api.expect(405, "PUT", "/services/register", "").await;
    assert_eq!(wrong.header("allow"), "POST,OPTIONS");
    let wrong = api.expect(405, "POST", "/services/a", "").await;
    let mut allowed: Vec<_> = wrong.header("allow").split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH"]);
    let gone = api.expect(404, "GET", "/services/a", "").await;
    assert_eq!(gone.json["detail"], "Service not found");
    assert_eq!(gone.json["type"], "about:blank");
    assert_eq!(gone.json["title"], "Not Found");
}

#[tokio::test]
async fn a_panic_is_a_500_without_internals_and_later_requests_work() {
    let api = Api::new();
    let failed = api.expect(500, "POST", "/services/panics/check", "").await;
    let text = String::from_utf8(failed.bytes.to_vec()).unwrap();
    assert!(!text.contains("secret"), "{text}");
    assert!(text.contains(failed.header("x-request-id")), "{text}");
    api.expect(200, "GET", "/health", "").await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_is_ended() {
    let api = Api::new();
    let began = tokio::time::Instant::now();
    let late = api.expect(503, "POST", "/services/hangs/check", "").await;
    assert_eq!(began.elapsed().as_secs(), 30);
    assert!(
        late.json["detail"]
            .as_str()
            .unwrap()
            .contains("the checks did not end within 30 s (http.request_timeout)")
    );
}

#[tokio::test]
async fn requests_are_counted_by_route_and_class() {
    let api = Api::new();
    for path in ["/services/a", "/services/b", "/services", "/else"] {
        api.ask("GET", path, &[], "").await;
    }
    api.register("a", "a-1", &json!({})).await;
    let page = api.ask("GET", "/metrics", &[], "").await;
    let text = String::from_utf8(page.bytes.to_vec()).unwrap();
    for line in [
        r#"musterd_http_requests_total{code="4xx",method="GET",route="/services/{service_id}"} 2"#,
        r#"musterd_http_requests_total{code="2xx",method="GET",route="/services"} 1"#,
        r#"musterd_http_requests_total{code="4xx",method="GET",route="unknown"} 1"#,
        r#"musterd_http_requests_total{code="2xx",method="POST",route="/services/register"} 1"#,
        "musterd_register_seconds_count 1",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    assert!(
        page.header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
}

#[tokio::test]
async fn the_page_loads_nothing_from_other_origins() {
    let page = Api::new().expect(200, "GET", "/docs", "").await;
    assert!(page.header("content-type").starts_with("text/html"));
    let text = String::from_utf8(page.bytes.to_vec()).unwrap();
    assert!(text.contains("openapi.json"));
    for foreign in ["http://", "https://", "//cdn", "@import"] {
        assert!(!text.contains(foreign), "{foreign}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let config = Config {
        body_max: bytesize::ByteSize::b(100).into(),
        ..Config::default()
    };
    let api = Api::with(config);
    let large = "x".repeat(101);
    let refused = api.expect(413, "POST", "/services/register", large).await;
    assert_eq!(refused.header("connection"), "close");
    assert!(
        refused.json["detail"]
            .as_str()
            .unwrap()
            .contains("100 bytes")
    );
    let exact = " ".repeat(100);
    api.expect(422, "POST", "/services/register", exact).await;
}
