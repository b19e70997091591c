//! Webhooks across restarts and kills.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use parking_lot::Mutex;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet, time::sleep};

use super::{body, get, start};

/// A delivery: its revision, and whether it was signed.
type Deliveries = Arc<Mutex<Vec<(u64, bool)>>>;

async fn take(State(seen): State<Deliveries>, headers: HeaderMap, body: Bytes) {
    let event: Value = serde_json::from_slice(&body).unwrap();
    assert_ne!(event["event"], "resync", "{event}");
    let revision = event["revision"].as_u64().unwrap();
    seen.lock()
        .push((revision, headers.contains_key("x-musterd-signature")));
}

async fn receiver(tasks: &mut JoinSet<()>) -> (SocketAddr, Deliveries) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let seen = Deliveries::default();
    let router = Router::new().route("/", post(take));
    let router = router.with_state(Arc::clone(&seen));
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    (at, seen)
}

async fn register(url: &str, id: String, port: usize) -> bool {
    let request = Client::new().post(format!("{url}/services/register"));
    let sent = request.json(&body(&id, port)).send().await;
    sent.is_ok_and(|answer| answer.status() == 200)
}

/// Every revision up to the newest one comes, in order; after a kill some of them again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_misses_nothing_when_the_daemon_is_killed_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let mut tasks = JoinSet::new();
    let (at, seen) = receiver(&mut tasks).await;
    let mut random = fastrand::Rng::with_seed(11);
    let daemon = start(folder.path());
    let watcher =
        json!({"service_name": "*", "callback_url": format!("http://{at}/"), "secret": "s"});
    let request = Client::new().post(format!("{}/watchers", daemon.url));
    let added = request.json(&watcher).send().await.unwrap();
    let added: Value = added.json().await.unwrap();
    drop(daemon);
    for round in 0..6 {
        let daemon = start(folder.path());
        let mut clients = JoinSet::new();
        for client in 0..4 {
            let url = daemon.url.clone();
            clients.spawn(async move {
                let mut n = 0;
                while register(&url, format!("{round}-{client}-{n}"), 80).await {
                    n += 1;
                }
            });
        }
        // Long enough that some kills come after a cursor was stored.
        sleep(Duration::from_millis(random.u64(50..1_500))).await;
        drop(daemon);
        while clients.join_next().await.is_some() {}
    }
    let daemon = start(folder.path());
    let (_, info) = get(&daemon, "/system/info").await;
    let newest = info["revision"].as_u64().unwrap();
    let path = format!("/watchers/{}", added["id"].as_str().unwrap());
    for _ in 0..2_000 {
        let (_, watcher) = get(&daemon, &path).await;
        if watcher["lag"] == 0 {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    let seen = seen.lock();
    let mut highest = 0;
    for (revision, signed) in &*seen {
        assert!(*signed);
        assert!(*revision <= highest + 1, "{revision} after {highest}");
        highest = highest.max(*revision);
    }
    assert_eq!(highest, newest);
    assert!(newest > 100, "{newest} registrations");
}

// The receiver answers while the test waits for the daemon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_webhook_stays_removed_and_a_clean_stop_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut tasks = JoinSet::new();
    let (at, seen) = receiver(&mut tasks).await;
    let daemon = start(folder.path());
    let http = Client::new();
    let mut ids = Vec::new();
    for service in ["svc0", "svc2"] {
        let watcher = json!({"service_name": service, "callback_url": format!("http://{at}/")});
        let request = http.post(format!("{}/watchers", daemon.url)).json(&watcher);
        let added: Value = request.send().await.unwrap().json().await.unwrap();
        ids.push(added["id"].as_str().unwrap().to_owned());
    }
    let removed = http.delete(format!("{}/watchers/{}", daemon.url, ids[0]));
    assert_eq!(removed.send().await.unwrap().status(), 204);
    for n in 0..30 {
        assert!(register(&daemon.url, format!("i{n}"), 80).await);
    }
    daemon.stop();
    assert_eq!(seen.lock().len(), 30, "a stop delivers the rest");

    let daemon = start(folder.path());
    let (_, list) = get(&daemon, "/watchers").await;
    assert_eq!(list["total_count"], 1);
    assert_eq!(list["watchers"][0]["id"], ids[1].as_str());
    assert!(register(&daemon.url, "late".to_owned(), 80).await);
    daemon.stop();
    let revisions: Vec<_> = seen.lock().iter().map(|(revision, _)| *revision).collect();
    assert_eq!(revisions, (1..=31).collect::<Vec<_>>());
}
