//! The management API, with the tools that use RabbitMQ's: a recording of RabbitMQ's own answers, `rabbitmqadmin`,
//! amqpstorm.

mod admin;
mod shapes;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::daemon::{Daemon, musterd};

/// A daemon with its management API and its broker on free ports.
struct Managed {
    daemon: Daemon,
    api: String,
    amqp: String,
}

impl Managed {
    fn start(more: &[&str]) -> Self {
        let mut arguments = vec!["--set", "broker.management_listen=127.0.0.1:0"];
        arguments.extend(more);
        let daemon = Daemon::start(&arguments);
        let address = |key: &str| {
            let line = daemon.logged(|line| line.get(key).is_some());
            line[key].as_str().unwrap().to_owned()
        };
        let amqp = address("amqp.address");
        let api = format!("http://{}", address("management.address"));
        Self { daemon, api, amqp }
    }

    fn port(&self) -> &str {
        self.api.rsplit(':').next().unwrap()
    }

    async fn get(&self, path: &str, user: &str) -> (u16, Value) {
        let request = reqwest::Client::new().get(format!("{}{path}", self.api));
        let answer = request.basic_auth(user, Some(user)).send().await.unwrap();
        let code = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (
            code,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/management")
}

fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.local/python/bin/python");
    assert!(
        python.exists(),
        "{} is missing: run tests/setup",
        python.display()
    );
    python
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    stdout
}

#[test]
fn amqpstorms_management_functions() {
    let managed = Managed::start(&[]);
    let mut script = Command::new(python());
    script
        .arg(folder().join("storm.py"))
        .arg(&managed.api)
        .arg(&managed.amqp);
    let output = succeeded(&script.output().unwrap());
    assert!(output.ends_with("ok\n"), "{output}");
}

#[tokio::test]
async fn users_see_what_their_tags_and_permissions_allow() {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    std::fs::write(
        file.path(),
        "[broker]\nvhosts = [\"/\", \"second\"]\n\
         [broker.users.maker]\npassword = \"maker\"\ntags = [\"management\"]\n\
         [broker.users.maker.permissions.\"/\"]\nconfigure = \"^own-\"\nwrite = \".*\"\nread = \".*\"\n\
         [broker.users.watcher]\npassword = \"watcher\"\ntags = [\"monitoring\"]\n\
         [broker.users.plain]\npassword = \"plain\"\n",
    )
    .unwrap();
    let managed = Managed::start(&["--config", file.path().to_str().unwrap()]);
    for (user, path, code) in [
        ("guest", "/api/overview", 200),
        ("plain", "/api/overview", 401),
        ("nobody", "/api/overview", 401),
        ("maker", "/api/whoami", 200),
        ("maker", "/api/nodes", 401),
        ("maker", "/api/users", 401),
        ("maker", "/api/definitions", 401),
        ("maker", "/api/queues/%2F", 200),
        ("maker", "/api/queues/second", 401),
        ("maker", "/api/users/maker/permissions", 200),
        ("maker", "/metrics", 401),
        ("watcher", "/api/nodes", 200),
        ("watcher", "/api/queues/second", 200),
        ("watcher", "/api/users", 401),
        ("watcher", "/metrics", 200),
    ] {
        assert_eq!(managed.get(path, user).await.0, code, "{path} by {user}");
    }
    let (_, vhosts) = managed.get("/api/vhosts", "maker").await;
    assert_eq!(vhosts.as_array().unwrap().len(), 1);
    let (_, exchanges) = managed.get("/api/exchanges", "maker").await;
    assert!(
        exchanges
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["vhost"] == "/")
    );
    let (_, exchanges) = managed.get("/api/exchanges", "watcher").await;
    let mut exchanges = exchanges.as_array().unwrap().iter();
    assert!(exchanges.any(|one| one["vhost"] == "second"));
}

#[tokio::test]
async fn metrics_have_rabbitmqs_names_beside_our_own() {
    let managed = Managed::start(&[]);
    let client = reqwest::Client::new();
    let queue = format!("{}/api/queues/%2F/measured", managed.api);
    let declared = client
        .put(queue)
        .basic_auth("guest", Some("guest"))
        .json(&json!({}));
    assert_eq!(declared.send().await.unwrap().status(), 201);
    let publish = format!("{}/api/exchanges/%2F/amq.default/publish", managed.api);
    let message = json!({"properties": {}, "routing_key": "measured", "payload": "x", "payload_encoding": "string"});
    let published = client
        .post(publish)
        .basic_auth("guest", Some("guest"))
        .json(&message);
    assert_eq!(published.send().await.unwrap().status(), 200);
    let (_, page) = managed.get("/metrics", "guest").await;
    let page = page.as_str().unwrap();
    for line in [
        "rabbitmq_queue_messages_ready 1",
        "rabbitmq_queue_messages 1",
        "rabbitmq_queue_messages_published_total 1",
        "rabbitmq_global_messages_received_total{protocol=\"amqp091\"} 1",
        "musterd_broker_messages_ready 1",
    ] {
        assert!(
            page.contains(&format!("\n{line}\n")),
            "{line} is not in {page}"
        );
    }
    let (_, page) = managed.get("/metrics/per-object", "guest").await;
    let line = "rabbitmq_queue_messages_ready{vhost=\"/\",queue=\"measured\"} 1";
    assert!(page.as_str().unwrap().contains(line));
}

