use serde_json::json;

use crate::http::testing::Api;

#[tokio::test]
async fn the_flag_is_shown_and_changed_for_all_or_for_some() {
    let api = Api::new();
    let shown = api.expect(200, "GET", "/transport", "").await;
    assert_eq!(shown.json["channels"]["events"]["mode"], "direct");
    assert_eq!(shown.json["channels"]["events"]["compared"], 0);
    assert_eq!(shown.json["broker"]["silent_ms"], 1500.0);

    let body = json!({"channels": {"events": "queue"}, "why": "test"}).to_string();
    let answered = api.expect(200, "PUT", "/transport", body).await;
    assert_eq!(answered.json["channels"]["events"]["mode"], "queue");
    assert_eq!(answered.json["channels"]["health"]["mode"], "direct");
    let warnings = answered.json["warnings"].to_string();
    assert!(warnings.contains("why"), "{warnings}");

    // What GET answered can be sent back, with what shall be different.
    let mut whole = api.expect(200, "GET", "/transport", "").await.json;
    whole["channels"]["events"]["mode"] = json!("dual");
    let answered = api
        .expect(200, "PUT", "/transport", whole.to_string())
        .await;
    assert_eq!(answered.json["channels"]["events"]["mode"], "dual");
    assert_eq!(answered.json["warnings"], json!(null));
}

#[tokio::test]
async fn an_impossible_mode_is_refused_and_changes_nothing() {
    let api = Api::new();
    let queue = json!({"channels": {"discovery": "queue"}}).to_string();
    let refused = api.expect(503, "PUT", "/transport", queue).await;
    assert_eq!(refused.header("retry-after"), "10");
    let queue = json!({"channels": {"health": "queue"}}).to_string();
    api.expect(409, "PUT", "/transport", queue).await;
    let wrong = api
        .expect(422, "PUT", "/transport", r#"{"mode":"both"}"#)
        .await;
    assert_eq!(wrong.json["errors"][0]["field"], "mode");
    let shown = api.expect(200, "GET", "/transport", "").await;
    assert_eq!(shown.json["channels"]["discovery"]["mode"], "direct");
}

#[tokio::test]
async fn routes_can_be_requested_in_process_without_a_socket() {
    let api = Api::new();
    api.register("web", "web-1", &json!({})).await;
    let asker = crate::http::state::HttpApp {
        state: api.shared.clone(),
    }
    .client();
    let body = asker.get("/services/discover/web").await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["total_count"], 1);
    assert_eq!(asker.get("/services/web-2").await, None);
}
