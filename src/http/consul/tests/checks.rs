//! Checks: their ids, reports on them, and what they add up to.

use serde_json::json;

use crate::http::consul::testing::ConsulDoor;

#[tokio::test]
async fn a_check_is_reported_on_and_its_state_aggregated() {
    let door = ConsulDoor::new();
    let body = r#"{"Name": "web", "check": {"ttl": "1h", "status": "passing", "check_id": "own"}}"#;
    door.put("/v1/agent/service/register", body).await;
    let by_name = "/v1/agent/health/service/name/web";
    for (change, code, status, text) in [
        ("", 200, "passing", ""),
        ("warn/own?note=slow", 429, "warning", "slow"),
        ("fail/own?note=down", 503, "critical", "down"),
        ("pass/own", 200, "passing", ""),
    ] {
        if !change.is_empty() {
            door.put(&format!("/v1/agent/check/{change}"), "").await;
        }
        let answer = door.expect(code, "GET", by_name, "").await;
        assert_eq!(answer.json[0]["AggregatedStatus"], status);
        let plain = door
            .expect(code, "GET", &format!("{by_name}?format=text"), "")
            .await;
        assert_eq!(plain.text, status);
        let checks = door.get("/v1/agent/checks").await;
        assert_eq!(checks.json["own"]["Status"], status, "{change}");
        assert_eq!(checks.json["own"]["Output"], text, "{change}");
        let listed = door.get(&format!("/v1/health/state/{status}")).await;
        assert!(listed.each("/CheckID").contains(&"own"), "{change}");
        // A warning is no reason to leave an instance out of REST's discovery, but of Consul's passing ones.
        let passing = door.get("/v1/health/service/web?passing").await;
        assert_eq!(
            passing.json.as_array().unwrap().len(),
            usize::from(status == "passing")
        );
    }
    let update = r#"{"Status": "warning", "Output": "so so"}"#;
    door.put("/v1/agent/check/update/own", update).await;
    assert_eq!(
        door.get("/v1/health/checks/web").await.each("/Output"),
        ["so so"]
    );
    let rest = door.rest.expect(200, "GET", "/services/web", "").await;
    assert_eq!(
        (&rest.json["status"], &rest.json["warning"]),
        (&json!("healthy"), &json!(true))
    );
    let wrong = door
        .expect(400, "PUT", "/v1/agent/check/update/own", "{}")
        .await;
    assert!(wrong.text.contains("Invalid check status"));
    for path in ["pass/nothing", "fail/nothing", "deregister/nothing"] {
        let path = format!("/v1/agent/check/{path}");
        let answer = door.expect(404, "PUT", &path, "").await;
        assert!(answer.text.contains("Unknown check ID"), "{}", answer.text);
    }
}

#[tokio::test]
async fn checks_of_the_node_belong_to_all_of_its_services() {
    let door = ConsulDoor::new();
    door.put("/v1/agent/service/register", r#"{"Name": "web"}"#)
        .await;
    let disk = r#"{"Name": "disk", "TTL": "1h"}"#;
    door.put("/v1/agent/check/register", disk).await;
    let passing = "/v1/health/service/web?passing";
    assert_eq!(door.get(passing).await.json, json!([]));
    door.put("/v1/agent/check/pass/disk", "").await;
    let shown = door.get(passing).await;
    assert_eq!(shown.json[0]["Checks"][1]["CheckID"], "disk");
    assert_eq!(shown.json[0]["Checks"][1]["ServiceID"], "");
    let of_node = door.get("/v1/health/node/n1").await;
    assert_eq!(of_node.each("/CheckID"), ["serfHealth", "disk"]);
    // It is no service.
    assert_eq!(
        door.get("/v1/agent/services")
            .await
            .json
            .as_object()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        door.get("/v1/catalog/services").await.json,
        json!({"consul": [], "web": []})
    );
    assert_eq!(
        door.get("/v1/catalog/service/consul-node").await.json,
        json!([])
    );
    door.put("/v1/agent/check/deregister/disk", "").await;
    assert_eq!(door.get("/v1/agent/checks").await.json, json!({}));
    let left = door.rest.expect(200, "GET", "/services", "").await;
    assert_eq!(
        left.json.as_object().unwrap().len(),
        1,
        "the entry of the node is gone"
    );
    let nowhere = r#"{"Name": "disk", "TTL": "1h", "ServiceID": "nothing"}"#;
    door.expect(404, "PUT", "/v1/agent/check/register", nowhere)
        .await;
    door.expect(400, "PUT", "/v1/agent/check/register", "{}")
        .await;
}
