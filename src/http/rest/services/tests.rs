use serde_json::{Value, json};

use super::AT_ONCE_MAX;
use crate::{
    api,
    http::{Config, testing::Api},
    registry,
};

#[tokio::test]
async fn the_journey_of_an_instance() {
    let api = Api::new();
    let more = json!({"colour": 1, "ttl": "300s"});
    let registered = api.register("orders", "o-1", &more).await;
    let answer = registered.json;
    assert_eq!(answer["message"], "Service registered successfully");
    let warnings = json!(["unknown field \"colour\" was ignored"]);
    assert_eq!(answer["warnings"], warnings);

    let known = api.expect(200, "GET", "/services/o-1", "").await.json;
    let instance: api::InstanceJson = serde_json::from_value(known.clone()).unwrap();
    assert_eq!(instance.status, "healthy");
    assert_eq!(answer["incarnation"], instance.incarnation);

    // What was answered can be sent back, and changes nothing.
    let again = api
        .expect(200, "POST", "/services/register", known.to_string())
        .await;
    assert_eq!(again.json["revision"], answer["revision"]);

    let beat = api
        .expect(200, "POST", "/services/o-1/heartbeat", "")
        .await
        .json;
    assert_eq!(beat["message"], "Heartbeat received");
    assert_eq!(beat["service_id"], "o-1");
    let status = api
        .expect(200, "GET", "/services/o-1/status", "")
        .await
        .json;
    assert_eq!(status["status"], "healthy");
    let all = api.expect(200, "GET", "/services", "").await.json;
    assert_eq!(all["orders"][0]["service_id"], "o-1");

    let gone = api.expect(200, "DELETE", "/services/o-1", "").await.json;
    assert_eq!(gone["message"], "Service deregistered successfully");
    for (method, path) in [
        ("GET", "/services/o-1"),
        ("DELETE", "/services/o-1"),
        ("POST", "/services/o-1/heartbeat"),
        ("GET", "/services/o-1/status"),
        ("PATCH", "/services/o-1"),
        ("DELETE", "/services/o-1/override"),
        ("POST", "/services/o-1/check"),
        ("GET", "/services/o-1/health"),
    ] {
        let answered = api.expect(404, method, path, "{}").await;
        assert_eq!(
            answered.json["detail"], "Service not found",
            "{method} {path}"
        );
    }
    assert_eq!(
        api.expect(200, "GET", "/services", "").await.json,
        json!({})
    );
}

#[tokio::test]
async fn a_call_with_an_incarnation_of_an_earlier_start_changes_nothing() {
    let api = Api::new();
    let old = api.register("a", "a-1", &json!({})).await.json["incarnation"].clone();
    let new = api.register("a", "a-1", &json!({})).await.json["incarnation"].clone();
    assert_ne!(old, new);
    let known =
        json!({"service_id": "a-1", "service_name": "a", "host": "127.0.0.1", "port": 8080});
    let late = [
        (
            "POST",
            format!("/services/a-1/heartbeat?incarnation={old}"),
            String::new(),
        ),
        (
            "DELETE",
            format!("/services/a-1?incarnation={old}"),
            String::new(),
        ),
        (
            "POST",
            format!("/services/register?incarnation={old}"),
            known.to_string(),
        ),
    ];
    for (method, path, body) in late {
        let refused = api.expect(409, method, &path, body).await;
        let detail = refused.json["detail"].as_str().unwrap().to_owned();
        assert!(
            detail.contains(&new.to_string()),
            "names the current one: {detail}"
        );
    }
    let path = format!("/services/register?incarnation={new}");
    let same = api.expect(200, "POST", &path, known.to_string()).await;
    assert_eq!(same.json["incarnation"], new);
    let path = format!("/services/a-1/heartbeat?incarnation={new}");
    api.expect(200, "POST", &path, "").await;
    let wrong = api
        .expect(422, "POST", "/services/a-1/heartbeat?incarnation=x", "")
        .await;
    assert_eq!(wrong.json["errors"][0]["field"], "incarnation");
}

#[tokio::test]
async fn any_type_of_body_is_taken_for_json() {
    let api = Api::new();
    let body = r#"{"service_id":"a","service_name":"a","host":"h","port":"1"}"#;
    for kind in [
        "application/json; charset=utf-8",
        "text/plain",
        "application/x-www-form-urlencoded",
    ] {
        let headers = [("content-type", kind)];
        let answered = api.ask("POST", "/services/register", &headers, body).await;
        assert_eq!(answered.status, 200, "{kind}");
    }
}

