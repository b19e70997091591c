//! Reads that wait.

use std::time::Duration;

use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::http::consul::testing::ConsulDoor;

const WEB: &str = r#"{"ID": "web1", "Name": "web", "Check": {"TTL": "1h"}}"#;

/// A read that waits; none of it is answered before `act` has run.
async fn woken(door: &ConsulDoor, path: &str, act: impl AsyncFnOnce()) -> (u64, u64) {
    let before = door.get(path).await.index();
    let joint = if path.contains('?') { '&' } else { '?' };
    let waiting = format!("{path}{joint}index={before}&wait=5m");
    let own = door.clone();
    let mut asked = JoinSet::new();
    asked.spawn(async move { own.get(&waiting).await.index() });
    sleep(Duration::from_millis(50)).await;
    assert!(asked.try_join_next().is_none(), "{path} does not wait");
    act().await;
    let after = timeout(Duration::from_secs(10), asked.join_next()).await;
    (before, after.expect("it is woken").unwrap().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_read_waits_until_what_it_shows_has_changed() {
    let door = ConsulDoor::new();
    let register = async |body: &str| {
        door.put("/v1/agent/service/register", body).await;
    };
    let (before, after) = woken(&door, "/v1/health/service/web", async || {
        register(WEB).await;
    })
    .await;
    assert!(after > before);
    let pass = async || {
        door.put("/v1/agent/check/pass/service:web1", "").await;
    };
    let (before, after) = woken(&door, "/v1/health/service/web?passing", pass).await;
    assert!(after > before);
    let other = r#"{"Name": "db"}"#;
    let (before, after) = woken(&door, "/v1/catalog/services", async || {
        register(other).await;
    })
    .await;
    assert!(after > before);
    let gone = async || {
        door.put("/v1/agent/service/deregister/web1", "").await;
    };
    let (before, after) = woken(&door, "/v1/catalog/service/web", gone).await;
    assert!(after > before);
}

#[tokio::test(start_paused = true)]
async fn other_changes_neither_wake_a_read_nor_move_its_index() {
    let door = ConsulDoor::new();
    door.put("/v1/agent/service/register", WEB).await;
    let paths = [
        "/v1/health/service/other",
        "/v1/catalog/service/web",
        "/v1/catalog/services",
        "/v1/catalog/nodes",
        "/v1/health/service/web?passing",
        "/v1/health/state/warning",
        "/v1/catalog/service/web?filter=ServicePort+%3D%3D+9",
        "/v1/catalog/node/n2",
    ];
    let mut before = Vec::new();
    let mut asked = JoinSet::new();
    for path in paths {
        let index = door.get(path).await.index();
        before.push(index);
        let joint = if path.contains('?') { '&' } else { '?' };
        let (own, waiting) = (door.clone(), format!("{path}{joint}index={index}&wait=10m"));
        asked.spawn(async move { own.get(&waiting).await });
    }
    sleep(Duration::from_millis(50)).await;
    // A check that fails, says something else, and an instance that comes with the same tags.
    for path in ["fail/service:web1?note=a", "fail/service:web1?note=b"] {
        door.put(&format!("/v1/agent/check/{path}"), "").await;
    }
    sleep(Duration::from_secs(1)).await;
    assert!(
        asked.try_join_next().is_none(),
        "nothing that is shown has changed"
    );
    for (path, index) in paths.iter().zip(&before) {
        assert_eq!(door.get(path).await.index(), *index, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_its_time_with_the_same_index() {
    let door = ConsulDoor::new();
    let index = door.get("/v1/health/service/web").await.index();
    let began = Instant::now();
    let path = format!("/v1/health/service/web?index={index}&wait=16s");
    assert_eq!(door.get(&path).await.index(), index);
    let waited = began.elapsed();
    assert!(
        waited >= Duration::from_secs(16) && waited <= Duration::from_secs(18),
        "{waited:?}"
    );
    // An older index is answered at once, and so is one that this daemon never gave.
    let began = Instant::now();
    door.put("/v1/agent/service/register", WEB).await;
    door.get(&path).await;
    door.get("/v1/health/service/web?index=1&wait=16s").await;
    door.get(&format!(
        "/v1/health/service/web?index={}&wait=16s",
        u64::MAX
    ))
    .await;
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn agent_reads_wait_by_hash() {
    let door = ConsulDoor::new();
    door.put("/v1/agent/service/register", WEB).await;
    for path in [
        "/v1/agent/service/web1",
        "/v1/agent/checks",
        "/v1/agent/services",
    ] {
        let hash = door
            .get(path)
            .await
            .header("x-consul-contenthash")
            .to_owned();
        assert!(!hash.is_empty());
        let (own, waiting) = (door.clone(), format!("{path}?hash={hash}&wait=5m"));
        let mut asked = JoinSet::new();
        asked.spawn(async move { own.get(&waiting).await });
        sleep(Duration::from_millis(50)).await;
        assert!(asked.try_join_next().is_none(), "{path}");
        let port = fastrand::u16(1..);
        let body = json!({"ID": "web1", "Name": "web", "Port": port}).to_string();
        door.put("/v1/agent/service/register", &body).await;
        door.put(
            &format!("/v1/agent/check/pass/service:web1?note={port}"),
            "",
        )
        .await;
        let answer = timeout(Duration::from_secs(10), asked.join_next()).await;
        let answer = answer.unwrap().unwrap().unwrap();
        assert_ne!(answer.header("x-consul-contenthash"), hash, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_service_is_seen_after_the_log_has_forgotten_it() {
    let door = ConsulDoor::new();
    door.put("/v1/agent/service/register", r#"{"Name": "web"}"#)
        .await;
    let before = door.get("/v1/health/service/web").await;
    assert_eq!(before.each("/Service/ID"), ["web"]);
    door.put("/v1/agent/service/deregister/web", "").await;
    let is_known = || door.rest.shared.registry.service("web").is_some();
    let mut port = 1;
    while is_known() {
        let other = json!({"Name": "other", "Port": port}).to_string();
        door.put("/v1/agent/service/register", &other).await;
        port += 1;
    }
    let began = Instant::now();
    let path = format!("/v1/health/service/web?index={}&wait=5m", before.index());
    let after = door.get(&path).await;
    assert_eq!(after.json, json!([]));
    assert!(began.elapsed() < Duration::from_secs(1));
    // And then it waits for the next one.
    let (before, after) = woken(&door, "/v1/health/service/web", async || {
        door.put("/v1/agent/service/register", WEB).await;
    })
    .await;
    assert!(after > before);
}
