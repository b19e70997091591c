use serde_json::{Value, json};

use super::*;
use crate::{
    model::ServiceName,
    registry::{Config, Registry},
    transport::{
        Filter,
        testing::{draft, registration},
    },
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
    let message = DeliveryMessage::event(&event, registry.clock());
    assert_eq!(message.kind, "registered");
    assert_eq!(message.delivery, format!("{}-2", registry.epoch()));
    let body: Value = serde_json::from_slice(&message.body).unwrap();
    assert_eq!(body["revision"], 2);
    assert_eq!(body["instance"]["service_id"], "a-2");
    // The same bytes as on every other way out.
    let again = DeliveryMessage::event(&event, registry.clock());
    assert_eq!(message.body.as_ptr(), again.body.as_ptr());
}

#[test]
fn a_resync_has_the_keys_of_an_event_and_a_snapshot() {
    let registry = stage();
    let message = DeliveryMessage::resync(
        &FeedSnapshot::take(&registry, &Filter::default()),
        registry.clock(),
    );
    assert_eq!(message.kind, "resync");
    assert_eq!(message.delivery, format!("{}-4-resync", registry.epoch()));
    let body: Value = serde_json::from_slice(&message.body).unwrap();
    let event = registry
        .since(crate::model::Revision(1), 1)
        .unwrap()
        .remove(0);
    let event = DeliveryMessage::event(&event, registry.clock());
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
        let snapshot = FeedSnapshot::take(&registry, &Filter::of(service.clone()));
        let message = DeliveryMessage::resync(&snapshot, registry.clock());
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

#[test]
fn a_service_that_is_too_large_comes_in_parts() {
    const BODY_MAX: usize = 2_000;
    let registry = Registry::new(Config::default());
    for id in 0..30 {
        let one = registration("large", &format!("large-{id}"));
        registry.register(one, None).unwrap();
    }
    let snapshot = FeedSnapshot::take(&registry, &Filter::default());
    let name = ServiceName::parse("large").unwrap();
    let service = registry.service("large").unwrap();
    let view = service.view();
    let cut = |body_max| {
        DeliveryMessage::resync_of(&snapshot, &name, Some(&view), body_max, registry.clock())
    };
    let [whole] = &cut(1 << 20)[..] else {
        panic!("it fits into one");
    };
    assert_eq!(whole.delivery, format!("{}-30-resync", registry.epoch()));
    let body: Value = serde_json::from_slice(&whole.body).unwrap();
    assert_eq!((body.get("part"), body.get("parts")), (None, None));
    let all = &body["snapshot"]["services"]["large"];

    let parts = cut(BODY_MAX);
    assert!(parts.len() > 2, "{}", parts.len());
    let mut joined = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        assert!(part.body.len() <= BODY_MAX, "{}", part.body.len());
        assert_eq!(part.delivery, format!("{}-{}", whole.delivery, at + 1));
        let body: Value = serde_json::from_slice(&part.body).unwrap();
        assert_eq!(
            (&body["part"], &body["parts"]),
            (&json!(at + 1), &json!(parts.len()))
        );
        assert_eq!(body["event"], "resync");
        let share = body["snapshot"]["services"]["large"].as_array().unwrap();
        joined.extend(share.iter().cloned());
    }
    assert_eq!(&json!(joined), all, "each once, in order");
    assert_eq!(cut(1).len(), 30, "an instance is not cut");
}

#[test]
fn routes_that_are_too_large_come_in_parts_and_nothing_in_one() {
    let registry = stage();
    for id in 0..20 {
        let route = draft(&format!("r-{id}"), "a");
        registry.set_route(route).unwrap();
    }
    let snapshot = FeedSnapshot::take(&registry, &Filter::default());
    let parts = DeliveryMessage::resync_of_routes(&snapshot, 2_000, registry.clock());
    let shares = parts.iter().map(|part| {
        let body: Value = serde_json::from_slice(&part.body).unwrap();
        assert_eq!(body["snapshot"]["services"], json!({}));
        body["snapshot"]["routes"].as_array().unwrap().len()
    });
    let shares: Vec<_> = shares.collect();
    assert!(shares.len() > 1, "{shares:?}");
    assert_eq!(shares.iter().sum::<usize>(), 21);
    let name = ServiceName::parse("nobody").unwrap();
    let gone = DeliveryMessage::resync_of(&snapshot, &name, None, 1, registry.clock());
    let body: Value = serde_json::from_slice(&gone[0].body).unwrap();
    assert_eq!((gone.len(), &body["snapshot"]["services"]), (1, &json!({})));
}
