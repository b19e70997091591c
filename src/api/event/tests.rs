use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::{
    api::{self, Defaults, Notice, SnapshotBody, registration::tests::made_of},
    model::{
        Cursor, Epoch, Event, EventKind, Instance, Revision, Route, RouteId, ServiceId,
        ServiceName, Status, Timestamp,
    },
};

fn instance() -> Arc<Instance> {
    let body = br#"{"service_id":"a-1","service_name":"a","host":"h","port":1}"#;
    let parsed = api::registration(body, &Defaults::default()).unwrap();
    Arc::new(made_of(parsed.registration))
}

fn route() -> Arc<Route> {
    Arc::new(Route {
        route_id: RouteId::parse("r").unwrap(),
        path_prefix: "/api".into(),
        service_name: ServiceName::parse("a").unwrap(),
        strip_prefix: true,
        methods: ["GET".into()].into(),
        priority: -1,
        revision: Revision(9),
        encoded: OnceLock::new(),
    })
}

fn event() -> Event {
    Event {
        epoch: Epoch(0xabc),
        revision: Revision(7),
        kind: EventKind::Unhealthy,
        service_id: Some(ServiceId::parse("a-1").unwrap()),
        service_name: Some(ServiceName::parse("a").unwrap()),
        status: Some(Status::Unhealthy),
        previous_status: Some(Status::Healthy),
        reason: Some("a \"quoted\" reason".into()),
        timestamp: Timestamp(0),
        instance: Some(instance()),
        route: None,
        encoded: OnceLock::new(),
    }
}

const KEYS: &str = "epoch revision event service_id service_name status previous_status reason timestamp instance route";

/// The top-level keys in their order.
fn keys(json: &[u8]) -> String {
    let text = std::str::from_utf8(json).unwrap();
    let value: Value = serde_json::from_str(text).unwrap();
    let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
    keys.sort_by_key(|key| {
        let quoted = format!("\"{key}\":");
        // The nested objects come behind all keys but the last, which is looked for from the end.
        if key == "route" {
            text.rfind(&quoted)
        } else {
            text.find(&quoted)
        }
    });
    keys.join(" ")
}

#[test]
fn an_event_has_every_key_in_order() {
    let json = api::event(&event(), |_| Timestamp(5));
    assert_eq!(keys(&json), KEYS);
    let shape: api::EventJson = serde_json::from_slice(&json).unwrap();
    assert_eq!((&*shape.epoch, shape.revision), ("abc", Some(7)));
    assert_eq!(shape.instance.unwrap().last_heartbeat, Timestamp(5));
    assert_eq!(shape.reason.unwrap(), "a \"quoted\" reason");
    assert_eq!(shape.previous_status.unwrap(), "healthy");
}

#[test]
fn an_event_is_encoded_once() {
    let event = event();
    let first = api::event(&event, |_| Timestamp(5));
    let second = api::event(&event, |_| panic!("encoded twice"));
    assert_eq!(first, second);
}

#[test]
fn an_event_of_a_route_names_no_service() {
    let event = Event {
        kind: EventKind::RouteSet,
        service_id: None,
        service_name: None,
        status: None,
        previous_status: None,
        reason: None,
        instance: None,
        route: Some(route()),
        ..event()
    };
    let json = api::event(&event, |_| Timestamp(5));
    assert_eq!(keys(&json), KEYS);
    let shape: api::EventJson = serde_json::from_slice(&json).unwrap();
    let route = shape.route.unwrap();
    assert_eq!(
        (&*route.route_id, route.priority, route.revision),
        ("r", -1, 9)
    );
    assert!(shape.instance.is_none() && shape.service_name.is_none());
}

#[test]
fn a_notice_has_the_keys_of_an_event_and_no_revision() {
    let json = api::notice(&Notice {
        event: "resync",
        epoch: Epoch(1),
        service_name: Some("a"),
        reason: None,
        timestamp: Timestamp(0),
    });
    assert_eq!(keys(&json), KEYS);
    let shape: api::EventJson = serde_json::from_slice(&json).unwrap();
    assert_eq!((&*shape.event, shape.revision), ("resync", None));
    assert_eq!(shape.service_name.unwrap(), "a");
}

#[test]
fn a_snapshot_has_a_cursor_to_continue_from() {
    let instances = [instance()];
    let routes = [route(), route()];
    let json = api::snapshot(
        SnapshotBody {
            cursor: Cursor {
                epoch: Epoch(0xabc),
                revision: Revision(7),
            },
            services: [("a", &instances)],
            routes: Some(&routes),
        },
        |_| Timestamp(0),
    );
    let shape: api::SnapshotJson = serde_json::from_slice(&json).unwrap();
    assert_eq!(shape.cursor, "abc-7");
    assert_eq!(shape.services["a"].len(), 1);
    assert_eq!(shape.routes.unwrap().len(), 2);
}
