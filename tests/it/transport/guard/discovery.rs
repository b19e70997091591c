//! Discovery requests that are not answered.

use std::time::Duration;

use lapin::{BasicProperties, Channel, options::BasicPublishOptions};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

use super::{
    super::stage::{Stage, connect, registration},
    host::Host,
    scene::{
        Traffic, Watcher, figure_of, flipped, migrate_until, quick, rollbacks, stays_direct,
        until_report, verified,
    },
};

const RULE: &str = "discovery_failures";
const STRICT: [(&str, &str); 2] = [
    ("migration.discovery_failures_max", "0.05"),
    ("transport.amqp.backoff_max", "100ms"),
];

async fn send(channel: &Channel, queue: &str, body: &Value) {
    // No client reads the answers; that does not count as a failed discovery.
    let properties = BasicProperties::default()
        .with_reply_to("answers".into())
        .with_correlation_id("1".into());
    let options = BasicPublishOptions::default();
    let body = body.to_string();
    let sent = channel.basic_publish(
        "".into(),
        queue.into(),
        options,
        body.as_bytes(),
        properties,
    );
    sent.await.unwrap();
}

/// Commands over the broker, again and again.
async fn commands(url: &str, queue: &'static str, body: fn(usize) -> Value) -> JoinSet<()> {
    let connection = connect(url).await;
    let channel = connection.create_channel().await.unwrap();
    let mut task = JoinSet::new();
    task.spawn(async move {
        let _connection = connection;
        for number in 0.. {
            send(&channel, queue, &body(number)).await;
            sleep(Duration::from_millis(10)).await;
        }
    });
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_whose_answers_the_broker_refuses() {
    let host = Host::start().await;
    // The daemon's user may do all that it must, but answer.
    let url = host.narrow().await;
    let keys = quick(&STRICT);
    let stage = Stage::on(&url, &keys).await;
    let watcher = Watcher::new(&stage).await;
    let traffic = Traffic::start(&stage);
    migrate_until(&stage, "discovery dual").await;
    let asked = commands(
        &host.url,
        "service.discover",
        |_| json!({"service_name": "traffic"}),
    );
    let _asked = asked.await;
    // Many over REST are answered, so that it is far from all of them.
    let figures = ["", "the discovery requests fail, "];
    let [failed, allowed] = flipped(&stage, RULE, figures).await;
    assert!((allowed - 5.0).abs() < 0.01, "{allowed}");
    assert!(failed > allowed, "{failed}");
    let report = verified(&stage, &watcher, RULE).await;
    let reported = figure_of(&report, "migration.rollback_started", "discovery_failures");
    assert!(
        (reported * 100.0 - failed).abs() < 0.1,
        "{reported}, {failed}"
    );
    stays_direct(&stage, RULE).await;
    traffic.stop().await;
    stage.until_called().await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_registry_does_not_cause_a_rollback() {
    let keys = quick(&[
        ("transport.mode", "dual"),
        ("migration.guard", "always"),
        ("migration.discovery_failures_max", "0.05"),
        ("registry.instances_max", "1"),
    ]);
    let stage = Stage::start(&keys).await;
    stage.until_sent().await;
    stage.register("only", 0..1).await;
    let _asked = commands(&stage.amqp, "service.register", |id| {
        registration("more", id)
    })
    .await;
    // Each is answered: that there is no room, as it would be over REST.
    let answered = |report: &Value| report["channels"]["discovery"]["sent"].as_u64() > Some(300);
    stage.until("they are answered", answered).await;
    let judged = |report: &Value| {
        let rules = report["guard"]["rules"].as_array().unwrap();
        let mut rules = rules.iter().filter(|rule| rule["name"] == RULE);
        rules.all(|rule| rule["armed"] == true && rule["value"] == 0.0)
    };
    let report = until_report(&stage, "the rule is looked at", judged).await;
    assert_eq!(report["rollback"], Value::Null, "{report:#}");
    assert_eq!(rollbacks(&stage, RULE).await, 0);
    stage.stop().await;
}
