//! Answers compared with a recording of RabbitMQ's, by their members and types.

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

use super::{Managed, folder, python, succeeded};

/// Members of RabbitMQ's answers that have no meaning here: its virtual machine, its disk, its own statistics.
const LEFT_OUT: [&str; 5] = [
    "garbage_collection",
    "backing_queue_status",
    "reductions",
    "reductions_details",
    "idle_since",
];

/// Members whose own members are not those of the API: names that users give, and counters of RabbitMQ's parts.
const OPEN: [&str; 6] = [
    "arguments",
    "client_properties",
    "cluster_state",
    "headers",
    "metrics_gc_queue_length",
    "ra_open_file_metrics",
];

/// Further differences: a part of the place, and why.
const ALLOWED: [(&str, &str); 8] = [
    (
        "channels?page=1&page_size=5.items[0].message_stats",
        "statistics are those of queues",
    ),
    ("channel.message_stats", "the same"),
    ("channels of a connection[0].message_stats", "the same"),
    ("vhost's channels.message_stats", "the same"),
    (
        "connection.peer_cert_",
        "RabbitMQ writes empty text in one answer and null in another",
    ),
    ("connection.ssl_", "the same"),
    ("].config_files is empty", "the file is not named to users"),
    ("node.config_files is empty", "the same"),
];

/// Parts of definitions that are those of the configuration, which is not exported.
const CONFIGURED: [&str; 3] = ["global_parameters", "permissions", "users"];

/// Calls whose answers differ by intent, with the reason.
const DIFFERENT: &[(&str, &str)] = &[
    ("GET /api/extensions", "there is no page with JavaScript"),
    ("GET /api/feature-flags", "there are none"),
    ("GET /api/global-parameters", "there are none"),
    ("GET /api/nodes/none", "RabbitMQ fails with a 500"),
    ("a wrong method", "it has a body"),
    ("a flag that is none", "the reason is worded otherwise"),
    ("one of channels", "its statistics are those of its queues"),
];

/// What `ours` lacks of the shape that RabbitMQ's answer has.
fn lacking(theirs: &Value, ours: &Value, place: &str, into: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for (key, value) in theirs {
                let is_configured = place == "GET /api/definitions" && CONFIGURED.contains(&&**key);
                if LEFT_OUT.contains(&&**key) || is_configured {
                    continue;
                }
                match ours.get(key) {
                    Some(own) if OPEN.contains(&&**key) && own.is_object() => {}
                    Some(own) => lacking(value, own, &format!("{place}.{key}"), into),
                    None => into.push(format!("{place}.{key} is missing")),
                }
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            if let Some(first) = theirs.first() {
                match ours.first() {
                    Some(own) => lacking(first, own, &format!("{place}[0]"), into),
                    None => into.push(format!("{place} is empty")),
                }
            }
        }
        (theirs, ours) if theirs == ours => {}
        (theirs, ours) => into.push(format!("{place} is {ours}, not {theirs}")),
    }
}

#[test]
fn answers_have_the_shape_of_rabbitmqs() {
    let managed = Managed::start(&[]);
    let mut script = Command::new(python());
    script.arg(folder().join("shapes.py")).arg(&managed.api);
    script.arg(format!("amqp://guest:guest@{}/%2f", managed.amqp));
    let ours = succeeded(&script.output().unwrap());
    let ours: BTreeMap<String, Value> = serde_json::from_str(&ours).unwrap();
    let recorded = std::fs::read_to_string(folder().join("rabbitmq-3.10.8.json")).unwrap();
    let theirs: BTreeMap<String, Value> = serde_json::from_str(&recorded).unwrap();
    assert!(theirs.len() > 120, "{}", theirs.len());
    let mut wrong = Vec::new();
    for (call, theirs) in &theirs {
        if DIFFERENT.iter().any(|(known, _)| known == call) {
            continue;
        }
        let ours = &ours[call];
        if ours["code"] != theirs["code"] {
            wrong.push(format!(
                "{call}: {} instead of {}",
                ours["code"], theirs["code"]
            ));
            continue;
        }
        lacking(&theirs["shape"], &ours["shape"], call, &mut wrong);
    }
    let is_allowed = |line: &String| ALLOWED.iter().any(|(part, _)| line.contains(part));
    wrong.retain(|line| !is_allowed(line));
    assert!(wrong.is_empty(), "{wrong:#?}");
}
