//! Users of the broker that are made while it runs.

use std::{io::Write, process::Stdio};

use lapin::{
    BasicProperties, Connection, ConnectionProperties, ExchangeKind,
    options::{
        BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::FieldTable,
};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use super::home::{ADMIN, Home, PATIENCE, ask, create, get, no_secret};
use crate::daemon::{Daemon, musterd};

fn start(home: &Home) -> (Daemon, String) {
    let daemon = home.start(&["--set", "broker.listen=127.0.0.1:0"]);
    let line = daemon.logged(|line| line.get("amqp.address").is_some());
    let address = line["amqp.address"].as_str().unwrap().to_owned();
    (daemon, address)
}

/// Runs `musterd broker user`, with a password on its standard input.
fn user(daemon: &Daemon, arguments: &[&str], password: &str) -> (Option<i32>, String) {
    let all = [&["broker", "user"], arguments, &["--url", &daemon.url]].concat();
    let mut child = musterd(&all)
        .env("MUSTERD_TOKEN", ADMIN)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads no password may have ended.
    let _ = child.stdin.take().unwrap().write_all(password.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[track_caller]
fn done(daemon: &Daemon, arguments: &[&str], password: &str) -> String {
    let (code, text) = user(daemon, arguments, password);
    assert_eq!(code, Some(0), "{text}");
    text
}

async fn connect(address: &str, user: &str, password: &str) -> lapin::Result<Connection> {
    let url = format!("amqp://{user}:{password}@{address}/%2f");
    Connection::connect(&url, ConnectionProperties::default()).await
}

async fn ended(connection: &Connection) {
    let deadline = Instant::now() + PATIENCE;
    while connection.status().connected() {
        assert!(Instant::now() < deadline, "still connected");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one journey")]
async fn a_user_comes_and_goes_while_the_broker_runs() {
    let home = Home::new();
    let (daemon, address) = start(&home);
    assert!(connect(&address, "app", "first-password").await.is_err());
    done(
        &daemon,
        &["add", "app", "--tag", "monitoring"],
        "first-password",
    );
    let denied = connect(&address, "app", "first-password")
        .await
        .unwrap_err();
    assert!(denied.to_string().contains("vhost"), "{denied}");
    let permissions = |read| {
        [
            "permissions",
            "app",
            "--configure",
            "^app",
            "--write",
            ".*",
            "--read",
            read,
        ]
    };
    done(&daemon, &permissions("^app"), "");
    let connection = connect(&address, "app", "first-password").await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let declare = async |name: &str| {
        let options = QueueDeclareOptions::default();
        channel
            .queue_declare(name.into(), options, FieldTable::default())
            .await
    };
    declare("app.q").await.unwrap();
    let refused = declare("other").await.unwrap_err();
    assert!(refused.to_string().contains("ACCESS_REFUSED"), "{refused}");

    // Another password holds for the next login, permissions for open connections too.
    done(&daemon, &["passwd", "app"], "second-password");
    assert!(connection.status().connected());
    assert!(connect(&address, "app", "first-password").await.is_err());
    let listed = done(&daemon, &["list"], "");
    assert!(
        listed.contains("app") && listed.contains("argon2"),
        "{listed}"
    );
    let (code, text) = user(&daemon, &["add", "app"], "x");
    assert!(code == Some(1) && text.contains("exists"), "{text}");
    let (code, text) = user(&daemon, &["delete", "guest"], "");
    assert!(code == Some(1) && text.contains("configuration"), "{text}");
    let (_, users) = get(&daemon, ADMIN, "/broker/users").await;
    no_secret(
        &users.to_string(),
        &["first-password", "second-password", "$argon2"],
    );
    done(&daemon, &["permissions", "app", "--clear"], "");
    ended(&connection).await;
    done(&daemon, &permissions(".*"), "");
    let log = daemon.stop();
    for line in log {
        no_secret(
            &line.to_string(),
            &["first-password", "second-password", "$argon2"],
        );
    }
    drop(daemon);

    let (daemon, address) = start(&home);
    let connection = connect(&address, "app", "second-password").await.unwrap();
    let deleted = Instant::now();
    done(&daemon, &["delete", "app"], "");
    ended(&connection).await;
    assert!(connect(&address, "app", "second-password").await.is_err());
    assert!(deleted.elapsed() < PATIENCE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one journey")]
async fn topics_are_limited_where_messages_are_published_and_bound() {
    let home = Home::new();
    let (daemon, address) = start(&home);
    done(&daemon, &["add", "a.b", "--all-in", "/"], "topics-password");
    let limit = [
        "topic-permissions",
        "a.b",
        "--exchange",
        "events",
        "--write",
        "^{username}\\.",
        "--read",
        "^public\\.",
    ];
    done(&daemon, &limit, "");
    let connection = connect(&address, "a.b", "topics-password").await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let topic = ExchangeDeclareOptions::default();
    let declared = channel.exchange_declare(
        "events".into(),
        ExchangeKind::Topic,
        topic,
        FieldTable::default(),
    );
    declared.await.unwrap();
    let queue = QueueDeclareOptions::default();
    channel
        .queue_declare("q".into(), queue, FieldTable::default())
        .await
        .unwrap();
    let bind = async |key: &str| {
        let channel = connection.create_channel().await.unwrap();
        let options = QueueBindOptions::default();
        let bound = channel.queue_bind(
            "q".into(),
            "events".into(),
            key.into(),
            options,
            FieldTable::default(),
        );
        bound.await.map_err(|error| error.to_string())
    };
    let publish = async |exchange: &str, key: &str, cc: &str| {
        let channel = connection.create_channel().await.unwrap();
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .unwrap();
        let mut headers = FieldTable::default();
        if !cc.is_empty() {
            let list = vec![lapin::types::AMQPValue::LongString(cc.into())];
            headers.insert(
                "CC".into(),
                lapin::types::AMQPValue::FieldArray(list.into()),
            );
        }
        let properties = BasicProperties::default().with_headers(headers);
        let options = BasicPublishOptions::default();
        let sent = channel.basic_publish(exchange.into(), key.into(), options, b"x", properties);
        match sent.await.unwrap().await {
            Ok(confirmed) if confirmed.is_ack() => Ok(()),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        }
    };
    bind("public.#").await.unwrap();
    let refused = bind("secret.#").await.unwrap_err();
    assert!(
        refused.contains(
            "access to topic 'secret.#' in exchange 'events' in vhost '/' refused for user 'a.b'"
        ),
        "{refused}"
    );
    publish("events", "a.b.x", "").await.unwrap();
    let refused = publish("events", "axb.x", "").await.unwrap_err();
    assert!(refused.contains("topic 'axb.x'"), "{refused}");
    let refused = publish("events", "a.b.x", "other").await.unwrap_err();
    assert!(refused.contains("topic 'other'"), "{refused}");
    publish("amq.topic", "anything", "").await.unwrap();
    publish("", "q", "").await.unwrap();

    done(
        &daemon,
        &[
            "topic-permissions",
            "a.b",
            "--exchange",
            "events",
            "--clear",
        ],
        "",
    );
    publish("events", "axb.x", "").await.unwrap();
    bind("secret.#").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hashes_leave_and_come_with_definitions_of_an_admin_only() {
    let home = Home::new();
    let (daemon, address) = start(&home);
    let app = create(&daemon, "app").await;
    let new = json!({"name": "u", "password": "plain-password", "tags": ["administrator"]});
    assert_eq!(
        ask(&daemon, &app, "POST", "/broker/users", new.clone())
            .await
            .0,
        403
    );
    let (status, made) = ask(&daemon, ADMIN, "POST", "/broker/users", new.clone()).await;
    assert_eq!((status.as_u16(), &made["stored"]), (201, &json!(true)));
    assert_eq!(
        ask(&daemon, ADMIN, "POST", "/broker/users", new).await.0,
        409
    );
    let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
    for (path, body, status) in [
        ("/broker/users/u/permissions/%2F", all.clone(), 200),
        ("/broker/users/u/permissions/none", all.clone(), 404),
        ("/broker/users/none/permissions/%2F", all, 404),
        (
            "/broker/users/u/permissions/%2F",
            json!({"configure": "(", "write": "", "read": ""}),
            422,
        ),
        ("/broker/users/u", json!({"password_hash": "x"}), 422),
        ("/broker/users/guest", json!({"password": "x"}), 409),
    ] {
        let (found, answer) = ask(&daemon, ADMIN, "PUT", path, body).await;
        assert_eq!(found, status, "{path}: {answer}");
    }
    let operator = json!({"name": "op", "policies": ["operator"]});
    let (_, operator) = ask(&daemon, ADMIN, "POST", "/auth/tokens", operator).await;
    let operator = operator["secret"].as_str().unwrap();
    let (_, seen) = get(&daemon, operator, "/broker/definitions").await;
    assert_eq!(seen["users"], json!([]));
    let (_, file) = get(&daemon, ADMIN, "/broker/definitions").await;
    assert_eq!(file["users"][0]["name"], "u");
    let (_, report) = ask(
        &daemon,
        operator,
        "POST",
        "/broker/definitions",
        file.clone(),
    )
    .await;
    assert_eq!(report["ignored"][0]["name"], "u", "{report}");
    assert_eq!(
        ask(&daemon, ADMIN, "DELETE", "/broker/users/u", Value::Null)
            .await
            .0,
        204
    );
    let (_, report) = ask(&daemon, ADMIN, "POST", "/broker/definitions", file).await;
    assert_eq!(report["made"]["users"], 1, "{report}");
    connect(&address, "u", "plain-password").await.unwrap();
}
