//! Unmodified clients of Consul, in two languages, at a daemon, and the door's own rules on a real port.

use std::{
    net::TcpListener,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    daemon::{Daemon, musterd},
    scripts::{ends_with_ok, in_tests},
};

/// A daemon without a broker, and where its Consul door is.
fn started(more: &[&str]) -> (Daemon, String) {
    let mut arguments = vec!["--set", "broker.listen=", "--set", "dns.listen="];
    arguments.extend(more);
    let daemon = Daemon::start(&arguments);
    let line = daemon.logged(|line| line.get("consul.address").is_some());
    let address = line["consul.address"].as_str().unwrap().to_owned();
    (daemon, address)
}

/// Runs a client's script; it ends with "ok".
fn run(mut command: Command, script: &str) {
    let (daemon, address) = started(&[]);
    let script = in_tests("it/consul").join(script);
    ends_with_ok(command.arg(script).arg(address).arg(&daemon.url));
}

#[test]
fn py_consul() {
    run(
        Command::new(in_tests(".local/python/bin/python")),
        "journey.py",
    );
}

#[test]
fn python_consul2() {
    let mut python = Command::new(in_tests(".local/python/bin/python"));
    python.env("PYTHONPATH", in_tests(".local/python-consul2"));
    run(python, "journey.py");
}

#[test]
fn npm_consul() {
    let mut node = Command::new("node");
    node.env("NODE_PATH", in_tests(".local/consul/node_modules"));
    run(node, "journey.js");
}

async fn put(address: &str, path: &str, body: &Value) {
    let client = reqwest::Client::new();
    let request = client.put(format!("http://{address}{path}")).json(body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}: {:?}", answer.text().await);
}

async fn get(address: &str, path: &str) -> Value {
    let answer = reqwest::get(format!("http://{address}{path}")).await;
    answer.unwrap().json().await.unwrap()
}

/// Waits until an answer is as it should be.
async fn until(address: &str, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = get(address, path).await;
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{path}: {answer:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_daemon_makes_every_kind_of_check() {
    let (daemon, address) = started(&["--set", "consul.enable_script_checks=true"]);
    let rest = daemon.url.trim_start_matches("http://");
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp = udp.local_addr().unwrap().to_string();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let closed = closed.unwrap().to_string();
    let every = |check: Value| {
        let mut check = check;
        check["Interval"] = "1s".into();
        check
    };
    let checks = [
        (
            "http",
            every(json!({"HTTP": format!("{}/health", daemon.url)})),
            "passing",
        ),
        (
            "missing",
            every(json!({"HTTP": format!("{}/nothing", daemon.url)})),
            "critical",
        ),
        ("tcp", every(json!({"TCP": rest})), "passing"),
        ("udp", every(json!({"UDP": udp})), "passing"),
        ("refused", every(json!({"TCP": closed})), "critical"),
        (
            "ping",
            every(json!({"H2PING": rest, "H2PingUseTLS": false})),
            "critical",
        ),
        (
            "script",
            every(json!({"Args": ["sh", "-c", "echo well"]})),
            "passing",
        ),
        (
            "warns",
            every(json!({"Args": ["sh", "-c", "echo so so; exit 1"]})),
            "warning",
        ),
        ("alias", json!({"AliasService": "warns"}), "warning"),
        (
            "expired",
            json!({"TTL": "1s", "Status": "passing"}),
            "critical",
        ),
    ];
    for (id, check, _) in &checks {
        let body = json!({"Name": "web", "ID": id, "Check": check});
        put(&address, "/v1/agent/service/register", &body).await;
    }
    for (id, check, expected) in &checks {
        let path = "/v1/agent/checks";
        let key = format!("service:{id}");
        let is_done = |checks: &Value| {
            let check = &checks[&key];
            check["Status"] == *expected && check["Output"] != ""
        };
        let shown = until(&address, path, is_done).await;
        assert!(shown[&key]["Output"].is_string(), "{id}: {check}");
    }
    let shown = get(&address, "/v1/agent/checks").await;
    assert_eq!(shown["service:script"]["Output"], "well");
    let output = shown["service:expired"]["Output"].as_str().unwrap();
    assert!(output.starts_with("TTL expired"), "{output}");
}

#[tokio::test]
async fn a_default_port_that_is_taken_is_a_warning_and_a_configured_one_the_end() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let key = format!("consul.listen={address}");
    let mut refused = musterd(&["--set", &key]);
    let output = refused.stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("consul.listen"), "{log}");

    // The daemon starts even if another program uses the default port. If the port is free, the API is served there.
    let holder = TcpListener::bind("127.0.0.1:8500");
    let mut command = Command::new(env!("CARGO_BIN_EXE_musterd"));
    for key in [
        "http.listen=127.0.0.1:0",
        "broker.listen=",
        "dns.listen=",
        "store.path=",
        "log.format=json",
    ] {
        command.args(["--set", key]);
    }
    let daemon = Daemon::run(&mut command);
    let about = |line: &Value| {
        let text = line["message"].as_str().unwrap_or_default();
        text.contains("consul.listen is not configured")
    };
    let warned = daemon.first.iter().any(about) || about(&daemon.logged(about));
    assert!(warned);
    drop(holder);
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code(), 0);
}

#[tokio::test]
async fn leave_stops_the_daemon_and_monitor_shows_its_log() {
    let (daemon, address) = started(&[]);
    let mut log = reqwest::get(format!("http://{address}/v1/agent/monitor"))
        .await
        .unwrap();
    put(
        &address,
        "/v1/agent/service/register",
        &json!({"Name": "seen-in-the-log"}),
    )
    .await;
    let mut text = String::new();
    while !text.contains("seen-in-the-log") {
        let piece = tokio::time::timeout(Duration::from_secs(20), log.chunk()).await;
        text.push_str(&String::from_utf8_lossy(&piece.unwrap().unwrap().unwrap()));
    }
    put(&address, "/v1/agent/leave", &json!({})).await;
    while let Ok(Some(_)) = log.chunk().await {}
    assert_eq!(daemon.exit_code(), 0);
}

#[tokio::test]
async fn registrations_survive_a_restart_and_an_index_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("store.path={}", folder.path().display());
    let (daemon, address) = started(&["--set", &store]);
    let body = json!({
        "ID": "web1", "Name": "web", "Port": 80, "Meta": {"a": "b"}, "Tags": ["t"],
        "Check": {"TTL": "1h", "Notes": "kept", "DeregisterCriticalServiceAfter": "90m"},
    });
    put(&address, "/v1/agent/service/register", &body).await;
    put(&address, "/v1/agent/check/pass/service:web1", &json!({})).await;
    let index = async |address: &str| {
        let path = format!("http://{address}/v1/health/service/web");
        let answer = reqwest::get(path).await.unwrap();
        let index = answer.headers()["x-consul-index"]
            .to_str()
            .unwrap()
            .to_owned();
        index.parse::<u64>().unwrap()
    };
    until(&address, "/v1/health/service/web?passing", |found| {
        found[0].is_object()
    })
    .await;
    let before = index(&address).await;
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code(), 0);

    let (daemon, address) = started(&["--set", &store]);
    let found = until(&address, "/v1/health/service/web?passing", |found| {
        found[0].is_object()
    });
    let found = found.await;
    assert_eq!(found[0]["Service"]["Meta"], json!({"a": "b"}));
    assert_eq!(found[0]["Checks"][1]["Notes"], "kept");
    assert!(index(&address).await > before);
    drop(daemon);
}
