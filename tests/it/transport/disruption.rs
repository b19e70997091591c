//! A whole migration, two ways of losing the broker, its return and a hundred flips, while everybody goes
//! on with what they do: nobody notices.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{Router, body::Bytes, extract::Path, http::StatusCode, routing::post};
use futures_util::StreamExt;
use lapin::{
    Channel, Connection, ConnectionProperties, Consumer,
    options::{BasicAckOptions, BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::stage::{PATIENCE, Stage, registration, vhost};
use crate::rabbitmq::Rabbit;

const SERVICES: usize = 200;
const DISCOVERERS: usize = 50;
const WATCHERS: usize = 20;
const SUBSCRIBERS: usize = 5;
/// The promise: 10 s of silence, and 2 s to the flip.
const ROLLBACK_MAX: Duration = Duration::from_secs(12);

/// Short phases; a machine that is busy with other tests is no reason to roll back.
const QUICK: &[(&str, &str)] = &[
    ("transport.mode", "direct"),
    ("registry.log_entries_max", "200000"),
    ("registry.log_bytes_max", "512MiB"),
    ("migration.baseline", "1s"),
    ("migration.soak", "1s"),
    ("migration.canary_interval", "500ms"),
    ("migration.canary_timeout", "10s"),
    ("migration.latency_floor", "5s"),
    ("migration.late_max", "1.0"),
    ("health.first_within", "100ms"),
];

/// Longer than the daemon lets pass without an event while its broker is there.
const SILENCE: Duration = Duration::from_secs(10);

/// What every subscriber has seen, and whether a request ever failed.
#[derive(Default)]
struct Seen {
    webhooks: Vec<Mutex<Vec<u64>>>,
    /// Webhooks that received the end of the migration.
    completed: AtomicUsize,
    /// Those of the subscribers, also of connections that have ended.
    channels: Mutex<Vec<Channel>>,
    streams: Vec<Mutex<Vec<u64>>>,
    topics: Vec<Mutex<BTreeSet<u64>>>,
    requests: AtomicUsize,
    failures: Mutex<Vec<String>>,
    enough: AtomicBool,
}

impl Seen {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            webhooks: (0..WATCHERS).map(|_| Mutex::default()).collect(),
            channels: Mutex::default(),
            streams: (0..WATCHERS).map(|_| Mutex::default()).collect(),
            topics: (0..SUBSCRIBERS).map(|_| Mutex::default()).collect(),
            ..Self::default()
        })
    }

    /// A request must be answered with 200.
    async fn ask(&self, request: reqwest::RequestBuilder, what: &str) {
        let answer = request.send().await;
        self.requests.fetch_add(1, Relaxed);
        match answer {
            Ok(answer) if answer.status() == 200 => (),
            Ok(answer) => self.failures.lock().push(format!("{what}: {answer:?}")),
            Err(error) => self.failures.lock().push(format!("{what}: {error}")),
        }
    }

    fn is_over(&self) -> bool {
        self.enough.load(Relaxed)
    }
}

/// Two hundred services that register, beat and leave, one after the other and again.
async fn services(http: String, seen: Arc<Seen>) {
    let client = reqwest::Client::new();
    let mut at = 0;
    while !seen.is_over() {
        let id = at % SERVICES;
        let service = format!("s{}", id % 20);
        let body = registration(&service, id).to_string();
        let register = client.post(format!("{http}/services/register")).body(body);
        seen.ask(register, "register").await;
        let beat = client.post(format!("{http}/services/{service}-{id}/heartbeat"));
        seen.ask(beat, "heartbeat").await;
        if at >= SERVICES {
            let leave = client.delete(format!("{http}/services/{service}-{id}"));
            seen.ask(leave, "deregister").await;
        }
        at += 1;
        sleep(Duration::from_millis(15)).await;
    }
}

async fn discoverer(http: String, seen: Arc<Seen>, number: usize) {
    let client = reqwest::Client::new();
    while !seen.is_over() {
        let path = format!("{http}/services/discover/s{}", number % 20);
        seen.ask(client.get(path), "discover").await;
        sleep(Duration::from_millis(100)).await;
    }
}

/// Twenty webhooks at one receiver.
async fn webhooks(stage: &Stage, seen: &Arc<Seen>, tasks: &mut JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let received = Arc::clone(seen);
    let take = move |Path(number): Path<usize>, body: Bytes| {
        let event: Value = serde_json::from_slice(&body).unwrap();
        match event["revision"].as_u64() {
            Some(revision) => received.webhooks[number].lock().push(revision),
            None if event["event"] == "migration.completed" => {
                received.completed.fetch_add(1, Relaxed);
            }
            None => (),
        }
        std::future::ready(StatusCode::OK)
    };
    let router: Router = Router::new().route("/{number}", post(take));
    tasks.spawn(async move {
        axum::serve(listener, router).await.unwrap();
    });
    for number in 0..WATCHERS {
        let body =
            json!({"service_name": "*", "callback_url": format!("http://{address}/{number}")});
        let made = stage.client.post(format!("{}/watchers", stage.http));
        let made = made.body(body.to_string()).send().await.unwrap();
        assert_eq!(made.status(), 201);
    }
}

