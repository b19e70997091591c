mod delta;

use serde_json::{Value, json};

use super::{
    draft::{EurekaDraft, status, word},
    tree::BodyNode,
};
use crate::{
    api::Defaults,
    catalog::{Door, Operation, take_judged},
    http::testing::{Answered, Api},
    model::Status,
};

const JSON: [(&str, &str); 1] = [("accept", "application/json")];

/// As Spring Cloud's client sends it.
fn instance(id: &str, app: &str, status: &str, dirty: i64) -> Value {
    json!({"instance": {
        "instanceId": id, "app": app, "hostName": "10.0.0.7", "ipAddr": "10.0.0.7",
        "sid": "na", "homePageUrl": "http://10.0.0.7:8080/", "statusPageUrl": "http://10.0.0.7:8080/info",
        "healthCheckUrl": "http://10.0.0.7:8080/health", "secureHealthCheckUrl": null,
        "vipAddress": "orders,shop", "secureVipAddress": "orders", "countryId": 1,
        "dataCenterInfo": {
            "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn",
        },
        "status": status, "overriddenStatus": "UNKNOWN",
        "port": {"$": 8080, "@enabled": "true"}, "securePort": {"$": 443, "@enabled": "false"},
        "leaseInfo": {"renewalIntervalInSecs": 5, "durationInSecs": 40, "registrationTimestamp": 0},
        "metadata": {"@class": "java.util.HashMap", "management.port": "8081", "zone": "eu-1", "odd key": "<&>"},
        "isCoordinatingDiscoveryServer": "false",
        "lastUpdatedTimestamp": "1700000000000", "lastDirtyTimestamp": dirty.to_string(),
        "actionType": "ADDED",
    }})
}

async fn register(api: &Api, id: &str, app: &str, status: &str, dirty: i64) -> Answered {
    let body = instance(id, app, status, dirty).to_string();
    let path = format!("/eureka/apps/{app}");
    api.expect(204, "POST", &path, body).await
}

async fn read(api: &Api, path: &str) -> Value {
    let answered = api.ask("GET", path, &JSON, "").await;
    assert_eq!(answered.status, 200, "{path}: {answered:?}");
    assert_eq!(answered.header("content-type"), "application/json");
    answered.json
}

async fn status_of(api: &Api, id: &str) -> Value {
    let path = format!("/services/{id}");
    api.expect(200, "GET", &path, "").await.json["status"].clone()
}

#[test]
fn statuses_map_both_ways() {
    for (eureka, ours) in [
        ("UP", Status::Healthy),
        ("DOWN", Status::Unhealthy),
        ("STARTING", Status::Starting),
        ("OUT_OF_SERVICE", Status::Stopping),
        ("UNKNOWN", Status::Unknown),
    ] {
        assert_eq!((status(eureka), word(ours)), (ours, eureka));
    }
    assert_eq!(status("up"), Status::Healthy);
    assert_eq!(status("elsewhere"), Status::Unknown);
}

#[test]
fn xml_and_json_are_the_same_tree() {
    let xml = "<?xml version=\"1.0\"?><!-- c --><instance>\
               <metadata class=\"m\"><a>1 &lt; &#50;</a><b><![CDATA[<x>]]></b></metadata>\
               <port enabled=\"true\">80</port></instance>";
    let json = r#"{"instance": {"port": {"$": 80, "@enabled": "true"},
                  "metadata": {"@class": "m", "a": "1 < 2", "b": "<x>"}}}"#;
    let (xml, json) = (
        BodyNode::read(xml.as_bytes()),
        BodyNode::read(json.as_bytes()),
    );
    let xml = xml.unwrap();
    assert_eq!(xml, json.unwrap());
    assert_eq!(
        xml.child("port").unwrap().attribute("enabled"),
        Some("true")
    );
}

