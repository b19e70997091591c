use std::{borrow::Cow, time::Duration};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{CheckRequest, CheckVerdict};
use crate::{
    api::{self, Defaults},
    model::{CheckOutcome, Timestamp},
};

fn request() -> Value {
    json!({
        "service_id": "a", "incarnation": 3, "deadline": "2026-11-23T14:39:00.123Z",
        "check": {"type": "http", "name": "web", "url": "http://10.0.0.1/up", "timeout": "2s"},
    })
}

fn verdict() -> Value {
    json!({
        "service_id": "a", "incarnation": 3, "check": "web", "outcome": "passed", "latency_ms": 1.5,
        "at": "2026-11-23T14:39:00.123Z",
    })
}

fn with(mut body: Value, field: &str, value: Value) -> Vec<u8> {
    body[field] = value;
    body.to_string().into_bytes()
}

#[test]
fn a_probe_request_has_every_field() {
    let read = CheckRequest::read(request().to_string().as_bytes()).unwrap();
    assert_eq!((read.service_id.as_str(), read.incarnation), ("a", 3));
    assert_eq!(
        (&*read.check.name, read.check.timeout),
        ("web", Duration::from_secs(2))
    );
    assert_eq!(read.deadline.to_string(), "2026-11-23T14:39:00.123Z");
}

#[test]
fn every_check_of_a_registration_is_written_and_read_back() {
    let body = json!({
        "service_id": "a", "service_name": "a", "host": "::1", "port": 80, "checks": [
            {"type": "http", "path": "/up", "headers": {"X-A": "b"}, "expected": ["2xx", 404]},
            {"type": "tcp"}, {"type": "grpc", "tls": true, "service": "a.B"},
        ],
    });
    let parsed = api::registration(body.to_string().as_bytes(), &Defaults::default()).unwrap();
    let registration = &parsed.registration;
    for check in &registration.checks {
        let written = CheckRequest {
            service_id: registration.service_id.clone(),
            incarnation: 7,
            check: Cow::Borrowed(check),
            deadline: Timestamp(1_700_000_000_123),
        }
        .to_json();
        let read = CheckRequest::read(&written).unwrap();
        assert_eq!(*read.check, *check);
        assert_eq!(
            (read.incarnation, read.deadline),
            (7, Timestamp(1_700_000_000_123))
        );
    }
}

#[test]
fn an_incomplete_probe_request_is_refused() {
    check("service_id", json!(""), "service_id");
    check("service_id", Value::Null, "service_id");
    check("incarnation", json!(-1), "incarnation");
    check("deadline", json!("soon"), "deadline");
    check("deadline", json!([]), "deadline");
    check("check", Value::Null, "check");
    check("check", json!("web"), "check");
    check("check", json!({"type": "icmp"}), "check.type");
    check(
        "check",
        json!({"type": "http", "path": "/up"}),
        "check.path",
    );
    check("check", json!({"type": "tcp"}), "check.address");
    check(
        "check",
        json!({"type": "grpc", "service": "a"}),
        "check.address",
    );

    #[track_caller]
    fn check(field: &str, value: Value, named: &str) {
        let problem = CheckRequest::read(&with(request(), field, value)).unwrap_err();
        assert_eq!(problem.status, 422);
        assert_eq!(problem.errors[0].field, named);
    }
}

#[test]
fn a_verdict_is_read_leniently() {
    check("outcome", json!("Timed-Out"), |read| {
        read.outcome == CheckOutcome::TimedOut
    });
    check("latency_ms", json!("12.25"), |read| {
        read.latency == Duration::from_micros(12_250)
    });
    check("latency_ms", Value::Null, |read| read.latency.is_zero());
    check("incarnation", json!("3"), |read| read.incarnation == 3);
    check("at", json!("2026-11-23T15:39:00+01:00"), |read| {
        read.at.unwrap().to_string() == "2026-11-23T14:39:00.000Z"
    });
    check("at", Value::Null, |read| read.at.is_none());
    check("message", json!("two\nlines"), |read| {
        &*read.message == "two\nlines"
    });
    check("message", json!("é".repeat(9_000)), |read| {
        read.message.len() <= 4096
    });
    check("colour", json!(1), |read| &*read.check == "web");

    #[track_caller]
    fn check(field: &str, value: Value, holds: impl Fn(&CheckVerdict) -> bool) {
        let read = CheckVerdict::read(&with(verdict(), field, value)).unwrap();
        assert!(holds(&read), "{read:?}");
    }
}

#[test]
fn a_verdict_without_an_outcome_is_refused() {
    for (field, value) in [
        ("outcome", json!("fine")),
        ("outcome", Value::Null),
        ("check", Value::Null),
        ("service_id", json!({})),
        ("incarnation", Value::Null),
        ("latency_ms", json!(-1)),
        ("latency_ms", json!("NaN")),
        ("latency_ms", json!("1e300")),
        ("at", json!("noon")),
    ] {
        let problem = CheckVerdict::read(&with(verdict(), field, value)).unwrap_err();
        assert_eq!((problem.status, &*problem.errors[0].field), (422, field));
    }
    let all = CheckVerdict::read(b"{}").unwrap_err().errors.len();
    assert_eq!(all, 4, "every field that is missing");
    assert!(CheckVerdict::read(b"[]").is_err() && CheckVerdict::read(b"\xff").is_err());
}

#[test]
fn a_verdict_is_written_strictly() {
    let mut read = CheckVerdict::read(verdict().to_string().as_bytes()).unwrap();
    let written: Value = serde_json::from_slice(&read.to_json()).unwrap();
    assert_eq!(written, verdict());
    read.message = "200 OK".into();
    let written: Value = serde_json::from_slice(&read.to_json()).unwrap();
    assert_eq!(written["message"], "200 OK");
    assert_eq!(CheckVerdict::read(&read.to_json()).unwrap(), read);
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (CheckVerdict::read(&bytes), CheckRequest::read(&bytes));
    }
}
