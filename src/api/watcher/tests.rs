use serde_json::{Value, json};

use super::{WatcherAnswer, WatcherDraft, WatcherList};
use crate::model::{EventKind, ServiceName, Timestamp};

#[test]
fn a_star_or_no_service_means_all() {
    for body in [
        json!({"callback_url": "http://a/", "service_name": "*", "events": ["*"]}),
        json!({"callback_url": "http://a/"}),
        json!({"callback_url": "http://a/", "events": [], "secret": null}),
    ] {
        let (draft, _) = WatcherDraft::read(body.to_string().as_bytes()).unwrap();
        assert!(draft.service_name.is_none() && draft.events.is_empty());
        assert!(draft.secret.is_none());
    }
    let body = json!({"callback_url": "http://a/", "service_name": "b", "events": ["updated", "updated"], "secret": "s"});
    let (draft, _) = WatcherDraft::read(body.to_string().as_bytes()).unwrap();
    assert_eq!(draft.service_name, ServiceName::parse("b").ok());
    assert_eq!(*draft.events, [EventKind::Updated]);
    assert_eq!(draft.secret.as_deref(), Some("s"));
}

#[test]
fn the_fault_is_named() {
    check(json!({}), "callback_url");
    check(json!({"callback_url": "/a"}), "callback_url");
    check(
        json!({"callback_url": "http://a/", "service_name": "a/b"}),
        "service_name",
    );
    check(
        json!({"callback_url": "http://a/", "events": ["exploded"]}),
        "events",
    );
    check(
        json!({"callback_url": "http://a/", "secret": "s".repeat(257)}),
        "secret",
    );
    for empty in ["", " ", "\u{a0}"] {
        check(
            json!({"callback_url": "http://a/", "secret": empty}),
            "secret",
        );
    }
    check(
        json!({"callback_url": "http://a/", "canary": "maybe"}),
        "canary",
    );

    #[track_caller]
    fn check(body: Value, field: &str) {
        let problem = WatcherDraft::read(body.to_string().as_bytes()).unwrap_err();
        assert_eq!(problem.errors[0].field, field);
    }
}

#[test]
fn the_secret_is_never_answered() {
    let watcher = WatcherAnswer {
        id: "w".to_owned(),
        service_name: None,
        callback_url: "http://a/".into(),
        events: [EventKind::Healthy].into(),
        owner: None,
        owner_made: None,
        signed: true,
        canary: true,
        created_at: Timestamp(0),
        cursor: "1-2".parse().unwrap(),
        lag: 7,
        state: "active",
        delivered: 1,
        failed: 2,
        last_error: None,
    };
    let list = WatcherList {
        total_count: 1,
        watchers: vec![watcher],
    };
    let expected = json!({"total_count": 1, "watchers": [{
        "id": "w", "service_name": "*", "callback_url": "http://a/", "events": ["healthy"],
        "signed": true, "canary": true, "created_at": "1970-01-01T00:00:00.000Z", "cursor": "1-2", "lag": 7,
        "state": "active", "delivered": 1, "failed": 2, "last_error": null,
    }]});
    assert_eq!(serde_json::to_value(list).unwrap(), expected);
}
