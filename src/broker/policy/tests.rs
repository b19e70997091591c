use serde_json::{Value, json};

use super::{PolicySet, PolicySource, QueuePolicy};
use crate::broker::{
    queue::arguments::{Overflow, QueueKind, Settings},
    wire::ShortStr,
};

fn policy(fields: &Value) -> Result<QueuePolicy, String> {
    let read = PolicySource::read(fields.as_object().unwrap());
    let made = read.and_then(QueuePolicy::new);
    made.map_err(|fault| fault.to_string())
}

fn set(policies: &[(&str, Value)]) -> PolicySet {
    let mut set = PolicySet::default();
    for (name, fields) in policies {
        set = set.with(name, Some(policy(fields).unwrap())).unwrap();
    }
    set
}

#[test]
fn the_matching_policy_of_the_highest_priority_counts() {
    let of = |pattern: &str, apply_to: &str, priority: i64| json!({"pattern": pattern, "apply-to": apply_to, "priority": priority, "definition": {"max-length": priority + 1}});
    let set = set(&[
        ("a", of("^jobs", "all", 0)),
        ("b", of("jobs\\.", "queues", 5)),
        ("c", of("jobs\\.", "queues", 5)),
        ("d", of("jobs", "quorum_queues", 9)),
        ("e", of("jobs\\.classic$", "classic_queues", 9)),
    ]);
    for (name, kind, expected) in [
        ("jobs", QueueKind::Classic, Some("a")),
        ("jobs.x", QueueKind::Classic, Some("b")),
        ("my.jobs.x", QueueKind::Classic, Some("b")),
        ("jobs.x", QueueKind::Quorum, Some("d")),
        ("jobs.classic", QueueKind::Classic, Some("e")),
        ("other", QueueKind::Quorum, None),
    ] {
        let found = set.of_queue(name.as_bytes(), kind);
        assert_eq!(found.map(|(name, _)| &**name), expected, "{name}");
    }
    let without = set.with("a", None).unwrap();
    assert!(without.of_queue(b"jobs", QueueKind::Classic).is_none());
}

#[test]
fn the_lower_limit_counts_and_the_queues_own_dead_lettering() {
    let all = json!({
        "message-ttl": 100, "expires": 200, "max-length": 10, "max-length-bytes": 1000, "overflow": "reject-publish",
        "dead-letter-exchange": "dead", "dead-letter-routing-key": "key",
    });
    let set = set(&[("p", json!({"pattern": ".*", "definition": all}))]);
    let mut settings = Settings::default();
    set.apply(b"q", &mut settings);
    assert_eq!(
        (settings.message_ttl, settings.expires),
        (Some(100), Some(200))
    );
    assert_eq!(
        (settings.max_length, settings.max_length_bytes),
        (Some(10), Some(1000))
    );
    assert_eq!(settings.overflow, Overflow::RejectPublish);
    assert_eq!(settings.dead_letter_exchange.unwrap().to_string(), "dead");
    assert_eq!(settings.dead_letter_routing_key.unwrap().to_string(), "key");
    let mut settings = Settings {
        message_ttl: Some(50),
        max_length: Some(20),
        overflow: Overflow::RejectPublishDlx,
        dead_letter_exchange: ShortStr::copied(b"own"),
        ..Settings::default()
    };
    set.apply(b"q", &mut settings);
    assert_eq!(
        (settings.message_ttl, settings.max_length),
        (Some(50), Some(10))
    );
    assert_eq!(settings.overflow, Overflow::RejectPublishDlx);
    assert_eq!(settings.dead_letter_exchange.unwrap().to_string(), "own");
    assert_eq!(settings.dead_letter_routing_key, None);
}

#[test]
fn what_is_wrong_or_not_supported_is_named() {
    let with = |definition: Value| json!({"pattern": "a", "definition": definition});
    for (fields, word) in [
        (json!({"definition": {"expires": 1}}), "\"pattern\""),
        (
            json!({"pattern": "(", "definition": {"expires": 1}}),
            "not a regular expression",
        ),
        (
            json!({"pattern": "a".repeat(1025), "definition": {"expires": 1}}),
            "longer than 1024",
        ),
        (json!({"pattern": "a"}), "\"definition\" must be an object"),
        (with(json!({})), "\"definition\" is empty"),
        (
            with(json!({"ha-mode": "all"})),
            "\"ha-mode\" is not supported",
        ),
        (
            with(json!({"expires": 0})),
            "\"expires\" must be a whole number",
        ),
        (
            with(json!({"message-ttl": -1})),
            "\"message-ttl\" must be a whole number",
        ),
        (
            with(json!({"max-length": "many"})),
            "\"max-length\" must be a whole number",
        ),
        (with(json!({"overflow": "explode"})), "\"overflow\" must be"),
        (
            with(json!({"dead-letter-exchange": 1})),
            "\"dead-letter-exchange\" must be a name",
        ),
        (
            with(json!({"dead-letter-routing-key": "k"})),
            "needs \"dead-letter-exchange\"",
        ),
        (
            json!({"pattern": "a", "apply-to": "exchanges", "definition": {"expires": 1}}),
            "exchanges are not supported",
        ),
        (
            json!({"pattern": "a", "apply-to": "streams", "definition": {"expires": 1}}),
            "\"streams\"",
        ),
        (
            json!({"pattern": "a", "priority": "high", "definition": {"expires": 1}}),
            "\"priority\"",
        ),
    ] {
        let refused = policy(&fields).unwrap_err();
        assert!(refused.contains(word), "{fields}: {refused}");
    }
}
