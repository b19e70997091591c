//! Tokens, permissions and safe defaults.

use std::{os::unix::fs::PermissionsExt, path::Path};

use futures_util::StreamExt;
use lapin::{
    BasicProperties,
    options::{BasicConsumeOptions, BasicPublishOptions},
    types::{AMQPValue, FieldTable},
};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::{connect_async, tungstenite::Message};

use super::home::{ADMIN, Home, PATIENCE, ask, create, files, get, no_secret, raw, register, run};
use crate::daemon::{Daemon, musterd};

#[tokio::test]
async fn tokens_and_owners_survive_a_restart_and_a_revoked_one_does_not_come_back() {
    let home = Home::new();
    let daemon = home.start(&[]);
    assert_eq!(get(&daemon, "", "/health").await.0, 200);
    assert_eq!(get(&daemon, "", "/services").await.0, 401);
    assert_eq!(get(&daemon, "guessed-0123456789", "/services").await.0, 401);
    let (kept, gone) = (create(&daemon, "kept").await, create(&daemon, "gone").await);
    assert_eq!(register(&daemon, &kept, "web-1", "web-a").await, 200);
    assert_eq!(register(&daemon, &kept, "pay-1", "pay").await, 403);
    let revoked = ask(&daemon, ADMIN, "DELETE", "/auth/tokens/gone", Value::Null).await;
    assert_eq!(revoked.0, 204);
    assert_eq!(get(&daemon, &gone, "/services").await.0, 401);
    daemon.stop();
    drop(daemon);

    let daemon = home.start(&[]);
    assert_eq!(get(&daemon, &gone, "/services").await.0, 401);
    let (status, shown) = get(&daemon, &kept, "/services/web-1").await;
    assert_eq!((status, &shown["owner"]), (StatusCode::OK, &json!("kept")));
    let (_, tokens) = get(&daemon, ADMIN, "/auth/tokens").await;
    let names: Vec<_> = tokens["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["admin", "kept"]);
    let used = &tokens["tokens"][1]["last_used_at"];
    assert!(
        used.is_string(),
        "when it was last used is stored at a stop"
    );
}

/// Reads a stream's bytes until they hold a text.
async fn until(stream: &mut Response, text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        let piece = timeout(PATIENCE, stream.chunk()).await.unwrap().unwrap();
        read += std::str::from_utf8(&piece.expect("the stream continues")).unwrap();
    }
    read
}

#[tokio::test]
async fn streams_show_what_their_token_may_read_and_end_with_it() {
    let home = Home::new();
    let daemon = home.start(&[]);
    assert_eq!(register(&daemon, ADMIN, "pay-1", "pay").await, 200);
    let app = create(&daemon, "app").await;
    let url = |path: &str| format!("{}{path}", daemon.url);
    let in_query = url(&format!("/watch?token={app}"));
    let mut stream = Client::new().get(in_query).send().await.unwrap();
    assert_eq!(stream.status(), 200);

    let (status, ticket) = ask(&daemon, &app, "POST", "/auth/ticket", Value::Null).await;
    assert_eq!(
        (status, &ticket["expires_in"]),
        (StatusCode::OK, &json!(30))
    );
    let ticket = ticket["ticket"].as_str().unwrap();
    let socket = url(&format!("/watch/ws?ticket={ticket}")).replace("http:", "ws:");
    let (mut socket, _) = connect_async(&socket).await.unwrap();
    let again = url(&format!("/watch?ticket={ticket}"));
    assert_eq!(
        Client::new().get(again).send().await.unwrap().status(),
        401,
        "it is used once"
    );

    assert_eq!(register(&daemon, ADMIN, "pay-2", "pay").await, 200);
    assert_eq!(register(&daemon, &app, "web-1", "web-a").await, 200);
    let read = until(&mut stream, "web-1").await;
    assert!(!read.contains("pay"), "{read}");
    let mut heard = String::new();
    while !heard.contains("web-1") {
        let message = timeout(PATIENCE, socket.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        heard += message.to_text().unwrap_or_default();
    }
    assert!(!heard.contains("pay"), "{heard}");

    let long_poll = Client::new().get(url("/services/discover/web-a?index=0-0&wait=60s"));
    let first = long_poll.bearer_auth(&app).send().await.unwrap();
    let index = first.headers()["x-muster-index"]
        .to_str()
        .unwrap()
        .to_owned();
    let path = url(&format!("/services/discover/web-a?index={index}&wait=60s"));
    let waiting = Client::new().get(path).bearer_auth(&app).send();
    let revoke = async {
        // Whether it waits already makes no difference to what it is answered with.
        let revoked = ask(&daemon, ADMIN, "DELETE", "/auth/tokens/app", Value::Null).await;
        assert_eq!(revoked.0, 204);
    };
    let (waited, ()) = tokio::join!(waiting, revoke);
    assert_eq!(waited.unwrap().status(), 401);
    let ended = async { while let Ok(Some(_)) = stream.chunk().await {} };
    timeout(PATIENCE, ended).await.unwrap();
    let closed = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| u16::from(frame.code)),
                Some(Ok(_)) => (),
                _ => return None,
            }
        }
    };
    assert_eq!(timeout(PATIENCE, closed).await.unwrap(), Some(1008));
}

