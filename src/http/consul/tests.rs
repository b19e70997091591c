//! This door against a registry, without a socket.

mod blocking;
mod checks;
mod nodes;

use serde_json::json;

use super::{config::Config, testing::ConsulDoor};
use crate::{
    catalog::{Door, Operation, take_judged},
    security::Identities,
};

const WEB: &str = r#"{"ID": "web1", "Name": "web", "Tags": ["v1", "primary"], "Address": "10.0.0.1",
    "Port": 8080, "Meta": {"env": "prod"}, "Weights": {"Passing": 5, "Warning": 1},
    "Check": {"TTL": "30s", "Notes": "n"}}"#;

#[tokio::test]
async fn a_service_is_registered_found_and_deregistered() {
    let door = ConsulDoor::new();
    take_judged();
    door.put("/v1/agent/service/register", WEB).await;
    assert_eq!(take_judged(), [(Door::Consul, Operation::Register)]);
    let own = door.get("/v1/agent/service/web1").await;
    assert_eq!(own.header("x-consul-contenthash"), own.json["ContentHash"]);
    let mut shown = own.json.clone();
    shown.as_object_mut().unwrap().remove("ContentHash");
    assert_eq!(
        shown,
        json!({
            "ID": "web1", "Service": "web", "Tags": ["v1", "primary"], "Meta": {"env": "prod"},
            "Port": 8080, "Address": "10.0.0.1", "TaggedAddresses": {},
            "Weights": {"Passing": 5, "Warning": 1}, "EnableTagOverride": false, "Datacenter": "dc1",
        })
    );
    assert_eq!(door.get("/v1/agent/services").await.json["web1"], shown);
    let listed = door.get("/v1/catalog/services").await;
    assert_eq!(listed.json, json!({"consul": [], "web": ["primary", "v1"]}));
    let entry = door.get("/v1/catalog/service/web").await;
    assert_eq!(entry.each("/ServiceID"), ["web1"]);
    assert_eq!(entry.json[0]["Node"], "n1");
    assert_eq!(entry.json[0]["Address"], "127.0.0.1");
    assert_eq!(entry.json[0]["ServiceAddress"], "10.0.0.1");
    let health = door.get("/v1/health/service/web").await;
    assert_eq!(health.json[0]["Service"]["ID"], "web1");
    let checks: Vec<_> = health.json[0]["Checks"]
        .as_array()
        .unwrap()
        .iter()
        .collect();
    assert_eq!(checks[0]["CheckID"], "serfHealth");
    assert_eq!(checks[1]["CheckID"], "service:web1");
    assert_eq!(checks[1]["Name"], "Service 'web' check");
    assert_eq!(checks[1]["Status"], "critical");
    assert_eq!(checks[1]["Notes"], "n");
    assert_eq!(
        door.get("/v1/health/service/web?passing").await.json,
        json!([])
    );
    door.put("/v1/agent/check/pass/service:web1?note=fine", "")
        .await;
    let passing = door.get("/v1/health/service/web?passing").await;
    assert_eq!(passing.json[0]["Checks"][1]["Output"], "fine");
    take_judged();
    door.put("/v1/agent/service/deregister/web1", "").await;
    assert_eq!(take_judged(), [(Door::Consul, Operation::Deregister)]);
    assert_eq!(door.get("/v1/health/service/web").await.json, json!([]));
    let again = door
        .expect(404, "PUT", "/v1/agent/service/deregister/web1", "")
        .await;
    assert!(
        again.text.starts_with("Unknown service ID \"web1\""),
        "{}",
        again.text
    );
}

#[tokio::test]
async fn both_doors_show_the_same_instances() {
    let door = ConsulDoor::new();
    door.put("/v1/agent/service/register", WEB).await;
    let rest = door.rest.expect(200, "GET", "/services/web1", "").await;
    assert_eq!(rest.json["metadata"], json!({"env": "prod"}));
    assert_eq!(rest.json["host"], "10.0.0.1");
    assert_eq!(rest.json["weight"], 5);
    assert_eq!(rest.json["lease"], "none");
    assert_eq!(rest.json["status"], "starting");
    let more = json!({
        "tags": ["blue"], "metadata": {"n": 1, "s": "x"},
        "checks": [{"type": "ttl", "name": "beat", "interval": "30s"}],
    });
    door.rest.register("db", "db1", &more).await;
    let db = door.get("/v1/agent/service/db1").await;
    assert_eq!(db.json["Meta"], json!({"n": "1", "s": "x"}));
    assert_eq!(
        (&db.json["Port"], &db.json["Tags"]),
        (&json!(8080), &json!(["blue"]))
    );
    let health = door.get("/v1/health/checks/db").await;
    assert_eq!(health.each("/CheckID"), ["service:db1:beat"]);
    assert_eq!(health.each("/Status"), ["critical"]);
    // A passing report is a heartbeat there.
    door.put("/v1/agent/check/pass/service:db1:beat", "").await;
    let reply = door
        .expect(404, "PUT", "/v1/agent/check/warn/service:db1:beat", "")
        .await;
    assert!(reply.text.contains("does not have associated TTL"));
}

