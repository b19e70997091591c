//! Prometheus and vmagent find registered instances: over HTTP, by DNS, and in a file.

use std::{
    collections::BTreeSet,
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    daemon::{Daemon, musterd},
    dns::DnsDaemon,
};

/// Longer than any of them takes to see a change.
const PATIENCE: Duration = Duration::from_secs(40);

/// A program that is killed when it goes out of scope.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(program: &str, arguments: &[String], folder: &Path) -> Running {
    let log = fs::File::create(folder.join(format!("{program}.log"))).unwrap();
    let child = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn();
    Running(child.unwrap_or_else(|error| panic!("{program}: {error}; run tests/setup")))
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn prometheus(config: &str, folder: &Path) -> (Running, String) {
    let listen = free();
    let file = folder.join("prometheus.yml");
    fs::write(&file, config).unwrap();
    let arguments = [
        format!("--config.file={}", file.display()),
        format!("--web.listen-address={listen}"),
        format!("--storage.tsdb.path={}", folder.join("data").display()),
    ];
    (
        run("prometheus", &arguments, folder),
        format!("http://{listen}"),
    )
}

fn vmagent(config: &str, folder: &Path) -> (Running, String) {
    let (listen, away) = (free(), free());
    let file = folder.join("vmagent.yml");
    fs::write(&file, config).unwrap();
    let arguments = [
        format!("-promscrape.config={}", file.display()),
        format!("-httpListenAddr={listen}"),
        format!("-remoteWrite.url=http://{away}/"),
        format!(
            "-remoteWrite.tmpDataPath={}",
            folder.join("vmagent").display()
        ),
        "-promscrape.httpSDCheckInterval=1s".to_owned(),
        "-promscrape.fileSDCheckInterval=1s".to_owned(),
    ];
    (
        run("vmagent", &arguments, folder),
        format!("http://{listen}"),
    )
}

/// The addresses of a job's targets, and one label of each.
async fn targets(client: &reqwest::Client, url: &str, job: &str) -> BTreeSet<(String, String)> {
    let answer = client.get(format!("{url}/api/v1/targets?state=active"));
    let Ok(answer) = answer.send().await else {
        return BTreeSet::new();
    };
    let answer: Value = answer.json().await.unwrap_or_default();
    let active = answer["data"]["activeTargets"].as_array().cloned();
    let of_job = active.unwrap_or_default().into_iter();
    let of_job = of_job.filter(|one| one["labels"]["job"] == job);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    of_job
        .map(|one| {
            let labels = &one["labels"];
            (text(&labels["instance"]), text(&labels["service"]))
        })
        .collect()
}

fn expected(targets: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    let owned = |(address, service): &(&str, &str)| ((*address).to_owned(), (*service).to_owned());
    targets.iter().map(owned).collect()
}

