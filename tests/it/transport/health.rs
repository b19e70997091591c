//! Health checks over the queue: the daemon's own prober, remote ones, and those that do not answer well.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Consumer,
    message::Delivery,
    options::{BasicConsumeOptions, BasicGetOptions, BasicPublishOptions},
    types::{AMQPValue, FieldTable},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    prober::Remote,
    stage::{PATIENCE, Stage, connect},
};

/// Checks often, and waits for nobody for long.
const QUICK: [(&str, &str); 3] = [
    ("health.interval_min", "100ms"),
    ("health.queue_wait", "300ms"),
    ("health.queue_grace", "200ms"),
];

/// What is probed: answers 200 while it is well, and counts.
struct Target {
    port: u16,
    well: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    _served: JoinSet<()>,
}

impl Target {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (well, asked) = (
            Arc::new(AtomicBool::new(true)),
            Arc::<AtomicUsize>::default(),
        );
        let (is_well, n_asked) = (Arc::clone(&well), Arc::clone(&asked));
        let mut served = JoinSet::new();
        served.spawn(async move {
            let mut sockets = JoinSet::new();
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let (well, asked) = (Arc::clone(&is_well), Arc::clone(&n_asked));
                sockets.spawn(async move {
                    let mut request = [0; 2048];
                    while socket.read(&mut request).await.is_ok_and(|n| n > 0) {
                        asked.fetch_add(1, Ordering::SeqCst);
                        let answer: &[u8] = if well.load(Ordering::SeqCst) {
                            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
                        } else {
                            b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"
                        };
                        if socket.write_all(answer).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self {
            port,
            well,
            asked,
            _served: served,
        }
    }

    /// Registers so many instances that are checked here.
    async fn register(&self, stage: &Stage, ids: std::ops::Range<usize>) {
        for id in ids {
            let body = json!({
                "service_id": format!("i{id}"), "service_name": "s", "host": "127.0.0.1", "port": self.port,
                "checks": [{"type": "http", "name": "web", "path": "/up", "interval": "100ms", "timeout": "1s",
                    "unhealthy_after": 1}],
            });
            let asked = stage
                .client
                .post(format!("{}/services/register", stage.http));
            let answer = asked.body(body.to_string()).send().await.unwrap();
            assert_eq!(answer.status(), 200);
        }
    }
}

/// One line of the metrics, 0 while it is not there.
pub(super) async fn metric(stage: &Stage, name: &str) -> f64 {
    let answer = stage.client.get(format!("{}/metrics", stage.http)).send();
    let text = answer.await.unwrap().text().await.unwrap();
    let line = text
        .lines()
        .find(|line| line.split(' ').next() == Some(name));
    line.map_or(0.0, |line| {
        line.split(' ').next_back().unwrap().parse().unwrap()
    })
}

async fn requests(stage: &Stage, result: &str) -> f64 {
    metric(
        stage,
        &format!("musterd_health_requests_total{{result=\"{result}\"}}"),
    )
    .await
}

/// Requests that the daemon's own prober answered.
async fn own(stage: &Stage) -> f64 {
    metric(stage, "musterd_prober_requests_total{result=\"answered\"}").await
}

#[track_caller]
pub(super) fn until<F: Future<Output = bool>>(
    what: &str,
    mut holds: impl FnMut() -> F,
) -> impl Future<Output = ()> {
    let what = what.to_owned();
    async move {
        let deadline = Instant::now() + PATIENCE;
        while !holds().await {
            assert!(Instant::now() < deadline, "{what}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn until_status(stage: &Stage, id: &str, status: &str) {
    until(&format!("{id} is {status}"), async || {
        stage.get(&format!("/services/{id}/status")).await["status"] == status
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemons_own_prober_answers_and_its_verdicts_decide() {
    let target = Target::start().await;
    let stage = Stage::start(&QUICK).await;
    target.register(&stage, 0..3).await;
    until_status(&stage, "i0", "healthy").await;
    assert_eq!(own(&stage).await, 0.0, "health is direct out of the box");
    stage
        .put(200, json!({"channels": {"health": "queue"}}))
        .await;
    until("all is answered", async || {
        requests(&stage, "answered").await >= 10.0
    })
    .await;
    assert!(own(&stage).await >= 10.0);
    target.well.store(false, Ordering::SeqCst);
    until_status(&stage, "i1", "unhealthy").await;
    let health = stage.get("/services/i1/health").await;
    assert_eq!(
        health["checks"][0]["results"][0]["message"],
        "500 Internal Server Error"
    );
    target.well.store(true, Ordering::SeqCst);
    until_status(&stage, "i1", "healthy").await;
    let asked = stage
        .client
        .post(format!("{}/services/i1/check", stage.http));
    assert_eq!(asked.send().await.unwrap().status(), 200);

    stage
        .put(200, json!({"channels": {"health": "direct"}}))
        .await;
    sleep(Duration::from_millis(500)).await;
    let (before, probed) = (own(&stage).await, target.asked.load(Ordering::SeqCst));
    sleep(Duration::from_millis(500)).await;
    assert_eq!(own(&stage).await, before, "its consumer is gone");
    assert!(
        target.asked.load(Ordering::SeqCst) > probed,
        "probes continue"
    );
    until_status(&stage, "i1", "healthy").await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_agree_in_mode_dual() {
    let target = Target::start().await;
    let keys = [QUICK.as_slice(), &[("transport.health", "dual")]].concat();
    let stage = Stage::start(&keys).await;
    target.register(&stage, 0..5).await;
    let compared = |report: &Value| report["channels"]["health"]["compared"].as_u64() >= Some(20);
    let report = stage.until("verdicts are compared", compared).await;
    let health = &report["channels"]["health"];
    assert_eq!(health["different"], 0, "{report}");
    let compared = metric(&stage, "musterd_health_comparisons_total{result=\"same\"}").await;
    assert!(compared >= 20.0, "{compared}");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_prober_takes_part_and_when_it_is_killed_the_own_one_takes_over() {
    let target = Target::start().await;
    let keys = [QUICK.as_slice(), &[("transport.health", "queue")]].concat();
    let stage = Stage::start(&keys).await;
    target.register(&stage, 0..10).await;
    let remote = Remote::start(&stage.amqp);
    let elsewhere = async || requests(&stage, "answered").await - own(&stage).await;
    until("the remote one answers", async || elsewhere().await >= 20.0).await;
    remote.signal("-KILL");
    drop(remote);
    // In this order: what is answered in between counts for both.
    let of_own = own(&stage).await;
    let answered = requests(&stage, "answered").await;
    until("the own one answers", async || {
        requests(&stage, "answered").await >= answered + 50.0
    })
    .await;
    assert!(own(&stage).await >= of_own + 40.0);
    for id in 0..10 {
        until_status(&stage, &format!("i{id}"), "healthy").await;
    }
    // Another one comes, and goes in good order: nothing that it took is lost.
    let remote = Remote::start(&stage.amqp);
    let before = elsewhere().await;
    until("the second one answers", async || {
        elsewhere().await >= before + 20.0
    })
    .await;
    remote.signal("-TERM");
    assert_eq!(remote.exit_code().await, Some(0));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prober_that_comes_before_the_broker_waits_for_it_and_declares_what_it_needs() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let remote = Remote::start(&format!("amqp://guest:guest@{address}/"));
    sleep(Duration::from_millis(500)).await;
    let stage = Stage::embedded(&[("broker.listen", &address), ("transport.mode", "direct")]).await;
    let connection = connect(&stage.amqp).await;
    let channel = connection.create_channel().await.unwrap();
    until("the queues are declared", async || {
        let queue = stage.get("/broker/queues/%2F/health.check.request").await;
        queue["consumers"].as_u64() >= Some(1)
    })
    .await;
    let mut verdicts = consume(&channel, "health.verdict").await;
    let request = request("i0", 1, "2999-01-01T00:00:00Z");
    publish(&channel, "health.check.request", &request, Some("77")).await;
    let verdict = next(&mut verdicts).await;
    assert_eq!(
        verdict
            .properties
            .correlation_id()
            .as_ref()
            .unwrap()
            .as_str(),
        "77"
    );
    assert_eq!(*verdict.properties.delivery_mode(), Some(1), "not written");
    let body: Value = serde_json::from_slice(&verdict.data).unwrap();
    assert_eq!(
        (&body["service_id"], &body["incarnation"]),
        (&json!("i0"), &json!(1))
    );
    assert_eq!(
        (&body["check"], &body["outcome"]),
        (&json!("web"), &json!("failed"))
    );
    assert!(
        body["latency_ms"].is_number() && body["at"].is_string(),
        "{body}"
    );

    // What is overdue is dropped, and what nobody can read is put aside.
    let overdue = self::request("i1", 1, "2001-01-01T00:00:00Z");
    publish(&channel, "health.check.request", &overdue, None).await;
    publish(&channel, "health.check.request", &json!({"check": 1}), None).await;
    publish(&channel, "health.check.request", &request, Some("78")).await;
    let verdict = next(&mut verdicts).await;
    assert_eq!(
        verdict
            .properties
            .correlation_id()
            .as_ref()
            .unwrap()
            .as_str(),
        "78"
    );
    let reason = dead(&channel).await;
    assert!(
        reason.contains("service_id") && reason.contains("check"),
        "{reason}"
    );
    remote.signal("-TERM");
    assert_eq!(remote.exit_code().await, Some(0));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unrequested_verdicts_change_nothing() {
    let target = Target::start().await;
    let keys = [QUICK.as_slice(), &[("transport.health", "queue")]].concat();
    let stage = Stage::start(&keys).await;
    target.register(&stage, 0..1).await;
    until_status(&stage, "i0", "healthy").await;
    let revision = stage.registry.newest();
    let incarnation = stage.registry.instance("i0").unwrap().incarnation;
    let connection = connect(&stage.amqp).await;
    let channel = connection.create_channel().await.unwrap();
    let verdict = |id: &str, incarnation: u64, check: &str| json!({"service_id": id, "incarnation": incarnation, "check": check, "outcome": "failed"});
    for _ in 0..20 {
        publish(
            &channel,
            "health.verdict",
            &verdict("nowhere", 1, "web"),
            None,
        )
        .await;
        publish(
            &channel,
            "health.verdict",
            &verdict("i0", incarnation - 1, "web"),
            None,
        )
        .await;
        publish(
            &channel,
            "health.verdict",
            &verdict("i0", incarnation, "other"),
            None,
        )
        .await;
        publish(
            &channel,
            "health.verdict",
            &verdict("i0", incarnation, "web"),
            Some("0"),
        )
        .await;
    }
    let body = b"no verdict at all";
    publish_bytes(&channel, "health.verdict", body, None).await;
    let verdicts = |result: &str| format!("musterd_health_verdicts_total{{result=\"{result}\"}}");
    until("they are counted", async || {
        metric(&stage, &verdicts("gone")).await >= 40.0
            && metric(&stage, &verdicts("unasked")).await >= 40.0
    })
    .await;
    assert!(dead(&channel).await.contains("JSON"));
    until("probes continue", async || {
        requests(&stage, "answered").await >= 10.0
    })
    .await;
    assert_eq!(stage.registry.newest(), revision, "no event");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prober_that_takes_requests_and_never_answers_does_not_stop_the_probes() {
    let target = Target::start().await;
    let stage = Stage::start(&QUICK).await;
    target.register(&stage, 0..5).await;
    until_status(&stage, "i0", "healthy").await;
    let connection = connect(&stage.amqp).await;
    let channel = connection.create_channel().await.unwrap();
    let mut hoarder = consume(&channel, "health.check.request").await;
    stage
        .put(200, json!({"channels": {"health": "queue"}}))
        .await;
    let request = next(&mut hoarder).await;
    assert_eq!(*request.properties.delivery_mode(), Some(1), "not written");
    until("the daemon probes itself", async || {
        requests(&stage, "unanswered").await >= 5.0
    })
    .await;
    target.well.store(false, Ordering::SeqCst);
    for id in 0..5 {
        until_status(&stage, &format!("i{id}"), "unhealthy").await;
    }
    drop(connection);
    target.well.store(true, Ordering::SeqCst);
    for id in 0..5 {
        until_status(&stage, &format!("i{id}"), "healthy").await;
    }
    let answered = requests(&stage, "answered").await;
    until("requests are answered again", async || {
        requests(&stage, "answered").await >= answered + 20.0
    })
    .await;
    stage.stop().await;
}

fn request(id: &str, incarnation: u64, deadline: &str) -> Value {
    json!({
        "service_id": id, "incarnation": incarnation, "deadline": deadline,
        "check": {"type": "tcp", "name": "web", "address": "127.0.0.1:1", "timeout": "1s"},
    })
}

async fn consume(channel: &Channel, queue: &str) -> Consumer {
    let options = BasicConsumeOptions::default();
    let consumer = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
    consumer.await.unwrap()
}

async fn next(consumer: &mut Consumer) -> Delivery {
    let next = timeout(PATIENCE, consumer.next()).await;
    next.expect("a message in time").unwrap().unwrap()
}

async fn publish(channel: &Channel, key: &str, body: &Value, id: Option<&str>) {
    publish_bytes(channel, key, body.to_string().as_bytes(), id).await;
}

async fn publish_bytes(channel: &Channel, key: &str, body: &[u8], id: Option<&str>) {
    let properties = match id {
        Some(id) => BasicProperties::default().with_correlation_id(id.into()),
        None => BasicProperties::default(),
    };
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("musterd".into(), key.into(), options, body, properties);
    sent.await.unwrap();
}

/// Why the next message was put aside.
async fn dead(channel: &Channel) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let got = channel.basic_get("musterd.dead".into(), BasicGetOptions { no_ack: true });
        if let Some(message) = got.await.unwrap() {
            let headers = message.properties.headers().clone().unwrap();
            let reason = headers.inner().get("x-musterd-reason").cloned();
            let Some(AMQPValue::LongString(reason)) = reason else {
                panic!("{reason:?}");
            };
            return String::from_utf8(reason.as_bytes().to_vec()).unwrap();
        }
        assert!(Instant::now() < deadline, "no message was dead-lettered");
        sleep(Duration::from_millis(20)).await;
    }
}
