use std::sync::Arc;

use serde_json::{Value, json};

use super::{ImportPlan, VhostImport, make};
use crate::broker::{
    Broker, Config,
    definitions::{DefinitionCounts, DefinitionFault, ImportReport},
    vhost::{BindSpec, BindTarget, DeclareQueue},
    wire::{ShortStr, Table, ValueRef, table::TableBuilder},
};

fn broker() -> Broker {
    let mut config = Config {
        vhosts: vec!["/".to_owned(), "second".to_owned()],
        ..Config::default()
    };
    config.limits.queues = 32.into();
    Broker::new(config).unwrap()
}

async fn import(broker: &Broker, file: &Value) -> Result<ImportReport, Vec<DefinitionFault>> {
    broker.import(file.to_string().into(), None).await
}

async fn export(broker: &Broker) -> String {
    let definitions = broker.definitions(None).await.unwrap();
    serde_json::to_string_pretty(&definitions).unwrap()
}

fn counts(exchanges: u64, queues: u64, bindings: u64) -> DefinitionCounts {
    DefinitionCounts {
        exchanges,
        queues,
        bindings,
        users: 0,
    }
}

fn file() -> Value {
    json!({
        "vhosts": [{"name": "third"}],
        "exchanges": [
            {"name": "h", "vhost": "/", "type": "headers", "durable": true, "arguments": {"alternate-exchange": "e"}},
            {"name": "e", "vhost": "/", "type": "topic", "durable": true, "internal": true},
            {"name": "f", "vhost": "second", "type": "fanout", "durable": false, "auto_delete": true}],
        "queues": [
            {"name": "q", "vhost": "/", "durable": true, "type": "quorum", "arguments": {"x-queue-type": "quorum"}},
            {"name": "amq.gen-kept", "vhost": "/", "durable": true},
            {"name": "t", "vhost": "second", "durable": false}],
        "bindings": [
            {"vhost": "/", "source": "h", "destination": "q", "destination_type": "queue",
             "arguments": {"x-match": "any", "n": 3, "f": 0.5, "l": [1, null, true], "t": {"k": "v"}}},
            {"vhost": "/", "source": "amq.topic", "destination": "e", "destination_type": "exchange", "routing_key": "#"},
            {"vhost": "/", "source": "e", "destination": "gone", "destination_type": "queue", "routing_key": "x"},
            {"vhost": "second", "source": "f", "destination": "t", "destination_type": "queue"}]
    })
}

#[tokio::test]
async fn what_is_imported_is_exported_and_once_only() {
    let broker = broker();
    let report = import(&broker, &file()).await.unwrap();
    assert_eq!(report.made, counts(3, 3, 3));
    assert_eq!(report.present, counts(0, 0, 0));
    let ignored: Vec<_> = report
        .ignored
        .iter()
        .map(|one| (&*one.what, &*one.name))
        .collect();
    assert_eq!(ignored, [("vhost", "third"), ("binding", "bindings[2]")]);
    let text = export(&broker).await;
    let exported: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(exported["queues"].as_array().unwrap().len(), 3);
    assert_eq!(exported["exchanges"][0]["name"], "e");
    assert_eq!(exported["exchanges"][0]["internal"], true);
    let arguments = &exported["bindings"][1]["arguments"];
    assert_eq!(*arguments, file()["bindings"][0]["arguments"]);

    let again = import(&broker, &exported).await.unwrap();
    assert_eq!(
        (again.made, again.present),
        (counts(0, 0, 0), counts(3, 3, 3))
    );
    assert_eq!(again.ignored, []);
    assert_eq!(export(&broker).await, text);
    let other = self::broker();
    import(&other, &exported).await.unwrap();
    assert_eq!(export(&other).await, text);

    let one = broker.definitions(Some("second")).await.unwrap();
    let one = serde_json::to_value(one).unwrap();
    assert_eq!(one["queues"][0].get("vhost"), None);
    assert_eq!((one.get("vhosts"), one.get("users")), (None, None));
    let moved = broker
        .import(one.to_string().into(), Some("/".to_owned()))
        .await;
    assert_eq!(moved.unwrap().made, counts(1, 1, 1));
    assert!(broker.definitions(Some("none")).await.is_none());
}

