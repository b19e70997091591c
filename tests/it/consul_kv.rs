//! Keys, sessions, transactions and user events of the Consul door: client libraries, restarts, permissions, limits.

mod restarts;
mod wrong;

use std::{path::Path, process::Command, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::StreamExt;
use lapin::{
    Connection, ConnectionProperties,
    options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use self::wrong::WRONG;
use crate::{
    daemon::Daemon,
    scripts::{ends_with_ok, in_tests},
};

/// Longer than anything here takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);
const ADMIN: &str = "the-admin-of-this-test-0123456789";

/// A daemon with its Consul door.
struct Door {
    daemon: Daemon,
    url: String,
    token: Option<String>,
}

/// An answer: its code, its index and its body.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    index: Option<u64>,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

impl Door {
    fn start(arguments: &[&str]) -> Self {
        let daemon = Daemon::start(arguments);
        let is_shown = |line: &Value| line.get("consul.address").is_some();
        let line = daemon.first.iter().find(|line| is_shown(line)).cloned();
        let line = line.unwrap_or_else(|| daemon.logged(is_shown));
        let url = format!("http://{}", line["consul.address"].as_str().unwrap());
        let token = None;
        Self { daemon, url, token }
    }

    fn stored(path: &Path) -> Self {
        let path = format!("store.path={}", path.display());
        Self::start(&["--set", &path, "--set", "broker.listen="])
    }

    async fn ask(&self, method: &str, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = Client::new().request(method, format!("{}/v1/{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header("x-consul-token", token);
        }
        let answer = request.body(body).send().await.unwrap();
        let index = answer.headers().get("x-consul-index");
        Answer {
            status: answer.status(),
            index: index.map(|index| index.to_str().unwrap().parse().unwrap()),
            text: answer.text().await.unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }

    /// A write that must succeed.
    async fn put(&self, path: &str, body: impl Into<reqwest::Body>) -> Value {
        let answer = self.ask("PUT", path, body).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    async fn session(&self, body: &Value) -> String {
        let made = self.put("session/create", body.to_string()).await;
        made["ID"].as_str().unwrap().to_owned()
    }

    /// The session that holds the lock on a key.
    async fn holder(&self, key: &str) -> Option<String> {
        let entry = self.get(&format!("kv/{key}")).await.json();
        entry[0]["Session"].as_str().map(str::to_owned)
    }
}

fn script(name: &str) -> String {
    format!("{}/tests/it/consul_kv/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn py_consul() {
    let door = Door::start(&[]);
    let mut command = Command::new(in_tests(".local/python/bin/python"));
    command.args([&script("kv.py"), door.url.trim_start_matches("http://")]);
    ends_with_ok(&mut command);
}

#[test]
fn node_consul() {
    let door = Door::start(&[]);
    let mut command = Command::new("node");
    command.env("NODE_PATH", in_tests(".local/consul/node_modules"));
    command.args([&script("kv.js"), door.url.trim_start_matches("http://")]);
    ends_with_ok(&mut command);
}

#[tokio::test]
async fn a_session_ends_with_the_check_that_it_depends_on() {
    let door = Door::start(&["--set", "broker.listen="]);
    let web = json!({"Name": "web", "ID": "web-1", "Port": 80, "Check": {"TTL": "3600s"}});
    let registered = door
        .ask("PUT", "agent/service/register", web.to_string())
        .await;
    assert_eq!(registered.status, 200, "{registered:?}");
    let checked =
        json!({"NodeChecks": [], "ServiceChecks": [{"ID": "service:web-1"}], "LockDelay": "0s"});
    // A TTL check is critical until it is reported to pass.
    let refused = door.ask("PUT", "session/create", checked.to_string()).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(refused.text.contains("service:web-1"), "{refused:?}");
    let passes = door.ask("PUT", "agent/check/pass/service:web-1", "").await;
    assert_eq!(passes.status, 200, "{passes:?}");

    let session = door.session(&checked).await;
    let other = door.session(&json!({})).await;
    door.put(&format!("kv/leader?acquire={session}"), "web-1")
        .await;
    let held = door.get("kv/leader").await.index.unwrap();
    let path = format!("kv/leader?index={held}&wait=30s");
    let fails = async {
        sleep(Duration::from_millis(200)).await;
        door.ask("PUT", "agent/check/fail/service:web-1", "").await
    };
    let (released, _) = tokio::join!(door.get(&path), fails);
    assert!(released.index.unwrap() > held, "{released:?}");
    assert_eq!(door.holder("leader").await, None);
    let sessions = door.get("session/list").await.json();
    assert_eq!(sessions.as_array().unwrap().len(), 1, "{sessions}");
    assert_eq!(sessions[0]["ID"], *other);

    // The same when the instance is removed by another door.
    door.ask("PUT", "agent/check/pass/service:web-1", "").await;
    let session = door.session(&checked).await;
    door.put(&format!("kv/leader?acquire={session}"), "web-1")
        .await;
    let request = Client::new().delete(format!("{}/services/web-1", door.daemon.url));
    assert!(request.send().await.unwrap().status().is_success());
    timeout(PATIENCE, async {
        while door.holder("leader").await.is_some() {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the session ends");
    let unknown = door.ask("PUT", "session/create", checked.to_string()).await;
    assert_eq!(unknown.status, 400, "{unknown:?}");
}

#[tokio::test]
async fn a_wait_ends_only_with_a_change_of_what_it_shows() {
    let door = Door::start(&["--set", "broker.listen="]);
    door.put("kv/a/1", "x").await;
    let session = door.session(&json!({})).await;
    let read = async |path: &str| door.get(path).await.index.unwrap();
    let paths = [
        "kv/a/1?".to_owned(),
        "kv/a/?recurse&".to_owned(),
        "kv/a/?keys&".to_owned(),
        "kv/none?".to_owned(),
        "kv/no/?recurse&".to_owned(),
        format!("session/info/{session}?"),
        "session/list?".to_owned(),
    ];
    let mut waiting = JoinSet::new();
    for (number, path) in paths.iter().enumerate() {
        let index = read(path).await;
        let url = format!("{}/v1/{path}index={index}&wait=60s", door.url);
        waiting.spawn(async move { (number, Client::new().get(url).send().await.unwrap()) });
    }
    let woken = async |waiting: &mut JoinSet<(usize, reqwest::Response)>, count: usize| {
        let mut woken = Vec::new();
        for _ in 0..count {
            let next = timeout(PATIENCE, waiting.join_next()).await;
            woken.push(next.expect("it is woken").unwrap().unwrap().0);
        }
        woken.sort_unstable();
        let more = timeout(Duration::from_millis(150), waiting.join_next()).await;
        assert!(more.is_err(), "{more:?}");
        woken
    };
    assert_eq!(woken(&mut waiting, 0).await, [0; 0]);
    door.put("kv/b", "x").await;
    assert_eq!(woken(&mut waiting, 0).await, [0; 0]);
    // A new value changes no list of keys.
    door.put("kv/a/1", "y").await;
    assert_eq!(woken(&mut waiting, 2).await, [0, 1]);
    door.ask("DELETE", "kv/a/1", "").await;
    assert_eq!(woken(&mut waiting, 1).await, [2]);
    door.put("kv/no/thing", "x").await;
    assert_eq!(woken(&mut waiting, 1).await, [4]);
    door.session(&json!({})).await;
    assert_eq!(woken(&mut waiting, 1).await, [6]);
    door.put(&format!("session/destroy/{session}"), "").await;
    assert_eq!(woken(&mut waiting, 1).await, [5]);
    door.put("kv/none", "x").await;
    let last = timeout(PATIENCE, waiting.join_next()).await.unwrap();
    assert_eq!(last.unwrap().unwrap().0, 3);
    // A higher index than ours, from before a restart without a store, is answered at once.
    let early = timeout(PATIENCE, door.get("kv/b?index=999999999&wait=10m")).await;
    assert_eq!(early.unwrap().status, 200);
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let door = Door::start(&["--set", "broker.listen=", "--set", "consul.txn_ops_max=2"]);
    let session = door.session(&json!({})).await;
    for (method, path, body, status, text) in WRONG {
        let path = &*path.replace("SESSION", &session);
        let answer = door.ask(method, path, (*body).to_owned()).await;
        assert_eq!(answer.status, *status, "{method} {path} {body}: {answer:?}");
        assert!(
            answer.text.contains(text),
            "{method} {path} {body}: {answer:?}"
        );
        if *method == "GET" && *status != 400 {
            assert!(answer.index.unwrap() > 0, "{method} {path}: {answer:?}");
        }
    }
    let raw = Client::new().get(format!("{}/v1/kv/a?raw", door.url));
    door.put("kv/a", "<script>").await;
    let raw = raw.send().await.unwrap();
    let header = |name: &str| raw.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/plain");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("content-security-policy"), "sandbox");
}

#[tokio::test]
async fn limits_refuse_a_write_and_name_the_key() {
    let door = Door::start(&[
        "--set",
        "broker.listen=",
        "--set",
        "consul.kv_value_max=1KiB",
        "--set",
        "consul.kv_keys_max=3",
        "--set",
        "consul.kv_bytes_max=2KiB",
        "--set",
        "consul.sessions_max=2",
    ]);
    let large = "x".repeat(1025);
    let refused = door.ask("PUT", "kv/large", large).await;
    assert_eq!(refused.status, 413);
    assert!(
        refused.text.contains("\"large\"") && refused.text.contains("consul.kv_value_max"),
        "{refused:?}"
    );
    door.put("kv/a", "x".repeat(1024)).await;
    door.put("kv/b", "x".repeat(900)).await;
    let refused = door.ask("PUT", "kv/c", "x".repeat(900)).await;
    assert_eq!(refused.status, 507);
    assert!(
        refused.text.contains("\"c\"") && refused.text.contains("consul.kv_bytes_max"),
        "{refused:?}"
    );
    door.put("kv/c", "x").await;
    let refused = door.ask("PUT", "kv/d", "").await;
    assert_eq!(refused.status, 507);
    assert!(
        refused.text.contains("\"d\"") && refused.text.contains("consul.kv_keys_max"),
        "{refused:?}"
    );
    let set = json!([{"KV": {"Verb": "set", "Key": "d"}}]).to_string();
    assert_eq!(door.ask("PUT", "txn", set).await.status, 507);
    assert_eq!(door.ask("DELETE", "kv/a", "").await.text, "true");
    door.put("kv/d", "x".repeat(900)).await;
    door.session(&json!({})).await;
    door.session(&json!({})).await;
    let refused = door.ask("PUT", "session/create", "").await;
    assert_eq!(refused.status, 507);
    assert!(refused.text.contains("consul.sessions_max"), "{refused:?}");
}

#[tokio::test]
async fn each_identity_reads_and_writes_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("admin"), ADMIN).unwrap();
    let config = format!(
        "[security]\nadmin_token_file = '{}'\n[security.policies]\n\
         app = [{{ resource = 'kv', pattern = 'app/*', access = 'write' }},\n\
                {{ resource = 'kv', pattern = 'app/secret', access = 'deny' }}]\n\
         see = [{{ resource = 'kv', pattern = 'app/a', access = 'read' }}]\n",
        path("admin")
    );
    std::fs::write(path("musterd.toml"), config).unwrap();
    let mut door = Door::start(&["--config", &path("musterd.toml"), "--set", "broker.listen="]);
    let refused = door.ask("PUT", "kv/app/a", "x").await;
    assert_eq!(refused.status, 403, "{refused:?}");
    let mut tokens = Vec::new();
    for policy in ["app", "see"] {
        let request = Client::new().post(format!("{}/auth/tokens", door.daemon.url));
        let request = request
            .bearer_auth(ADMIN)
            .json(&json!({"name": policy, "policies": [policy]}));
        let made: Value = request.send().await.unwrap().json().await.unwrap();
        tokens.push(made["secret"].as_str().unwrap().to_owned());
    }
    door.token = Some(ADMIN.to_owned());
    for key in ["app/a", "app/secret", "db/a"] {
        door.put(&format!("kv/{key}"), "x").await;
    }
    let of_admin = door.session(&json!({"Name": "admin"})).await;
    let hidden = json!({"Name": "web", "Check": {"TTL": "3600s", "Status": "passing"}}).to_string();
    let registered = door.ask("PUT", "agent/service/register", hidden).await;
    assert_eq!(registered.status, 200, "{registered:?}");
    let on_hidden = json!({"NodeChecks": [], "ServiceChecks": [{"ID": "service:web"}]});
    door.session(&on_hidden).await;

    door.token = Some(tokens[0].clone());
    let own = door.session(&json!({"Name": "app"})).await;
    // A check of a service that the identity may not read is as one that does not exist.
    let on_hidden = on_hidden.to_string();
    let unseen = door.ask("PUT", "session/create", on_hidden).await;
    assert_eq!(unseen.status, 400, "{unseen:?}");
    assert!(unseen.text.contains("Missing check"), "{unseen:?}");
    for (method, path, status) in [
        ("GET", "kv/app/a", 200),
        ("PUT", "kv/app/b", 200),
        ("PUT", &*format!("kv/app/b?acquire={own}"), 200),
        ("GET", "kv/app/secret", 403),
        ("PUT", "kv/app/secret", 403),
        ("GET", "kv/db/a", 403),
        ("PUT", "kv/db/a?cas=0", 403),
        ("DELETE", "kv/db/a", 403),
        ("DELETE", "kv/app/?recurse", 403),
        ("DELETE", "kv/?recurse", 403),
        ("PUT", &*format!("session/destroy/{of_admin}"), 403),
        ("PUT", &*format!("session/renew/{of_admin}"), 403),
        ("PUT", &*format!("session/renew/{own}"), 200),
        ("PUT", "event/fire/deploy", 403),
    ] {
        let answer = door.ask(method, path, "").await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        if status == 403 {
            assert!(answer.text.contains("Permission denied"), "{answer:?}");
        }
    }
    let keys = door.get("kv/?keys").await.json();
    assert_eq!(keys, json!(["app/a", "app/b"]));
    let entries = door.get("kv/?recurse").await.json();
    assert_eq!(entries.as_array().unwrap().len(), 2, "{entries}");
    let set = |key: &str| json!({"KV": {"Verb": "set", "Key": key, "Value": ""}});
    let mixed = json!([set("app/c"), set("db/c")]).to_string();
    let answer = door.ask("PUT", "txn", mixed).await;
    assert_eq!(answer.status, 409);
    assert_eq!(answer.json()["Errors"][0]["OpIndex"], 1);
    assert_eq!(door.get("kv/app/c").await.status, 404);

    door.token = Some(tokens[1].clone());
    assert_eq!(door.get("kv/app/a").await.status, 200);
    assert_eq!(door.ask("PUT", "kv/app/a", "y").await.status, 403);
    assert_eq!(door.ask("PUT", "session/create", "").await.status, 403);
    assert_eq!(door.get("kv/?keys").await.json(), json!(["app/a"]));
}

#[tokio::test]
async fn a_user_event_leaves_on_the_topic_exchange() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let door = Door::start(&["--set", &format!("broker.listen={address}")]);
    let url = format!("amqp://guest:guest@{address}/%2f");
    let connection = Connection::connect(&url, ConnectionProperties::default());
    let channel = connection.await.unwrap().create_channel().await.unwrap();
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let none = FieldTable::default;
    let queue = channel.queue_declare("".into(), exclusive, none()).await;
    let queue = queue.unwrap().name().clone();
    channel
        .queue_bind(
            queue.clone(),
            "musterd".into(),
            "user.event.#".into(),
            QueueBindOptions::default(),
            none(),
        )
        .await
        .unwrap();
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let consumed = channel.basic_consume(queue, "".into(), options, none());
    let mut consumer = consumed.await.unwrap();
    let fired = door.put("event/fire/deploy?service=web", "v2").await;
    let next = timeout(PATIENCE, consumer.next()).await.expect("it comes");
    let delivery = next.unwrap().unwrap();
    assert_eq!(delivery.routing_key.as_str(), "user.event.deploy");
    let message: Value = serde_json::from_slice(&delivery.data).unwrap();
    assert_eq!(message, fired);
    assert_eq!(message["Payload"], STANDARD.encode("v2"));
}
