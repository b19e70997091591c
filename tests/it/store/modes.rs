//! The modes, the cursors of the broker's channels and the migration across restarts and kills.

use std::{collections::BTreeSet, path::Path, time::Duration};

use futures_util::StreamExt;
use lapin::{
    Connection, ConnectionProperties,
    options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{body, get};
use crate::daemon::Daemon;

const PATIENCE: Duration = Duration::from_secs(60);

fn start(path: &Path, keys: &[&str]) -> Daemon {
    let path = format!("store.path={}", path.display());
    let keys = keys.iter().flat_map(|key| ["--set", *key]);
    let all: Vec<_> = ["--set", &path].into_iter().chain(keys).collect();
    Daemon::start(&all)
}

async fn mode(daemon: &Daemon, channel: &str) -> String {
    let (_, report) = get(daemon, "/transport").await;
    report["channels"][channel]["mode"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn ask(daemon: &Daemon, path: &str, body: Value) {
    let request = match path {
        "/transport" => Client::new().put(format!("{}{path}", daemon.url)),
        _ => Client::new().post(format!("{}{path}", daemon.url)),
    };
    let answer = request.json(&body).send().await.unwrap();
    assert!(
        answer.status().is_success(),
        "{}",
        answer.text().await.unwrap()
    );
}

#[tokio::test]
async fn modes_changed_at_run_time_win_until_others_are_configured() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = start(folder.path(), &[]);
    assert_eq!(mode(&daemon, "events").await, "dual");
    ask(&daemon, "/transport", json!({"mode": "queue"})).await;
    drop(daemon);
    let daemon = start(folder.path(), &[]);
    for channel in ["events", "health", "discovery"] {
        assert_eq!(mode(&daemon, channel).await, "queue");
    }
    drop(daemon);
    let daemon = start(folder.path(), &["transport.events=direct"]);
    assert_eq!(mode(&daemon, "events").await, "direct");
    assert_eq!(mode(&daemon, "discovery").await, "dual");
    drop(daemon);
    let daemon = start(folder.path(), &[]);
    assert_eq!(mode(&daemon, "events").await, "dual");
}

#[tokio::test]
async fn a_migration_continues_after_a_kill_and_keeps_its_history() {
    let folder = tempfile::tempdir().unwrap();
    let keys = ["transport.mode=direct"];
    let daemon = start(folder.path(), &keys);
    sleep(Duration::from_millis(600)).await;
    ask(
        &daemon,
        "/migration",
        json!({"action": "start", "mode": "step"}),
    )
    .await;
    // The next look stores it.
    sleep(Duration::from_secs(1)).await;
    let (_, before) = get(&daemon, "/migration").await;
    assert_eq!(before["state"], "running");
    drop(daemon);
    let daemon = start(folder.path(), &keys);
    let (_, after) = get(&daemon, "/migration").await;
    for key in ["state", "phase", "mode"] {
        assert_eq!(after[key], before[key], "{key}");
    }
    let events = |report: &Value| {
        let steps = report["history"].as_array().unwrap().iter();
        steps.map(|step| step["event"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(events(&after), ["migration.started", "migration.resumed"]);
    assert_eq!(after["history"][0], before["history"][0]);
    ask(&daemon, "/migration", json!({"action": "pause"})).await;
    daemon.stop();
    let daemon = start(folder.path(), &keys);
    let (_, paused) = get(&daemon, "/migration").await;
    assert_eq!(paused["state"], "paused");
}

/// A queue at the broker that gets all events; their revisions.
async fn listen(url: &str, tasks: &mut JoinSet<()>) -> tokio::sync::mpsc::Receiver<u64> {
    let connection = Connection::connect(url, ConnectionProperties::default());
    let connection = connection.await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let none = FieldTable::default;
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare("seen".into(), options, none())
        .await
        .unwrap();
    let options = QueueBindOptions::default();
    let bound = channel.queue_bind(
        "seen".into(),
        "musterd".into(),
        "service.events.#".into(),
        options,
        none(),
    );
    bound.await.unwrap();
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let consumer = channel.basic_consume("seen".into(), "seen".into(), options, none());
    let mut consumer = consumer.await.unwrap();
    let (tx, seen) = tokio::sync::mpsc::channel(100_000);
    tasks.spawn(async move {
        let _connection = connection;
        while let Some(Ok(message)) = consumer.next().await {
            let event: Value = serde_json::from_slice(&message.data).unwrap();
            assert_ne!(event["event"], "resync", "{event}");
            tx.send(event["revision"].as_u64().unwrap()).await.unwrap();
        }
    });
    seen
}

/// Every revision is published, in order; after a kill some of them again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_misses_nothing_when_the_daemon_is_killed_at_any_moment() {
    let broker = Daemon::start(&["--set", "store.path="]);
    let line = broker.logged(|line| line.get("amqp.address").is_some());
    let address = line["amqp.address"].as_str().unwrap();
    let url = format!("amqp://guest:guest@{address}/%2f");
    let key = format!("transport.amqp_url={url}");
    let keys = [&*key, "broker.listen=", "transport.mode=queue"];
    let folder = tempfile::tempdir().unwrap();
    let mut tasks = JoinSet::new();
    let daemon = start(folder.path(), &keys);
    until_published(&daemon, 0).await;
    let mut seen = listen(&url, &mut tasks).await;
    drop(daemon);
    let mut random = fastrand::Rng::with_seed(5);
    for round in 0..4 {
        let daemon = start(folder.path(), &keys);
        let mut clients = JoinSet::new();
        for client in 0..2 {
            let url = daemon.url.clone();
            clients.spawn(async move {
                let http = Client::new();
                for n in 0.. {
                    let request = http.post(format!("{url}/services/register"));
                    let id = format!("{round}-{client}-{n}");
                    if request.json(&body(&id, 80)).send().await.is_err() {
                        return;
                    }
                }
            });
        }
        sleep(Duration::from_millis(random.u64(100..2_000))).await;
        drop(daemon);
        while clients.join_next().await.is_some() {}
    }
    let daemon = start(folder.path(), &keys);
    let (_, info) = get(&daemon, "/system/info").await;
    let newest = info["revision"].as_u64().unwrap();
    until_published(&daemon, newest).await;
    let (mut highest, mut all) = (0, BTreeSet::new());
    while highest < newest {
        let next = timeout(PATIENCE, seen.recv()).await;
        let revision = next.expect("in time").expect("the broker still delivers");
        assert!(revision <= highest + 1, "{revision} after {highest}");
        highest = highest.max(revision);
        all.insert(revision);
    }
    assert_eq!(all.len() as u64, newest);
    assert!(newest > 100, "{newest} registrations");
}

async fn until_published(daemon: &Daemon, revision: u64) {
    let published = async {
        loop {
            let (_, report) = get(daemon, "/transport").await;
            let cursor = report["channels"]["events"]["cursor"].as_str().unwrap();
            let at = cursor.split_once('-').unwrap().1.parse::<u64>().unwrap();
            if report["broker"]["state"] == "up" && at >= revision {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, published)
        .await
        .expect("published in time");
}
