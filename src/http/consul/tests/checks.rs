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

#[tokio::test]
async fn an_instance_has_a_limit_of_checks_in_every_way() {
    let door = ConsulDoor::new();
    let max = door.rest.shared.defaults.checks_max;
    let with_check = |number: usize| {
        let check = json!({"CheckID": format!("c{number}"), "TTL": "1m"});
        json!({"Name": "web", "Check": check}).to_string()
    };
    let register = "/v1/agent/service/register";
    for number in 0..max {
        door.put(register, &with_check(number)).await;
    }
    // What is named again replaces the one that is kept.
    door.put(register, &with_check(0)).await;
    let one_more = json!({"Name": "more", "ServiceID": "web", "TTL": "1m"}).to_string();
    let of_catalog = json!({
        "Node": "n1", "Address": "h",
        "Check": {"CheckID": "more", "Name": "more", "ServiceID": "web"},
    });
    for (path, body) in [
        (register, with_check(max)),
        ("/v1/agent/check/register", one_more),
        ("/v1/catalog/register", of_catalog.to_string()),
    ] {
        let refused = door.expect(400, "PUT", path, &body).await;
        assert!(refused.text.contains("registry.checks_max"), "{refused:?}");
    }
    let listed = door.get("/v1/health/checks/web").await;
    assert_eq!(listed.json.as_array().unwrap().len(), max);
    door.put(
        &format!("{register}?replace-existing-checks"),
        &with_check(max),
    )
    .await;
}

#[tokio::test]
async fn labels_of_checks_are_bounded_in_every_way() {
    let door = ConsulDoor::new();
    door.put("/v1/agent/service/register", r#"{"Name": "web"}"#)
        .await;
    for (field, text) in [
        ("CheckID", "i".repeat(401)),
        ("Name", "n".repeat(401)),
        ("Notes", "n".repeat(1001)),
        ("Notes", "a\nb".to_owned()),
    ] {
        let mut check = json!({"CheckID": "up", "Name": "up", "ServiceID": "web", "TTL": "1m"});
        check[field] = text.into();
        let of_agent = check.to_string();
        let of_catalog = json!({"Node": "n1", "Address": "h", "Check": check}).to_string();
        for (path, body) in [
            ("/v1/agent/check/register", of_agent),
            ("/v1/catalog/register", of_catalog),
        ] {
            let refused = door.expect(400, "PUT", path, &body).await;
            assert!(refused.text.contains(field), "{path}: {refused:?}");
        }
    }
}

#[tokio::test]
async fn an_instance_of_another_service_does_not_speak_for_the_node() {
    let door = ConsulDoor::new();
    door.put("/v1/agent/service/register", r#"{"Name": "web"}"#)
        .await;
    let posing = r#"{"Name": "other", "ID": "consul-node:n1", "Check": {"TTL": "1h"}}"#;
    door.put("/v1/agent/service/register", posing).await;
    let passing = door.get("/v1/health/service/web?passing").await;
    assert_eq!(passing.each("/Service/ID"), ["web"]);
    let posing = door.get("/v1/health/service/other?passing").await;
    assert_eq!(posing.json, json!([]));
}

#[tokio::test]
async fn a_long_reason_of_a_maintenance_is_cut_off() {
    let door = ConsulDoor::new();
    door.put("/v1/agent/service/register", r#"{"Name": "web"}"#)
        .await;
    let reason = format!("a{}", "%C3%A9".repeat(1500));
    let path = format!("/v1/agent/service/maintenance/web?enable=true&reason={reason}");
    door.put(&path, "").await;
    let notes = door.get("/v1/health/checks/web").await;
    assert_eq!(notes.each("/Notes")[0].chars().count(), 1000);
}
