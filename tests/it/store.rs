//! The daemon with a store: restarts, kills at random moments, folders that cannot be used.

mod backup;
mod damage;
mod full;
mod modes;
mod tools;
mod webhooks;

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::daemon::{Daemon, musterd};

const CLIENTS: usize = 8;
const IDS: usize = 6;

fn start(path: &Path) -> Daemon {
    let path = format!("store.path={}", path.display());
    Daemon::start(&["--set", &path, "--set", "broker.listen="])
}

async fn get(daemon: &Daemon, path: &str) -> (StatusCode, Value) {
    let answer = Client::new()
        .get(format!("{}{path}", daemon.url))
        .send()
        .await
        .unwrap();
    let status = answer.status();
    (status, answer.json().await.unwrap())
}

fn body(id: &str, port: usize) -> Value {
    json!({"service_id": id, "service_name": format!("svc{}", port % 3), "host": "10.0.0.1", "port": port,
           "tags": ["t"], "metadata": {"port": port}})
}

/// What one id may be: the port of its registration, none while it is not registered.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    answered: Option<usize>,
    /// What was asked for and not answered.
    asked: Option<Option<usize>>,
}

#[derive(Debug, Default)]
struct Model {
    ids: HashMap<String, Known>,
    /// The newest revision that was shown.
    revision: u64,
    epoch: Option<Value>,
    answered: usize,
}

/// Registers and deregisters its ids until the daemon is gone.
async fn write(
    url: String,
    client: usize,
    round: usize,
    model: Arc<Mutex<Model>>,
    stop: Arc<AtomicBool>,
) {
    let http = Client::new();
    let mut random = fastrand::Rng::with_seed((round * 100 + client) as u64);
    while !stop.load(Ordering::Relaxed) {
        let id = format!("c{client}-{}", random.usize(..IDS));
        let port = random.usize(1..60_000);
        let known = model.lock().ids.get(&id).copied().unwrap_or_default();
        let wanted = (known.answered.is_none() || random.u8(..3) > 0).then_some(port);
        let request = match wanted {
            Some(port) => http
                .post(format!("{url}/services/register"))
                .json(&body(&id, port)),
            None => http.delete(format!("{url}/services/{id}")),
        };
        model.lock().ids.insert(
            id.clone(),
            Known {
                asked: Some(wanted),
                ..known
            },
        );
        let Ok(answer) = request.send().await else {
            return;
        };
        assert_eq!(answer.status(), 200);
        let Ok(answer) = answer.json::<Value>().await else {
            return;
        };
        let mut model = model.lock();
        model.ids.insert(
            id,
            Known {
                answered: wanted,
                asked: None,
            },
        );
        model.answered += 1;
        let revision = answer["revision"].as_u64().unwrap_or(0);
        model.revision = model.revision.max(revision);
    }
}

/// Compares the daemon with the model, and lets the model know what became of unanswered requests.
async fn check(daemon: &Daemon, model: &Mutex<Model>, round: usize) {
    let (_, info) = get(daemon, "/system/info").await;
    let (_, services) = get(daemon, "/services").await;
    let instances = services
        .as_object()
        .unwrap()
        .values()
        .flat_map(|list| list.as_array().unwrap());
    let found: HashMap<_, _> = instances
        .map(|one| {
            let port = usize::try_from(one["port"].as_u64().unwrap()).unwrap();
            assert_eq!(one["metadata"]["port"], port, "round {round}");
            (one["service_id"].as_str().unwrap().to_owned(), port)
        })
        .collect();
    let mut model = model.lock();
    for (id, known) in &mut model.ids {
        let found = found.get(id).copied();
        let expected = found == known.answered || known.asked == Some(found);
        assert!(
            expected,
            "round {round}: {id} is {found:?}, expected {known:?}"
        );
        *known = Known {
            answered: found,
            asked: None,
        };
    }
    let revision = info["revision"].as_u64().unwrap();
    assert!(
        revision >= model.revision,
        "round {round}: {revision} < {}",
        model.revision
    );
    model.revision = revision;
    let epoch = model.epoch.get_or_insert_with(|| info["epoch"].clone());
    assert_eq!(*epoch, info["epoch"], "round {round}");
}

