use serde_json::{Value, json};

use super::{DefinitionFault, ImportPlan};
use crate::broker::{
    exchange::ExchangeKind,
    vhost::BindTarget,
    wire::{ShortStr, ValueRef},
};

/// As rabbitmqctl export_definitions of RabbitMQ 3.10 writes it.
fn exported() -> Value {
    json!({
        "bindings": [
            {"arguments": {"b": true, "f": 1.5, "l": [1, "x"], "n": 3, "t": {"k": "v"}, "x-match": "all"},
             "destination": "q", "destination_type": "queue", "routing_key": "", "source": "h", "vhost": "/"},
            {"arguments": {}, "destination": "e", "destination_type": "exchange", "routing_key": "x",
             "source": "amq.topic", "vhost": "/"}],
        "exchanges": [
            {"arguments": {}, "auto_delete": false, "durable": true, "name": "e", "type": "topic", "vhost": "/"},
            {"arguments": {"alternate-exchange": "e"}, "auto_delete": false, "durable": true, "name": "h",
             "type": "headers", "vhost": "/"}],
        "global_parameters": [{"name": "cluster_name", "value": "c"}],
        "parameters": [{"component": "shovel", "name": "s", "vhost": "/", "value": {}}],
        "permissions": [{"configure": ".*", "read": ".*", "user": "guest", "vhost": "/", "write": ".*"}],
        "policies": [{"apply-to": "queues", "definition": {"max-length": 5}, "name": "p", "pattern": "^q",
                      "priority": 0, "vhost": "/"}],
        "queues": [
            {"arguments": {"x-max-length": 3, "x-message-ttl": 1000}, "auto_delete": false, "durable": true,
             "name": "q", "type": "classic", "vhost": "/"},
            {"arguments": {"x-queue-type": "quorum"}, "auto_delete": false, "durable": true, "name": "quo",
             "type": "quorum", "vhost": "second"}],
        "rabbit_version": "3.10.8",
        "rabbitmq_version": "3.10.8",
        "topic_permissions": [{"user": "guest", "vhost": "/", "exchange": "e", "write": ".*", "read": ".*"}],
        "users": [{"hashing_algorithm": "rabbit_password_hashing_sha256", "limits": {}, "name": "guest",
                   "password_hash": "x", "tags": ["administrator"]}],
        "vhosts": [
            {"limits": [], "metadata": {"description": "", "tags": []}, "name": "second"},
            {"limits": [], "metadata": {"description": "", "tags": []}, "name": "/"}]
    })
}

fn read(file: &Value, only: Option<&str>) -> Result<ImportPlan, Vec<DefinitionFault>> {
    ImportPlan::read(file.to_string().as_bytes(), only)
}

fn short(text: &str) -> ShortStr {
    ShortStr::try_from(text).unwrap()
}

#[test]
fn an_export_of_rabbitmq_is_read() {
    let plan = read(&exported(), None).unwrap();
    let names: Vec<_> = plan.vhosts.keys().collect();
    assert_eq!(names, ["/", "second"]);
    let main = &plan.vhosts["/"];
    assert_eq!(main.len(), 5);
    assert_eq!(main.exchange_kind(&short("h")), Some(ExchangeKind::Headers));
    assert_eq!(main.exchange_kind(&short("amq.topic")), None);
    assert!(main.has_queue(&short("q")) && !main.has_queue(&short("quo")));
    let arguments = &main.queues[0].spec.arguments;
    assert_eq!(arguments.field(b"x-max-length"), Some(ValueRef::I64(3)));
    let binding = &main.bindings[0].spec;
    assert_eq!(binding.arguments.field(b"f"), Some(ValueRef::F64(1.5)));
    assert_eq!(binding.arguments.field(b"b"), Some(ValueRef::Bool(true)));
    assert!(
        matches!(binding.arguments.field(b"l"), Some(ValueRef::Array(list)) if list.iter().count() == 2)
    );
    assert!(matches!(
        binding.arguments.field(b"t"),
        Some(ValueRef::Table(_))
    ));
    assert!(matches!(&main.bindings[1].spec.target, BindTarget::Exchange(name) if *name == "e"));
    assert_eq!(main.bindings[1].place, "bindings[1]");
    let ignored = plan.ignored.iter();
    let ignored: Vec<_> = ignored.map(|one| (&*one.what, &*one.name)).collect();
    let expected = [("parameter", "s"), ("global parameter", "cluster_name")];
    assert_eq!(ignored, expected);
    assert!(plan.ignored.iter().all(|one| !one.reason.is_empty()));
    let policy = &plan.policies[0];
    assert_eq!((&*policy.vhost, &*policy.name), ("/", "p"));
    assert_eq!(policy.source.pattern, "^q");
    let mut mirrored = exported();
    mirrored["policies"][0]["definition"] = json!({"ha-mode": "all"});
    let ignored = read(&mirrored, None).unwrap().ignored;
    assert!(
        ignored
            .iter()
            .any(|one| one.reason.contains("\"ha-mode\" is not supported"))
    );
    let guest = &plan.users["guest"];
    let user = guest.user.as_ref().unwrap();
    assert_eq!(user.tags, ["administrator"]);
    assert_eq!(guest.permissions["/"].configure, ".*");
    assert_eq!(guest.topics["/"]["e"].read, ".*");
}

