//! The broker behind TLS: `amqps` in `transport.amqp_url`.

use serde_json::json;

use super::stage::Stage;
use crate::amqp::tls::write_certificates;

#[tokio::test(flavor = "multi_thread")]
async fn events_leave_by_amqps_to_a_broker_that_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    write_certificates(folder.path());
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key, root) = (file("server.pem"), file("server.key"), file("root.pem"));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let listen = format!("127.0.0.1:{port}");
    let broker = Stage::embedded(&[
        ("transport.mode", "direct"),
        ("broker.tls.listen", &listen),
        ("broker.tls.certificate", &certificate),
        ("broker.tls.key", &key),
    ])
    .await;
    let url = format!("amqps://guest:guest@localhost:{port}/");
    let stage = Stage::on(&url, &[("transport.amqp.ca_file", &root)]).await;
    stage.set("queue").await;
    stage.until_sent().await;
    let mut all = broker.listen(&["service.events.#"]).await;
    stage.register("a", 0..50).await;
    assert_eq!(all.revisions_until(50).await, (1..=50).collect::<Vec<_>>());
    stage.stop().await;

    let stranger = Stage::on(&url, &[("transport.mode", "direct")]).await;
    let problem = stranger.put(503, json!({"mode": "queue"})).await;
    assert!(
        problem["detail"].as_str().unwrap().contains("certificate"),
        "{problem}"
    );
    stranger.stop().await;
    broker.stop().await;
}
