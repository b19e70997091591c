//! A topology moves from RabbitMQ to musterd and back, and from musterd to musterd.

use std::{
    fs,
    io::Write,
    net::SocketAddr,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind,
    options::{
        BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeBindOptions,
        ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable, LongString},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    daemon::{Daemon, musterd},
    rabbitmq::Rabbit,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon that keeps its state in a folder, with the vhosts of the RabbitMQ under test.
fn start(folder: &Path) -> (Daemon, SocketAddr) {
    let config = folder.join("musterd.toml");
    fs::write(&config, "[broker]\nvhosts = [\"/\", \"second\"]\n").unwrap();
    let path = format!("store.path={}", folder.join("data").display());
    let config = config.display().to_string();
    // With direct modes only, it declares nothing of its own.
    let direct = "transport.mode=direct";
    let daemon = Daemon::start(&["--config", &config, "--set", &path, "--set", direct]);
    let line = daemon.logged(|line| line.get("amqp.address").is_some());
    let addr = line["amqp.address"].as_str().unwrap().parse().unwrap();
    (daemon, addr)
}

fn definitions(daemon: &Daemon, arguments: &[&str]) -> Output {
    let all = [
        &["broker", "definitions"],
        arguments,
        &["--url", &daemon.url],
    ];
    musterd(&all.concat()).output().unwrap()
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn fails(output: &Output) -> String {
    let code = output.status.code();
    assert!(matches!(code, Some(1 | 3)), "{code:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn export(daemon: &Daemon) -> String {
    succeeds(&definitions(daemon, &["export"]))
}

async fn channel(addr: SocketAddr) -> Channel {
    let url = format!("amqp://guest:guest@{addr}/%2f");
    let connection = Connection::connect(&url, ConnectionProperties::default()).await;
    connection.unwrap().create_channel().await.unwrap()
}

fn table(fields: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert((*name).into(), value.clone());
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

fn short_arguments() -> FieldTable {
    table(&[
        ("x-max-length", AMQPValue::LongInt(3)),
        ("x-dead-letter-exchange", text("shop.dead")),
        ("x-overflow", text("reject-publish")),
    ])
}

/// Declares a topology whose names begin with `shop.`, and what is not to be moved.
async fn declare(channel: &Channel) {
    let exchanges = [
        ("shop.orders", ExchangeKind::Topic, FieldTable::default()),
        ("shop.dead", ExchangeKind::Fanout, FieldTable::default()),
        (
            "shop.by-header",
            ExchangeKind::Headers,
            table(&[("alternate-exchange", text("shop.dead"))]),
        ),
    ];
    for (name, kind, arguments) in exchanges {
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let declared = channel.exchange_declare(name.into(), kind, options, arguments);
        declared.await.unwrap();
    }
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let queues = [
        ("shop.short", durable, short_arguments()),
        (
            "shop.quorum",
            durable,
            table(&[("x-queue-type", text("quorum"))]),
        ),
        (
            "shop.transient",
            QueueDeclareOptions::default(),
            FieldTable::default(),
        ),
        ("shop.exclusive", exclusive, FieldTable::default()),
    ];
    for (name, options, arguments) in queues {
        let declared = channel.queue_declare(name.into(), options, arguments);
        declared.await.unwrap();
    }
    bind(channel).await;
}

async fn bind(channel: &Channel) {
    let headers = table(&[
        ("x-match", text("any")),
        ("size", AMQPValue::LongLongInt(7)),
        ("gift", AMQPValue::Boolean(true)),
    ]);
    let bindings = [
        (
            "shop.short",
            "shop.orders",
            "order.*.created",
            FieldTable::default(),
        ),
        ("shop.quorum", "shop.by-header", "", headers),
        ("shop.transient", "amq.direct", "t", FieldTable::default()),
        ("shop.exclusive", "shop.orders", "#", FieldTable::default()),
    ];
    for (queue, exchange, key, arguments) in bindings {
        let options = QueueBindOptions::default();
        let bound = channel.queue_bind(
            queue.into(),
            exchange.into(),
            key.into(),
            options,
            arguments,
        );
        bound.await.unwrap();
    }
    let (options, arguments) = (ExchangeBindOptions::default(), FieldTable::default());
    let bound = channel.exchange_bind(
        "shop.dead".into(),
        "shop.orders".into(),
        "lost".into(),
        options,
        arguments,
    );
    bound.await.unwrap();
}

/// The part of definitions that both brokers have, in one order: what is named `shop.`, without `internal`, which
/// rabbitmqctl leaves out.
fn comparable(definitions: &str) -> Value {
    let definitions: Value = serde_json::from_str(definitions).unwrap();
    let list = |name: &str| {
        let all = definitions[name].as_array().unwrap().iter();
        let mut lines: Vec<_> = all
            .map(|item| {
                let mut item = item.clone();
                item.as_object_mut().unwrap().remove("internal");
                item.to_string()
            })
            .filter(|line| line.contains("shop.") && !line.contains("shop.exclusive"))
            .collect();
        lines.sort_unstable();
        lines
    };
    json!([list("queues"), list("exchanges"), list("bindings")])
}

fn exported(rabbit: &Rabbit, folder: &Path) -> String {
    let file = folder.join("rabbitmq.json");
    // An old file must not be taken for the new one.
    let _ = fs::remove_file(&file);
    rabbit.ctl(&["export_definitions", &file.display().to_string()]);
    fs::read_to_string(file).unwrap()
}

/// What a client finds of the topology: routes and arguments.
async fn check_works(addr: SocketAddr) {
    let channel = channel(addr).await;
    let confirms = channel.confirm_select(ConfirmSelectOptions::default());
    confirms.await.unwrap();
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let same = channel.queue_declare("shop.short".into(), durable, short_arguments());
    same.await.expect("it has the same arguments");
    let size = table(&[("size", AMQPValue::LongInt(7))]);
    for (exchange, key, headers, queue) in [
        (
            "shop.orders",
            "order.1.created",
            FieldTable::default(),
            "shop.short",
        ),
        ("shop.by-header", "", size, "shop.quorum"),
        ("amq.direct", "t", FieldTable::default(), "shop.transient"),
    ] {
        let properties = BasicProperties::default().with_headers(headers);
        let options = BasicPublishOptions::default();
        let sent = channel.basic_publish(exchange.into(), key.into(), options, b"body", properties);
        assert!(sent.await.unwrap().await.unwrap().is_ack());
        let no_ack = BasicGetOptions { no_ack: true };
        let got = channel.basic_get(queue.into(), no_ack).await.unwrap();
        assert_eq!(got.expect(queue).delivery.data, b"body");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topology_moves_from_rabbitmq_to_musterd_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let rabbit = Rabbit::private();
    let client = channel(rabbit.addr()).await;
    declare(&client).await;
    rabbit.ctl(&["add_user", "moved", "moved-password"]);
    rabbit.ctl(&["set_permissions", "moved", ".*", ".*", ".*"]);
    rabbit.ctl(&[
        "set_topic_permissions",
        "moved",
        "shop.orders",
        "^order",
        ".*",
    ]);
    rabbit.ctl(&["set_policy", "shop-policy", "^shop", "{\"max-length\":9}"]);
    let before = exported(&rabbit, folder.path());
    drop(rabbit);

    let file = folder.path().join("rabbitmq.json");
    let (daemon, addr) = start(folder.path());
    let said = succeeds(&definitions(
        &daemon,
        &["import", &file.display().to_string()],
    ));
    for line in [
        "exchanges  3 made, 0 there before",
        "queues     3 made, 0 there before",
        "bindings   4 made, 0 there before",
        "user \"guest\"",
        " made, 0 there before\nignored",
        "binding \"bindings[",
    ] {
        assert!(said.contains(line), "{line} is not in:\n{said}");
    }
    assert_eq!(comparable(&export(&daemon)), comparable(&before));
    check_works(addr).await;
    let url = format!("amqp://moved:moved-password@{addr}/%2f");
    let moved = Connection::connect(&url, ConnectionProperties::default());
    drop(moved.await.expect("the user moved with its password"));
    let topics: Value = serde_json::from_str(&export(&daemon)).unwrap();
    assert_eq!(topics["topic_permissions"][0]["exchange"], "shop.orders");
    assert_eq!(topics["policies"][0]["name"], "shop-policy");
    assert_eq!(
        topics["policies"][0]["definition"],
        json!({"max-length": 9})
    );

    let own = folder.path().join("musterd.json");
    succeeds(&definitions(
        &daemon,
        &["export", &own.display().to_string()],
    ));
    let text = fs::read_to_string(&own).unwrap();
    assert_eq!(text, export(&daemon));
    let rabbit = Rabbit::private();
    rabbit.ctl(&["import_definitions", &own.display().to_string()]);
    let deadline = Instant::now() + PATIENCE;
    // RabbitMQ answers before the import is done.
    while comparable(&exported(&rabbit, folder.path())) != comparable(&before) {
        let after = comparable(&exported(&rabbit, folder.path()));
        assert!(
            Instant::now() < deadline,
            "{after:#}\n{:#}",
            comparable(&before)
        );
    }
    let users = rabbit.ctl(&["list_users"]);
    assert!(users.contains("guest") && users.contains("mine"), "{users}");
    check_works(rabbit.addr()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_is_imported_is_exported_alike_and_survives_a_kill() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (daemon, addr) = start(one.path());
    let client = channel(addr).await;
    declare(&client).await;
    let text = export(&daemon);
    let (second, _) = start(other.path());
    let file = one.path().join("definitions.json");
    fs::write(&file, &text).unwrap();
    let said = succeeds(&definitions(
        &second,
        &["import", &file.display().to_string(), "--json"],
    ));
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["made"]["queues"], 3);
    assert_eq!(report["ignored"], json!([]));
    assert_eq!(export(&second), text);
    let lines = comparable(&text);
    assert!(lines.to_string().contains("shop.transient"));
    drop(second);

    let (second, _) = start(other.path());
    let after = export(&second);
    assert!(!after.contains("shop.transient"));
    let durable: Vec<_> = [
        "shop.short",
        "shop.quorum",
        "shop.by-header",
        "order.*.created",
    ]
    .into();
    assert!(durable.iter().all(|name| after.contains(name)), "{after}");
    // What is missing is made again, what is there stays.
    succeeds(&definitions(
        &second,
        &["import", &file.display().to_string()],
    ));
    assert_eq!(export(&second), text);
}

#[test]
fn a_file_of_one_vhost_goes_where_the_command_says() {
    let folder = tempfile::tempdir().unwrap();
    let (daemon, _) = start(folder.path());
    let file = json!({
        "queues": [{"name": "q", "durable": true, "auto_delete": false, "arguments": {}}],
        "exchanges": [{"name": "e", "type": "fanout", "durable": true}],
        "bindings": [{"source": "e", "destination": "q", "destination_type": "queue", "routing_key": "k"}]
    });
    let mut child = musterd(&["broker", "definitions", "import", "-", "--url", &daemon.url])
        .args(["--vhost", "second"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(file.to_string().as_bytes()).unwrap();
    drop(stdin);
    succeeds(&child.wait_with_output().unwrap());
    let one = succeeds(&definitions(&daemon, &["export", "-", "--vhost", "second"]));
    let one: Value = serde_json::from_str(&one).unwrap();
    assert_eq!(one["queues"][0]["name"], "q");
    assert_eq!(one["queues"][0].get("vhost"), None);
    assert_eq!(one.get("vhosts"), None);
    let text = fails(&definitions(&daemon, &["export", "-", "--vhost", "none"]));
    assert!(text.contains("there is no vhost \"none\""), "{text}");
}

#[test]
fn what_is_wrong_is_named_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let (daemon, _) = start(folder.path());
    let new = json!({"name": "new", "vhost": "/", "durable": true});
    let there = json!({"name": "there", "vhost": "/", "durable": true});
    let other = json!({"name": "there", "vhost": "/", "durable": false});
    let stream = json!({"name": "s", "vhost": "/", "durable": true, "type": "stream"});
    let path = folder.path().join("file.json");
    let name = path.display().to_string();
    fs::write(&path, json!({"queues": [there]}).to_string()).unwrap();
    succeeds(&definitions(&daemon, &["import", &name]));
    let before = export(&daemon);
    for (text, expected) in [
        (
            json!({"queues": [new, other]}).to_string(),
            ["refused with 409", "'durable' for queue 'there'"],
        ),
        (
            json!({"queues": [new, stream, {}]}).to_string(),
            [
                "queues[1].type: queue type 'stream'",
                "queues[2].name: is missing",
            ],
        ),
        (
            json!({"queues": [new], "x": "x".repeat(2 << 20)}).to_string(),
            ["refused with 413", "http.body_max"],
        ),
        ("no JSON".to_owned(), [&name, "expected"]),
    ] {
        fs::write(&path, text).unwrap();
        let said = fails(&definitions(&daemon, &["import", &name]));
        assert!(expected.iter().all(|part| said.contains(part)), "{said}");
        assert_eq!(export(&daemon), before);
    }
    let said = fails(&definitions(&daemon, &["import", "/nowhere/x.json"]));
    assert!(said.contains("/nowhere/x.json"), "{said}");
}