#[tokio::test]
async fn registering_again_keeps_checks_unless_they_are_replaced() {
    let door = ConsulDoor::new();
    door.put("/v1/agent/service/register", WEB).await;
    let check = r#"{"Name": "disk", "ServiceID": "web1", "TTL": "1m", "Status": "passing"}"#;
    door.put("/v1/agent/check/register", check).await;
    let ids = async || {
        let listed = door.get("/v1/health/checks/web").await;
        listed.each("/CheckID").join(" ")
    };
    assert_eq!(ids().await, "service:web1 disk");
    let bare = r#"{"ID": "web1", "Name": "web", "Port": 81}"#;
    door.put("/v1/agent/service/register", bare).await;
    assert_eq!(ids().await, "service:web1 disk");
    door.put(
        "/v1/agent/service/register?replace-existing-checks=true",
        bare,
    )
    .await;
    assert_eq!(ids().await, "");
}

#[tokio::test]
async fn maintenance_is_an_override_with_a_check_of_its_own() {
    let door = ConsulDoor::new();
    let bare = r#"{"Name": "web", "Port": 80}"#;
    door.put("/v1/agent/service/register", bare).await;
    assert_eq!(
        door.get("/v1/health/service/web?passing")
            .await
            .each("/Service/ID"),
        ["web"]
    );
    door.put(
        "/v1/agent/service/maintenance/web?enable=true&reason=deploy",
        "",
    )
    .await;
    let checks = door.get("/v1/agent/checks").await;
    let check = &checks.json["_service_maintenance:web"];
    assert_eq!(
        (&check["Status"], &check["Notes"]),
        (&json!("critical"), &json!("deploy"))
    );
    assert_eq!(
        door.get("/v1/health/service/web?passing").await.json,
        json!([])
    );
    let rest = door.rest.expect(200, "GET", "/services/web", "").await;
    assert_eq!(rest.json["status"], "unhealthy");
    let aggregated = "/v1/agent/health/service/id/web";
    let answer = door.expect(503, "GET", aggregated, "").await;
    assert_eq!(answer.json["AggregatedStatus"], "maintenance");
    door.put("/v1/agent/service/maintenance/web?enable=false", "")
        .await;
    assert_eq!(
        door.get("/v1/health/service/web?passing")
            .await
            .each("/Service/ID"),
        ["web"]
    );
    // Of the node: every service of it is out of use.
    door.put("/v1/agent/maintenance?enable=true", "").await;
    assert!(door.get("/v1/agent/checks").await.json["_node_maintenance"].is_object());
    assert_eq!(
        door.get("/v1/health/service/web?passing").await.json,
        json!([])
    );
    door.put("/v1/agent/maintenance?enable=false", "").await;
    assert_eq!(door.get("/v1/agent/checks").await.json, json!({}));
    assert_eq!(
        door.get("/v1/health/service/web?passing")
            .await
            .each("/Service/ID"),
        ["web"]
    );
    for (path, says) in [
        ("/v1/agent/maintenance", "Missing value for enable"),
        (
            "/v1/agent/service/maintenance/web?enable=perhaps",
            "Invalid value for enable",
        ),
    ] {
        let answer = door.expect(400, "PUT", path, "").await;
        assert!(answer.text.contains(says), "{}", answer.text);
    }
}

