use serde_json::{Value, json};

use super::*;
use crate::{
    model::ServiceName,
    registry::{Config, Registry},
    transport::testing::{draft, registration},
};

fn stage() -> Registry {
    let registry = Registry::new(Config::default());
    for (service, id) in [("a", "a-1"), ("a", "a-2"), ("b", "b-1")] {
        registry.register(registration(service, id), None).unwrap();
    }
    registry.set_route(draft("r", "a")).unwrap();
    registry
}

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn an_event_is_the_body_and_its_cursor_the_delivery() {
    let registry = stage();
    let event = registry
        .since(crate::model::Revision(1), 1)
        .unwrap()
        .remove(0);
    let message = Message::event(&event, registry.clock());
    assert_eq!(message.kind, "registered");
    assert_eq!(message.delivery, format!("{}-2", registry.epoch()));
    let body: Value = serde_json::from_slice(&message.body).unwrap();
    assert_eq!(body["revision"], 2);
    assert_eq!(body["instance"]["service_id"], "a-2");
    // The same bytes as on every other way out.
    let again = Message::event(&event, registry.clock());
    assert_eq!(message.body.as_ptr(), again.body.as_ptr());
}

#[test]
fn a_resync_has_an_events_shape_and_the_whole_state() {
    let registry = stage();
    let message = Message::resync(&Snapshot::take(&registry, None), registry.clock());
    assert_eq!(message.kind, "resync");
    assert_eq!(message.delivery, format!("{}-4-resync", registry.epoch()));
    let body: Value = serde_json::from_slice(&message.body).unwrap();
    let event = registry
        .since(crate::model::Revision(1), 1)
        .unwrap()
        .remove(0);
    let event = Message::event(&event, registry.clock());
    let event: Value = serde_json::from_slice(&event.body).unwrap();
    let mut expected = keys(&event);
    expected.push("snapshot");
    expected.sort_unstable();
    let mut found = keys(&body);
    found.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(body["event"], "resync");
    for null in [
        "revision",
        "service_id",
        "service_name",
        "instance",
        "route",
    ] {
        assert_eq!(body[null], Value::Null, "{null}");
    }
    let snapshot = &body["snapshot"];
    assert_eq!(snapshot["revision"], 4);
    assert_eq!(snapshot["cursor"], format!("{}-4", registry.epoch()));
    assert_eq!(snapshot["services"]["a"].as_array().unwrap().len(), 2);
    assert_eq!(snapshot["services"]["b"][0]["service_id"], "b-1");
    assert_eq!(snapshot["routes"][0]["route_id"], "r");
}

#[test]
fn a_resync_of_one_service_holds_no_other_and_no_routes() {
    let registry = stage();
    for (name, instances) in [("b", 1), ("nobody", 0)] {
        let service = ServiceName::parse(name).unwrap();
        let snapshot = Snapshot::take(&registry, Some(&service));
        let message = Message::resync(&snapshot, registry.clock());
        let body: Value = serde_json::from_slice(&message.body).unwrap();
        assert_eq!(body["service_name"], name);
        assert_eq!(body["snapshot"]["routes"], json!(null));
        let services = body["snapshot"]["services"].as_object().unwrap();
        let count: usize = services
            .values()
            .map(|list| list.as_array().unwrap().len())
            .sum();
        assert_eq!(count, instances, "{name}");
    }
}
