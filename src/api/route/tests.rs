use serde_json::{Value, json};

use super::route_draft;

#[test]
fn missing_fields_have_defaults() {
    let (route, _) = route_draft("r", br#"{"path_prefix":"/api","service_name":"a"}"#).unwrap();
    assert_eq!(
        (&*route.path_prefix, route.service_name.as_str()),
        ("/api", "a")
    );
    assert!(!route.strip_prefix && route.methods.is_empty());
    assert_eq!(route.priority, 0);
}

#[test]
fn values_are_read_in_many_forms() {
    let body = json!({
        "path_prefix": "/", "service_name": "a", "strip_prefix": "yes", "methods": ["get", "GET", "post"],
        "priority": "-3", "route_id": "ignored",
    });
    let (route, _) = route_draft("r", body.to_string().as_bytes()).unwrap();
    assert!(route.strip_prefix);
    assert_eq!(
        route.methods.iter().map(|m| &**m).collect::<Vec<_>>(),
        ["GET", "POST"]
    );
    assert_eq!(route.priority, -3);
}

#[test]
fn the_fault_is_named() {
    check(
        json!({"path_prefix": "api", "service_name": "a"}),
        "path_prefix",
    );
    check(
        json!({"path_prefix": "/a?b", "service_name": "a"}),
        "path_prefix",
    );
    check(
        json!({"path_prefix": "/a", "service_name": "a/b"}),
        "service_name",
    );
    check(
        json!({"path_prefix": "/a", "service_name": "a", "priority": 1e10}),
        "priority",
    );
    check(
        json!({"path_prefix": "/a", "service_name": "a", "methods": ["a b"]}),
        "methods",
    );
    check(json!({"service_name": "a"}), "path_prefix");

    let problem = route_draft("", b"{}").unwrap_err();
    let fields: Vec<_> = problem.errors.iter().map(|one| &*one.field).collect();
    assert_eq!(fields, ["route_id", "path_prefix", "service_name"]);
    let problem = route_draft("", b"[]").unwrap_err();
    let fields: Vec<_> = problem.errors.iter().map(|one| &*one.field).collect();
    assert_eq!(fields, ["route_id", "body"]);

    #[track_caller]
    fn check(body: Value, field: &str) {
        let problem = route_draft("r", body.to_string().as_bytes()).unwrap_err();
        assert_eq!(problem.errors[0].field, field);
    }
}
