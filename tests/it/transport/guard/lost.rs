//! A broker that is not there any more.

use std::time::Duration;

use lapin::{BasicProperties, options::BasicPublishOptions};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::{
    super::stage::{Listener, PATIENCE, Stage, connect, registration},
    host::{Host, Own, SlowWay},
    scene::{Traffic, Watcher, figure_of, flipped, quick, stays_direct, verified},
};

const RULE: &str = "broker_away";
/// How long the broker may be silent here, in seconds; and how long the flip may take then.
const AWAY: f64 = 3.0;
const FLIP_MAX: f64 = 2.0;

/// The broker is lost, and everything is direct in time.
async fn loses(stage: &Stage, watcher: &Watcher, lose: impl FnOnce()) {
    let lost = Instant::now();
    lose();
    let [silent, allowed] = flipped(stage, RULE, [" for ", "s, "]).await;
    // The test may ask late on a busy machine; the daemon's own figures are exact.
    let took = lost.elapsed();
    assert!(
        took < Duration::from_secs_f64(AWAY + FLIP_MAX + 1.0),
        "{took:?}"
    );
    let report = verified(stage, watcher, RULE).await;
    let flip = report["rollback"]["flipped_ms"].as_f64().unwrap() / 1_000.0;
    let reported = figure_of(&report, "migration.rollback_started", "broker_silent_s");
    assert!((reported - silent).abs() < 0.1, "{reported}, {silent}");
    assert!((allowed - AWAY).abs() < 0.01, "{allowed}");
    // Both are reported with one decimal.
    assert!(silent >= allowed, "{silent}");
    assert!(silent + flip < AWAY + FLIP_MAX, "{silent} + {flip}");
}

async fn scene(own: &Own) -> (Stage, Watcher, Traffic) {
    let keys = quick(&[("transport.mode", "queue"), ("migration.broker_away", "3s")]);
    let stage = Stage::on(own.url(), &keys).await;
    stage.until_sent().await;
    let watcher = Watcher::new(&stage).await;
    let traffic = Traffic::start(&stage);
    (stage, watcher, traffic)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_does_not_answer_causes_a_rollback() {
    let own = Own::start(&[]).await;
    let (stage, watcher, traffic) = scene(&own).await;
    let mut topics = Listener::new(own.url(), &["migration.#"]).await;
    loses(&stage, &watcher, || own.pause()).await;
    // It is back: nobody returns to it by himself.
    own.resume();
    stays_direct(&stage, RULE).await;
    traffic.stop().await;
    stage.until_called().await;
    stage.set("dual").await;
    for event in ["migration.rollback_started", "migration.rolled_back"] {
        assert_eq!(topics.event_of(event).await["event"], event);
    }
    stage.until_sent().await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_broker_causes_a_rollback() {
    let own = Own::start(&[]).await;
    let (stage, watcher, traffic) = scene(&own).await;
    loses(&stage, &watcher, || own.kill()).await;
    stays_direct(&stage, RULE).await;
    traffic.stop().await;
    stage.until_called().await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_connections_during_deliveries_delay_no_other() {
    let host = Host::start().await;
    let way = SlowWay::to(&host).await;
    let keys = quick(&[
        ("transport.mode", "queue"),
        ("transport.amqp.backoff_max", "100ms"),
    ]);
    let stage = Stage::on(&way.url(&host), &keys).await;
    stage.until_sent().await;
    for round in 0..15 {
        let connections = stage.transport().await["broker"]["connections"].clone();
        stage.register(&format!("round-{round}"), 0..50).await;
        way.cut();
        let reconnected = |report: &Value| report["broker"]["connections"] != connections;
        stage.until("it connects again", reconnected).await;
    }
    stage.until_sent().await;
    stage.until_called().await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_connections_during_deliveries_delays_no_other() {
    let host = Host::start().await;
    let way = SlowWay::to(&host).await;
    let stage = Stage::on(&way.url(&host), &quick(&[])).await;
    for round in 0..8 {
        stage.set("queue").await;
        stage.until_sent().await;
        // What comes is on its way still when the connection is closed.
        way.delay(Duration::from_millis(200));
        let service = format!("round-{round}");
        tokio::join!(stage.register(&service, 0..100), stage.set("direct"));
        way.delay(Duration::ZERO);
        stage
            .until("it is closed", |report| report["broker"]["state"] == "off")
            .await;
    }
    stage.until_called().await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_of_commands_that_is_still_opening_takes_none_after_direct_was_answered() {
    let host = Host::start().await;
    let way = SlowWay::to(&host).await;
    let stage = Stage::on(&way.url(&host), &quick(&[])).await;
    stage
        .put(200, json!({"channels": {"events": "queue"}}))
        .await;
    stage.until_sent().await;
    let connection = connect(&host.url).await;
    let channel = connection.create_channel().await.unwrap();
    // It takes a dozen answers to open.
    way.delay(Duration::from_millis(60));
    for mode in ["queue", "direct"] {
        let body = json!({"channels": {"discovery": mode}});
        stage.put(200, body).await;
    }
    let body = registration("web", 1).to_string();
    let sent = channel.basic_publish(
        "".into(),
        "service.register".into(),
        BasicPublishOptions::default(),
        body.as_bytes(),
        BasicProperties::default(),
    );
    sent.await.unwrap();
    sleep(Duration::from_secs(3)).await;
    assert!(stage.registry.instance("web-1").is_none());
    way.delay(Duration::ZERO);
    stage
        .put(200, json!({"channels": {"discovery": "queue"}}))
        .await;
    let taken = timeout(PATIENCE, async {
        while stage.registry.instance("web-1").is_none() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    taken.await.expect("none is lost");
    stage.stop().await;
}
