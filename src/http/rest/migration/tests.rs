use std::time::Duration;

use serde_json::json;

use crate::{
    api::{MigrationAction, MigrationMode},
    http::testing::{Api, live::Live},
};

#[tokio::test]
async fn the_report_is_of_the_documented_shape() {
    let api = Api::new();
    let report = api.expect(200, "GET", "/migration", "").await.json;
    assert_eq!(report["state"], "running");
    assert_eq!(report["phases"][0]["channels"]["health"], "dual");
    assert_eq!(report["phases"][0]["soak"], "60s");
    assert_eq!(report["history"][0]["figures"], json!({"compared": 12.0}));
    assert_eq!(report["rollback"]["latencies"][0]["max_ms"], 2.0);
    assert_eq!(report["return"]["by_itself"], true);
}

#[tokio::test]
async fn an_operators_request_is_passed_on() {
    let api = Api::new();
    let body = json!({"action": "start", "mode": "step", "soak": "30s", "hurry": true});
    let answered = api
        .expect(200, "POST", "/migration", body.to_string())
        .await;
    assert_eq!(
        answered.json["warnings"][0],
        "unknown field \"hurry\" was ignored"
    );
    let asked = api.migration.asked.lock().clone();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].action, MigrationAction::Start);
    assert_eq!(asked[0].mode, Some(MigrationMode::Step));
    assert_eq!(asked[0].soak, Some(Duration::from_secs(30)));
}

#[tokio::test]
async fn refusals_have_a_reason() {
    let api = Api::new();
    let refused = api
        .expect(409, "POST", "/migration", r#"{"action":"advance"}"#)
        .await;
    assert_eq!(refused.json["detail"], "nothing to advance");
    let wrong = api
        .expect(422, "POST", "/migration", r#"{"action":"hop"}"#)
        .await;
    assert_eq!(wrong.json["errors"][0]["field"], "action");
    api.expect(405, "DELETE", "/migration", "").await;
}

#[tokio::test]
async fn streams_of_everything_get_notices_after_earlier_events() {
    let api = Api::new();
    let notices = api.notices.clone();
    notices.push("migration.started", "\"too early for this watcher\"".into());
    let live = Live::serve(api.shared).await;
    let mut all = live.get("/watch").await;
    all.expect("snapshot").await;
    let one = live.get("/watch?service=web").await;
    live.until_watchers("sse", "2").await;
    notices.push("migration.phase", "{\"event\":\"migration.phase\"}".into());
    notices.push(
        "migration.completed",
        "{\"event\":\"migration.completed\"}".into(),
    );
    for event in ["migration.phase", "migration.completed"] {
        let received = all.expect("event").await;
        assert_eq!(received.data["event"], event);
        assert_eq!(received.id, None);
    }
    let mut one = one;
    one.expect("snapshot").await;
    assert!(one.is_silent().await, "a notice is of no service");
    drop((all, one));
    live.stop().await;
}
