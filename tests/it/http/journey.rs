use musterd::http::Config;
use serde_json::{Value, json};

use super::server::Server;

#[tokio::test]
async fn a_client_of_the_older_service_is_served() {
    let server = Server::start(Config::default()).await;
    let client = reqwest::Client::new();
    let body = json!({
        "service_id": "orders-1", "service_name": "orders", "host": "10.0.0.1", "port": "8080",
        "metadata": {"team": "shop"}, "health_check_url": null, "tags": ["v1"], "version": "1.2.0",
        "status": "healthy", "registered_at": null, "last_heartbeat": null,
    });
    let register = client.post(server.url("/services/register")).json(&body);
    let answer: Value = register.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["message"], "Service registered successfully");
    let warnings = answer["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let silent = warnings[0].as_str().unwrap();
    assert!(silent.contains("no check and names no ttl"), "{silent}");

    let get = async |path: &str| -> Value {
        let answer = client.get(server.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/json");
        answer.json().await.unwrap()
    };
    assert_eq!(get("/health").await["status"], "healthy");
    let found = get("/services/discover/orders?healthy_only=true").await;
    assert_eq!(found["total_count"], 1);
    assert_eq!(found["services"][0]["port"], 8080);
    assert_eq!(
        get("/services/healthy/orders").await["service_id"],
        "orders-1"
    );
    assert_eq!(
        get("/services").await["orders"][0]["metadata"]["team"],
        "shop"
    );
    assert_eq!(get("/services/orders-1/status").await["status"], "healthy");
    assert_eq!(get("/system/info").await["unique_services"], 1);

    let beat = client.post(server.url("/services/orders-1/heartbeat"));
    let beat: Value = beat.send().await.unwrap().json().await.unwrap();
    assert_eq!(beat["message"], "Heartbeat received");
    let gone = client.delete(server.url("/services/orders-1"));
    assert_eq!(gone.send().await.unwrap().status(), 200);
    let again = client.delete(server.url("/services/orders-1"));
    let again = again.send().await.unwrap();
    assert_eq!(again.status(), 404);
    assert_eq!(again.headers()["content-type"], "application/problem+json");
    server.stopped().await;
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_order() {
    let server = Server::start(Config::default()).await;
    server.fill("a", 1, 1);
    let mut raw = server.connect().await;
    raw.write(
        "POST /services/a-0/heartbeat HTTP/1.1\r\nhost: localhost\r\n\r\n\
         GET /services/a%2D0/status HTTP/1.1\r\nhost: localhost\r\n\r\n\
         HEAD /health HTTP/1.1\r\nhost: localhost\r\n\r\n",
    )
    .await;
    let (head, body) = raw.answer().await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(body.contains("Heartbeat received"), "{body}");
    let (_, body) = raw.answer().await;
    assert!(body.contains("\"status\":\"healthy\""), "{body}");
    let head = raw.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    server.stopped().await;
}

#[tokio::test]
async fn a_body_is_asked_for_when_the_client_waits_for_that() {
    let server = Server::start(Config::default()).await;
    let body = r#"{"service_id":"a","service_name":"a","host":"h","port":1}"#;
    let head = |length: usize| {
        format!(
            "POST /services/register HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let mut raw = server.connect().await;
    raw.write(head(body.len())).await;
    let (proceed, _) = raw.answer().await;
    assert!(proceed.starts_with("HTTP/1.1 100 "), "{proceed}");
    raw.write(body).await;
    let (answer, _) = raw.answer().await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    let mut raw = server.connect().await;
    raw.write(head(2_000_000)).await;
    let (answer, _) = raw.answer().await;
    assert!(
        answer.starts_with("HTTP/1.1 413 "),
        "not asked for: {answer}"
    );
    server.stopped().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let server = Server::start(Config::default()).await;
    let config = Config {
        listen: server.address.to_string(),
        ..Config::default()
    };
    let error = musterd::http::bind(&config).await.unwrap_err().to_string();
    assert!(error.contains(&server.address.to_string()), "{error}");
    let config = Config {
        listen: "nonsense".to_owned(),
        ..Config::default()
    };
    let error = musterd::http::bind(&config).await.unwrap_err().to_string();
    assert!(
        error.starts_with("http.listen \"nonsense\" is not an address"),
        "{error}"
    );
    server.stopped().await;
}