/// One stream of everything.
async fn stream(http: String, seen: Arc<Seen>, number: usize) {
    let mut answer = reqwest::get(format!("{http}/watch")).await.unwrap();
    let (mut text, mut event) = (String::new(), String::new());
    while let Ok(Some(chunk)) = answer.chunk().await {
        text.push_str(&String::from_utf8_lossy(&chunk));
        while let Some(end) = text.find('\n') {
            let line: String = text.drain(..=end).collect();
            if let Some(name) = line.strip_prefix("event: ") {
                name.trim().clone_into(&mut event);
            } else if let (Some(id), "event") = (line.strip_prefix("id: "), &*event) {
                let revision = id.trim().rsplit('-').next().unwrap().parse().unwrap();
                seen.streams[number].lock().push(revision);
            } else if event == "resync" {
                seen.failures
                    .lock()
                    .push("a stream was resynced".to_owned());
            }
        }
    }
}

/// A client with a durable queue that comes back whenever its broker does.
async fn subscriber(url: String, seen: Arc<Seen>, number: usize) {
    loop {
        // What ends it is the broker's end: then it is tried again.
        let _ended = subscribe(&url, &seen, number).await;
        sleep(Duration::from_millis(200)).await;
    }
}

/// Consumes until the broker ends it, or is silent for as long as nothing here is: the client library may
/// wait for ever for a broker that was killed at the wrong moment, also for an acknowledgement to leave.
async fn subscribe(url: &str, seen: &Seen, number: usize) -> lapin::Result<()> {
    let Ok(opened) = timeout(SILENCE, consumer(url, seen, number)).await else {
        return Ok(());
    };
    let (_connection, mut consumer) = opened?;
    while let Ok(Some(taken)) = timeout(SILENCE, take(&mut consumer, seen, number)).await {
        taken?;
    }
    Ok(())
}

/// The next event, acknowledged; none when the consumer is over.
async fn take(consumer: &mut Consumer, seen: &Seen, number: usize) -> Option<lapin::Result<()>> {
    let message = match consumer.next().await? {
        Ok(message) => message,
        Err(error) => return Some(Err(error)),
    };
    let event: Value = serde_json::from_slice(&message.data).unwrap();
    seen.topics[number]
        .lock()
        .extend(event["revision"].as_u64());
    let acked = message.acker.ack(BasicAckOptions::default()).await;
    Some(acked.map(drop))
}

