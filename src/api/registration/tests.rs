use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Parsed, registration};
use crate::{
    api::{self, Defaults, Problem},
    model::{Instance, LastSeen, Lease, LeaseKind, Registration, Revision, Status, Timestamp},
};

fn read(body: &Value) -> Result<Parsed, Problem> {
    registration(body.to_string().as_bytes(), &Defaults::default())
}

fn least() -> Value {
    json!({"service_id": "a-1", "service_name": "a", "host": "127.0.0.1", "port": 8080})
}

fn with(field: &str, value: Value) -> Value {
    let mut body = least();
    body[field] = value;
    body
}

#[test]
fn missing_fields_have_defaults() {
    let parsed = read(&least()).unwrap();
    let said = parsed.registration;
    assert_eq!(said.service_id.as_str(), "a-1");
    assert_eq!((said.port, said.weight), (8080, 1));
    assert_eq!(&*said.version, "1.0.0");
    assert_eq!(said.ttl, Duration::from_secs(300));
    assert_eq!(said.metadata.as_str(), "{}");
    assert!(said.zone.is_none() && said.health_check_url.is_none());
    assert!(said.tags.is_empty() && said.checks.is_empty());
    assert!(parsed.incarnation.is_none());
}

#[test]
fn null_counts_as_a_missing_field() {
    let mut body = least();
    let required = ["service_id", "service_name", "host", "port"];
    for field in FIELDS.iter().filter(|field| !required.contains(field)) {
        body[*field] = Value::Null;
    }
    let parsed = read(&body).unwrap();
    assert!(
        parsed
            .registration
            .same_as(&read(&least()).unwrap().registration)
    );
}

#[test]
fn bodies_of_older_clients_are_accepted() {
    check("port", json!("8080"), |said| said.port == 8080);
    check("service_id", json!(42), |said| {
        said.service_id.as_str() == "42"
    });
    check("version", json!(2.5), |said| *said.version == *"2.5");
    check("weight", json!("7"), |said| said.weight == 7);
    check("tags", json!([1, "b", "b"]), |said| said.tags.len() == 2);
    check("ttl", json!(60), |said| said.ttl.as_secs() == 60);
    check("ttl", json!("90"), |said| said.ttl.as_secs() == 90);
    check("health_check_url", json!(""), |said| {
        said.health_check_url.is_none()
    });
    check("lease", json!("ttl"), |said| said.lease == LeaseKind::Ttl);
    check("lease", json!("Connection"), |said| {
        said.lease == LeaseKind::Connection
    });
    check("host", json!("[::1]"), |said| *said.host == *"::1");
    check("metadata", json!({"a": {"b": [1]}}), |said| {
        said.metadata.as_str() == r#"{"a":{"b":[1]}}"#
    });

    #[track_caller]
    fn check(field: &str, value: Value, holds: impl Fn(&Registration) -> bool) {
        let parsed = read(&with(field, value)).unwrap();
        assert!(holds(&parsed.registration), "{:?}", parsed.registration);
    }
}

#[test]
fn the_fault_is_named() {
    check("port", json!(0), "0 is out of range 1-65535");
    check("port", json!(70000), "70000 is out of range 1-65535");
    check("port", json!("http"), "\"http\" is not a whole number");
    check("port", json!(null), "is required");
    check("service_id", json!(""), "must not be empty");
    check(
        "service_id",
        json!("x".repeat(300)),
        "is 300 bytes long, at most 200 are allowed",
    );
    check("service_id", json!({}), "must be a string, not {}");
    check("service_name", json!("a/b"), "must not contain \"/\"");
    check("host", json!(""), "must not be empty");
    check(
        "host",
        json!("a b"),
        "must be a host name or an address, without ' '",
    );
    check(
        "host",
        json!("http://a"),
        "must be a host name or an address, without '/'",
    );
    check("metadata", json!([1]), "must be a JSON object");
    check("metadata", json!("{}"), "must be a JSON object");
    check("tags", json!("a"), "must be a list, not \"a\"");
    check(
        "tags",
        json!([["a"]]),
        "item 0 must be a string, not [\"a\"]",
    );
    check("ttl", json!("0s"), "0s is out of range 1s-86400s");
    check(
        "lease",
        json!("socket"),
        "\"socket\" is not one of ttl, connection, none",
    );
    check("lease", json!(true), "must be a string, not true");
    check("ttl", json!("2d"), "172800s is out of range 1s-86400s");
    check("weight", json!(-1), "-1 is out of range 0-65535");
    check(
        "health_check_url",
        json!("/health"),
        "\"/health\" is not absolute: write it as \"http://host:port/path\" or \"https://…\"",
    );
    check(
        "health_check_url",
        json!("ftp://a/"),
        "\"ftp://a/\" has another scheme than http or https: write it as \"http://host:port/path\" or \"https://…\"",
    );
    for reserved in ["register", "heartbeat", "discover", "healthy"] {
        let problem = read(&with("service_id", json!(reserved))).unwrap_err();
        assert!(
            problem.errors[0].message.contains("reserved"),
            "{problem:?}"
        );
    }

    #[track_caller]
    fn check(field: &str, value: Value, message: &str) {
        let problem = read(&with(field, value)).unwrap_err();
        assert_eq!(problem.status, 422);
        let refused: Vec<_> = problem
            .errors
            .iter()
            .map(|e| (&*e.field, &*e.message))
            .collect();
        assert_eq!(refused, [(field, message)]);
    }
}