#[tokio::test]
async fn the_commands_make_show_rotate_and_revoke_tokens() {
    let home = Home::new();
    let daemon = home.start(&[]);
    let (code, told) = run(&daemon, "", &["token", "list"]);
    assert_eq!(code, Some(1));
    assert!(told.contains("401"), "{told}");
    let create = [
        "token",
        "create",
        "--name",
        "ci",
        "--policy",
        "web",
        "--expires",
        "30d",
    ];
    let (code, secret) = run(&daemon, ADMIN, &create);
    assert_eq!(code, Some(0), "{secret}");
    let secret = secret.trim();
    let (_, who) = run(&daemon, secret, &["token", "whoami"]);
    assert_eq!(who, "ci: web\n");
    let (code, told) = run(&daemon, secret, &["transport"]);
    assert_eq!(code, Some(1));
    assert!(told.contains("no read access to transport"), "{told}");
    let (code, new) = run(
        &daemon,
        ADMIN,
        &["token", "rotate", "ci", "--overlap", "0s"],
    );
    assert_eq!(code, Some(0), "{new}");
    assert_eq!(get(&daemon, secret, "/services").await.0, 401);
    assert_eq!(get(&daemon, new.trim(), "/services").await.0, 200);
    let (_, list) = run(&daemon, ADMIN, &["token", "list"]);
    assert!(
        list.contains("ci ") && list.contains("admin ") && !list.contains(new.trim()),
        "{list}"
    );
    let file = home.path("token");
    std::fs::write(&file, format!("{}\n", new.trim())).unwrap();
    let (_, who) = run(&daemon, "", &["--token-file", &file, "token", "whoami"]);
    assert_eq!(who, "ci: web\n");
    let (code, _) = run(&daemon, "", &["--token", ADMIN, "token", "revoke", "ci"]);
    assert_eq!(code, Some(0));
    assert_eq!(get(&daemon, new.trim(), "/services").await.0, 401);
    let backup = home.path("backup");
    let (code, told) = run(&daemon, ADMIN, &["backup", &backup]);
    assert_eq!(code, Some(0), "{told}");
}

#[test]
fn an_address_of_other_machines_is_refused_with_three_ways_out() {
    let open = ["--set", "http.listen=0.0.0.0:0", "--set", "broker.listen="];
    let output = musterd(&open).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    for part in [
        "http.listen",
        "MUSTERD_ADMIN_TOKEN",
        "127.0.0.1",
        "security.allow_open",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let checked = musterd(&["check-config", "--set", "http.listen=0.0.0.0:8000"]).output();
    assert_eq!(checked.unwrap().status.code(), Some(2));

    let allowed = [&open[..], &["--set", "security.allow_open=true"]].concat();
    let daemon = Daemon::start(&allowed);
    drop(daemon);
    let guarded = [&open[..], &["--set", "security.auth=on"]].concat();
    let daemon = Daemon::start(&guarded);
    drop(daemon);
}

#[test]
fn without_authentication_the_tokens_that_are_ignored_are_named() {
    let daemon = Home::new().start(&["--set", "security.auth=off"]);
    let warned = |line: &Value| line.to_string().contains("security.admin_token_file");
    assert!(daemon.first.iter().any(warned), "{:?}", daemon.first);
}

#[tokio::test]
async fn the_first_start_makes_an_admin_token_and_shows_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("store.path={}", folder.path().display());
    let start = || {
        Daemon::start(&[
            "--set",
            &store,
            "--set",
            "security.auth=on",
            "--set",
            "broker.listen=",
        ])
    };
    let daemon = start();
    let line = daemon
        .logged(|line| line.to_string().contains("mst_"))
        .to_string();
    let file = folder.path().join("admin-token");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let secret = std::fs::read_to_string(&file).unwrap();
    assert!(line.contains(secret.trim()), "{line}");
    assert_eq!(get(&daemon, secret.trim(), "/services").await.0, 200);
    daemon.stop();
    drop(daemon);
    let daemon = start();
    assert_eq!(get(&daemon, secret.trim(), "/services").await.0, 200);
    let rest = daemon.stop();
    assert!(!rest.iter().any(|line| line.to_string().contains("mst_")));
}