/// Events are there without a gap up to the newest one.
async fn check_events(daemon: &Daemon, model: &Mutex<Model>) {
    let (epoch, newest) = {
        let model = model.lock();
        (model.epoch.clone().unwrap(), model.revision)
    };
    let from = newest.saturating_sub(200);
    let since = format!(
        "/events?limit=1000&since={}-{from}",
        epoch.as_str().unwrap()
    );
    let (status, events) = get(daemon, &since).await;
    assert_eq!(status, 200, "{events}");
    let revisions: Vec<_> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["revision"].as_u64())
        .collect();
    let expected: Vec<_> = (from + 1..=newest).map(Some).collect();
    assert_eq!(revisions, expected);
}

/// `MUSTERD_KILLS` is the number of kills; 20 without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_answered_is_lost_when_the_daemon_is_killed_at_any_moment() {
    let kills = std::env::var("MUSTERD_KILLS").map_or(20, |n| n.parse().expect("a number"));
    let folder = tempfile::tempdir().unwrap();
    let model = Arc::new(Mutex::new(Model::default()));
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..kills {
        let daemon = start(folder.path());
        check(&daemon, &model, round).await;
        if round > 0 {
            check_events(&daemon, &model).await;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(write(
                daemon.url.clone(),
                client,
                round,
                Arc::clone(&model),
                Arc::clone(&stop),
            ));
        }
        sleep(Duration::from_millis(random.u64(1..150))).await;
        drop(daemon);
        stop.store(true, Ordering::Relaxed);
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
    }
    let daemon = start(folder.path());
    check(&daemon, &model, kills).await;
    let model = model.lock();
    assert!(model.answered > kills * 3, "{} requests", model.answered);
    assert!(model.ids.len() > CLIENTS);
}

#[tokio::test]
async fn a_restart_keeps_overrides_routes_statuses_and_fences() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let http = Client::new();
    let daemon = start(&path);
    let send = |request: reqwest::RequestBuilder| async { request.send().await.unwrap() };
    let register = |daemon: &Daemon| {
        http.post(format!("{}/services/register", daemon.url))
            .json(&body("a", 81))
    };
    let first: Value = send(register(&daemon)).await.json().await.unwrap();
    let over = json!({"status": "stopping", "reason": "drain"});
    let url = format!("{}/services/a/override", daemon.url);
    assert_eq!(send(http.put(url).json(&over)).await.status(), 200);
    let route = json!({"path_prefix": "/p", "service_name": "svc0"});
    let url = format!("{}/gateway/routes/r", daemon.url);
    assert!(send(http.put(url).json(&route)).await.status().is_success());
    let (_, before) = get(&daemon, "/services/a").await;
    let (_, routes) = get(&daemon, "/gateway/routes").await;
    assert!(daemon.stop().iter().all(|line| line["level"] != "WARN"));

    let daemon = start(&path);
    let (_, after) = get(&daemon, "/services/a").await;
    let without_beat = |value: &Value| {
        let mut value = value.clone();
        value["last_heartbeat"].take();
        value
    };
    assert_eq!(without_beat(&after), without_beat(&before));
    assert_eq!(
        get(&daemon, "/gateway/routes").await.1["routes"],
        routes["routes"]
    );
    let second: Value = send(register(&daemon)).await.json().await.unwrap();
    assert!(second["incarnation"].as_u64() > first["incarnation"].as_u64());
    let late = format!(
        "{}/services/a/heartbeat?incarnation={}",
        daemon.url, first["incarnation"]
    );
    assert_eq!(send(http.post(late)).await.status(), 409);
    for entry in fs::read_dir(&path).unwrap() {
        assert_eq!(
            entry.unwrap().metadata().unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}

/// The log of a daemon that does not start, and its exit code.
fn refused(path: &Path) -> (String, Option<i32>) {
    let path = format!("store.path={}", path.display());
    let output = musterd(&["--set", &path])
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    (
        String::from_utf8(output.stderr).unwrap(),
        output.status.code(),
    )
}

#[test]
fn a_folder_that_cannot_be_used_ends_it_with_code_1_and_names_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let daemon = start(&path);
    let (log, code) = refused(&path);
    assert_eq!(code, Some(1), "{log}");
    assert!(
        log.contains("in use by another process") && log.contains("--set store.path="),
        "{log}"
    );
    daemon.stop();

    let log_file = path.join("log-0000000001");
    let mut bytes = fs::read(&log_file).unwrap();
    bytes[40] ^= 1;
    fs::write(&log_file, &bytes).unwrap();
    let (log, code) = refused(&path);
    assert_eq!(code, Some(1));
    assert!(
        log.contains("log-0000000001") && log.contains("is damaged at byte 28"),
        "{log}"
    );

    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let (log, code) = refused(&file.join("store"));
    assert_eq!(code, Some(1));
    assert!(log.contains("--set store.path="), "{log}");
}

