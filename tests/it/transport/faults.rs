//! Brokers that are away, refuse the daemon, or are misconfigured: it is reported, and the direct way
//! continues.

use std::time::Duration;

use lapin::{
    Channel, Connection, ConnectionProperties, ExchangeKind,
    options::{
        BasicGetOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
        QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::stage::{PATIENCE, Stage, connect, vhost};
use crate::rabbitmq::Rabbit;

#[track_caller]
fn check_reported(report: &Value, wanted: &str) {
    let error = report["broker"]["error"].as_str().unwrap_or_default();
    assert!(error.contains(wanted), "{report}");
}

async fn refused(stage: &Stage, wanted: &str) {
    let away = |report: &Value| report["broker"]["error"].is_string();
    let report = stage.until("the fault is reported", away).await;
    check_reported(&report, wanted);
    // The direct way continues, and /ready has the state.
    stage.register("a", 0..3).await;
    stage.until_called().await;
    let ready = stage.get("/ready").await;
    assert_eq!(ready["status"], "ready");
    assert!(ready.to_string().contains(wanted), "{ready}");
    let asked = Instant::now();
    let answer = stage.put(503, json!({"mode": "queue"})).await;
    assert!(
        asked.elapsed() < Duration::from_secs(6),
        "{:?}",
        asked.elapsed()
    );
    assert!(answer.to_string().contains(wanted), "{answer}");
    assert_eq!(
        stage.transport().await["channels"]["events"]["mode"],
        "dual"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn login_vhost_and_connection_errors_are_reported() {
    let embedded = Stage::start(&[]).await;
    let address = embedded.amqp.split('@').nth(1).unwrap();
    let address = address.split('/').next().unwrap().to_owned();
    let wrong = format!("amqp://guest:wrong@{address}/%2f");
    let stage = Stage::on(&wrong, &[]).await;
    refused(&stage, "ACCESS_REFUSED").await;
    let missing = format!("amqp://guest:guest@{address}/nowhere");
    let stage = Stage::on(&missing, &[]).await;
    refused(&stage, "vhost").await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = format!("amqp://{}/", nobody.local_addr().unwrap());
    drop(nobody);
    let stage = Stage::on(&nowhere, &[]).await;
    refused(&stage, "connecting").await;
    embedded.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_of_another_type_is_reported_until_it_is_deleted() {
    let host = Stage::start(&[("transport.mode", "direct")]).await;
    let connection = connect(&host.amqp).await;
    let channel = connection.create_channel().await.unwrap();
    let deleted = channel.exchange_delete("musterd".into(), ExchangeDeleteOptions::default());
    deleted.await.unwrap();
    let declared = channel.exchange_declare(
        "musterd".into(),
        ExchangeKind::Fanout,
        ExchangeDeclareOptions::default(),
        FieldTable::default(),
    );
    declared.await.unwrap();
    let stage = Stage::on(&host.amqp, &[]).await;
    refused(&stage, "PRECONDITION_FAILED").await;
    let deleted = channel.exchange_delete("musterd".into(), ExchangeDeleteOptions::default());
    deleted.await.unwrap();
    stage.until_sent().await;
    stage.set("queue").await;
    host.stop().await;
}

/// Binds a queue for five events, which refuses more; it exists as long as the connection.
async fn small_queue(stage: &Stage) -> (Connection, Channel) {
    let connection = connect(&stage.amqp).await;
    let channel = connection.create_channel().await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(5));
    let reject = AMQPValue::LongString("reject-publish".into());
    arguments.insert("x-overflow".into(), reject);
    let declared = channel.queue_declare("small".into(), QueueDeclareOptions::default(), arguments);
    declared.await.unwrap();
    let bound = channel.queue_bind(
        "small".into(),
        "musterd".into(),
        "service.events.#".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.unwrap();
    (connection, channel)
}

/// Waits until GET /ready is of this status and says so.
async fn until_ready_is(stage: &Stage, status: &str, words: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ready = stage.get("/ready").await;
        if ready["status"] == status && ready.to_string().contains(words) {
            return;
        }
        assert!(Instant::now() < deadline, "{status}, {words}: {ready:#}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_unless_events_wait_for_a_broker_that_refuses() {
    let stage = Stage::start(&[("transport.mode", "queue")]).await;
    stage.until_sent().await;
    let _small = small_queue(&stage).await;
    stage.register("a", 0..20).await;
    // The guard sees a broker that answers: nothing turns the flag.
    let waiting = "changes wait in the log: events are refused";
    until_ready_is(&stage, "not ready", waiting).await;
    stage.set("dual").await;
    until_ready_is(&stage, "ready", "changes go directly: events are refused").await;
    stage.until_called().await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_that_refuses_makes_events_wait_and_come_in_order() {
    let stage = Stage::start(&[]).await;
    stage.until_sent().await;
    let (_connection, channel) = small_queue(&stage).await;
    stage.register("a", 0..20).await;
    let nacked = |report: &Value| report["channels"]["events"]["failed"].as_u64() > Some(0);
    stage.until("what is refused is counted", nacked).await;
    // Callbacks see them all, the direct way.
    stage.until_called().await;
    let mut seen = Vec::new();
    // One that was sent behind a refused one may be accepted, and is sent again behind it.
    while seen.last() != Some(&20) || (1..=20).any(|revision| !seen.contains(&revision)) {
        let options = BasicGetOptions { no_ack: true };
        match channel.basic_get("small".into(), options).await.unwrap() {
            Some(message) => {
                let event: Value = serde_json::from_slice(&message.data).unwrap();
                seen.push(event["revision"].as_u64().unwrap());
            }
            None => sleep(Duration::from_millis(5)).await,
        }
    }
    // A batch in which one was refused is sent again from that one on: the last of each come in order.
    let last = |revision: &u64| seen.iter().rposition(|one| one == revision);
    assert!(
        (1..=20).is_sorted_by_key(|revision| last(&revision)),
        "{seen:?}"
    );
    stage.until_sent().await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rabbitmq_that_stops_answering_is_noticed_and_taken_up_again() {
    let (rabbit, url) = tokio::task::spawn_blocking(|| {
        let rabbit = Rabbit::private();
        let url = vhost(&rabbit);
        (rabbit, url)
    })
    .await
    .unwrap();
    // The silence comes close to what the guard allows.
    let stage = Stage::on(&url, &[("migration.guard", "off")]).await;
    stage.until_sent().await;
    rabbit.pause();
    stage.register("a", 0..10).await;
    stage.until_called().await;
    let silent = |report: &Value| report["broker"]["silent_ms"].as_f64() > Some(5_500.0);
    stage.until("its silence is measured", silent).await;
    let asked = Instant::now();
    stage.put(503, json!({"mode": "queue"})).await;
    assert!(asked.elapsed() < Duration::from_secs(6));
    rabbit.resume();
    stage.until_sent().await;
    let report = stage.transport().await;
    assert_eq!(report["broker"]["silent_ms"], Value::Null, "{report}");
    stage.set("queue").await;
    stage.register("a", 10..20).await;
    stage.until_called().await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recreated_exchange_is_bound_again() {
    let keys = [
        ("transport.mode", "queue"),
        ("transport.amqp.answer_timeout", "1s"),
    ];
    let stage = Stage::start(&keys).await;
    stage.until_sent().await;
    stage.register("a", 0..5).await;
    stage.until_called().await;
    let connection = connect(&stage.amqp).await;
    let channel = connection.create_channel().await.unwrap();
    let deleted = channel.exchange_delete("musterd".into(), ExchangeDeleteOptions::default());
    deleted.await.unwrap();
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let nothing = FieldTable::default();
    let made = channel.exchange_declare("musterd".into(), ExchangeKind::Topic, durable, nothing);
    made.await.unwrap();
    // A publisher notices nothing now: the broker takes the message, and nobody gets it.
    stage.register("a", 5..50).await;
    stage.until_sent().await;
    stage.until_called().await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_queues_and_exchanges_are_declared_again() {
    let stage = Stage::start(&[("transport.mode", "queue")]).await;
    stage.until_sent().await;
    stage.register("a", 0..5).await;
    stage.until_called().await;
    let connection = connect(&stage.amqp).await;
    let channel = connection.create_channel().await.unwrap();
    let deleted = channel.exchange_delete("musterd".into(), ExchangeDeleteOptions::default());
    deleted.await.unwrap();
    let options = QueueDeleteOptions::default();
    let deleted = channel.queue_delete("service.register".into(), options);
    deleted.await.unwrap();
    // In mode queue callbacks see only what comes back from the exchange.
    stage.register("a", 5..50).await;
    stage.until_called().await;
    stage.register("a", 50..60).await;
    stage.until_called().await;
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let channel = connection.create_channel().await.unwrap();
        let there =
            channel.queue_declare("service.register".into(), passive, FieldTable::default());
        if there.await.is_ok_and(|queue| queue.consumer_count() == 1) {
            break;
        }
        assert!(Instant::now() < deadline, "the queue does not come back");
        sleep(Duration::from_millis(50)).await;
    }
    stage.stop().await;
}

/// Deletes a queue and declares it with other arguments than the daemon does, which may declare it again in
/// between.
async fn declare_otherwise(connection: &Connection, queue: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let channel = connection.create_channel().await.unwrap();
        let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
        deleted.await.unwrap();
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(5));
        let declared = channel.queue_declare(queue.into(), durable, arguments);
        if declared.await.is_ok() {
            return;
        }
        assert!(Instant::now() < deadline, "the daemon is always faster");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_arguments_stops_only_its_channel() {
    let stage = Stage::start(&[("transport.health", "direct")]).await;
    stage.until_sent().await;
    let mut events = stage.listen(&["service.events.#"]).await;
    let connection = connect(&stage.amqp).await;
    let channel = connection.create_channel().await.unwrap();
    // One that nobody needs: only the change that would need it is refused, and says why.
    declare_otherwise(&connection, "health.verdict").await;
    let health = |mode: &str| json!({"channels": {"health": mode}});
    let problem = stage.put(503, health("queue")).await;
    assert!(problem.to_string().contains("health.verdict"), "{problem}");
    until_ready_is(&stage, "ready", "").await;
    // One that is in use: it is named, and everything else continues.
    declare_otherwise(&connection, "service.register").await;
    until_ready_is(&stage, "not ready", "service.register").await;
    let error = stage.transport().await["broker"]["error"].to_string();
    assert!(error.contains("service.register"), "{error}");
    stage.register("a", 0..3).await;
    stage.until_called().await;
    stage.until_sent().await;
    assert_eq!(events.revisions_until(3).await, [1, 2, 3]);
    for queue in ["service.register", "health.verdict"] {
        let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
        deleted.await.unwrap();
    }
    until_ready_is(&stage, "ready", "").await;
    stage.put(200, health("queue")).await;
    stage.stop().await;
}

/// The exchange exists before the first client, and clients that use all connections do not shut out the daemon.
#[tokio::test(flavor = "multi_thread")]
async fn clients_cannot_come_before_the_exchange_or_keep_the_daemon_out() {
    let keys = [
        ("transport.mode", "direct"),
        ("broker.limits.connections", "4"),
    ];
    let stage = Stage::embedded(&keys).await;
    let connection = connect(&stage.amqp).await;
    let channel = connection.create_channel().await.unwrap();
    let passive = ExchangeDeclareOptions {
        passive: true,
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let none = FieldTable::default;
    let declared = channel.exchange_declare("musterd".into(), ExchangeKind::Topic, passive, none());
    declared.await.unwrap();
    for queue in ["service.register", "health.check.request"] {
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let declared = channel.queue_declare(queue.into(), passive, none());
        declared.await.unwrap();
    }
    // The daemon declares this queue at the first dead letter. Until then a client may declare it with other limits.
    declare_otherwise(&connection, "musterd.dead").await;
    // So many logins fail that no more are taken from here, and every place is taken.
    let address = stage.amqp.split('@').nth(1).unwrap();
    let address = address.split('/').next().unwrap();
    for _ in 0..20 {
        let wrong = format!("amqp://broker-internal:wrong@{address}/%2f");
        let once =
            ConnectionProperties::default().configure_backoff(|backoff| backoff.with_max_times(0));
        assert!(Connection::connect(&wrong, once).await.is_err());
    }
    let mut sockets = Vec::new();
    for _ in 0..8 {
        sockets.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    stage.put(200, json!({"mode": "queue"})).await;
    stage.register("a", 0..3).await;
    stage.until_called().await;
    stage.until_sent().await;
    drop((sockets, connection));
    stage.stop().await;
}

/// What a client declared otherwise is restored before the daemon declares it.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_arguments_does_not_keep_a_stored_daemon_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let stage = Stage::embedded(&[("store.path", path), ("transport.mode", "direct")]).await;
    let connection = connect(&stage.amqp).await;
    declare_otherwise(&connection, "service.register").await;
    stage.stop().await;

    let stage = Stage::embedded(&[("store.path", path), ("transport.mode", "queue")]).await;
    until_ready_is(&stage, "not ready", "service.register").await;
    let error = stage.transport().await["broker"]["error"].to_string();
    assert!(error.contains("service.register"), "{error}");
    let mut events = stage.listen(&["service.events.#"]).await;
    stage.register("a", 0..3).await;
    stage.until_called().await;
    assert_eq!(events.revisions_until(3).await, [1, 2, 3]);
    let channel = connect(&stage.amqp).await.create_channel().await.unwrap();
    let deleted = channel.queue_delete("service.register".into(), QueueDeleteOptions::default());
    deleted.await.unwrap();
    until_ready_is(&stage, "ready", "").await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_of_another_type_does_not_keep_a_stored_daemon_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let stage = Stage::embedded(&[("store.path", path), ("transport.mode", "direct")]).await;
    let connection = connect(&stage.amqp).await;
    let channel = connection.create_channel().await.unwrap();
    let deleted = channel.exchange_delete("musterd".into(), ExchangeDeleteOptions::default());
    deleted.await.unwrap();
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let (fanout, none) = (ExchangeKind::Fanout, FieldTable::default());
    let declared = channel.exchange_declare("musterd".into(), fanout, durable, none);
    declared.await.unwrap();
    stage.stop().await;

    let keys = [("transport.mode", "dual"), ("migration.guard", "off")];
    let keys = [&keys[..], &[("store.path", path)]].concat();
    let stage = Stage::embedded(&keys).await;
    refused(&stage, "exchange 'musterd'").await;
    stage.stop().await;
}

/// Other queues may take all the places that the limit allows.
#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_queues_does_not_keep_a_stored_daemon_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let keys = [("store.path", path), ("broker.limits.queues", "32")];
    let direct = [&keys[..], &[("transport.mode", "direct")]].concat();
    let stage = Stage::embedded(&direct).await;
    let connection = connect(&stage.amqp).await;
    let channel = connection.create_channel().await.unwrap();
    let deleted = channel.queue_delete("service.register".into(), QueueDeleteOptions::default());
    deleted.await.unwrap();
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    for other in 0..27 {
        let name = format!("other-{other}");
        let declared = channel.queue_declare(name.into(), durable, FieldTable::default());
        declared.await.unwrap();
    }
    stage.stop().await;

    let health = [
        ("transport.mode", "direct"),
        ("transport.discovery", "queue"),
    ];
    let stage = Stage::embedded(&[&keys[..], &health].concat()).await;
    until_ready_is(&stage, "not ready", "service.register").await;
    stage.register("a", 0..3).await;
    stage.until_called().await;
    let channel = connect(&stage.amqp).await.create_channel().await.unwrap();
    for other in ["other-0", "other-1"] {
        let deleted = channel.queue_delete(other.into(), QueueDeleteOptions::default());
        deleted.await.unwrap();
    }
    until_ready_is(&stage, "ready", "").await;
    stage.stop().await;
}
