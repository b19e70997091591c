use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    api::{self, Defaults, Problem},
    model::{Check, CheckKind, HttpCheck},
};

fn read(checks: Value) -> Result<Vec<Check>, Problem> {
    let body = json!({
        "service_id": "a-1", "service_name": "a", "host": "::1", "port": 8080, "checks": checks,
    });
    let parsed = api::registration(body.to_string().as_bytes(), &Defaults::default())?;
    Ok(parsed.registration.checks.into())
}

#[test]
fn a_check_path_or_port_uses_the_instances_host() {
    let checks = read(json!([
        {"type": "http", "path": "/up?x=1"},
        {"type": "tcp"},
        {"type": "grpc", "service": "a.B", "tls": "yes"},
        {"type": "ttl", "interval": 10},
    ]))
    .unwrap();
    let CheckKind::Http(http) = &checks[0].kind else {
        panic!("{checks:?}");
    };
    assert_eq!(&*http.url, "http://[::1]:8080/up?x=1");
    assert_eq!((&*http.method, &*http.expected), ("GET", &[200..=299][..]));
    assert_eq!(
        checks[1].kind,
        CheckKind::Tcp {
            host: "::1".into(),
            port: 8080
        }
    );
    assert!(matches!(&checks[2].kind, CheckKind::Grpc { tls: true, .. }));
    assert_eq!(checks[3].interval.as_secs(), 10);
    assert_eq!(
        (checks[0].interval.as_secs(), checks[0].timeout.as_secs()),
        (30, 5)
    );
    assert_eq!((checks[0].healthy_after, checks[0].unhealthy_after), (1, 3));
}

#[test]
fn checks_without_a_name_get_one() {
    let checks = read(json!([
        {"type": "tcp"}, {"type": "tcp"}, {"type": "tcp", "name": "tcp-3"}, {"type": "tcp"},
    ]))
    .unwrap();
    let names: Vec<_> = checks.iter().map(|check| &*check.name).collect();
    assert_eq!(names, ["tcp", "tcp-2", "tcp-3", "tcp-4"]);
}

#[test]
fn expected_codes() {
    check(json!(200), Some(vec![200..=200]));
    check(json!("2xx"), Some(vec![200..=299]));
    check(
        json!([204, "3XX", "400-404"]),
        Some(vec![204..=204, 300..=399, 400..=404]),
    );
    check(json!([]), None);
    check(json!(["6xx"]), None);
    check(json!(["299-200"]), None);
    check(json!([99]), None);
    check(json!([600]), None);
    check(json!(["ok"]), None);
    check(json!([true]), None);

    #[track_caller]
    fn check(expected: Value, ranges: Option<Vec<std::ops::RangeInclusive<u16>>>) {
        let checks = read(json!([{"type": "http", "path": "/", "expected": expected}]));
        let read = checks.ok().map(|checks| match &checks[0].kind {
            CheckKind::Http(http) => http.expected.to_vec(),
            other => panic!("{other:?}"),
        });
        assert_eq!(read, ranges);
    }
}

#[test]
fn the_fault_is_named_with_its_place() {
    check(
        json!({"type": "icmp"}),
        "checks[0].type",
        "\"icmp\" is not one of http, tcp, grpc, ttl, udp, h2ping, alias",
    );
    check(json!({}), "checks[0].type", "is required");
    check(json!(1), "checks[0]", "must be a JSON object, not 1");
    check(
        json!({"type": "http"}),
        "checks[0].url",
        "is required, or \"path\" for one of the instance's own",
    );
    check(
        json!({"type": "http", "path": "up"}),
        "checks[0].path",
        "\"up\" must start with \"/\"",
    );
    check(
        json!({"type": "ttl", "interval": "1ms"}),
        "checks[0].interval",
        "1ms is out of range 100ms-86400s",
    );
    check(
        json!({"type": "tcp", "address": "db"}),
        "checks[0].address",
        "\"db\" is not an address: write it as \"host:port\"",
    );
    check(
        json!({"type": "tcp", "address": "db:0"}),
        "checks[0].address",
        "port 0 is out of range 1-65535",
    );
    check(
        json!({"type": "http", "path": "/", "headers": {"a b": "c"}}),
        "checks[0].headers",
        "\"a b\" is not a header HTTP can carry",
    );
    check(
        json!({"type": "http", "path": "/", "method": "CONNECT"}),
        "checks[0].method",
        "\"CONNECT\" is not a usable method",
    );
    check(
        json!({"type": "ttl", "unhealthy_after": 0}),
        "checks[0].unhealthy_after",
        "0 is out of range 1-100",
    );

    #[track_caller]
    fn check(item: Value, field: &str, message: &str) {
        let problem = read(json!([item])).unwrap_err();
        let reported: Vec<_> = problem
            .errors
            .iter()
            .map(|e| (&*e.field, &*e.message))
            .collect();
        assert_eq!(reported, [(field, message)]);
    }
}