/// The code with which a daemon with these arguments ends at its start.
fn ends(arguments: &[&str]) -> (Option<i32>, String) {
    ended(&mut musterd(arguments))
}

fn ended(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn a_configured_address_that_is_taken_ends_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("broker.management_listen={}", taken.local_addr().unwrap());
    let (code, log) = ends(&["--set", &listen]);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("broker.management_listen"), "{log}");
}

/// Alone with the default port: other tests do not use it.
#[test]
fn the_default_address_that_is_taken_is_a_warning_unless_it_is_configured() {
    // Another program of this machine may have it, which is the same for the daemon.
    let taken = std::net::TcpListener::bind("127.0.0.1:15672");
    let started = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_musterd"));
        let shut = [
            "http.listen=127.0.0.1:0",
            "broker.listen=127.0.0.1:0",
            "consul.listen=",
            "dns.listen=",
            "store.path=",
            "log.format=json",
        ];
        for key in shut.iter().chain(more) {
            command.args(["--set", key]);
        }
        command
    };
    let (code, log) = ended(&mut started(&["broker.management_listen=127.0.0.1:15672"]));
    assert_eq!(code, Some(1), "{log}");
    let daemon = Daemon::run(&mut started(&[]));
    let about = |line: &Value| {
        let text = line["message"].as_str().unwrap_or_default();
        text.contains("broker.management_listen is not configured")
    };
    assert!(daemon.first.iter().any(about) || about(&daemon.logged(about)));
    drop(taken);
}

#[tokio::test]
async fn a_certificate_that_ends_soon_fails_its_check() {
    let check = "/api/health/checks/certificate-expiration";
    let plain = Managed::start(&[]);
    for (period, code) in [("10/years", 200), ("x/years", 400), ("1/hours", 400)] {
        let path = format!("{check}/{period}");
        assert_eq!(plain.get(&path, "guest").await.0, code, "{period}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join("tls").join(name).display().to_string();
    let made = Command::new(env!("CARGO_BIN_EXE_musterd"))
        .args(["tls", "self-signed", "--dir", &path("")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let certificate = format!("broker.tls.certificate={}", path("server.pem"));
    let key = format!("broker.tls.key={}", path("server.key"));
    let listen = "broker.tls.listen=127.0.0.1:0";
    let managed = Managed::start(&["--set", &certificate, "--set", &key, "--set", listen]);
    for (period, code) in [("1/weeks", 200), ("11/months", 200), ("2/years", 503)] {
        let (given, answer) = managed.get(&format!("{check}/{period}"), "guest").await;
        assert_eq!(given, code, "{period}: {answer}");
    }
}

#[tokio::test]
async fn the_daemon_stops_while_a_client_is_connected() {
    let managed = Managed::start(&[]);
    assert_eq!(managed.get("/api/overview", "guest").await.0, 200);
    let log = managed.daemon.stop();
    let failed = log.iter().any(|line| line["level"] == "ERROR");
    assert!(!failed, "{log:?}");
}

#[tokio::test]
async fn a_policy_applies_to_queues_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("store.path={}", folder.path().join("data").display());
    let client = reqwest::Client::new();
    let put = async |managed: &Managed, path: &str, body: Value| {
        let request = client.put(format!("{}{path}", managed.api)).json(&body);
        let answer = request
            .basic_auth("guest", Some("guest"))
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let policy = json!({"pattern": "^limited", "definition": {"max-length": 2}, "priority": 1});
    {
        let managed = Managed::start(&["--set", &store]);
        assert_eq!(
            put(&managed, "/api/policies/%2F/short", policy.clone())
                .await
                .0,
            201
        );
        assert_eq!(
            put(&managed, "/api/policies/%2F/short", policy).await.0,
            204
        );
        let mirrored = json!({"pattern": ".*", "definition": {"ha-mode": "all"}});
        let (code, text) = put(&managed, "/api/policies/%2F/mirrored", mirrored).await;
        assert_eq!(code, 400);
        assert!(text.contains("ha-mode"), "{text}");
        put(
            &managed,
            "/api/queues/%2F/limited",
            json!({"durable": true}),
        )
        .await;
    }
    let managed = Managed::start(&["--set", &store]);
    let publish = format!("{}/api/exchanges/%2F/amq.default/publish", managed.api);
    for payload in ["one", "two", "three"] {
        let message = json!({"properties": {}, "routing_key": "limited", "payload": payload, "payload_encoding": "string"});
        let published = client
            .post(&publish)
            .basic_auth("guest", Some("guest"))
            .json(&message);
        assert_eq!(published.send().await.unwrap().status(), 200);
    }
    let (_, queue) = managed.get("/api/queues/%2F/limited", "guest").await;
    assert_eq!(
        (&queue["messages"], &queue["policy"]),
        (&json!(2), &json!("short"))
    );
    assert_eq!(
        queue["effective_policy_definition"],
        json!({"max-length": 2})
    );
    let (_, definitions) = managed.get("/api/definitions", "guest").await;
    assert_eq!(definitions["policies"][0]["name"], "short");
    let delete = client.delete(format!("{}/api/policies/%2F/short", managed.api));
    let deleted = delete
        .basic_auth("guest", Some("guest"))
        .send()
        .await
        .unwrap();
    assert_eq!(deleted.status(), 204);
    assert_eq!(managed.get("/api/policies/%2F/short", "guest").await.0, 404);
}