#[tokio::test]
async fn an_import_that_conflicts_anywhere_changes_nothing() {
    let broker = broker();
    import(&broker, &file()).await.unwrap();
    let before = export(&broker).await;
    let new = json!({"name": "new", "vhost": "/", "durable": true});
    let cases = [
        (
            json!({"queues": [new, {"name": "t", "vhost": "second", "durable": true}]}),
            "queues[1]",
            "'durable' for queue 't' in vhost 'second': received 'true' but current is 'false'",
        ),
        (
            json!({"queues": [new, {"name": "q", "vhost": "/", "durable": true}]}),
            "queues[1]",
            "'x-queue-type' for queue 'q'",
        ),
        (
            json!({"queues": [new], "exchanges": [{"name": "e", "vhost": "/", "type": "direct", "durable": true}]}),
            "exchanges[0]",
            "'type' for exchange 'e' in vhost '/'",
        ),
        (
            json!({"queues": [new], "exchanges": [{"name": "amq.own", "vhost": "/", "type": "direct", "durable": true}]}),
            "exchanges[0]",
            "reserved prefix",
        ),
        (
            json!({"queues": [new], "bindings": [
            {"vhost": "/", "source": "none", "destination": "new", "destination_type": "queue"}]}),
            "bindings[0]",
            "no exchange 'none'",
        ),
        (
            json!({"queues": [new], "bindings": [
            {"vhost": "/", "source": "h", "destination": "new", "destination_type": "queue", "arguments": {"x-match": "some"}}]}),
            "bindings[0]",
            "x-match",
        ),
        (
            json!({"queues": [new, {"name": "x", "vhost": "third", "durable": true}]}),
            "queues[1].vhost",
            "add it to broker.vhosts",
        ),
        (
            json!({"queues": (0..31).map(|n| json!({"name": format!("n{n}"), "vhost": "/", "durable": true})).collect::<Vec<_>>()}),
            "queues",
            "beyond the limit of 32 (broker.limits.queues)",
        ),
    ];
    for (file, field, message) in cases {
        let faults = import(&broker, &file).await.unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0].field, field);
        assert!(faults[0].message.contains(message), "{faults:?}");
        assert!(faults[0].is_conflict);
        assert_eq!(export(&broker).await, before);
    }
}

#[tokio::test]
async fn a_binding_with_numbers_of_another_width_is_the_same() {
    let broker = broker();
    import(&broker, &file()).await.unwrap();
    let cell = broker.shared().vhost("/").unwrap();
    let mut arguments = TableBuilder::new();
    arguments.put("n", ValueRef::I32(7));
    let spec = BindSpec {
        source: ShortStr::from_static("h"),
        target: BindTarget::Queue(ShortStr::from_static("q")),
        routing_key: ShortStr::EMPTY,
        arguments: arguments.build(),
    };
    cell.lock().bind(&spec, 0).unwrap();
    let text = export(&broker).await;
    let exported: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(exported["bindings"].as_array().unwrap().len(), 4);
    let report = import(&broker, &exported).await.unwrap();
    assert_eq!((report.made, report.present.bindings), (counts(0, 0, 0), 4));
    assert_eq!(export(&broker).await, text);
}

#[tokio::test]
async fn what_is_exclusive_or_named_by_the_broker_is_not_exported() {
    let broker = broker();
    let cell = broker.shared().vhost("/").unwrap();
    let declare = |name: &str, exclusive| DeclareQueue {
        name: ShortStr::truncated(name),
        durable: false,
        exclusive,
        auto_delete: false,
        arguments: Table::EMPTY,
    };
    let now = broker.shared().now();
    for (name, exclusive) in [("own", true), ("amq.gen-x", false), ("kept", false)] {
        let mut vhost = cell.lock();
        vhost
            .declare_queue(&declare(name, exclusive), 7, now)
            .unwrap();
        let spec = BindSpec {
            source: ShortStr::from_static("amq.fanout"),
            target: BindTarget::Queue(ShortStr::truncated(name)),
            routing_key: ShortStr::EMPTY,
            arguments: Table::EMPTY,
        };
        vhost.bind(&spec, 7).unwrap();
    }
    let exported: Value = serde_json::from_str(&export(&broker).await).unwrap();
    let names = |list: &str, field: &str| -> Vec<_> {
        let items = exported[list].as_array().unwrap().iter();
        items.map(|one| one[field].clone()).collect()
    };
    assert_eq!(names("queues", "name"), ["kept"]);
    assert_eq!(names("bindings", "destination"), ["kept"]);
    assert_eq!(names("vhosts", "name"), ["/", "second"]);
    // One that is another connection's own is in the way.
    let file = json!({"queues": [{"name": "own", "vhost": "/", "durable": false}]});
    let faults = import(&broker, &file).await.unwrap_err();
    assert!(
        faults[0].message.contains("locked queue 'own'"),
        "{faults:?}"
    );
}

#[tokio::test]
async fn what_a_client_declares_between_check_and_declaration_takes_the_import_back() {
    let broker = broker();
    let before = export(&broker).await;
    let shared = broker.shared();
    let plan = ImportPlan::read(file().to_string().as_bytes(), None).unwrap();
    let (mut imports, mut faults) = (Vec::new(), Vec::new());
    for (name, plan) in plan.vhosts {
        if let Some(cell) = shared.vhost(&name) {
            imports.push(VhostImport::new(name, cell, plan));
        }
    }
    for import in &mut imports {
        import.check(&mut faults).await;
    }
    assert_eq!(faults, []);
    let second = Arc::clone(&imports[1].cell);
    let other = DeclareQueue {
        name: ShortStr::from_static("t"),
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments: Table::EMPTY,
    };
    second
        .lock()
        .declare_queue(&other, 7, shared.now())
        .unwrap();
    let fault = make(shared, &mut imports).await.unwrap_err();
    assert_eq!(fault.field, "queues[2]");
    broker.delete("second", "t").await.unwrap();
    assert_eq!(export(&broker).await, before);
}