#[test]
fn a_body_without_bounds_or_form_is_refused() {
    let deep = format!("{}{}", "<a>".repeat(17), "</a>".repeat(17));
    let wide = format!("<a>{}</a>", "<b/>".repeat(4096));
    let attributes: String = (0..9).map(|n| format!(" a{n}=\"\"")).collect();
    let attributes = format!("<a{attributes}/>");
    let deep_json = format!("{{\"a\":{}1{}}}", "[".repeat(16), "]".repeat(16));
    for (body, fault) in [
        ("", "is empty"),
        ("  \n", "is empty"),
        ("[]", "must be a JSON object"),
        ("{}", "must have one member"),
        (r#"{"instance":{},"b":1}"#, "must have one member"),
        (r#"{"instance":"#, "is not JSON"),
        ("<instance>", "ends before its root"),
        ("<instance></other>", "is not XML"),
        ("<a/><b/>", "more than one root"),
        ("<a/>text", "text outside"),
        (
            "<!DOCTYPE a [<!ENTITY e \"x\">]><a>&e;</a>",
            "document type",
        ),
        ("<a>&e;</a>", "an entity that XML does not define"),
        ("<a>&#0;</a>", "is not XML"),
        (&deep, "nested more than 16"),
        (&deep_json, "nested more than 16"),
        (&wide, "more than 4096 elements"),
        (&attributes, "more than 8 attributes"),
    ] {
        let refused = BodyNode::read(body.as_bytes()).unwrap_err();
        assert!(refused.contains(fault), "{body:.60}: {refused}");
    }
    assert!(
        BodyNode::read(b"<a>\xff</a>")
            .unwrap_err()
            .contains("UTF-8")
    );
}

#[test]
fn every_wrong_field_of_a_registration_is_named() {
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut body = instance("o-1", "ORDERS", "UP", 1);
        change(&mut body["instance"]);
        let draft = EurekaDraft::read("ORDERS", body.to_string().as_bytes());
        let problem = match draft {
            Err(problem) => problem,
            Ok(draft) => draft
                .registration(&draft.id, &Defaults::default())
                .unwrap_err(),
        };
        assert_eq!(problem.status, 400);
        let fields = problem.errors.iter().map(|error| error.field.clone());
        fields.collect::<Vec<_>>().join(" ")
    };
    for (change, fields) in [
        (
            &(|one: &mut Value| one["hostName"] = Value::Null) as &dyn Fn(&mut Value),
            "hostName",
        ),
        (&|one| one["hostName"] = json!("a b"), "hostName"),
        (&|one| one["app"] = json!("OTHER"), "app"),
        (
            &|one| one["instanceId"] = json!("x".repeat(201)),
            "instanceId",
        ),
        (&|one| one["instanceId"] = json!("heartbeat"), "instanceId"),
        (&|one| one["port"] = json!({"$": "many"}), "port"),
        (&|one| one["port"] = json!(0), "port"),
        (&|one| one["securePort"] = json!(70_000), "securePort"),
        (
            &|one| one["leaseInfo"]["durationInSecs"] = json!("long"),
            "leaseInfo.durationInSecs",
        ),
        (
            &|one| one["leaseInfo"]["durationInSecs"] = json!(0),
            "leaseInfo.durationInSecs",
        ),
        (
            &|one| one["lastDirtyTimestamp"] = json!("now"),
            "lastDirtyTimestamp",
        ),
        (
            &|one| one["metadata"]["eureka"] = json!("mine"),
            "metadata.eureka",
        ),
        (
            &|one| one["metadata"]["big"] = json!("x".repeat(70_000)),
            "metadata",
        ),
        (
            &|one| {
                one["hostName"] = json!("");
                one["port"] = json!("x");
            },
            "hostName port",
        ),
    ] {
        assert_eq!(refused(change), fields);
    }
}

#[tokio::test]
async fn an_instance_is_registered_seen_renewed_and_cancelled() {
    let api = Api::new();
    take_judged();
    register(&api, "o-1", "ORDERS", "UP", 1_700_000_000_000).await;
    assert_eq!(take_judged(), [(Door::Eureka, Operation::Register)]);
    let ours = api.expect(200, "GET", "/services/o-1", "").await.json;
    assert_eq!(ours["service_name"], "orders");
    assert_eq!(
        (&ours["host"], &ours["port"]),
        (&json!("10.0.0.7"), &json!(8080))
    );
    assert_eq!(
        (&ours["zone"], &ours["ttl"]),
        (&json!("eu-1"), &json!("40s"))
    );
    assert_eq!(ours["metadata"]["management.port"], "8081");
    assert_eq!(ours["metadata"]["eureka"]["vipAddress"], "orders,shop");

    let seen = read(&api, "/eureka/v2/apps/orders/o-1").await["instance"].clone();
    let sent = instance("o-1", "ORDERS", "UP", 1_700_000_000_000)["instance"].clone();
    for (key, value) in sent.as_object().unwrap() {
        if ![
            "metadata",
            "leaseInfo",
            "lastUpdatedTimestamp",
            "secureHealthCheckUrl",
        ]
        .contains(&&**key)
        {
            assert_eq!(seen[key], *value, "{key}");
        }
    }
    assert_eq!(seen["leaseInfo"]["durationInSecs"], 40);
    assert_eq!(seen["leaseInfo"]["renewalIntervalInSecs"], 5);
    assert_eq!(seen["metadata"]["odd key"], "<&>");
    assert!(seen["metadata"].get("@class").is_none());

    let path = "/eureka/apps/ORDERS/o-1";
    let renewed = format!("{path}?status=UP&lastDirtyTimestamp=1700000000000");
    take_judged();
    api.expect(200, "PUT", &renewed, "").await;
    assert_eq!(take_judged(), [(Door::Eureka, Operation::Heartbeat)]);
    // It has changed since: it must register again.
    let newer = format!("{path}?lastDirtyTimestamp=1700000000001");
    api.expect(404, "PUT", &newer, "").await;
    let older = format!("{path}?lastDirtyTimestamp=1699999999999");
    api.expect(200, "PUT", &older, "").await;
    api.expect(400, "PUT", &format!("{path}?lastDirtyTimestamp=x"), "")
        .await;
    for unknown in ["/eureka/apps/ORDERS/o-2", "/eureka/apps/OTHER/o-1"] {
        api.expect(404, "PUT", unknown, "").await;
        api.expect(404, "GET", unknown, "").await;
        api.expect(404, "DELETE", unknown, "").await;
    }
    api.expect(200, "DELETE", path, "").await;
    assert_eq!(
        take_judged().last(),
        Some(&(Door::Eureka, Operation::Deregister))
    );
    api.expect(404, "GET", "/services/o-1", "").await;
    api.expect(404, "DELETE", path, "").await;
}

#[tokio::test]
async fn an_older_registration_only_renews() {
    let api = Api::new();
    register(&api, "o-1", "ORDERS", "UP", 2000).await;
    register(&api, "o-1", "ORDERS", "DOWN", 1000).await;
    assert_eq!(status_of(&api, "o-1").await, "healthy");
    register(&api, "o-1", "ORDERS", "DOWN", 2000).await;
    assert_eq!(status_of(&api, "o-1").await, "unhealthy");
    register(&api, "o-1", "ORDERS", "UP", 3000).await;
    assert_eq!(status_of(&api, "o-1").await, "healthy");
}

#[tokio::test]
async fn a_reported_status_is_kept_and_seen_in_events() {
    let api = Api::new();
    for (reported, ours) in [
        ("STARTING", "starting"),
        ("UP", "healthy"),
        ("OUT_OF_SERVICE", "stopping"),
        ("DOWN", "unhealthy"),
        ("UNKNOWN", "unknown"),
    ] {
        register(&api, "o-1", "ORDERS", reported, 1).await;
        assert_eq!(status_of(&api, "o-1").await, ours);
        // A change of metadata is no report.
        let path = "/eureka/apps/ORDERS/o-1/metadata?colour=".to_owned() + reported;
        api.expect(200, "PUT", &path, "").await;
        let seen = read(&api, "/eureka/apps/ORDERS/o-1").await;
        assert_eq!(seen["instance"]["status"], reported);
        assert_eq!(seen["instance"]["metadata"]["colour"], reported);
    }
    let events = api.expect(200, "GET", "/events?limit=100", "").await.json;
    let statuses = events["events"].as_array().unwrap().iter();
    let statuses = statuses.map(|event| event["status"].as_str().unwrap_or("-"));
    let mut statuses: Vec<_> = statuses.collect();
    statuses.dedup();
    assert_eq!(
        statuses,
        ["starting", "healthy", "stopping", "unhealthy", "unknown"]
    );
    api.expect(400, "PUT", "/eureka/apps/ORDERS/o-1/metadata?eureka=1", "")
        .await;
}

#[tokio::test]
async fn an_operator_takes_an_instance_out_of_service_and_back() {
    let api = Api::new();
    register(&api, "o-1", "ORDERS", "UP", 1).await;
    let path = "/eureka/apps/ORDERS/o-1/status";
    for (query, status) in [("OUT_OF_SERVICE", "stopping"), ("DOWN", "unhealthy")] {
        take_judged();
        api.expect(200, "PUT", &format!("{path}?value={query}"), "")
            .await;
        assert_eq!(take_judged(), [(Door::Eureka, Operation::Override)]);
        assert_eq!(status_of(&api, "o-1").await, status);
        let seen = read(&api, "/eureka/apps/ORDERS/o-1").await["instance"].clone();
        assert_eq!(
            (&seen["status"], &seen["overriddenStatus"]),
            (&json!(query), &json!(query))
        );
        // It survives what the instance itself says.
        register(&api, "o-1", "ORDERS", "UP", 2).await;
        assert_eq!(status_of(&api, "o-1").await, status);
    }
    api.expect(200, "DELETE", &format!("{path}?value=UP"), "")
        .await;
    assert_eq!(status_of(&api, "o-1").await, "healthy");
    api.expect(200, "PUT", &format!("{path}?value=OUT_OF_SERVICE"), "")
        .await;
    api.expect(200, "PUT", &format!("{path}?value=UP"), "")
        .await;
    assert_eq!(status_of(&api, "o-1").await, "healthy");
    register(&api, "o-1", "ORDERS", "OUT_OF_SERVICE", 3).await;
    api.expect(200, "DELETE", &format!("{path}?value=UP"), "")
        .await;
    assert_eq!(status_of(&api, "o-1").await, "healthy");
    for wrong in ["", "?value=STARTING", "?value=x"] {
        api.expect(400, "PUT", &format!("{path}{wrong}"), "").await;
    }
    api.expect(404, "PUT", "/eureka/apps/ORDERS/o-2/status?value=DOWN", "")
        .await;
}

#[tokio::test]
async fn lists_show_instances_of_every_door_with_their_hash_code() {
    let api = Api::new();
    let empty = read(&api, "/eureka/apps/").await;
    assert_eq!(empty["applications"]["apps__hashcode"], "");
    assert_eq!(empty["applications"]["application"], json!([]));
    register(&api, "o-1", "ORDERS", "UP", 1).await;
    register(&api, "o-2", "ORDERS", "DOWN", 1).await;
    let more =
        json!({"metadata": {"a": "b", "n": [1, 2]}, "health_check_url": "http://127.0.0.1/h"});
    api.register("Stock", "s-1", &more).await;
    let all = read(&api, "/eureka/apps").await["applications"].clone();
    assert_eq!(all["apps__hashcode"], "DOWN_1_STARTING_1_UP_1_");
    assert_eq!(all["application"][0]["name"], "ORDERS");
    assert_eq!(
        all["application"][0]["instance"].as_array().unwrap().len(),
        2
    );
    let stock = read(&api, "/eureka/apps/stock").await["application"].clone();
    assert_eq!(stock["name"], "STOCK");
    let stock = &stock["instance"][0];
    assert_eq!(stock["instanceId"], "s-1");
    assert_eq!(stock["port"], json!({"$": 8080, "@enabled": "true"}));
    assert_eq!(stock["metadata"], json!({"a": "b", "n": "[1,2]"}));
    assert_eq!(stock["healthCheckUrl"], "http://127.0.0.1/h");
    assert_eq!(stock["vipAddress"], "Stock");
    api.expect(404, "GET", "/eureka/apps/NOBODY", "").await;
    let one = read(&api, "/eureka/instances/s-1").await;
    assert_eq!(one["instance"]["app"], "STOCK");
    api.expect(404, "GET", "/eureka/instances/s-2", "").await;
    for (path, count) in [("vips/shop", 2), ("svips/orders", 2), ("vips/Stock", 1)] {
        let of_vip = read(&api, &format!("/eureka/v2/{path}")).await["applications"].clone();
        let instances = of_vip["application"][0]["instance"].as_array().unwrap();
        assert_eq!(instances.len(), count, "{path}");
    }
    api.expect(404, "GET", "/eureka/vips/nobody", "").await;
    // An instance of REST is renewed and cancelled here too.
    api.expect(200, "PUT", "/eureka/apps/STOCK/s-1", "").await;
    api.expect(200, "DELETE", "/eureka/apps/STOCK/s-1", "")
        .await;
    api.expect(404, "GET", "/services/s-1", "").await;
}

#[tokio::test]
async fn the_canary_is_not_listed() {
    let api = Api::new();
    api.register_canary("musterd-canary", &json!({})).await;
    let all = read(&api, "/eureka/apps").await["applications"].clone();
    assert_eq!(all["application"], json!([]));
    let delta = read(&api, "/eureka/apps/delta").await["applications"].clone();
    assert_eq!(delta["application"], json!([]));
}

#[tokio::test]
async fn answers_are_xml_unless_json_is_accepted() {
    let api = Api::new();
    register(&api, "o-1", "ORDERS", "UP", 1).await;
    let answered = api.expect(200, "GET", "/eureka/apps", "").await;
    assert_eq!(answered.header("content-type"), "application/xml");
    let root = BodyNode::read(&answered.bytes).unwrap();
    assert_eq!(root.name, "applications");
    assert_eq!(root.text_of("apps__hashcode"), Some("UP_1_"));
    let app = root.child("application").unwrap();
    assert_eq!(app.text_of("name"), Some("ORDERS"));
    let instance = app.child("instance").unwrap();
    let port = instance.child("port").unwrap();
    assert_eq!(
        (port.text(), port.attribute("enabled")),
        (Some("8080"), Some("true"))
    );
    assert_eq!(instance.text_of("overriddenstatus"), Some("UNKNOWN"));
    let metadata = instance.child("metadata").unwrap();
    assert_eq!(metadata.text_of("odd_.0020key"), Some("<&>"));
    let place = instance.child("dataCenterInfo").unwrap();
    assert_eq!(
        place.attribute("class"),
        Some("com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo")
    );
    // What is answered can be registered again: only the encoded key has become another one.
    let again = api.expect(200, "GET", "/eureka/apps/ORDERS/o-1", "").await;
    api.expect(204, "POST", "/eureka/apps/ORDERS", again.bytes)
        .await;
    let seen = read(&api, "/eureka/apps/ORDERS/o-1").await["instance"].clone();
    assert_eq!(seen["ipAddr"], "10.0.0.7");
    assert_eq!(seen["securePort"], json!({"$": 443, "@enabled": "false"}));
}

#[tokio::test]
async fn ids_belong_to_an_app() {
    let api = Api::new();
    // Without an id of its own an instance has that of its host.
    for (app, port) in [("ORDERS", 1), ("STOCK", 2)] {
        let mut body = instance("", app, "UP", 1);
        body["instance"]["instanceId"] = Value::Null;
        body["instance"]["hostName"] = json!("host-a");
        body["instance"]["port"] = json!(port);
        let path = format!("/eureka/apps/{app}");
        for _ in 0..2 {
            api.expect(204, "POST", &path, body.to_string()).await;
        }
    }
    for (app, port) in [("ORDERS", 1), ("STOCK", 2)] {
        let path = format!("/eureka/apps/{app}/host-a");
        api.expect(200, "PUT", &path, "").await;
        let seen = read(&api, &path).await["instance"].clone();
        assert_eq!(seen["instanceId"], "host-a");
        assert_eq!(seen["port"]["$"], port);
    }
    let ours = api.expect(200, "GET", "/services/stock:host-a", "").await;
    assert_eq!(ours.json["service_name"], "stock");
    // When the id is free again, the instance stays where it is.
    api.expect(200, "DELETE", "/eureka/apps/ORDERS/host-a", "")
        .await;
    register(&api, "host-a", "STOCK", "UP", 9).await;
    api.expect(404, "GET", "/services/host-a", "").await;
    api.expect(200, "DELETE", "/eureka/apps/STOCK/host-a", "")
        .await;
    // An id of another app that looks like a scoped one is not taken over.
    register(&api, "stock:host-a", "ORDERS", "UP", 1).await;
    register(&api, "host-a", "STOCK", "UP", 1).await;
    for (id, app) in [("stock:host-a", "orders"), ("host-a", "stock")] {
        let path = format!("/services/{id}");
        let ours = api.expect(200, "GET", &path, "").await;
        assert_eq!(ours.json["service_name"], app, "{id}");
        api.expect(200, "DELETE", &format!("/eureka/apps/{app}/{id}"), "")
            .await;
    }
    assert_eq!(
        api.expect(200, "GET", "/services", "").await.json,
        json!({})
    );
}

#[tokio::test]
async fn a_large_answer_is_compressed() {
    let api = Api::new();
    for id in 0..20 {
        register(&api, &format!("o-{id}"), "ORDERS", "UP", 1).await;
    }
    let accepted = [("accept-encoding", "gzip"), ("accept", "application/json")];
    let packed = api.ask("GET", "/eureka/apps", &accepted, "").await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert_eq!(packed.bytes[..2], [0x1f, 0x8b]);
}
