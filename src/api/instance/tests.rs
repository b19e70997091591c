use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    api::{self, Defaults, registration::tests::made_of},
    model::{Instance, Override, OverrideStatus, Registration, Timestamp},
};

fn said() -> Registration {
    let body = json!({
        "service_id": "a \"1\"", "service_name": "a", "host": "h", "port": 1, "metadata": {"b": 1, "a": [2]},
    });
    let body = body.to_string();
    api::registration(body.as_bytes(), &Defaults::default())
        .unwrap()
        .registration
}

fn encoded(instance: &Instance) -> Value {
    let mut out = Vec::new();
    api::instance(&mut out, instance, Timestamp(1000));
    serde_json::from_slice(&out).unwrap()
}

#[test]
fn every_key_is_there() {
    let expected = json!({
        "service_id": "a \"1\"", "service_name": "a", "host": "h", "port": 1,
        "metadata": {"b": 1, "a": [2]}, "health_check_url": null, "tags": [], "version": "1.0.0",
        "ttl": "300s", "lease": "ttl", "weight": 1, "zone": null, "checks": [], "status": "healthy",
        "registered_at": "1970-01-01T00:00:00.001Z", "revision": 7, "incarnation": 3,
        "last_heartbeat": "1970-01-01T00:00:01.000Z",
    });
    assert_eq!(encoded(&made_of(said())), expected);
}

#[test]
fn an_override_has_the_observed_status() {
    let overridden = Override {
        status: OverrideStatus::Stopping,
        reason: Some("move".into()),
        since: Timestamp(5),
    };
    let instance = Instance {
        overridden: Some(Arc::new(overridden)),
        ..made_of(said())
    };
    let value = encoded(&instance);
    assert_eq!(value["status"], "stopping");
    assert_eq!(value["observed_status"], "healthy");
    let expected =
        json!({"status": "stopping", "reason": "move", "since": "1970-01-01T00:00:00.005Z"});
    assert_eq!(value["override"], expected);
    serde_json::from_value::<api::InstanceJson>(value).unwrap();
}

#[test]
fn cached_json_has_no_heartbeat() {
    let instance = made_of(said());
    let mut one = Vec::new();
    api::instance(&mut one, &instance, Timestamp(1000));
    let mut two = Vec::new();
    api::instance(&mut two, &instance, Timestamp(2000));
    assert_ne!(one, two);
    let value: Value = serde_json::from_slice(&two).unwrap();
    assert_eq!(value["last_heartbeat"], "1970-01-01T00:00:02.000Z");
}

#[test]
fn the_answer_to_a_registration_keeps_its_older_text() {
    let answer = |warnings: &[String]| -> Value {
        let answer = api::registered(&made_of(said()), Timestamp(0), warnings);
        serde_json::from_slice(&answer).unwrap()
    };
    let mut expected = json!({
        "message": "Service registered successfully", "service_id": "a \"1\"", "status": "healthy",
        "timestamp": "1970-01-01T00:00:00.000Z", "revision": 7, "incarnation": 3,
    });
    assert_eq!(answer(&[]), expected);
    expected["warnings"] = json!(["w"]);
    assert_eq!(answer(&["w".to_owned()]), expected);
}
