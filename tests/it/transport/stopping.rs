//! SIGTERM while commands come: what was answered has left as an event when the daemon is gone.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::StreamExt;
use lapin::{
    BasicProperties,
    options::{BasicConsumeOptions, BasicPublishOptions},
    types::FieldTable,
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::stage::{Listener, PATIENCE, connect, is_rabbit, registration, vhost};
use crate::{daemon::Daemon, rabbitmq::Rabbit};

/// The revisions that a subscriber received, in their order.
type Revisions = Arc<Mutex<Vec<u64>>>;

/// A daemon, and where clients of its broker connect.
fn start() -> (Daemon, String) {
    let queue = ["--set", "transport.mode=queue"];
    if is_rabbit() {
        let url = vhost(&Rabbit::shared());
        let key = format!("transport.amqp_url={url}");
        let elsewhere = ["--set", &key, "--set", "broker.listen="];
        return (Daemon::start(&[&queue[..], &elsewhere].concat()), url);
    }
    let daemon = Daemon::start(&queue);
    let line = daemon.logged(|line| line.get("amqp.address").is_some());
    let address = line["amqp.address"].as_str().unwrap();
    let url = format!("amqp://guest:guest@{address}/%2f");
    (daemon, url)
}

/// Registers over REST until nobody answers; notes what was answered.
async fn by_rest(http: String, client: usize, answered: Revisions) {
    let asked = reqwest::Client::new();
    for id in 0.. {
        let body = registration(&format!("rest-{client}"), id).to_string();
        let asked = asked.post(format!("{http}/services/register")).body(body);
        let Ok(answer) = asked.send().await else {
            return;
        };
        // A daemon that is about to stop may say so.
        if answer.status() == 200
            && let Ok(answer) = answer.json::<Value>().await
        {
            answered.lock().push(answer["revision"].as_u64().unwrap());
        }
    }
}

/// Registers over the broker, many at once, until `over`, or until the connection ends.
async fn by_commands(url: String, answered: Revisions, over: Arc<AtomicBool>) {
    let connection = connect(&url).await;
    let channel = connection.create_channel().await.unwrap();
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let reply_to = "amq.rabbitmq.reply-to";
    let table = FieldTable::default();
    let answers = channel.basic_consume(reply_to.into(), "".into(), options, table);
    let mut answers = answers.await.unwrap();
    let sending = async {
        for id in 0.. {
            let body = registration("amqp", id).to_string();
            let properties = BasicProperties::default().with_reply_to(reply_to.into());
            let options = BasicPublishOptions::default();
            let key = "service.register".into();
            let sent = channel.basic_publish("".into(), key, options, body.as_bytes(), properties);
            if sent.await.is_err() || over.load(Relaxed) {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    let taking = async {
        while let Some(Ok(answer)) = answers.next().await {
            let answer: Value = serde_json::from_slice(&answer.data).unwrap();
            answered.lock().push(answer["revision"].as_u64().unwrap());
        }
    };
    tokio::select! {
        () = taking => (),
        () = async { sending.await; std::future::pending().await } => (),
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = timeout(PATIENCE, async {
        while !holds() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}

/// Waits until the daemon has connected: then the exchange exists.
async fn until_connected(http: &str) {
    let connected = async {
        loop {
            let ready = reqwest::get(format!("{http}/ready")).await.unwrap();
            if ready.text().await.unwrap().contains("broker: up") {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, connected).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_answered_during_a_stop_are_published() {
    let (daemon, url) = tokio::task::spawn_blocking(start).await.unwrap();
    until_connected(&daemon.url).await;
    let mut listener = Listener::new(&url, &["service.events.#"]).await;
    let [rest, commands, events]: [Revisions; 3] = Default::default();
    let over = Arc::<AtomicBool>::default();
    let mut tasks = JoinSet::new();
    let heard = Arc::clone(&events);
    tasks.spawn(async move {
        while let Some(revision) = listener.revision().await {
            heard.lock().push(revision);
        }
    });
    for client in 0..3 {
        tasks.spawn(by_rest(daemon.url.clone(), client, Arc::clone(&rest)));
    }
    tasks.spawn(by_commands(url, Arc::clone(&commands), Arc::clone(&over)));
    let busy = || rest.lock().len() > 100 && commands.lock().len() > 100;
    until("both ways are busy", busy).await;

    daemon.signal("-TERM");
    let code = tokio::task::spawn_blocking(move || daemon.exit_code()).await;
    assert_eq!(code.unwrap(), 0);
    over.store(true, Relaxed);
    let missing = || {
        let heard: BTreeSet<_> = events.lock().iter().copied().collect();
        let mut answered = rest.lock().clone();
        answered.extend_from_slice(&commands.lock());
        answered.retain(|revision| !heard.contains(revision));
        answered
    };
    let waited = timeout(PATIENCE, async {
        while !missing().is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "{:?}", missing());
    tasks.shutdown().await;
    // Each once, in order, without a gap.
    let events = events.lock();
    let newest = *events.last().unwrap();
    assert_eq!(*events, (1..=newest).collect::<Vec<_>>());
}