#[tokio::test]
async fn malformed_bodies_are_422_with_the_fields() {
    let api = Api::new();
    for (body, field) in [
        ("", "body"),
        ("{", "body"),
        ("[]", "body"),
        ("nonsense", "body"),
        ("\u{1}", "body"),
        (
            r#"{"service_id":"register","service_name":"a","host":"h","port":1}"#,
            "service_id",
        ),
        (
            r#"{"service_id":"a","service_name":"a","host":"h","port":0}"#,
            "port",
        ),
        (
            r#"{"service_id":"a","service_name":"a","host":"h","port":70000}"#,
            "port",
        ),
    ] {
        let refused = api.expect(422, "POST", "/services/register", body).await;
        assert_eq!(refused.json["errors"][0]["field"], field, "{body}");
    }
    let refused = api
        .ask("POST", "/services/register", &[], vec![0xff, 0xfe, b'{'])
        .await;
    assert_eq!(refused.status, 422);
}

#[tokio::test]
async fn ids_with_every_character() {
    let api = Api::new();
    for (id, path) in [
        ("a/b", "a%2Fb"),
        ("a/b/status", "a%2Fb%2Fstatus"),
        ("ünï", "%C3%BCn%C3%AF"),
        ("a b%25?#", "a%20b%2525%3F%23"),
        ("a+b", "a+b"),
        ("..", ".."),
        ("{x}", "%7Bx%7D"),
    ] {
        api.register("a", id, &json!({})).await;
        let known = api
            .expect(200, "GET", &format!("/services/{path}"), "")
            .await;
        assert_eq!(known.json["service_id"], id);
        let beat = api
            .expect(200, "POST", &format!("/services/{path}/heartbeat"), "")
            .await;
        assert_eq!(beat.json["service_id"], id);
        api.expect(200, "DELETE", &format!("/services/{path}"), "")
            .await;
    }
}

#[tokio::test]
async fn invalid_names_are_unknown() {
    let api = Api::new();
    for path in [
        "register",
        "%FF%FE",
        "%00",
        "%20",
        &"x".repeat(300),
        "a%0Ab",
    ] {
        let path = format!("/services/{path}/status");
        let answered = api.expect(404, "GET", &path, "").await;
        assert_eq!(answered.json["detail"], "Service not found", "{path}");
    }
    // A path of the API is no id either, whatever the method.
    for path in ["/services/discover", "/services/healthy"] {
        let answered = api.expect(404, "GET", path, "").await;
        assert_eq!(answered.json["detail"], "Service not found");
    }
}

