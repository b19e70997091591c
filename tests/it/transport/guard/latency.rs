//! What takes longer than before the migration.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    super::stage::{Listener, Stage, registration},
    host::{Host, SlowWay},
    scene::{
        Load, Traffic, Watcher, figure_of, flipped, migrate_until, quick, stays_direct, verified,
    },
};

/// Requests that take so much longer are slow on any machine.
const SLOW: [(&str, &str); 5] = [
    ("migration.latency_floor", "150ms"),
    ("migration.window", "1s"),
    ("migration.samples_min", "5"),
    ("registry.metadata_max", "16MiB"),
    ("http.body_max", "32MiB"),
];

#[tokio::test(flavor = "multi_thread")]
async fn events_that_come_late_by_a_slow_way_to_the_broker() {
    const RULE: &str = "delivery_latency";
    let host = Host::start().await;
    let way = SlowWay::to(&host).await;
    let keys = quick(&[("migration.latency_floor", "500ms")]);
    let stage = Stage::on(&way.url(&host), &keys).await;
    let watcher = Watcher::new(&stage).await;
    let traffic = Traffic::start(&stage);
    migrate_until(&stage, "events queue").await;
    let mut topics = Listener::new(&host.url, &["migration.#"]).await;

    way.delay(Duration::from_millis(1_000));
    let figures = ["the 95th percentile of delivery is ", "ms, "];
    let [p95, allowed] = flipped(&stage, RULE, figures).await;
    assert!(p95 > allowed && allowed > 500.0, "{p95}, {allowed}");
    // The way is slow still, and nothing goes by it any more.
    let report = verified(&stage, &watcher, RULE).await;
    let reported = figure_of(&report, "migration.rollback_started", "delivery_p95_ms");
    assert!((reported - p95).abs() < 0.1, "{reported}, {p95}");
    let back = &report["rollback"]["latencies"];
    assert_eq!(back.as_array().map(Vec::len), Some(3), "{report:#}");
    stays_direct(&stage, RULE).await;
    traffic.stop().await;
    stage.until_called().await;

    // Notices of the time without a connection come when there is one again.
    way.delay(Duration::ZERO);
    stage.set("dual").await;
    for event in ["migration.rollback_started", "migration.rolled_back"] {
        assert_eq!(topics.event_of(event).await["event"], event);
    }
    stage.stop().await;
}

/// Whatever makes the daemon slow to answer: the guard can't know that it is not the broker.
async fn slow_answers(rule: &str, what: &str, load: Load, prepare: impl AsyncFnOnce(&Stage)) {
    let stage = Stage::start(&quick(&SLOW)).await;
    let watcher = Watcher::new(&stage).await;
    prepare(&stage).await;
    let traffic = Traffic::start(&stage);
    migrate_until(&stage, "health dual").await;
    traffic.ask(load);
    let behind = format!("the 95th percentile of {what} is ");
    let [p95, allowed] = flipped(&stage, rule, [&behind, "ms, "]).await;
    assert!(p95 > allowed && allowed >= 150.0, "{p95}, {allowed}");
    traffic.ask(Load::default());
    let report = verified(&stage, &watcher, rule).await;
    let figure = format!("{what}_p95_ms");
    let reported = figure_of(&report, "migration.rollback_started", &figure);
    assert!((reported - p95).abs() < 0.1, "{reported}, {p95}");
    stays_direct(&stage, rule).await;
    traffic.stop().await;
    stage.until_called().await;
    stage.stop().await;
}

fn metadata(keys: usize) -> Value {
    let pairs = (0..keys).map(|at| (format!("key-{at}"), json!({"list": [1, 2, 3], "at": at})));
    Value::Object(pairs.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_that_are_answered_late() {
    let mut heavy = registration("heavy", 0);
    heavy["metadata"] = metadata(100_000);
    let load = Load {
        registration: Some(heavy.to_string().into()),
        ..Load::default()
    };
    slow_answers("register_latency", "register", load, async |_| ()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn discoveries_that_are_answered_late() {
    // Each instance's metadata is read to answer it.
    let load = Load {
        discovery: Some("wide?metadata.none=x".into()),
        ..Load::default()
    };
    let prepare = async |stage: &Stage| {
        for id in 0..30 {
            let mut body = registration("wide", id);
            body["metadata"] = metadata(10_000);
            let asked = stage
                .client
                .post(format!("{}/services/register", stage.http));
            let answer = asked.body(body.to_string()).send().await.unwrap();
            assert_eq!(answer.status(), 200);
        }
    };
    slow_answers("discover_latency", "discover", load, prepare).await;
}