#[expect(clippy::too_many_lines, reason = "most of it is a table")]
#[tokio::test]
async fn bad_definitions_are_refused_with_the_field() {
    let door = ConsulDoor::new();
    for (body, says) in [
        ("{", "Request decode failed"),
        ("[]", "must be a JSON object"),
        ("{}", "Missing service name"),
        (r#"{"Name": "a/b"}"#, "Invalid Name"),
        (r#"{"Name": "consul-node"}"#, "is reserved"),
        (r#"{"Name": "web", "ID": "register"}"#, "Invalid ID"),
        (
            r#"{"Name": "web", "Port": 70000}"#,
            "Port must be a whole number",
        ),
        (
            r#"{"Name": "web", "Port": "x"}"#,
            "Port must be a whole number",
        ),
        (r#"{"Name": "web", "Tags": "x"}"#, "Tags must be a list"),
        (r#"{"Name": "web", "Address": "a b"}"#, "Invalid Address"),
        (r#"{"Name": "web", "Meta": {"a b": "x"}}"#, "Invalid Meta"),
        (r#"{"Name": "web", "Meta": {"a": 1}}"#, "must be a string"),
        (
            r#"{"Name": "web", "Kind": "connect-proxy"}"#,
            "Invalid Kind",
        ),
        (
            r#"{"Name": "web", "Weights": {"Passing": 0}}"#,
            "Weights.Passing",
        ),
        (
            r#"{"Name": "web", "Check": {"HTTP": "http://h"}}"#,
            "Interval must be > 0",
        ),
        (
            r#"{"Name": "web", "Check": {"HTTP": "ftp://h", "Interval": "1s"}}"#,
            "Check.HTTP",
        ),
        (
            r#"{"Name": "web", "Check": {"TCP": "h", "Interval": "1s"}}"#,
            "Check.TCP",
        ),
        (
            r#"{"Name": "web", "Check": {"TTL": "1s", "Interval": "1s"}}"#,
            "cannot both",
        ),
        (r#"{"Name": "web", "Check": {"TTL": "soon"}}"#, "Check.TTL"),
        (
            r#"{"Name": "web", "Check": {"TTL": "1s", "Status": "fine"}}"#,
            "Check.Status",
        ),
        (
            r#"{"Name": "web", "Check": {"Args": ["ls"], "Interval": "1s"}}"#,
            "Scripts are disabled",
        ),
        (
            r#"{"Name": "web", "Check": {"DockerContainerID": "x", "Interval": "1s"}}"#,
            "is not supported",
        ),
        (
            r#"{"Name": "web", "Check": {"HTTP": "http://h", "Method": "POST", "Interval": "1s"}}"#,
            "health.unsafe_requests",
        ),
        (
            r#"{"Name": "web", "Checks": [{"CheckID": "a", "TTL": "1s"}, {"CheckID": "a", "TTL": "1s"}]}"#,
            "id of another check",
        ),
        (
            r#"{"Name": "web", "Check": {"TCP": "h:1", "Interval": "1s", "FailuresBeforeWarning": 3, "FailuresBeforeCritical": 2}}"#,
            "FailuresBeforeWarning",
        ),
    ] {
        let answer = door
            .expect(400, "PUT", "/v1/agent/service/register", body)
            .await;
        assert!(answer.text.contains(says), "{body}: {}", answer.text);
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    }
    assert_eq!(door.get("/v1/agent/services").await.json, json!({}));
}

#[expect(clippy::too_many_lines, reason = "most of it is a table")]
#[tokio::test]
async fn every_read_has_the_headers_of_a_poll_and_errors_are_text() {
    let door = ConsulDoor::new();
    for path in [
        "/v1/agent/self",
        "/v1/agent/members",
        "/v1/agent/services",
        "/v1/agent/checks",
        "/v1/catalog/datacenters",
        "/v1/catalog/nodes",
        "/v1/catalog/services",
        "/v1/catalog/service/x",
        "/v1/catalog/node/x",
        "/v1/catalog/node-services/x",
        "/v1/catalog/connect/x",
        "/v1/health/service/x",
        "/v1/health/connect/x",
        "/v1/health/ingress/x",
        "/v1/health/checks/x",
        "/v1/health/node/x",
        "/v1/health/state/any",
    ] {
        let answer = door.get(path).await;
        assert!(answer.index() > 0, "{path}");
        assert_eq!(answer.header("x-consul-knownleader"), "true");
        assert_eq!(answer.header("x-consul-lastcontact"), "0");
        assert_eq!(answer.header("x-consul-effective-consistency"), "leader");
    }
    let stale = door.get("/v1/health/service/x?stale&cached").await;
    assert_eq!(stale.header("x-consul-effective-consistency"), "stale");
    assert_eq!(stale.header("x-cache"), "MISS");
    for path in [
        "/v1/agent/service/x",
        "/v1/agent/health/service/id/x",
        "/v1/agent/health/service/name/x",
    ] {
        assert!(door.expect(404, "GET", path, "").await.index() > 0);
    }
    let text = door
        .expect(404, "GET", "/v1/agent/health/service/id/x?format=text", "")
        .await;
    assert_eq!(text.text, "ServiceId x not found");
    for (code, method, path) in [
        (404, "GET", "/v1/nothing"),
        (405, "POST", "/v1/agent/services"),
        (500, "GET", "/v1/catalog/nodes?dc=elsewhere"),
        (400, "GET", "/v1/catalog/nodes?filter=Node%20=="),
        (400, "GET", "/v1/health/state/broken"),
        (400, "GET", "/v1/health/service/x?passing=perhaps"),
        (400, "GET", "/v1/agent/monitor?loglevel=loud"),
    ] {
        let answer = door.expect(code, method, path, "").await;
        assert_eq!(
            answer.header("content-type"),
            "text/plain; charset=utf-8",
            "{path}"
        );
        assert!(!answer.text.is_empty() && answer.json.is_null(), "{path}");
    }
    assert_eq!(door.get("/v1/status/leader").await.json, "127.0.0.1:8300");
    assert_eq!(
        door.get("/v1/status/peers").await.json,
        json!(["127.0.0.1:8300"])
    );
    let pretty = door.get("/v1/catalog/datacenters?pretty").await;
    assert_eq!(pretty.text, "[\n    \"dc1\"\n]\n");
    assert_eq!(door.get("/v1/agent/monitor").await.text, "INFO line\n");
    door.put("/v1/agent/reload", "").await;
    door.put("/v1/agent/leave", "").await;
    assert_eq!(*door.controls.asked.lock(), ["reload", "leave"]);
    let metrics = door.get("/v1/agent/metrics").await;
    assert!(metrics.json["Gauges"].is_array() && metrics.json["Counters"].is_array());
    let page = door.get("/v1/agent/metrics?format=prometheus").await;
    assert!(
        page.text.contains("musterd_http_requests_total"),
        "{}",
        page.text
    );
}

#[tokio::test]
async fn filters_tags_and_metadata_of_nodes_select() {
    let door = ConsulDoor::new();
    for (id, tag, env) in [
        ("a", "v1", "prod"),
        ("b", "v2", "prod"),
        ("c", "v2", "test"),
    ] {
        let body = json!({"ID": id, "Name": "web", "Tags": [tag, "all"], "Meta": {"env": env}});
        door.put("/v1/agent/service/register", &body.to_string())
            .await;
    }
    for (path, expected) in [
        ("/v1/catalog/service/web?tag=v2", "b c"),
        ("/v1/catalog/service/web?tag=v2&tag=all", "b c"),
        ("/v1/catalog/service/web?tag=v1&tag=v2", ""),
        (
            "/v1/catalog/service/web?filter=ServiceMeta.env+%3D%3D+prod",
            "a b",
        ),
        (
            "/v1/catalog/service/web?filter=%22v1%22+in+ServiceTags",
            "a",
        ),
        ("/v1/catalog/service/web?node-meta=x:y", ""),
        (
            "/v1/catalog/service/web?node-meta=consul-network-segment:",
            "a b c",
        ),
        ("/v1/catalog/service/web?near=_agent", "a b c"),
    ] {
        assert_eq!(
            door.get(path).await.each("/ServiceID").join(" "),
            expected,
            "{path}"
        );
    }
    let filtered = "/v1/health/service/web?filter=Service.Meta.env+%21%3D+%22prod%22";
    assert_eq!(door.get(filtered).await.each("/Service/ID"), ["c"]);
    let filtered = "/v1/agent/services?filter=Meta.env+is+empty+or+ID+%3D%3D+a";
    let services = door.get(filtered).await;
    assert_eq!(
        services
            .json
            .as_object()
            .unwrap()
            .keys()
            .collect::<Vec<_>>(),
        ["a"]
    );
    let named = door
        .get("/v1/catalog/services?filter=ServiceName+%3D%3D+web")
        .await;
    assert_eq!(named.json, json!({"web": ["all", "v1", "v2"]}));
}

#[tokio::test]
async fn scripts_need_the_key() {
    let config = Config {
        enable_script_checks: true,
        ..Config::default()
    };
    let door = ConsulDoor::with(config, Identities::default());
    let body = r#"{"Name": "web", "Check": {"Args": ["true"], "Interval": "10s"}}"#;
    door.put("/v1/agent/service/register", body).await;
    let checks = door.get("/v1/agent/checks").await;
    assert_eq!(checks.json["service:web"]["Type"], "script");
}
