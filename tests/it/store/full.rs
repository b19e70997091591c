//! A full disk, through the whole daemon: changes are refused, everything else works, and it recovers by itself.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::FieldTable,
};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{body, get};
use crate::daemon::{Daemon, musterd};

const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// A file system of a few megabytes, in a mount namespace that a process of its own holds.
struct SmallDisk {
    holder: Child,
    folder: tempfile::TempDir,
    /// Arguments of nsenter.
    namespaces: &'static [&'static str],
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

impl SmallDisk {
    fn mount(size: &str) -> Self {
        let user: (&[&str], &[&str]) = (
            &["--mount", "--user", "--map-root-user"],
            &["--mount", "--user", "--preserve-credentials"],
        );
        let root: (&[&str], &[&str]) = (&["--mount"], &["--mount"]);
        let folder = tempfile::tempdir().unwrap();
        for (unshared, namespaces) in [user, root] {
            let script = "mount -t tmpfs -o size=$0 tmpfs \"$1\" && echo mounted && exec cat";
            let mut holder = Command::new("unshare")
                .args(unshared)
                .args(["sh", "-c", script, size])
                .arg(folder.path())
                // It ends with this process.
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("unshare of util-linux: apt-get install util-linux");
            let mut line = String::new();
            let mut lines = BufReader::new(holder.stdout.take().unwrap());
            lines.read_line(&mut line).unwrap();
            if line == "mounted\n" {
                return Self {
                    holder,
                    folder,
                    namespaces,
                };
            }
            holder.wait().unwrap();
        }
        panic!(
            "a file system cannot be mounted here: allow user namespaces (sysctl \
             kernel.unprivileged_userns_clone=1), or run the test as root with CAP_SYS_ADMIN"
        );
    }

    /// The file system as this process sees it.
    fn path(&self) -> PathBuf {
        let root = format!("/proc/{}/root", self.holder.id());
        PathBuf::from(root).join(self.folder.path().strip_prefix("/").unwrap())
    }

    /// Takes all space that is left.
    fn fill(&self) {
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true);
        let mut file = file.open(self.path().join("ballast")).unwrap();
        for piece in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![0; piece]).is_ok() {}
        }
    }

    /// Gives it back.
    fn free(&self) {
        fs::remove_file(self.path().join("ballast")).unwrap();
    }

    /// Starts a daemon whose store is on it: the daemon, and the URL of its broker.
    fn start(&self) -> (Daemon, String) {
        let store = self.folder.path().join("data");
        let plain = musterd(&["--set", &format!("store.path={}", store.display())]);
        let mut command = Command::new("nsenter");
        let target = format!("--target={}", self.holder.id());
        command.arg(target).args(self.namespaces).arg("--");
        command.arg(plain.get_program()).args(plain.get_args());
        let daemon = Daemon::run(&mut command);
        let line = daemon.logged(|line| line.get("amqp.address").is_some());
        let url = format!("amqp://{}/%2f", line["amqp.address"].as_str().unwrap());
        (daemon, url)
    }
}

async fn connect(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default());
    let connection = connection.await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let confirms = channel.confirm_select(ConfirmSelectOptions::default());
    confirms.await.unwrap();
    (connection, channel)
}

/// Publishes without waiting for the confirm.
async fn publish(
    channel: &Channel,
    queue: &str,
    body: &[u8],
) -> lapin::Result<lapin::PublisherConfirm> {
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("".into(), queue.into(), options, body, persistent);
    sent.await
}

async fn register(daemon: &Daemon, id: &str) -> (StatusCode, Value) {
    let request = Client::new().post(format!("{}/services/register", daemon.url));
    let answer = request.json(&body(id, 80)).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// Waits until the condition holds.
#[track_caller]
fn patiently(what: &'static str) -> impl AsyncFnMut(bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    async move |holds| {
        assert!(holds || Instant::now() < deadline, "{what}");
        if !holds {
            sleep(PAUSE).await;
        }
        !holds
    }
}

/// Fills the disk until a registration is refused, and says how. The daemon frees some space for what makes room.
async fn fill_until_refused(disk: &SmallDisk, daemon: &Daemon) {
    let mut waits = patiently("a registration is refused");
    let mut n = 0;
    loop {
        disk.fill();
        let (status, answer) = register(daemon, &format!("filler{n}")).await;
        n += 1;
        if !waits(status == 507).await {
            let text = answer["detail"].as_str().unwrap();
            assert!(text.contains("the disk of store.path is full"), "{text}");
            return;
        }
        assert_eq!(status, 200, "{answer}");
    }
}

/// Publishes until the broker says that it is blocked. The client holds back what it publishes from then on.
async fn publish_until_blocked(
    disk: &SmallDisk,
    connection: &Connection,
    channel: &Channel,
) -> JoinSet<()> {
    let (mut waits, mut publishes) = (patiently("the publisher is blocked"), JoinSet::new());
    while waits(connection.status().blocked()).await {
        disk.fill();
        let channel = channel.clone();
        publishes.spawn(async move { drop(publish(&channel, "q", &[7; 16_000]).await) });
    }
    publishes
}

