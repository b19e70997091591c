//! `musterd store`, `musterd backup` and `musterd restore`.

use std::{fs, path::Path, process::Output};

use reqwest::Client;
use serde_json::{Value, json};

use super::{body, get, start};
use crate::daemon::{Daemon, musterd};

pub(super) fn run(arguments: &[&str], path: &Path) -> Output {
    let key = format!("store.path={}", path.display());
    let all: Vec<_> = [arguments, &["--set", &key]].concat();
    musterd(&all).output().unwrap()
}

#[track_caller]
pub(super) fn succeeds(output: &Output) -> String {
    let (out, error) = (&output.stdout, &output.stderr);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(error)
    );
    assert_eq!(output.status.code(), Some(0), "{text}");
    text
}

#[track_caller]
pub(super) fn fails(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(super) async fn register(url: &str, ids: std::ops::Range<usize>) {
    for id in ids {
        let request = Client::new().post(format!("{url}/services/register"));
        let answer = request
            .json(&body(&format!("i{id}"), 80))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
    }
}

pub(super) async fn instances(daemon: &Daemon) -> u64 {
    let (_, info) = get(daemon, "/system/info").await;
    info["total_instances"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_running_daemon_is_restored_into_a_stopped_one() {
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = (folder.path().join("data"), folder.path().join("backup"));
    let daemon = start(&path);
    register(&daemon.url, 0..20).await;
    let watcher =
        json!({"service_name": "svc0", "callback_url": "http://127.0.0.1:1/", "secret": "s"});
    let request = Client::new().post(format!("{}/watchers", daemon.url));
    assert_eq!(request.json(&watcher).send().await.unwrap().status(), 201);
    let (_, before) = get(&daemon, "/system/info").await;
    let name = file.display().to_string();
    let made = musterd(&["backup", &name, "--url", &daemon.url]).output();
    let text = succeeds(&made.unwrap());
    assert!(text.contains("bytes"), "{text}");
    assert!(fs::metadata(&file).unwrap().len() > 1_000);
    register(&daemon.url, 20..30).await;

    let text = fails(&run(&["restore", &name], &path));
    assert!(text.contains("in use by another process"), "{text}");
    let text = fails(&run(&["store", "check"], &path));
    assert!(text.contains("in use by another process"), "{text}");
    let listen = format!("http.listen={}", daemon.url.trim_start_matches("http://"));
    let text = succeeds(&run(&["store", "stats", "--set", &listen], &path));
    assert!(
        text.starts_with("in use: ") && text.contains("last fsync"),
        "{text}"
    );
    daemon.stop();
    drop(daemon);

    let text = succeeds(&run(&["store", "stats"], &path));
    assert!(text.contains("registry.instances"), "{text}");
    assert!(succeeds(&run(&["store", "check"], &path)).ends_with("sound\n"));
    let text = succeeds(&run(&["restore", &name], &path));
    assert!(text.contains("the old content is in"), "{text}");
    let daemon = start(&path);
    assert_eq!(instances(&daemon).await, 20);
    let (_, after) = get(&daemon, "/system/info").await;
    assert_eq!(after["epoch"], before["epoch"]);
    assert_eq!(after["revision"], before["revision"]);
    let (_, watchers): (_, Value) = get(&daemon, "/watchers").await;
    assert_eq!(watchers["watchers"][0]["signed"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_store_is_repaired_and_the_daemon_starts_again() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = start(folder.path());
    register(&daemon.url, 0..20).await;
    daemon.stop();
    drop(daemon);
    let log = folder.path().join("log-0000000001");
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, &bytes).unwrap();
    let text = fails(&run(&["store", "check"], folder.path()));
    assert!(
        text.contains("is damaged: ") && text.contains("log-0000000001"),
        "{text}"
    );
    let text = succeeds(&run(&["store", "repair"], folder.path()));
    assert!(
        text.contains("dropped:") && text.contains("damaged-"),
        "{text}"
    );
    let daemon = start(folder.path());
    let left = instances(&daemon).await;
    assert!((18..20).contains(&left), "{left}");
    register(&daemon.url, 0..20).await;
    assert_eq!(instances(&daemon).await, 20);
}

#[tokio::test]
async fn without_a_store_there_is_nothing_to_back_up() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&["--set", "store.path=", "--set", "broker.listen="]);
    let file = folder.path().join("backup");
    let made = musterd(&["backup", &file.display().to_string(), "--url", &daemon.url]).output();
    let text = fails(&made.unwrap());
    assert!(
        text.contains("refused with 409") && text.contains("store.path is empty"),
        "{text}"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