#[test]
fn what_is_wrong_with_a_user_is_named_by_its_place() {
    check("/users/0/name", Value::Null, "users[0].name", "missing");
    check("/users/0/tags", json!(7), "users[0].tags", "list of texts");
    check(
        "/permissions/0/write",
        Value::Null,
        "permissions[0].write",
        "missing",
    );
    check(
        "/permissions/0/user",
        Value::Null,
        "permissions[0].user",
        "missing",
    );
    check(
        "/topic_permissions/0/exchange",
        Value::Null,
        "topic_permissions[0].exchange",
        "missing",
    );
}

/// The only fault of a file with this in the place of what `pointer` names.
#[track_caller]
fn check(pointer: &str, value: Value, field: &str, message: &str) {
    let mut file = exported();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = file.pointer_mut(parent).unwrap();
    match (parent, value) {
        (Value::Object(fields), Value::Null) => drop(fields.remove(key)),
        (Value::Object(fields), value) => drop(fields.insert(key.to_owned(), value)),
        (Value::Array(items), value) => items[key.parse::<usize>().unwrap()] = value,
        _ => panic!("{pointer}"),
    }
    let faults = read(&file, None).unwrap_err();
    let [fault] = &*faults else {
        panic!("{faults:?}");
    };
    assert_eq!(fault.field, field);
    assert!(fault.message.contains(message), "{}", fault.message);
    assert!(!fault.is_conflict);
}

#[test]
fn what_is_wrong_with_a_queue_is_named_by_its_place() {
    let long = "x".repeat(256);
    check("/queues", json!({}), "queues", "a list");
    check("/queues/0", json!(7), "queues[0]", "an object");
    check("/queues/0/name", Value::Null, "queues[0].name", "missing");
    check("/queues/0/name", json!(7), "queues[0].name", "text, not 7");
    check("/queues/0/name", json!(""), "queues[0].name", "empty");
    check(
        "/queues/0/name",
        json!(long),
        "queues[0].name",
        "longer than 255",
    );
    check(
        "/queues/0/durable",
        Value::Null,
        "queues[0].durable",
        "missing",
    );
    check(
        "/queues/0/durable",
        json!("yes"),
        "queues[0].durable",
        "true or false",
    );
    check("/queues/0/vhost", Value::Null, "queues[0].vhost", "?vhost=");
    check(
        "/queues/0/type",
        json!("stream"),
        "queues[0].type",
        "queue type 'stream' is not supported",
    );
    check(
        "/queues/1/type",
        json!("classic"),
        "queues[1].type",
        "\"quorum\"",
    );
    check(
        "/queues/0/arguments",
        json!(7),
        "queues[0].arguments",
        "an object",
    );
    check(
        "/queues/0/arguments/x-max-length",
        json!(-1),
        "queues[0].arguments",
        "'x-max-length' for queue 'q' in vhost '/'",
    );
    check(
        "/queues/0/arguments/n",
        json!(u64::MAX),
        "queues[0].arguments",
        "beyond 64 bits",
    );
    check(
        "/queues/1/durable",
        json!(false),
        "queues[1].arguments",
        "non-durable",
    );
    check(
        "/queues/0/arguments/x-queue-type",
        json!("stream"),
        "queues[0].type",
        "stream",
    );
}

