//! The catalog with nodes of its clients, and what identities may do.

use serde_json::json;

use crate::http::consul::testing::ConsulDoor;

#[tokio::test]
async fn the_catalog_registers_other_nodes_with_services_and_checks() {
    let door = ConsulDoor::new();
    let body = json!({
        "Node": "n2", "Address": "10.0.0.2", "NodeMeta": {"rack": "7"},
        "Service": {"ID": "db1", "Service": "db", "Port": 5432, "Tags": ["main"]},
        "Check": {"CheckID": "service:db1", "Name": "up", "ServiceID": "db1", "Status": "passing"},
    });
    let answer = door.put("/v1/catalog/register", &body.to_string()).await;
    assert_eq!(answer.json, true);
    assert_eq!(
        door.get("/v1/catalog/nodes").await.each("/Node"),
        ["n1", "n2"]
    );
    let of_rack = door.get("/v1/catalog/nodes?node-meta=rack:7").await;
    assert_eq!(of_rack.each("/Address"), ["10.0.0.2"]);
    let entry = door.get("/v1/catalog/service/db").await;
    assert_eq!(entry.each("/Node"), ["n2"]);
    assert_eq!(entry.each("/ServiceID"), ["db1"]);
    assert_eq!(entry.each("/ServiceAddress"), [""]);
    assert_eq!(entry.each("/Address"), ["10.0.0.2"]);
    let health = door.get("/v1/health/service/db?passing").await;
    assert_eq!(health.json[0]["Checks"][0]["CheckID"], "service:db1");
    let of_node = door.get("/v1/catalog/node/n2").await;
    assert_eq!(of_node.json["Services"]["db1"]["Port"], 5432);
    let listed = door.get("/v1/catalog/node-services/n2").await;
    assert_eq!(listed.json["Services"][0]["ID"], "db1");
    assert_eq!(door.get("/v1/catalog/node/n3").await.json, json!(null));
    // The agent has only its own.
    assert_eq!(door.get("/v1/agent/services").await.json, json!({}));
    door.expect(404, "GET", "/v1/agent/service/n2/db1", "")
        .await;
    let rest = door
        .rest
        .expect(200, "GET", "/services/discover/db", "")
        .await;
    assert_eq!(rest.json["services"][0]["host"], "10.0.0.2");

    let failing = json!({
        "Node": "n2", "Address": "10.0.0.2",
        "Check": {"CheckID": "service:db1", "Name": "up", "ServiceID": "db1", "Status": "critical",
            "Output": "down"},
    });
    door.put("/v1/catalog/register", &failing.to_string()).await;
    assert_eq!(
        door.get("/v1/health/service/db?passing").await.json,
        json!([])
    );
    assert_eq!(
        door.get("/v1/health/checks/db").await.each("/Output"),
        ["down"]
    );

    let check = json!({"Node": "n2", "ServiceID": "db1", "CheckID": "service:db1"});
    door.put("/v1/catalog/deregister", &check.to_string()).await;
    assert_eq!(door.get("/v1/health/checks/db").await.json, json!([]));
    let service = json!({"Node": "n2", "ServiceID": "db1"});
    for _ in 0..2 {
        door.put("/v1/catalog/deregister", &service.to_string())
            .await;
    }
    assert_eq!(door.get("/v1/catalog/service/db").await.json, json!([]));
    assert_eq!(door.get("/v1/catalog/nodes").await.each("/Node"), ["n1"]);
}

#[tokio::test]
async fn a_node_alone_is_kept_until_it_is_deregistered() {
    let door = ConsulDoor::new();
    let body = json!({"Node": "n2", "Address": "10.0.0.2"});
    door.put("/v1/catalog/register", &body.to_string()).await;
    assert_eq!(
        door.get("/v1/catalog/nodes").await.each("/Node"),
        ["n1", "n2"]
    );
    let check = json!({
        "Node": "n2", "Address": "10.0.0.2",
        "Check": {"CheckID": "alive", "Name": "alive", "Status": "passing"},
    });
    door.put("/v1/catalog/register", &check.to_string()).await;
    assert_eq!(
        door.get("/v1/health/node/n2").await.each("/Status"),
        ["passing"]
    );
    door.put("/v1/catalog/deregister", r#"{"Node": "n2"}"#)
        .await;
    assert_eq!(door.get("/v1/catalog/nodes").await.each("/Node"), ["n1"]);
    for (path, body, says) in [
        ("register", "{}", "Must provide node"),
        ("register", r#"{"Node": "n2"}"#, "Must provide address"),
        (
            "register",
            r#"{"Node": "a/b", "Address": "h"}"#,
            "Invalid Node",
        ),
        ("deregister", "{}", "Must provide node"),
        ("deregister", r#"{"Node": "n1"}"#, "cannot be deregistered"),
    ] {
        let answer = door
            .expect(400, "PUT", &format!("/v1/catalog/{path}"), body)
            .await;
        assert!(answer.text.contains(says), "{body}: {}", answer.text);
    }
}
