//! Leases that hang on a connection to the embedded broker.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection,
    options::{BasicConsumeOptions, BasicPublishOptions},
    types::FieldTable,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::stage::{PATIENCE, Stage, connect};

/// A client that sends commands and reads the answers.
struct Caller {
    connection: Connection,
    channel: Channel,
    answers: lapin::Consumer,
}

impl Caller {
    async fn new(url: &str) -> Self {
        let connection = connect(url).await;
        let channel = connection.create_channel().await.unwrap();
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let direct = "amq.rabbitmq.reply-to".into();
        let answers = channel.basic_consume(direct, "".into(), options, FieldTable::default());
        let answers = answers.await.unwrap();
        Self {
            connection,
            channel,
            answers,
        }
    }

    async fn ask(&mut self, queue: &str, body: &Value) -> Value {
        let properties = BasicProperties::default().with_reply_to("amq.rabbitmq.reply-to".into());
        let body = body.to_string();
        let sent = self.channel.basic_publish(
            "".into(),
            queue.into(),
            BasicPublishOptions::default(),
            body.as_bytes(),
            properties,
        );
        sent.await.unwrap();
        let answer = timeout(PATIENCE, self.answers.next()).await;
        let answer = answer.expect("an answer in time").unwrap().unwrap();
        serde_json::from_slice(&answer.data).unwrap()
    }
}

fn hanging(id: &str) -> Value {
    json!({
        "service_id": id, "service_name": "s", "host": "h", "port": 1, "lease": "connection", "ttl": "2s",
    })
}

async fn until_status(stage: &Stage, id: &str, status: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = stage.get(&format!("/services/{id}/status")).await;
        if answer["status"] == status {
            return;
        }
        assert!(Instant::now() < deadline, "{id} is not {status}: {answer}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_on_a_connection_ends_with_it_and_is_renewed_over_another() {
    let stage = Stage::embedded(&[]).await;
    stage.until_sent().await;
    let mut one = Caller::new(&stage.amqp).await;
    for id in ["gone", "back", "beat"] {
        let answer = one.ask("service.register", &hanging(id)).await;
        assert_eq!(answer["status"], "healthy", "{answer}");
    }
    assert_eq!(stage.get("/services/gone").await["lease"], "connection");
    // Longer than its ttl, and not a word from it.
    sleep(Duration::from_millis(2_500)).await;
    until_status(&stage, "gone", "healthy").await;
    let closed = Instant::now();
    one.connection.close(200, "OK".into()).await.unwrap();
    until_status(&stage, "gone", "unhealthy").await;
    assert!(closed.elapsed() < Duration::from_secs(1), "at once");
    let mut two = Caller::new(&stage.amqp).await;
    let answer = two.ask("service.register", &hanging("back")).await;
    assert_eq!(answer["status"], "healthy", "{answer}");
    let beat = two
        .ask("service.heartbeat", &json!({"service_id": "beat"}))
        .await;
    assert_eq!(beat["message"], "Heartbeat received", "{beat}");
    until_status(&stage, "beat", "healthy").await;
    let deadline = Instant::now() + PATIENCE;
    while stage.registry.instance("gone").is_some() {
        assert!(Instant::now() < deadline, "it is removed after its ttl");
        sleep(Duration::from_millis(20)).await;
    }
    until_status(&stage, "back", "healthy").await;
    let events = stage.get("/events?since=0").await;
    let reasons: Vec<_> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| {
            let text = |key: &str| event[key].as_str().unwrap_or("").to_owned();
            (text("event"), text("service_id"), text("reason"))
        })
        .collect();
    let assert_event = |event: &str, id: &str, reason: &str| {
        let wanted = (event.to_owned(), id.to_owned(), reason.to_owned());
        assert!(reasons.contains(&wanted), "{wanted:?}: {reasons:?}");
    };
    assert_event("unhealthy", "gone", "its AMQP connection closed");
    assert_event("expired", "gone", "lease ran out");
    assert_event("healthy", "back", "registered again");
    assert_event("healthy", "beat", "heartbeat over another AMQP connection");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_register_and_vanish_at_once_never_stay_healthy() {
    let stage = Stage::embedded(&[]).await;
    stage.until_sent().await;
    for id in 0..40 {
        let connection = connect(&stage.amqp).await;
        let channel = connection.create_channel().await.unwrap();
        let body = hanging(&format!("v{id}")).to_string();
        let sent = channel.basic_publish(
            "".into(),
            "service.register".into(),
            BasicPublishOptions::default(),
            body.as_bytes(),
            BasicProperties::default(),
        );
        sent.await.unwrap();
        connection.close(200, "OK".into()).await.unwrap();
    }
    // Each is unhealthy, or removed already.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let counts = stage.registry.counts();
        if stage.registry.newest().0 >= 80 && counts.healthy == 0 && counts.connection_leases == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{counts:?}");
        sleep(Duration::from_millis(20)).await;
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_ways_refuse_lease_connection_with_the_reason() {
    let stage = Stage::start(&[]).await;
    let asked = stage
        .client
        .post(format!("{}/services/register", stage.http));
    let answer = asked.body(hanging("a").to_string()).send().await.unwrap();
    assert_eq!(answer.status(), 422);
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["errors"][0]["field"], "lease");
    // A daemon at a broker that is not its own knows nothing of that broker's connections.
    let other = Stage::on(&stage.amqp, &[]).await;
    stage.put(200, json!({"mode": "direct"})).await;
    other.until_sent().await;
    let mut caller = Caller::new(&stage.amqp).await;
    let problem = caller.ask("service.register", &hanging("a")).await;
    assert_eq!(problem["errors"][0]["field"], "lease", "{problem}");
    assert_eq!(problem["status"], 422);
    other.stop().await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_on_a_connection_needs_a_connection_with_heartbeats() {
    let stage = Stage::embedded(&[("broker.heartbeat", "0s")]).await;
    stage.until_sent().await;
    let mut silent = Caller::new(&format!("{}?heartbeat=0", stage.amqp)).await;
    let problem = silent.ask("service.register", &hanging("a")).await;
    assert_eq!(
        (&problem["status"], &problem["errors"][0]["field"]),
        (&json!(422), &json!("lease")),
        "{problem}"
    );
    let with_ttl = json!({"service_id": "b", "service_name": "s", "host": "h", "port": 1});
    let answer = silent.ask("service.register", &with_ttl).await;
    assert_eq!(answer["status"], "healthy", "{answer}");
    let mut alive = Caller::new(&format!("{}?heartbeat=60", stage.amqp)).await;
    let answer = alive.ask("service.register", &hanging("a")).await;
    assert_eq!(answer["status"], "healthy", "{answer}");
    stage.stop().await;
}