#[test]
fn names_are_unique_and_checks_few() {
    let twice = json!([{"type": "ttl", "name": "a"}, {"type": "tcp", "name": "a"}]);
    assert_eq!(read(twice).unwrap_err().errors[0].field, "checks[1].name");
    let many = Value::Array(vec![json!({"type": "ttl"}); 17]);
    let problem = read(many).unwrap_err();
    assert_eq!(
        problem.errors[0].message,
        "has 17 items, at most 16 are allowed"
    );
    assert_eq!(
        read(Value::Array(vec![json!({"type": "ttl"}); 16]))
            .unwrap()
            .len(),
        16
    );
}

#[test]
fn values_beyond_the_limits_have_a_warning() {
    let defaults = Defaults {
        interval_min: Duration::from_secs(1),
        timeout_max: Duration::from_secs(30),
        ..Defaults::default()
    };
    let body = json!({
        "service_id": "a-1", "service_name": "a", "host": "::1", "port": 8080,
        "checks": [{"type": "tcp", "interval": "200ms"}, {"type": "tcp", "timeout": "60s"}, {"type": "tcp"}],
    });
    let parsed = api::registration(body.to_string().as_bytes(), &defaults).unwrap();
    let expected = [
        "\"checks[0].interval\" is below health.interval_min: it is probed every 1s",
        "\"checks[1].timeout\" is above health.timeout_max: a probe may take 30s",
    ];
    assert_eq!(parsed.warnings, expected);
}

#[test]
fn a_misspelt_field_is_named() {
    let body = json!({
        "service_id": "a-1", "service_name": "a", "host": "::1", "port": 8080,
        "checks": [{"type": "ttl"}, {"type": "ttl", "intervall": 1}], "colour": "blue",
    });
    let parsed = api::registration(body.to_string().as_bytes(), &Defaults::default()).unwrap();
    let expected = [
        "unknown field \"colour\" was ignored",
        "unknown field \"checks[1].intervall\" was ignored",
    ];
    assert_eq!(parsed.warnings, expected);
}

#[test]
fn fields_of_another_type_of_check_are_named() {
    #[track_caller]
    fn check(item: Value, expected: &[&str]) {
        let body = json!({
            "service_id": "a-1", "service_name": "a", "host": "::1", "port": 8080, "checks": [item],
        });
        let parsed = api::registration(body.to_string().as_bytes(), &Defaults::default()).unwrap();
        let named = expected
            .iter()
            .map(|field| format!("\"checks[0].{field}\""));
        assert_eq!(
            parsed.warnings.len(),
            expected.len(),
            "{:?}",
            parsed.warnings
        );
        for name in named {
            let warned = parsed.warnings.iter().any(|one| one.starts_with(&name));
            assert!(warned, "{name}: {:?}", parsed.warnings);
        }
    }
    check(json!({"type": "tcp", "url": "tcp://127.0.0.1:1"}), &["url"]);
    check(
        json!({"type": "tcp", "path": "/", "expected": [204], "method": "HEAD", "headers": {}}),
        &["path", "expected", "method", "headers"],
    );
    check(
        json!({"type": "tcp", "address": "h:1", "tls": true}),
        &["tls"],
    );
    check(
        json!({"type": "grpc", "service": "a", "url": "http://a/"}),
        &["url"],
    );
    check(
        json!({"type": "http", "path": "/", "address": "h:1"}),
        &["address"],
    );
    check(
        json!({"type": "http", "url": "http://a/", "path": "/"}),
        &["path"],
    );
    check(
        json!({"type": "ttl", "address": "h:1", "service": "a"}),
        &["address", "service"],
    );
    check(json!({"type": "ttl", "url": null, "interval": "5s"}), &[]);
    check(
        json!({"type": "grpc", "tls": true, "tls_skip_verify": true}),
        &[],
    );
}

