//! Keys and sessions across restarts, kills and backups.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::Client;
use serde_json::json;
use tokio::{task::JoinSet, time::sleep};

use super::Door;
use crate::daemon::musterd;

/// A write that was answered survives, the one under way may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_a_kill_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let mut answered = [0_u32; 4];
    let door = Door::stored(folder.path());
    let session = door.session(&json!({"TTL": "3600s"})).await;
    assert_eq!(
        door.put(&format!("kv/lock?acquire={session}"), "mine")
            .await,
        true
    );
    let index = door.get("kv/lock").await.index;
    drop(door);
    for _ in 0..4 {
        let door = Door::stored(folder.path());
        let mut clients = JoinSet::new();
        for (number, known) in answered.into_iter().enumerate() {
            let url = format!("{}/v1/kv/n/{number}", door.url);
            clients.spawn(async move {
                let client = Client::new();
                let mut last = known;
                loop {
                    let request = client.put(&url).body((last + 1).to_string());
                    match request.send().await {
                        Ok(answer) if answer.status() == 200 => last += 1,
                        _ => return (number, last),
                    }
                }
            });
        }
        sleep(Duration::from_millis(random.u64(100..600))).await;
        // Killed.
        drop(door);
        while let Some(ended) = clients.join_next().await {
            let (number, last) = ended.unwrap();
            answered[number] = last;
        }
    }
    let door = Door::stored(folder.path());
    for (number, last) in answered.into_iter().enumerate() {
        let raw = door.get(&format!("kv/n/{number}?raw")).await;
        let stored: u32 = raw.text.parse().unwrap();
        assert!(last > 0 && (last..=last + 1).contains(&stored), "{stored}");
    }
    let lock = door.get("kv/lock").await;
    assert_eq!(lock.index, index);
    assert_eq!(lock.json()[0]["Session"], *session);
    assert_eq!(lock.json()[0]["Value"], STANDARD.encode("mine"));
    let info = door.get(&format!("session/info/{session}")).await.json();
    assert_eq!(info[0]["TTL"], "3600s");
    // New indexes are greater than all earlier ones.
    let before = door.get("kv/n/?recurse").await.index.unwrap();
    door.put("kv/later", "x").await;
    assert!(door.get("kv/later").await.index.unwrap() > before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_holds_keys_and_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = (folder.path().join("data"), folder.path().join("backup"));
    let file = file.display().to_string();
    let door = Door::stored(&path);
    let session = door.session(&json!({"Name": "kept"})).await;
    door.put(&format!("kv/a?acquire={session}&flags=9"), "before")
        .await;
    let made = musterd(&["backup", &file, "--url", &door.daemon.url]).output();
    assert!(made.unwrap().status.success());
    door.put("kv/a", "after").await;
    door.put("kv/b", "after").await;
    door.daemon.stop();
    drop(door);
    let key = format!("store.path={}", path.display());
    let restored = musterd(&["restore", &file, "--set", &key]).output();
    assert!(restored.unwrap().status.success());
    let door = Door::stored(&path);
    let all = door.get("kv/?recurse").await.json();
    assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
    assert_eq!(all[0]["Value"], STANDARD.encode("before"));
    assert_eq!(
        (&all[0]["Flags"], &all[0]["Session"]),
        (&json!(9), &json!(session))
    );
    let sessions = door.get("session/list").await.json();
    assert_eq!(sessions[0]["Name"], "kept");
}
