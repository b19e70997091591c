//! Every write of the registry that comes by REST is judged once, as what it is.

use super::{Action, ApiResource, RouteRow, table};
use crate::{
    catalog::{
        Door,
        Operation::{self, Deregister, Heartbeat, Override, Patch, Register, Route},
        take_judged,
    },
    http::testing::Api,
};

const INSTANCE: &str =
    r#"{"service_id":"a-1","service_name":"a","host":"127.0.0.1","port":80,"ttl":"60s"}"#;
const ROUTE: &str = r#"{"path_prefix":"/a","service_name":"a"}"#;
const OVERRIDE: &str = r#"{"status":"stopping"}"#;

/// A body for each route that writes, and how the catalog judges it.
const WRITES: &[(&str, &str, &[Operation])] = &[
    ("POST /services/register", INSTANCE, &[Register]),
    (
        "POST /services/heartbeat",
        r#"{"service_ids":["a-1"]}"#,
        &[Heartbeat],
    ),
    (
        "PATCH /services/{service_id}",
        r#"{"tags":["new"]}"#,
        &[Patch],
    ),
    ("DELETE /services/{service_id}", "", &[Deregister]),
    ("POST /services/{service_id}/heartbeat", "", &[Heartbeat]),
    ("PUT /services/{service_id}/override", OVERRIDE, &[Override]),
    ("DELETE /services/{service_id}/override", "", &[Override]),
    // Its verdict comes by the door of health.
    ("POST /services/{service_id}/check", "", &[]),
    ("PUT /gateway/routes/{route_id}", ROUTE, &[Route]),
    ("DELETE /gateway/routes/{route_id}", "", &[Route]),
];

/// A page of another origin, which takes the router.
const PAGE: [(&str, &str); 2] = [
    ("origin", "http://localhost:3000"),
    ("content-type", "application/json"),
];

/// The rows that write into the registry.
fn writing() -> impl Iterator<Item = RouteRow> {
    let of_registry = [
        ApiResource::Instance,
        ApiResource::Override,
        ApiResource::Route,
        ApiResource::Check,
    ];
    let rows = table().into_iter();
    rows.filter(move |row| row.access.0 == Action::Write && of_registry.contains(&row.access.1))
}

/// An instance with an override, and a route.
async fn filled() -> Api {
    let api = Api::new();
    for (method, path, body) in [
        ("POST", "/services/register", INSTANCE),
        ("PUT", "/services/a-1/override", OVERRIDE),
        ("PUT", "/gateway/routes/r", ROUTE),
    ] {
        api.expect(200, method, path, body).await;
    }
    api
}

#[tokio::test]
async fn each_write_by_rest_is_judged_once() {
    let mut seen = 0;
    for row in writing() {
        seen += 1;
        let name = format!("{} {}", row.method, row.path);
        let known = WRITES.iter().find(|(known, ..)| *known == name);
        let (_, body, expected) = known.unwrap_or_else(|| panic!("no body for {name}"));
        let path = row.path.replace("{service_id}", "a-1");
        let path = path.replace("{route_id}", "r");
        // The first may take the fast path, the second takes the router.
        for headers in [&[][..], &PAGE] {
            let api = filled().await;
            take_judged();
            let answered = api.ask(row.method.as_str(), &path, headers, *body).await;
            assert_eq!(answered.status, 200, "{name}: {}", answered.json);
            let expected: Vec<_> = expected.iter().map(|one| (Door::Rest, *one)).collect();
            assert_eq!(take_judged(), expected, "{name}, {headers:?}");
        }
    }
    assert_eq!(seen, WRITES.len(), "a body without a route");
}