async fn consumer(url: &str, seen: &Seen, number: usize) -> lapin::Result<(Connection, Consumer)> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    // The library may wait for ever when the last of a channel goes as its connection ends.
    seen.channels.lock().push(channel.clone());
    let queue = format!("subscriber-{number}");
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(queue.as_str().into(), durable, FieldTable::default());
    declared.await?;
    let bound = channel.queue_bind(
        queue.as_str().into(),
        "musterd".into(),
        "service.events.#".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await?;
    let consumer = channel.basic_consume(
        queue.as_str().into(),
        "".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    Ok((connection, consumer.await?))
}

async fn until_migration(stage: &Stage, wanted: &str) -> Value {
    let deadline = Instant::now() + 2 * PATIENCE;
    loop {
        let report = stage.get("/migration").await;
        if report["state"] == wanted {
            return report;
        }
        assert!(Instant::now() < deadline, "not {wanted}: {report:#}");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn migrate(stage: &Stage) {
    let start = stage.client.post(format!("{}/migration", stage.http));
    let start = start.body(json!({"action": "start"}).to_string());
    assert_eq!(start.send().await.unwrap().status(), 200);
    until_migration(stage, "completed").await;
    let report = stage.transport().await;
    for channel in ["events", "health", "discovery"] {
        assert_eq!(report["channels"][channel]["mode"], "queue", "{report}");
    }
}

/// Waits for the guard to flip everything to direct, in time.
async fn until_rolled_back(stage: &Stage, lost: Instant) {
    let direct = |report: &Value| {
        let channels = report["channels"].as_object().unwrap();
        channels.values().all(|channel| channel["mode"] == "direct")
    };
    stage.until("the guard flips to direct", direct).await;
    let took = lost.elapsed();
    assert!(took < ROLLBACK_MAX + Duration::from_secs(1), "{took:?}");
}

/// Sets mode queue as soon as the broker can be used again.
async fn back_to_queue(stage: &Stage) {
    let put = || {
        let put = stage.client.put(format!("{}/transport", stage.http));
        put.body(json!({"mode": "queue"}).to_string()).send()
    };
    let back = timeout(PATIENCE, async {
        while put().await.unwrap().status() != 200 {
            sleep(Duration::from_millis(100)).await;
        }
    });
    back.await.expect("the broker is back");
    stage.until_sent().await;
}

async fn flips(stage: &Stage) {
    for at in 0..100 {
        let mode = ["direct", "dual", "queue"][(at * 7 + at / 3) % 3];
        stage.set(mode).await;
        sleep(Duration::from_millis(5)).await;
    }
    stage.set("queue").await;
}

async fn everybody(stage: &Stage, seen: &Arc<Seen>, url: &str) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    webhooks(stage, seen, &mut tasks).await;
    for number in 0..WATCHERS {
        tasks.spawn(stream(stage.http.clone(), Arc::clone(seen), number));
    }
    for number in 0..SUBSCRIBERS {
        tasks.spawn(subscriber(url.to_owned(), Arc::clone(seen), number));
    }
    for number in 0..DISCOVERERS {
        tasks.spawn(discoverer(stage.http.clone(), Arc::clone(seen), number));
    }
    until_all_watch(stage).await;
    tasks.spawn(services(stage.http.clone(), Arc::clone(seen)));
    tasks
}

/// A subscriber that starts after the first change has it in its snapshot.
async fn until_all_watch(stage: &Stage) {
    let wanted = format!("musterd_watchers{{kind=\"sse\"}} {WATCHERS}\n");
    let all = timeout(PATIENCE, async {
        loop {
            let page = stage.client.get(format!("{}/metrics", stage.http)).send();
            if page.await.unwrap().text().await.unwrap().contains(&wanted) {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    });
    all.await.expect("every stream is open");
}

/// Waits until every subscriber has every event, each once and in order where that is promised.
async fn check(stage: &Stage, seen: &Seen, first_topic: u64) {
    let newest = stage.registry.newest().0;
    let all: Vec<_> = (1..=newest).collect();
    let topics: BTreeSet<_> = (first_topic..=newest).collect();
    let complete = || {
        let behind = |list: &Mutex<Vec<u64>>| list.lock().last() != Some(&newest);
        let lists = seen.webhooks.iter().chain(&seen.streams);
        let waiting = lists.filter(|list| behind(list)).count();
        let short = |set: &Mutex<BTreeSet<u64>>| !topics.is_subset(&set.lock());
        waiting + seen.topics.iter().filter(|set| short(set)).count()
    };
    let deadline = Instant::now() + PATIENCE;
    while complete() > 0 && Instant::now() < deadline {
        sleep(Duration::from_millis(50)).await;
    }
    for list in seen.webhooks.iter().chain(&seen.streams) {
        let list = list.lock();
        let wrong = list
            .iter()
            .zip(&all)
            .position(|(has, wanted)| has != wanted);
        assert_eq!((wrong, list.len()), (None, all.len()));
    }
    for set in &seen.topics {
        let missing: Vec<_> = topics.difference(&set.lock()).copied().collect();
        assert_eq!(missing, [0; 0], "of {newest}");
    }
    let failures = seen.failures.lock();
    assert!(
        failures.is_empty(),
        "{} failed: {failures:?}",
        failures.len()
    );
    assert!(seen.requests.load(Relaxed) > 1_000);
    assert_eq!(seen.completed.load(Relaxed), WATCHERS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_a_lost_broker_and_a_hundred_changes_lose_nothing() {
    let started = tokio::task::spawn_blocking(|| {
        let rabbit = Rabbit::private();
        let url = vhost(&rabbit);
        (rabbit, url)
    });
    let (mut rabbit, url) = started.await.unwrap();
    let stage = Stage::on(&url, QUICK).await;
    let seen = Seen::new();
    // The exchange exists before the subscribers bind their queues to it.
    stage.set("dual").await;
    stage.set("direct").await;
    let mut tasks = everybody(&stage, &seen, &url).await;
    sleep(Duration::from_secs(1)).await;

    migrate(&stage).await;
    rabbit.pause();
    until_rolled_back(&stage, Instant::now()).await;
    rabbit.resume();
    back_to_queue(&stage).await;

    rabbit.kill();
    until_rolled_back(&stage, Instant::now()).await;
    let rabbit = tokio::task::spawn_blocking(move || {
        rabbit.restart();
        rabbit
    });
    let rabbit = rabbit.await.unwrap();
    back_to_queue(&stage).await;
    flips(&stage).await;

    seen.enough.store(true, Relaxed);
    stage.until_sent().await;
    check(&stage, &seen, 1).await;
    tasks.shutdown().await;
    stage.stop().await;
    drop(rabbit);
}