#[test]
fn what_is_wrong_with_exchanges_and_bindings_is_named_by_its_place() {
    check(
        "/exchanges/0/name",
        json!(""),
        "exchanges[0].name",
        "default exchange",
    );
    check(
        "/exchanges/0/type",
        json!("x-delayed-message"),
        "exchanges[0].type",
        "unknown exchange type",
    );
    check(
        "/exchanges/1/arguments/alternate-exchange",
        json!(3),
        "exchanges[1].arguments",
        "alternate-exchange",
    );
    check(
        "/exchanges/1/name",
        json!("e"),
        "exchanges[1].name",
        "otherwise at exchanges[0]",
    );
    check(
        "/bindings/0/source",
        Value::Null,
        "bindings[0].source",
        "missing",
    );
    check(
        "/bindings/0/destination_type",
        json!("topic"),
        "bindings[0].destination_type",
        "queue or exchange",
    );
    check("/vhosts/0/name", Value::Null, "vhosts[0].name", "missing");
}

#[test]
fn what_is_no_file_is_refused() {
    for (body, message) in [("[]", "a JSON object"), ("{", "no JSON"), ("", "no JSON")] {
        let faults = ImportPlan::read(body.as_bytes(), None).unwrap_err();
        assert!(faults[0].message.contains(message), "{faults:?}");
    }
    let deep = format!("{{\"queues\":{}{}}}", "[".repeat(500), "]".repeat(500));
    assert!(ImportPlan::read(deep.as_bytes(), None).is_err());
    let many = json!({"queues": vec![json!({}); 1000]});
    assert_eq!(read(&many, None).unwrap_err().len(), 50);
}

#[test]
fn the_file_of_one_vhost_needs_its_name() {
    let file = json!({
        "queues": [{"name": "q", "durable": true}],
        "exchanges": [{"name": "e", "vhost": "a", "type": "fanout", "durable": true}],
        "bindings": [{"source": "e", "destination": "q", "destination_type": "queue"}]
    });
    let plan = read(&file, Some("a")).unwrap();
    assert_eq!(plan.vhosts["a"].len(), 3);
    let faults = read(&file, Some("b")).unwrap_err();
    assert_eq!(faults[0].field, "exchanges[0].vhost");
    let faults = read(&file, None).unwrap_err();
    let fields: Vec<_> = faults.iter().map(|fault| &*fault.field).collect();
    assert_eq!(fields, ["queues[0].vhost", "bindings[0].vhost"]);
}

#[test]
fn nothing_is_ignored_silently() {
    let file = json!({
        "vhosts": [{"name": "/", "limits": [{"max-queues": 3}], "metadata": {"default_queue_type": "quorum"}}],
        "queues": [{"name": "q", "vhost": "/", "durable": true, "policy": "p"}],
        "bindings": [{"source": "", "destination": "q", "destination_type": "queue", "routing_key": "q", "vhost": "/"}],
        "shovels": []
    });
    let plan = read(&file, None).unwrap();
    let ignored: Vec<_> = plan
        .ignored
        .iter()
        .map(|one| format!("{} {}", one.what, one.name))
        .collect();
    let expected = [
        "field shovels",
        "limits of a vhost /",
        "default queue type of a vhost /",
        "field queues[0].policy",
        "binding to the default exchange bindings[0]",
    ];
    assert_eq!(ignored, expected);
}

#[test]
fn a_type_beside_the_arguments_counts_and_twice_alike_is_once() {
    let queue = json!({"name": "q", "vhost": "/", "durable": true, "type": "quorum"});
    let plan = read(&json!({"queues": [queue, queue]}), None).unwrap();
    let [planned] = &*plan.vhosts["/"].queues else {
        panic!("{plan:?}");
    };
    let kind = planned.spec.arguments.field(b"x-queue-type");
    assert_eq!(kind, Some(ValueRef::Str(b"quorum")));
}