#[test]
fn urls_that_can_not_be_probed_are_refused() {
    for url in [
        "http://",
        "http://a:0/",
        "http://a:70000/",
        "http://u:p@a/",
        "http:///x",
        "a b",
    ] {
        assert!(
            read(&with("health_check_url", json!(url))).is_err(),
            "{url}"
        );
    }
    for url in [
        "http://a",
        "https://a:1/x?y=1",
        "http://[::1]:80/",
        "HTTP://a/",
    ] {
        assert!(read(&with("health_check_url", json!(url))).is_ok(), "{url}");
    }
}

#[test]
fn every_wrong_field_is_named_at_once() {
    let problem = read(&json!({"port": 0, "weight": "x", "tags": 1})).unwrap_err();
    let fields: Vec<_> = problem.errors.iter().map(|error| &*error.field).collect();
    assert_eq!(
        fields,
        [
            "service_id",
            "service_name",
            "host",
            "port",
            "tags",
            "weight"
        ]
    );
}

#[test]
fn unknown_fields_are_named_but_fields_of_our_answers_are_not() {
    let mut body = least();
    for own in [
        "status",
        "registered_at",
        "last_heartbeat",
        "revision",
        "override",
    ] {
        body[own] = json!("whatever");
    }
    body["colour"] = json!("blue");
    body["ttl"] = json!("300s");
    body["incarnation"] = json!(17);
    let parsed = read(&body).unwrap();
    assert_eq!(parsed.warnings, ["unknown field \"colour\" was ignored"]);
    assert_eq!(parsed.incarnation, Some(17));
}

#[test]
fn an_instance_without_checks_and_heartbeats_has_a_warning() {
    let check = |field: &str, value: Value, expected: usize| {
        let parsed = read(&with(field, value)).unwrap();
        assert_eq!(
            parsed.warnings.len(),
            expected,
            "{field}: {:?}",
            parsed.warnings
        );
        if let Some(warning) = parsed.warnings.first() {
            assert!(warning.contains("no check"), "{warning}");
        }
    };
    check("zone", json!("a"), 1);
    check("ttl", Value::Null, 1);
    check("checks", json!([]), 1);
    check("health_check_url", json!(""), 1);
    check("ttl", json!("300s"), 0);
    check("lease", json!("connection"), 0);
    check("checks", json!([{"type": "ttl"}]), 0);
    check("health_check_url", json!("http://a/"), 0);
}

#[test]
fn metadata_is_limited_in_size_and_depth() {
    let large = json!({"a": "x".repeat(70_000)});
    assert!(read(&with("metadata", large)).is_err());
    let deep = format!(
        "{{\"service_id\":\"a\",\"service_name\":\"a\",\"host\":\"h\",\"port\":1,\"metadata\":{{\"a\":{}{}}}}}",
        "[".repeat(20_000),
        "]".repeat(20_000)
    );
    let problem = registration(deep.as_bytes(), &Defaults::default()).unwrap_err();
    assert_eq!(problem.errors[0].field, "metadata");
}

/// The instance a registration becomes.
pub(in crate::api) fn made_of(registration: Registration) -> Instance {
    Instance {
        registration: Arc::new(registration),
        observed: Status::Healthy,
        overridden: None,
        lease: Lease::Running,
        registered_at: Timestamp(1),
        revision: Revision(7),
        incarnation: 3,
        reason: None,
        owner: None,
        last_seen: Arc::new(LastSeen::new(0)),
        bytes: 0,
        encoded: std::sync::OnceLock::new(),
    }
}

fn encoded(registration: Registration) -> Vec<u8> {
    let mut out = Vec::new();
    api::instance(&mut out, &made_of(registration), Timestamp(2));
    out
}

fn texts() -> impl Strategy<Value = String> {
    // Whatever a label may have: no control characters.
    "[ -~é漢\\\\\"]{0,20}"
}