async fn degraded(daemon: &Daemon) -> (String, bool) {
    let (status, ready) = get(daemon, "/ready").await;
    assert_eq!(status, 200, "reads and heartbeats need no space: {ready}");
    let mut parts = ready["checks"].as_array().unwrap().iter();
    let part = parts.find(|part| part["name"] == "store").unwrap();
    assert_eq!(part["ok"], true);
    let detail = part["detail"].as_str().unwrap().to_owned();
    let page = Client::new().get(format!("{}/metrics", daemon.url));
    let page = page.send().await.unwrap().text().await.unwrap();
    (detail, page.contains("\nmusterd_store_degraded 1\n"))
}

/// Reads, heartbeats and streams work, and the daemon says that changes do not.
async fn serves_what_it_has(daemon: &Daemon) {
    assert_eq!(get(daemon, "/services/before").await.0, 200);
    let beat = Client::new().post(format!("{}/services/before/heartbeat", daemon.url));
    assert_eq!(beat.send().await.unwrap().status(), 200);
    let stream = Client::new().get(format!("{}/watch", daemon.url));
    let mut stream = stream.send().await.unwrap();
    assert!(stream.chunk().await.unwrap().is_some());
    let (detail, is_degraded) = degraded(daemon).await;
    assert!(detail.starts_with("the disk is full; "), "{detail}");
    assert!(is_degraded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_changes_only_also_at_a_start() {
    let disk = SmallDisk::mount("16m");
    let (daemon, url) = disk.start();
    let (connection, channel) = connect(&url).await;
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare("q".into(), durable, FieldTable::default());
    declared.await.unwrap();
    let confirmed = publish(&channel, "q", b"before").await.unwrap();
    let confirmed = confirmed.await.unwrap();
    assert!(confirmed.is_ack());
    assert_eq!(register(&daemon, "before").await.0, 200);

    let _publishes = publish_until_blocked(&disk, &connection, &channel).await;
    fill_until_refused(&disk, &daemon).await;
    serves_what_it_has(&daemon).await;
    daemon.logged(|line| {
        let message = line["message"].as_str().unwrap();
        message.starts_with("the disk of store.path is full: ")
    });
    // A client that declares something durable waits for space, and the stop does not wait for it.
    let (_waiting, other) = connect(&url).await;
    let mut declares = JoinSet::new();
    declares.spawn(async move {
        for n in 0..100 {
            let name = format!("{n}{}", "-".repeat(200));
            let declared = other.queue_declare(name.into(), durable, FieldTable::default());
            if declared.await.is_err() {
                return;
            }
        }
    });
    daemon.logged(|line| {
        let message = line["message"].as_str().unwrap();
        message.contains("exchanges, queues and bindings are declared when there is space")
    });
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code(), 0);
    declares.join_next().await.unwrap().unwrap();

    disk.fill();
    let (daemon, url) = disk.start();
    fill_until_refused(&disk, &daemon).await;
    serves_what_it_has(&daemon).await;
    let (connection, channel) = connect(&url).await;
    let _publishes = publish_until_blocked(&disk, &connection, &channel).await;

    disk.free();
    let mut waits = patiently("registrations work again");
    while waits(register(&daemon, "after").await.0 == 200).await {}
    let mut waits = patiently("the publisher is unblocked");
    while waits(!connection.status().blocked()).await {}
    let confirmed = publish(&channel, "q", b"after").await.unwrap();
    let confirmed = confirmed.await.unwrap();
    assert!(confirmed.is_ack());
    let mut waits = patiently("nothing is degraded any more");
    while waits(!degraded(&daemon).await.1).await {}
}

/// Registers over AMQP with a lease on the connection.
async fn lease(daemon: &Daemon, url: &str, id: &str) -> Connection {
    let (connection, channel) = connect(url).await;
    let draft = json!({"service_id": id, "service_name": "s", "host": "h", "port": 1, "lease": "connection", "ttl": "1h"});
    let draft = draft.to_string();
    let sent = publish(&channel, "service.register", draft.as_bytes()).await;
    sent.unwrap().await.unwrap();
    let mut waits = patiently("it is registered");
    let path = format!("/services/{id}");
    while waits(get(daemon, &path).await.0 == 200).await {}
    connection
}

/// Waits until the lease of an instance is lost.
async fn is_lost(daemon: &Daemon, id: &str) {
    let path = format!("/services/{id}");
    let mut waits = patiently("its connection is known to be closed");
    while waits(get(daemon, &path).await.1["status"] == "unhealthy").await {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_on_connections_that_closed_while_the_disk_was_full_end_when_it_has_space() {
    let disk = SmallDisk::mount("16m");
    let (daemon, url) = disk.start();
    let one = lease(&daemon, &url, "one").await;
    fill_until_refused(&disk, &daemon).await;
    one.close(200, "OK".into()).await.unwrap();
    daemon.logged(|line| {
        let message = line["message"].as_str().unwrap();
        message.contains("its leases cannot be ended yet")
    });
    disk.free();
    is_lost(&daemon, "one").await;

    let _two = lease(&daemon, &url, "two").await;
    fill_until_refused(&disk, &daemon).await;
    drop(daemon);
    disk.fill();
    let (daemon, url) = disk.start();
    // The new connections have the numbers of those before the restart.
    let (_other, _channel) = connect(&url).await;
    disk.free();
    is_lost(&daemon, "two").await;
}
