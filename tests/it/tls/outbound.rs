//! Probes and webhooks to servers of a private CA that ask for a certificate.

use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use super::site::{PATIENCE, Server, Site, Wanted, ask};
use crate::daemon::Daemon;

fn configuration(site: &Site, with_certificate: bool) -> String {
    let file = |name: &str| site.text(name);
    let certificate = format!(
        "certificate = '{}'\nkey = '{}'\n",
        file("daemon.pem"),
        file("daemon.key")
    );
    format!(
        "[outbound.tls]\nca = '{}'\n{}",
        file("root.pem"),
        if with_certificate { &certificate } else { "" }
    )
}

async fn register(site: &Site, daemon: &Daemon, id: &str, url: &str) {
    let body = json!({
        "service_id": id, "service_name": "web", "host": "127.0.0.1", "port": 80,
        "checks": [{"type": "http", "name": "web", "url": url, "interval": "1s", "timeout": "1s"}],
    });
    let client = site.client(None);
    let answer = ask(&client, daemon, ("POST", "/services/register"), None, &body).await;
    let (code, answer) = answer.unwrap();
    assert_eq!(code, 200, "{answer}");
}

/// The first result of an instance's check.
async fn checked(site: &Site, daemon: &Daemon, id: &str) -> Value {
    let client = site.client(None);
    let path = format!("/services/{id}/health");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask(&client, daemon, ("GET", &path), None, &Value::Null).await;
        let report = answer.unwrap().1;
        if report["checks"][0]["results"].get(0).is_some() {
            return report;
        }
        assert!(Instant::now() < deadline, "{report}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn probes_and_webhooks_reach_servers_of_a_private_ca() {
    let site = Site::new();
    let own = Wanted {
        common_name: "daemon",
        serial: 20,
        ..Wanted::default()
    };
    site.issue("daemon", &own);
    let mut server = Server::start(&site, ("127.0.0.1", true), || "{}".to_owned()).await;
    let port = server.at.port();
    let url = |host: &str| format!("https://{host}:{port}/");
    let daemon = site.start(&configuration(&site, true));
    register(&site, &daemon, "a", &url("localhost")).await;
    let probe = server.request().await;
    assert!(probe.starts_with("GET / HTTP/1.1"), "{probe}");
    let report = checked(&site, &daemon, "a").await;
    assert_eq!(report["status"], "healthy", "{report}");
    let webhook = json!({"callback_url": format!("{}hook", url("127.0.0.1"))});
    let client = site.client(None);
    let answer = ask(&client, &daemon, ("POST", "/watchers"), None, &webhook).await;
    assert_eq!(answer.unwrap().0, 201);
    register(&site, &daemon, "b", &url("localhost")).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let request = server.request().await;
        if request.starts_with("POST /hook") {
            break;
        }
        assert!(Instant::now() < deadline);
    }
    // The names in the certificate are others.
    let other = Server::start(&site, ("127.0.0.2", true), || "{}".to_owned()).await;
    let by_address = format!("https://127.0.0.2:{}/", other.at.port());
    register(&site, &daemon, "c", &by_address).await;
    let report = checked(&site, &daemon, "c").await;
    assert!(report.to_string().contains("certificate"), "{report}");
    assert_ne!(report["status"], "healthy");
    drop(daemon);

    let without = site.start(&configuration(&site, false));
    register(&site, &without, "a", &url("localhost")).await;
    let report = checked(&site, &without, "a").await;
    assert_ne!(report["status"], "healthy", "{report}");
}