fn checks() -> impl Strategy<Value = Vec<Value>> {
    let check = prop_oneof![
        Just(json!({"type": "ttl", "interval": "1500ms"})),
        Just(json!({"type": "tcp", "address": "[::1]:80"})),
        (0_u16..2, any::<bool>()).prop_map(|(n, tls)| {
            json!({"type": "grpc", "name": format!("g{n}"), "tls": tls, "service": "a.B"})
        }),
        ("/[a-z]{0,8}", 1_u32..9).prop_map(|(path, n)| {
            json!({"type": "http", "path": path, "unhealthy_after": n, "expected": [200, "3xx", "400-404"],
                "headers": {"X-A": "b", "accept": "*/*"}, "method": "head"})
        }),
    ];
    prop::collection::vec(check, 0..4)
}

const FIELDS: &[&str] = &[
    "service_id",
    "service_name",
    "host",
    "port",
    "metadata",
    "health_check_url",
    "tags",
    "version",
    "ttl",
    "lease",
    "weight",
    "zone",
    "checks",
    "incarnation",
];

proptest! {
    #[test]
    fn an_answered_instance_can_be_registered_again(
        id in "[a-z/%é]{1,20}",
        port in 1_u16..,
        zone in proptest::option::of(texts()),
        tags in prop::collection::vec(texts(), 0..4),
        version in texts(),
        weight: u16,
        lease in prop::sample::select(&["ttl", "connection"]),
        ttl_ms in 1_000_u64..86_400_000,
        key in texts(),
        value in texts(),
        checks in checks(),
    ) {
        let id = format!("id{id}");
        let body = json!({
            "service_id": id, "service_name": "a", "host": "10.0.0.1", "port": port, "zone": zone,
            "tags": tags, "version": version, "weight": weight, "ttl": format!("{ttl_ms}ms"), "lease": lease,
            "metadata": {key: [value, 1.5, null]}, "checks": checks,
            "health_check_url": "http://10.0.0.1/x",
        });
        // Two checks of one name are refused, and are no matter of this test.
        if let Ok(first) = read(&body) {
            let answered = encoded(first.registration.clone());
            let second = registration(&answered, &Defaults::default()).unwrap();
            prop_assert!(second.warnings.is_empty(), "{:?}", second.warnings);
            prop_assert!(first.registration.same_as(&second.registration));
            let shape: api::InstanceJson = serde_json::from_slice(&answered).unwrap();
            prop_assert_eq!(shape.service_id, id);
        } else {
            prop_assert!(checks.len() > 1);
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = registration(&bytes, &Defaults::default());
    }

    #[test]
    fn arbitrary_values_do_not_panic(
        field in prop::sample::select(FIELDS),
        value in r#"-?[0-9]{0,25}(\.[0-9]{0,5})?|"[ -~]{0,30}"|\[("a",)*1\]|\{"type":"[a-z]{1,5}"\}|[a-z]{1,5}"#,
    ) {
        let body = format!(
            "{{\"service_id\":\"a\",\"service_name\":\"a\",\"host\":\"h\",\"port\":1,\"checks\":[{{\"type\":\"http\",\"{field}\":{value}}}],\"{field}\":{value}}}"
        );
        let _ = registration(body.as_bytes(), &Defaults::default());
    }
}

#[test]
fn a_malformed_incarnation_is_ignored() {
    for (said, read_as) in [
        (json!("7"), Some(7)),
        (json!("x"), None),
        (json!({"a": 1}), None),
        (Value::Null, None),
    ] {
        let mut body = with("incarnation", said.clone());
        body["ttl"] = json!("300s");
        let parsed = read(&body).unwrap();
        assert_eq!(parsed.incarnation, read_as, "{said}");
        assert_eq!(parsed.warnings, Vec::<String>::new(), "{said}");
    }
}

#[test]
fn checks_are_read_behind_a_wrong_address() {
    let mut body = with("checks", json!([{"type": "foo"}, 5]));
    body["host"] = json!("");
    body["port"] = json!(0);
    let problem = read(&body).unwrap_err();
    let named: Vec<_> = problem.errors.iter().map(|error| &*error.field).collect();
    assert_eq!(named, ["host", "port", "checks[0].type", "checks[1]"]);
}

#[test]
fn only_an_ipv6_address_has_colons() {
    for host in ["::1", "[::1]", "fe80::1%eth0", "a-b.c", "127.0.0.1", "ünï"] {
        assert!(read(&with("host", json!(host))).is_ok(), "{host}");
    }
    for host in ["h:80", "127.0.0.1:80", "[::1]:80", "h%41", "::1::2"] {
        let problem = read(&with("host", json!(host))).unwrap_err();
        assert_eq!(problem.errors[0].field, "host", "{host}");
    }
}