/// Waits until each job of each program has these targets.
async fn until(jobs: &[(&str, &str)], wanted: &[(&str, &str)]) {
    let client = reqwest::Client::new();
    let deadline = Instant::now() + PATIENCE;
    let wanted = expected(wanted);
    for (url, job) in jobs {
        loop {
            let found = targets(&client, url, job).await;
            if found == wanted {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "{job} of {url}: {found:?} instead of {wanted:?}"
            );
            sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
async fn prometheus_and_vmagent_have_the_registered_instances_as_targets() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = DnsDaemon::start(&[]);
    daemon.register("web-1", "web", "127.0.0.1", 9101).await;
    daemon.register("db-1", "db", "::1", 9102).await;
    let file = folder.path().join("targets.json");
    let mut keeper = sd_file(&daemon, &file, &[]);
    let url = &daemon.daemon.url;
    let relabel =
        "relabel_configs: [{source_labels: [__meta_musterd_service], target_label: service}]";
    let path = file.display();
    let jobs = |refresh: &str| {
        format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n\
             - job_name: http\n  {relabel}\n  http_sd_configs: [{{url: \"{url}/v1/sd/prometheus\"{refresh}}}]\n\
             - job_name: file\n  {relabel}\n  file_sd_configs: [{{files: [\"{path}\"]}}]\n"
        )
    };
    let (_prometheus, prometheus) = prometheus(&jobs(", refresh_interval: 1s"), folder.path());
    let (_vmagent, vmagent) = vmagent(&jobs(""), folder.path());
    let all = [
        (prometheus.as_str(), "http"),
        (prometheus.as_str(), "file"),
        (vmagent.as_str(), "http"),
        (vmagent.as_str(), "file"),
    ];
    let web = ("127.0.0.1:9101", "web");
    let db = ("[::1]:9102", "db");
    until(&all, &[web, db]).await;
    daemon.register("web-2", "web", "127.0.0.1", 9103).await;
    daemon.send("DELETE", "/services/db-1", &Value::Null).await;
    until(&all, &[web, ("127.0.0.1:9103", "web")]).await;
    assert!(keeper.0.try_wait().unwrap().is_none(), "it still runs");
}

fn sd_file(daemon: &DnsDaemon, path: &Path, more: &[&str]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_musterd"));
    command.arg("sd-file").arg(path);
    command.args(["--address", &daemon.daemon.url]).args(more);
    Running(command.spawn().unwrap())
}

/// Waits until a file has these targets.
async fn until_file(path: &Path, wanted: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        // Readers never see a part of it.
        let groups: Value = match text.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap(),
        };
        let groups = groups.as_array().cloned().unwrap_or_default();
        let found: Vec<_> = groups.iter().map(|one| one["targets"][0].clone()).collect();
        if found == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{found:?} instead of {wanted:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_file_follows_changes_filters_and_a_daemon_that_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let (all, web) = (
        folder.path().join("all.json"),
        folder.path().join("web.json"),
    );
    let listen = format!("http.listen={}", free());
    let start = || DnsDaemon::of(Daemon::run(&mut musterd(&["--set", &listen])));
    let daemon = start();
    let _all = sd_file(&daemon, &all, &[]);
    let _web = sd_file(&daemon, &web, &["--service", "web", "--health", "healthy"]);
    until_file(&all, &[]).await;
    daemon.register("a", "web", "10.0.0.1", 1).await;
    daemon.register("b", "db", "10.0.0.2", 2).await;
    until_file(&all, &["10.0.0.2:2", "10.0.0.1:1"]).await;
    until_file(&web, &["10.0.0.1:1"]).await;
    daemon
        .send(
            "PUT",
            "/services/a/override",
            &json!({"status": "stopping"}),
        )
        .await;
    until_file(&web, &[]).await;
    drop(daemon);
    // The file stays as it is until the daemon answers again.
    sleep(Duration::from_millis(500)).await;
    until_file(&all, &["10.0.0.2:2", "10.0.0.1:1"]).await;
    let daemon = start();
    until_file(&all, &[]).await;
    daemon.register("c", "web", "10.0.0.3", 3).await;
    until_file(&all, &["10.0.0.3:3"]).await;
    until_file(&web, &["10.0.0.3:3"]).await;
    let names = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(names, 2, "no other file is left");
}

#[tokio::test]
async fn once_writes_the_file_and_ends_and_refusals_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("once.json");
    let daemon = DnsDaemon::start(&[]);
    daemon.register("a", "web", "10.0.0.1", 1).await;
    let output = |more: &[&str], url: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_musterd"));
        command
            .arg("sd-file")
            .arg(&file)
            .args(["--address", url])
            .args(more);
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let url = daemon.daemon.url.as_str();
    assert_eq!(output(&["--once"], url).0, Some(0));
    until_file(&file, &["10.0.0.1:1"]).await;
    let (code, said) = output(&["--health", "good"], url);
    assert_eq!(code, Some(1));
    assert!(said.contains("422") && said.contains("health"), "{said}");
    let away = format!("http://{}", free());
    let (code, said) = output(&["--once"], &away);
    assert_eq!(code, Some(4));
    assert!(said.contains(&away), "{said}");
    until_file(&file, &["10.0.0.1:1"]).await;
}

#[test]
fn prometheus_finds_the_targets_of_a_service_by_dns() {
    let folder = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/prometheus/dns_sd.py");
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "--net", "python3", script])
        .arg(env!("CARGO_BIN_EXE_musterd"))
        .arg(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    assert!(output.status.success(), "{said}\n{log}");
    let found = String::from_utf8(output.stdout).unwrap();
    let expected = "7f000001.addr.musterd:9101 7f000001.addr.musterd:9102\n\
                    7f000001.addr.musterd:9102 7f000001.addr.musterd:9103\n";
    assert_eq!(found, expected);
}