#[tokio::test]
async fn a_batch_of_heartbeats_has_a_verdict_for_each() {
    let api = Api::new();
    api.register("a", "a-1", &json!({})).await;
    let body = r#"{"service_ids":["a-1","a-2"]}"#;
    let answered = api
        .expect(200, "POST", "/services/heartbeat", body)
        .await
        .json;
    assert_eq!(
        (&answered["received"], &answered["refused"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(answered["results"][1]["detail"], "Service not found");
    api.expect(422, "POST", "/services/heartbeat", "{}").await;
}

#[tokio::test]
async fn a_patch_merges_and_is_an_update() {
    let api = Api::new();
    let more = json!({"metadata": {"a": 1, "b": 2}, "tags": ["x"]});
    let before = api.register("a", "a-1", &more).await.json;
    let patch = r#"{"metadata":{"a":null,"c":3},"weight":"9"}"#;
    let after = api.expect(200, "PATCH", "/services/a-1", patch).await.json;
    assert_eq!(after["metadata"], json!({"b": 2, "c": 3}));
    assert_eq!(
        (&after["tags"], &after["weight"]),
        (&json!(["x"]), &json!(9))
    );
    assert!(after["revision"].as_u64() > before["revision"].as_u64());
    assert_eq!(after["incarnation"], before["incarnation"]);
    let same = api.expect(200, "PATCH", "/services/a-1", patch).await.json;
    assert_eq!(
        same["revision"], after["revision"],
        "nothing changed, so no event"
    );
    let wrong = api
        .expect(422, "PATCH", "/services/a-1", r#"{"host":"b"}"#)
        .await;
    assert_eq!(wrong.json["errors"][0]["field"], "host");
}

#[tokio::test]
async fn an_override_lasts_until_it_is_lifted() {
    let api = Api::new();
    api.register("a", "a-1", &json!({})).await;
    let draft = r#"{"status":"stopping","reason":"moves"}"#;
    let set = api
        .expect(200, "PUT", "/services/a-1/override", draft)
        .await
        .json;
    assert_eq!(
        (&set["status"], &set["observed_status"]),
        (&json!("stopping"), &json!("healthy"))
    );
    assert_eq!(set["override"]["reason"], "moves");
    for path in ["/services/a-1", "/services/a-1/status"] {
        let known = api.expect(200, "GET", path, "").await.json;
        assert_eq!(known["reason"], "moves", "{path}");
    }
    api.register("a", "a-1", &json!({"weight": 2})).await;
    let known = api.expect(200, "GET", "/services/a-1", "").await.json;
    assert_eq!(known["status"], "stopping", "it survives a registration");
    let none = api.expect(404, "GET", "/services/healthy/a", "").await;
    assert_eq!(none.json["detail"], "No healthy instances found");
    let lifted = api
        .expect(200, "DELETE", "/services/a-1/override", "")
        .await
        .json;
    assert_eq!(
        (&lifted["status"], &lifted["override"]),
        (&json!("healthy"), &Value::Null)
    );
    api.expect(
        422,
        "PUT",
        "/services/a-1/override",
        r#"{"status":"healthy"}"#,
    )
    .await;
}

#[tokio::test]
async fn checks_and_their_report() {
    let api = Api::new();
    api.register("a", "a-1", &json!({})).await;
    for (method, path) in [
        ("GET", "/services/a-1/health"),
        ("POST", "/services/a-1/check"),
    ] {
        let report = api.expect(200, method, path, "").await.json;
        assert_eq!(report["checks"][0]["latency_ms"], 1.25);
    }
}

#[tokio::test]
async fn webhooks_are_added_listed_and_removed() {
    let api = Api::new();
    let draft = r#"{"callback_url":"http://a/","service_name":"a","secret":"s"}"#;
    let made = api.expect(201, "POST", "/watchers", draft).await.json;
    assert_eq!(made["signed"], true);
    let path = format!(
        "/watchers/{}",
        made["id"].as_str().unwrap().replace('/', "%2F")
    );
    api.expect(200, "GET", &path, "").await;
    let refused = r#"{"callback_url":"http://169.254.169.254/"}"#;
    let refused = api.expect(422, "POST", "/watchers", refused).await;
    assert_eq!(refused.json["errors"][0]["field"], "callback_url");
    api.expect(201, "POST", "/watchers", draft).await;
    let full = api.expect(429, "POST", "/watchers", draft).await;
    assert_eq!(full.header("retry-after"), "60");
    let list = api.expect(200, "GET", "/watchers", "").await.json;
    assert_eq!(list["total_count"], 2);
    api.expect(204, "DELETE", &path, "").await;
    let gone = api.expect(404, "DELETE", &path, "").await;
    assert_eq!(gone.json["detail"], "Watcher not found");
    *api.stage.broken.lock() = Some("stops");
    let stopping = api.expect(503, "POST", "/watchers", draft).await;
    assert_eq!(stopping.header("retry-after"), "10");
}

#[tokio::test]
async fn beyond_memory_max_registrations_routes_and_webhooks_get_507() {
    let registry = registry::Config {
        memory_max: bytesize::ByteSize(1).into(),
        ..registry::Config::default()
    };
    let api = Api::with_registry(Config::default(), registry);
    for (method, path, body) in [
        (
            "POST",
            "/services/register",
            r#"{"service_id":"a","service_name":"web","host":"127.0.0.1","port":80}"#,
        ),
        (
            "PUT",
            "/gateway/routes/r",
            r#"{"path_prefix":"/","service_name":"web"}"#,
        ),
        ("POST", "/watchers", r#"{"callback_url":"http://a/"}"#),
    ] {
        let refused = api.expect(507, method, path, body).await.json;
        let detail = "the registry is full: registry.memory_max is 1 B";
        assert_eq!(refused["detail"], detail, "{path}");
    }
}

fn totals(info: &Value) -> [u64; 3] {
    ["total_instances", "healthy_instances", "unique_services"]
        .map(|field| info[field].as_u64().unwrap())
}

#[tokio::test]
async fn the_system_says_what_it_holds() {
    let api = Api::new();
    api.register("b", "b-1", &json!({})).await;
    api.register("a", "a-1", &json!({})).await;
    api.register("a", "a-2", &json!({"health_check_url": "http://a/"}))
        .await;
    let info = api.expect(200, "GET", "/system/info", "").await.json;
    assert_eq!(totals(&info), [3, 2, 2]);
    assert_eq!(info["service_names"], json!(["a", "b"]));
    assert_eq!(info["running"], true);
    assert_eq!(info["health_check_interval"].to_string(), "30");
    // What the daemon registers to try itself out counts nowhere.
    for (id, more) in [
        ("try-1", json!({})),
        ("try-2", json!({"checks": [{"type": "ttl"}]})),
    ] {
        api.register_canary(id, &more).await;
    }
    let info = api.expect(200, "GET", "/system/info", "").await.json;
    api.expect(200, "GET", "/services/try-1", "").await;
    assert_eq!(totals(&info), [3, 2, 2]);
    assert_eq!(info["service_names"], json!(["a", "b"]));
}

#[tokio::test]
async fn a_long_list_is_sent_in_pieces_and_says_the_same() {
    let api = Api::new();
    for n in 0..AT_ONCE_MAX {
        api.register(&format!("s{}", n % 7), &format!("i{n}"), &json!({}))
            .await;
    }
    let short = api.expect(200, "GET", "/services", "").await;
    let gone = api.expect(200, "DELETE", "/services/i0", "").await;
    assert_ne!(gone.bytes, short.bytes);
    api.register("s0", "i0", &json!({})).await;
    api.register("last", "one-more", &json!({})).await;
    let long = api.expect(200, "GET", "/services", "").await;
    let shape: api::ServicesJson = serde_json::from_slice(&long.bytes).unwrap();
    assert_eq!(
        shape.0.values().map(Vec::len).sum::<usize>(),
        AT_ONCE_MAX + 1
    );
    let names =
        |json: &Value| -> Vec<String> { json.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(names(&long.json)[1..], names(&short.json)[..]);
    assert_eq!(
        long.json["s1"].as_array().unwrap().len(),
        short.json["s1"].as_array().unwrap().len()
    );
    assert_eq!(long.header("vary"), "accept-encoding");
    let gzip = [("accept-encoding", "gzip")];
    let small = api.ask("GET", "/services", &gzip, "").await;
    assert_eq!(small.header("content-encoding"), "gzip");
    assert!(small.bytes.len() * 4 < long.bytes.len());
    assert!(Api::new().expect(200, "GET", "/services", "").await.bytes[..] == b"{}"[..]);
}

#[tokio::test]
async fn unknown_fields_are_ignored_and_named() {
    let api = Api::new();
    api.register("a", "a-1", &json!({})).await;
    for (code, method, path, body) in [
        (200, "PATCH", "/services/a-1", json!({"weight": 2})),
        (
            200,
            "PUT",
            "/services/a-1/override",
            json!({"status": "unhealthy"}),
        ),
        (
            200,
            "POST",
            "/services/heartbeat",
            json!({"service_ids": ["a-1"]}),
        ),
        (
            200,
            "PUT",
            "/gateway/routes/r",
            json!({"path_prefix": "/", "service_name": "a"}),
        ),
        (
            201,
            "POST",
            "/watchers",
            json!({"callback_url": "http://a/"}),
        ),
    ] {
        let plain = api.expect(code, method, path, body.to_string()).await;
        assert_eq!(plain.json["warnings"], Value::Null, "{method} {path}");
        let mut more = body.clone();
        more["zzz"] = json!(1);
        let reply = api.expect(code, method, path, more.to_string()).await;
        assert_eq!(
            reply.json["warnings"],
            json!(["unknown field \"zzz\" was ignored"]),
            "{method} {path}"
        );
        // Warnings are ours: what was answered may come back with them.
        more = body;
        more["warnings"] = reply.json["warnings"].clone();
        if code == 200 {
            let back = api.expect(code, method, path, more.to_string()).await;
            assert_eq!(back.json["warnings"], Value::Null, "{method} {path}");
        }
    }
    let known = api.expect(200, "GET", "/gateway/routes/r", "").await;
    assert_eq!(known.json["warnings"], Value::Null, "they are not kept");
}

#[tokio::test]
async fn lease_connection_needs_a_connection() {
    let api = Api::new();
    let body =
        r#"{"service_id":"a-1","service_name":"a","host":"h","port":1,"lease":"connection"}"#;
    let refused = api.expect(422, "POST", "/services/register", body).await;
    let problem = refused.json;
    assert_eq!(problem["errors"][0]["field"], "lease");
    let message = problem["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("needs an AMQP connection"), "{message}");
    api.expect(404, "GET", "/services/a-1", "").await;
    api.register("a", "a-1", &json!({"lease": "ttl"})).await;
    let known = api.expect(200, "GET", "/services/a-1", "").await.json;
    assert_eq!(known["lease"], "ttl");
}
