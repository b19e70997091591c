use serde_json::{Value, json};

use super::patch as read_patch;
use crate::{
    api::{Defaults, Problem, Warnings},
    model::{Patch, Registration},
};

fn known() -> Registration {
    let body =
        br#"{"service_id":"a","service_name":"a","host":"h","port":1,"tags":["x"],"weight":5,
        "metadata":{"zone":"eu","n":12345678901234567890123,"deep":{"a":1,"b":2}}}"#;
    crate::api::registration(body, &Defaults::default())
        .unwrap()
        .registration
}

fn read(patch: &Value) -> Result<(Patch, Warnings), Problem> {
    read_patch("a", patch.to_string().as_bytes(), &Defaults::default())
}

#[track_caller]
fn patched(patch: &Value) -> Registration {
    let (patch, warnings) = read(patch).unwrap();
    assert!(warnings.0.is_empty(), "{warnings:?}");
    patch.apply(&known()).unwrap()
}

#[test]
fn metadata_is_merged_and_keeps_its_digits() {
    let said = patched(&json!({"metadata": {"zone": null, "deep": {"a": null, "c": 3}}}));
    assert_eq!(
        said.metadata.as_str(),
        r#"{"deep":{"b":2,"c":3},"n":12345678901234567890123}"#
    );
    assert_eq!(
        (said.tags.len(), said.weight),
        (1, 5),
        "other fields keep their values"
    );
}

#[test]
fn tags_and_weight_are_replaced_or_reset() {
    let said = patched(&json!({"tags": ["y", "z"], "weight": "7"}));
    assert_eq!((said.tags.len(), said.weight), (2, 7));
    let said = patched(&json!({"tags": null, "weight": null, "metadata": null}));
    assert_eq!((said.tags.len(), said.weight), (0, 1));
    assert_eq!(said.metadata.as_str(), "{}");
    assert!(patched(&json!({"revision": 1})).same_as(&known()));
}

#[test]
fn other_fields_and_wrong_values_are_refused() {
    check(&json!({"host": "b"}), "host");
    check(&json!({"zone": null}), "zone");
    check(&json!({"service_id": "b"}), "service_id");
    check(&json!({"weight": 70000}), "weight");
    check(&json!({"tags": "x"}), "tags");
    check(&json!({"metadata": [1]}), "metadata");

    #[track_caller]
    fn check(patch: &Value, field: &str) {
        let problem = read(patch).unwrap_err();
        assert_eq!(problem.errors[0].field, field);
    }
}

#[test]
fn unknown_fields_are_named_and_answered_fields_are_not() {
    let patch = json!({"service_id": "a", "status": "healthy", "colour": 1, "weight": 2});
    let (patch, warnings) = read(&patch).unwrap();
    assert_eq!(patch.apply(&known()).unwrap().weight, 2);
    let answer = warnings.added_to(&b"{}"[..]);
    assert_eq!(
        serde_json::from_slice::<Value>(&answer).unwrap(),
        json!({"warnings": ["unknown field \"colour\" was ignored"]})
    );
}

#[test]
fn every_field_that_can_not_be_patched_is_named() {
    let registration = json!({
        "service_id": "a", "service_name": "a", "host": "h", "port": 1, "health_check_url": null,
        "version": "1", "ttl": "1s", "lease": "ttl", "zone": "z", "checks": [],
    });
    let problem = read(&registration).unwrap_err();
    let named: Vec<_> = problem.errors.iter().map(|error| &*error.field).collect();
    assert_eq!(named, super::LASTING);
}
