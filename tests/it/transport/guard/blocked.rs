//! A broker that is there and takes nothing: it is short of memory (connection.blocked).

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    super::stage::{Listener, PATIENCE, Stage},
    host::{MEMORY_KEY, Own},
    scene::{Traffic, Watcher, flipped, quick, stays_direct, verified},
};

const RULE: &str = "broker_away";
const BLOCKED: &str = "blocks publishers";

/// Waits until GET /ready is of this status and says so.
async fn until_ready_is(stage: &Stage, status: &str, words: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ready = stage.get("/ready").await;
        let text = ready.to_string();
        if ready["status"] == status && words.iter().all(|words| text.contains(words)) {
            return;
        }
        assert!(Instant::now() < deadline, "{status}, {words:?}: {ready:#}");
        sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_direct_way_changes_are_delivered_directly() {
    let own = Own::start(&MEMORY_KEY).await;
    let keys = quick(&[("transport.mode", "queue"), ("migration.broker_away", "6s")]);
    let stage = Stage::on(own.url(), &keys).await;
    stage.until_sent().await;
    let watcher = Watcher::new(&stage).await;
    own.run_short().await;
    let traffic = Traffic::start(&stage);
    // Until the guard turns the flag, callbacks wait for what the broker does not take.
    let words = [BLOCKED, "changes wait in the log"];
    until_ready_is(&stage, "not ready", &words).await;
    let [silent, allowed] = flipped(&stage, RULE, [" for ", "s, "]).await;
    assert!(silent >= allowed, "{silent}");
    let report = stage.get("/migration").await;
    let flip = report["rollback"]["flipped_ms"].as_f64().unwrap();
    assert!(silent * 1_000.0 + flip < 8_000.0, "{silent}, {flip}");
    verified(&stage, &watcher, RULE).await;
    stays_direct(&stage, RULE).await;
    traffic.stop().await;
    stage.until_called().await;
    until_ready_is(&stage, "ready", &["broker: off"]).await;
    own.recover().await;
    stage.set("queue").await;
    stage.register("after", 0..5).await;
    stage.until_called().await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_direct_way_events_wait() {
    let own = Own::start(&MEMORY_KEY).await;
    let keys = quick(&[
        ("transport.mode", "queue"),
        ("transport.direct", "off"),
        ("migration.broker_away", "1s"),
    ]);
    let stage = Stage::on(own.url(), &keys).await;
    stage.until_sent().await;
    let mut topics = Listener::new(own.url(), &["service.events.#"]).await;
    own.run_short().await;
    stage.register("a", 0..20).await;
    let words = [BLOCKED, "changes wait in the log"];
    until_ready_is(&stage, "not ready", &words).await;
    // REST still works, and the guard has no modes to return to. Longer than any other answer may take.
    let silent = |report: &Value| report["broker"]["silent_ms"].as_f64() > Some(7_000.0);
    let report = stage.until("its silence is measured", silent).await;
    assert_eq!(report["channels"]["events"]["mode"], "queue", "{report}");
    let found = stage.get("/services/discover/a").await;
    assert_eq!(found["total_count"], 20);
    assert_eq!(stage.get("/migration").await["rollback"], Value::Null);
    own.recover().await;
    stage.until_called().await;
    stage.until_sent().await;
    stage.register("last", 0..1).await;
    let newest = stage.registry.newest().0;
    // Each once: what was not confirmed for so long was on its way all the same.
    let seen = topics.revisions_until(newest).await;
    assert_eq!(seen, (1..=newest).collect::<Vec<_>>());
    until_ready_is(&stage, "ready", &["broker: up"]).await;
    stage.stop().await;
}