/// A refusal or the check, with and without `health.unsafe_requests`.
fn read_with(unsafe_requests: bool, check: &Value) -> Result<HttpCheck, Problem> {
    let defaults = Defaults {
        unsafe_requests,
        ..Defaults::default()
    };
    let body = json!({
        "service_id": "a-1", "service_name": "a", "host": "a", "port": 1, "checks": [check],
    });
    let parsed = api::registration(body.to_string().as_bytes(), &defaults)?;
    match &parsed.registration.checks[0].kind {
        CheckKind::Http(http) => Ok(HttpCheck::clone(http)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn unsafe_requests_need_a_key() {
    for (field, value, is_unsafe) in [
        ("method", json!("get"), false),
        ("method", json!("HEAD"), false),
        ("method", json!("POST"), true),
        ("method", json!("delete"), true),
        ("method", json!("OPTIONS"), true),
        (
            "headers",
            json!({"accept": "text/plain", "x-own": "1"}),
            false,
        ),
        ("headers", json!({"x-own": "1", "Host": "internal"}), true),
        ("headers", json!({"AUTHORIZATION": "Basic eA=="}), true),
        ("headers", json!({"proxy-authorization": "x"}), true),
        ("headers", json!({"cookie": "session=1"}), true),
        ("headers", json!({"X-HTTP-Method-Override": "DELETE"}), true),
    ] {
        let mut check = json!({"type": "http", "path": "/"});
        check[field] = value;
        let allowed = read_with(true, &check);
        allowed.unwrap_or_else(|problem| panic!("{check}: {problem:?}"));
        match read_with(false, &check) {
            Ok(_) => assert!(!is_unsafe, "{check} is accepted"),
            Err(problem) => {
                assert!(is_unsafe, "{check}: {problem:?}");
                let error = &problem.errors[0];
                assert_eq!(error.field, format!("checks[0].{field}"));
                assert!(
                    error.message.contains("health.unsafe_requests"),
                    "{error:?}"
                );
            }
        }
    }
}

#[test]
fn redirects_are_counted_from_none_to_five() {
    for (value, expected) in [
        (json!(null), Some(0)),
        (json!(0), Some(0)),
        (json!("5"), Some(5)),
        (json!(6), None),
        (json!(-1), None),
        (json!("many"), None),
    ] {
        let check = json!({"type": "http", "path": "/", "redirects": value});
        let read = read_with(false, &check).map(|http| http.redirects);
        assert_eq!(read.ok(), expected, "{check}");
    }
}

#[test]
fn in_a_container_a_check_of_the_container_itself_is_named() {
    let warnings = |in_container, url: &str, check: Value| {
        let defaults = Defaults {
            in_container,
            ..Defaults::default()
        };
        let body = json!({
            "service_id": "a-1", "service_name": "a", "host": "127.0.0.1", "port": 1,
            "health_check_url": url, "checks": [check],
        });
        let parsed = api::registration(body.to_string().as_bytes(), &defaults);
        parsed.unwrap().warnings
    };
    for (check, field) in [
        (json!({"type": "tcp"}), Some("type")),
        (json!({"type": "http", "path": "/"}), Some("path")),
        (
            json!({"type": "http", "url": "http://localhost:80/"}),
            Some("url"),
        ),
        (json!({"type": "http", "url": "http://[::1]/"}), Some("url")),
        (
            json!({"type": "grpc", "address": "0.0.0.0:1"}),
            Some("address"),
        ),
        (
            json!({"type": "tcp", "address": "a.localhost:1"}),
            Some("address"),
        ),
        (json!({"type": "tcp", "address": "10.0.0.1:1"}), None),
        (
            json!({"type": "http", "url": "http://host.docker.internal/"}),
            None,
        ),
        (json!({"type": "ttl"}), None),
    ] {
        let reported = warnings(true, "", check.clone());
        assert_eq!(
            reported.len(),
            usize::from(field.is_some()),
            "{check}: {reported:?}"
        );
        if let Some(field) = field {
            let begins = format!("\"checks[0].{field}\" is an address of the container");
            assert!(reported[0].starts_with(&begins), "{reported:?}");
        }
        assert!(warnings(false, "", check).is_empty());
    }
    let reported = warnings(true, "http://127.0.0.1:8000/", json!({"type": "ttl"}));
    assert!(
        reported[0].starts_with("\"health_check_url\" is an address"),
        "{reported:?}"
    );
}