#[tokio::test]
async fn no_secret_is_in_the_log_or_in_an_answer() {
    let home = Home::new();
    let daemon = home.start(&["--set", "log.level=trace"]);
    let app = create(&daemon, "app").await;
    let (_, ticket) = ask(&daemon, &app, "POST", "/auth/ticket", Value::Null).await;
    let ticket = ticket["ticket"].as_str().unwrap();
    let wrong = "mst_wrong_0123456789abcdef";
    let secrets = [ADMIN, &*app, ticket, wrong];
    let close = "host: localhost\r\nconnection: close\r\n\r\n";
    for request in [
        format!("GET /services HTTP/1.1\r\nauthorization: Bearer {app}\r\n{close}"),
        format!("GET /services HTTP/1.1\r\nx-consul-token: {wrong}\r\n{close}"),
        format!("GET /services?token={wrong} HTTP/1.1\r\n{close}"),
        format!("GET /nothing?token={app} HTTP/1.1\r\nauthorization: Bearer {app}\r\n{close}"),
        format!("GET /watch?token={wrong} HTTP/1.1\r\n{close}"),
        format!("GET /watch?token={app} HTTP/1.1\r\n{close}"),
        format!("GET /watch?ticket={ticket} HTTP/1.1\r\n{close}"),
        format!("GET /gateway/watch?token={app} HTTP/1.1\r\n{close}"),
        format!("GET /watch HTTP/1.1\r\nauthorization: Bearer {app}\r\nhost: evil.example\r\n\r\n"),
        format!("NOT HTTP {app}\r\n\r\n"),
    ] {
        let answer = raw(&daemon, &request);
        no_secret(&answer, &secrets);
    }
    let (_, metrics) = ask(&daemon, ADMIN, "GET", "/metrics", Value::Null).await;
    no_secret(&metrics.to_string(), &secrets);
    for line in daemon.stop() {
        no_secret(&line.to_string(), &secrets);
    }
    let stored = files(Path::new(&home.path("store")));
    for secret in [app.as_bytes(), ADMIN.as_bytes()] {
        let found = stored.windows(secret.len()).any(|part| part == secret);
        assert!(!found, "a secret is stored");
    }
}

/// Sends a command as a user of the broker, with a lie about who that is: the answer.
async fn command(address: &str, user: &str, queue: &str, body: &Value) -> Value {
    let url = format!("amqp://{user}:{user}@{address}/%2f");
    let connection = lapin::Connection::connect(&url, lapin::ConnectionProperties::default());
    let channel = connection.await.unwrap().create_channel().await.unwrap();
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let direct = "amq.rabbitmq.reply-to";
    let replies = channel.basic_consume(direct.into(), "".into(), options, FieldTable::default());
    let mut replies = replies.await.unwrap();
    let mut lie = FieldTable::default();
    lie.insert(
        "x-musterd-user".into(),
        AMQPValue::LongString("worker".into()),
    );
    let properties = BasicProperties::default().with_reply_to(direct.into());
    let body = body.to_string();
    let sent = channel.basic_publish(
        "".into(),
        queue.into(),
        BasicPublishOptions::default(),
        body.as_bytes(),
        properties.with_headers(lie),
    );
    sent.await.unwrap();
    let reply = timeout(PATIENCE, replies.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    serde_json::from_slice(&reply.data).unwrap()
}

#[tokio::test]
async fn commands_over_the_broker_are_judged_by_the_user_that_logged_in() {
    let home = Home::new();
    let mut config = std::fs::read_to_string(home.path("musterd.toml")).unwrap();
    config += "[security.users]\nworker = ['web']\n[broker.users.worker]\npassword = 'worker'\n\
        [broker.users.worker.permissions.'/']\nconfigure = '.*'\nwrite = '.*'\nread = '.*'\n";
    std::fs::write(home.path("musterd.toml"), config).unwrap();
    let daemon = Daemon::start(&["--config", &home.path("musterd.toml")]);
    let line = daemon.logged(|line| line.get("amqp.address").is_some());
    let address = line["amqp.address"].as_str().unwrap();
    let instance = |id: &str, service: &str| json!({"service_id": id, "service_name": service, "host": "h", "port": 1});
    let refused = command(
        address,
        "guest",
        "service.register",
        &instance("a", "web-a"),
    )
    .await;
    assert_eq!(refused["status"], 403, "guest has no policies: {refused}");
    let refused = command(address, "worker", "service.register", &instance("p", "pay")).await;
    assert_eq!(refused["status"], 403, "{refused}");
    let taken = command(
        address,
        "worker",
        "service.register",
        &instance("a", "web-a"),
    )
    .await;
    assert_eq!(taken["service_id"], "a", "{taken}");
    let (_, shown) = get(&daemon, ADMIN, "/services/a").await;
    assert_eq!(shown["owner"], "amqp:worker");
    let found = async |user| {
        let name = json!({"service_name": "web-a"});
        command(address, user, "service.discover", &name).await["total_count"].clone()
    };
    assert_eq!(
        (found("worker").await, found("guest").await),
        (json!(1), json!(0))
    );
    let id = json!({"service_id": "a"});
    let unseen = command(address, "guest", "service.heartbeat", &id).await;
    assert!(
        unseen["status"] == 403 || unseen["status"] == 404,
        "{unseen}"
    );
    let gone = command(address, "worker", "service.deregister", &id).await;
    assert_eq!(gone["service_id"], "a", "{gone}");
}