#[tokio::test]
async fn a_torn_end_is_dropped_with_one_warning() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = start(folder.path());
    let register = Client::new().post(format!("{}/services/register", daemon.url));
    assert_eq!(
        register.json(&body("a", 81)).send().await.unwrap().status(),
        200
    );
    drop(daemon);
    let log_file = folder.path().join("log-0000000001");
    let mut bytes = fs::read(&log_file).unwrap();
    bytes.extend_from_slice(b"mSt1 and no more");
    fs::write(&log_file, &bytes).unwrap();
    let daemon = start(folder.path());
    assert_eq!(get(&daemon, "/services/a").await.0, 200);
    drop(daemon);
    let daemon = start(folder.path());
    assert!(
        daemon.stop().iter().all(|line| line["level"] != "WARN"),
        "the second start finds nothing"
    );
}

#[test]
fn the_first_line_says_where_state_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    for (value, expected) in [("", "kept in memory"), (&*path, &*path)] {
        let child = musterd(&["--set", &format!("store.path={value}")])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let id = child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        let output = child.wait_with_output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        let first = log.lines().next().unwrap_or_default();
        assert!(first.contains(expected), "{first}");
    }
}

#[tokio::test]
async fn ready_and_metrics_show_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = start(folder.path());
    let register = Client::new().post(format!("{}/services/register", daemon.url));
    register.json(&body("a", 81)).send().await.unwrap();
    let (status, ready) = get(&daemon, "/ready").await;
    assert_eq!(status, 200);
    let part = ready["checks"].as_array().unwrap().iter();
    let part = part.clone().find(|part| part["name"] == "store").unwrap();
    assert_eq!(part["ok"], true);
    let detail = part["detail"].as_str().unwrap();
    assert!(detail.contains("commits, last fsync"), "{detail}");
    let page = Client::new().get(format!("{}/metrics", daemon.url));
    let page = page.send().await.unwrap().text().await.unwrap();
    let value = |name: &str| {
        let line = page
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        let line = line.unwrap_or_else(|| panic!("no {name}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!(value("musterd_store_bytes") > 100.0);
    assert!(value("musterd_store_commits_total") >= 2.0);
    assert!(value("musterd_store_last_sync_seconds") > 0.0);
    assert!(value("musterd_store_degraded") < 1.0);
    assert!(value("musterd_store_waiting_commands") < 1.0);
    drop(daemon);
    let daemon = Daemon::start(&["--set", "store.path=", "--set", "broker.listen="]);
    let (_, ready) = get(&daemon, "/ready").await;
    assert_eq!(ready["checks"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn modes_that_let_others_in_are_repaired_with_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let key = format!("store.path={}", path.display());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    Daemon::start(&["--set", &key]).stop();
    let messages = path.join("messages");
    let reserve = messages.join("RESERVE");
    let outside = folder.path().join("outside");
    fs::write(&outside, "").unwrap();
    std::os::unix::fs::symlink(&outside, path.join("link")).unwrap();
    let others = [
        (&path, 0o755, 0o700),
        (&path.join("FORMAT"), 0o644, 0o600),
        (&path.join("log-0000000001"), 0o640, 0o600),
        (&messages, 0o750, 0o700),
        (&reserve, 0o666, 0o600),
        (&outside, 0o644, 0o644),
    ];
    fs::write(&reserve, "").unwrap();
    for (path, wide, _) in others {
        set(path, wide).unwrap();
    }
    let repairs = || {
        let daemon = Daemon::start(&["--set", &key]);
        let lines = daemon.first.iter().cloned().chain(daemon.stop());
        let messages = lines.map(|line| line["message"].to_string());
        messages
            .filter(|message| message.contains("0600"))
            .collect::<Vec<_>>()
    };
    let lines = repairs();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("5 files or folders in "), "{lines:?}");
    for (path, _, narrow) in others {
        assert_eq!(mode(path), narrow, "{}", path.display());
    }
    assert_eq!(repairs(), [""; 0]);
}

#[test]
fn an_open_address_is_refused_before_the_store_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let store = format!("store.path={}", path.display());
    let output = musterd(&["--set", &store, "--set", "http.listen=0.0.0.0:0"])
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("security.allow_open"), "{text}");
    assert!(!path.exists(), "nothing was made");
}
