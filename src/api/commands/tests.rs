use serde_json::{Value, json};

use super::{BatchHeartbeat, InstanceCommand, OverrideDraft, batch_verdicts};
use crate::model::{OverrideStatus, Timestamp};

#[test]
fn a_command_names_an_instance() {
    let (command, warnings) =
        InstanceCommand::read(br#"{"service_id": 5, "incarnation": "7", "x": 1}"#).unwrap();
    let warnings: Vec<_> = warnings.sentences().collect();
    assert!(
        warnings.len() == 1 && warnings[0].contains("\"x\""),
        "{warnings:?}"
    );
    assert_eq!((&*command.service_id, command.incarnation), ("5", Some(7)));
    assert!(InstanceCommand::read(b"{}").is_err());
    assert!(InstanceCommand::read(br#"{"service_id":"a","incarnation":-1}"#).is_err());
}

#[test]
fn an_override_is_one_of_two() {
    let (draft, _) = OverrideDraft::read(br#"{"status":"Stopping","reason":""}"#).unwrap();
    assert_eq!(
        (draft.status, draft.reason),
        (OverrideStatus::Stopping, None)
    );
    let (draft, _) = OverrideDraft::read(br#"{"status":"unhealthy","reason":"r"}"#).unwrap();
    assert_eq!(draft.reason.as_deref(), Some("r"));
    for body in [
        r#"{"status":"healthy"}"#,
        "{}",
        r#"{"status":"stopping","reason":"a\nb"}"#,
    ] {
        assert!(OverrideDraft::read(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn a_batch_is_limited_and_every_wrong_item_named() {
    let (batch, _) = BatchHeartbeat::read(br#"{"service_ids":["a",2]}"#).unwrap();
    assert_eq!(batch.service_ids, ["a", "2"]);
    let problem = BatchHeartbeat::read(br#"{"service_ids":[[],"a",{}]}"#).unwrap_err();
    let fields: Vec<_> = problem.errors.iter().map(|error| &*error.field).collect();
    assert_eq!(fields, ["service_ids[0]", "service_ids[2]"]);
    let many = json!({"service_ids": vec!["a"; 10_001]}).to_string();
    assert!(BatchHeartbeat::read(many.as_bytes()).is_err());
    let wrong = json!({"service_ids": vec![true; 10_000]}).to_string();
    let problem = BatchHeartbeat::read(wrong.as_bytes()).unwrap_err();
    assert!(problem.errors.len() <= 20);
}

#[test]
fn each_id_has_a_verdict() {
    let verdicts = [("a", Ok(())), ("b", Err("Service not found".to_owned()))];
    let answer = batch_verdicts(verdicts.into_iter(), Timestamp(0));
    let expected = json!({
        "results": [
            {"service_id": "a", "ok": true, "detail": "Heartbeat received"},
            {"service_id": "b", "ok": false, "detail": "Service not found"},
        ],
        "received": 1, "refused": 1, "timestamp": "1970-01-01T00:00:00.000Z",
    });
    assert_eq!(serde_json::from_slice::<Value>(&answer).unwrap(), expected);
}
