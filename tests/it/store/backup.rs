//! Backups that hold the messages of the broker, made while it is used.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{
        BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
        QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
    },
    types::FieldTable,
};
use reqwest::{Client, Response};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::{Instant, sleep},
};

use super::{
    get,
    tools::{fails, instances, register, run, succeeds},
};
use crate::daemon::{Daemon, musterd};

const PATIENCE: Duration = Duration::from_secs(60);
/// More than the pieces that wait for a client and the buffers of its socket hold together.
const MANY: usize = 700;
const LARGE: usize = 64 << 10;

/// A daemon with its broker.
fn start(path: &Path) -> (Daemon, SocketAddr) {
    let path = format!("store.path={}", path.display());
    let daemon = Daemon::start(&["--set", &path]);
    let line = daemon.logged(|line| line.get("amqp.address").is_some());
    let addr = line["amqp.address"].as_str().unwrap().parse().unwrap();
    (daemon, addr)
}

async fn channel(addr: SocketAddr) -> Channel {
    let url = format!("amqp://guest:guest@{addr}/%2f");
    let connection = Connection::connect(&url, ConnectionProperties::default()).await;
    let channel = connection.unwrap().create_channel().await.unwrap();
    let confirms = channel.confirm_select(ConfirmSelectOptions::default());
    confirms.await.unwrap();
    channel
}

async fn declare(channel: &Channel, queue: &str) -> u32 {
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(queue.into(), options, FieldTable::default());
    declared.await.unwrap().message_count()
}

/// Publishes a persistent message and waits for its confirm.
async fn publish(channel: &Channel, queue: &str, body: &[u8]) {
    let properties = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("".into(), queue.into(), options, body, properties);
    assert!(sent.await.unwrap().await.unwrap().is_ack());
}

/// Takes the messages of a queue out of it.
async fn drain(channel: &Channel, queue: &str) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    loop {
        let got = channel.basic_get(queue.into(), BasicGetOptions::default());
        let Some(message) = got.await.unwrap() else {
            return bodies;
        };
        let acked = message.ack(BasicAckOptions::default());
        acked.await.unwrap();
        bodies.push(message.delivery.data);
    }
}

fn number(body: &[u8]) -> usize {
    std::str::from_utf8(body).unwrap().parse().unwrap()
}

async fn back_up(daemon: &Daemon, file: &Path) -> Output {
    let (name, url) = (file.display().to_string(), daemon.url.clone());
    let run = move || musterd(&["backup", &name, "--url", &url]).output().unwrap();
    spawn_blocking(run).await.unwrap()
}

fn restore(file: &Path, path: &Path) -> Output {
    run(&["restore", &file.display().to_string()], path)
}

/// What is done while a backup is made, and how far it was answered.
#[derive(Debug, Default)]
struct Load {
    confirmed: AtomicUsize,
    registered: AtomicUsize,
    deleted: AtomicUsize,
    ends: AtomicBool,
}

impl Load {
    fn start(self: &Arc<Self>, url: &str, addr: SocketAddr) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let load = Arc::clone(self);
        tasks.spawn(async move {
            let channel = channel(addr).await;
            declare(&channel, "load").await;
            while !load.ends.load(SeqCst) {
                let next = load.confirmed.load(SeqCst) + 1;
                publish(&channel, "load", next.to_string().as_bytes()).await;
                load.confirmed.store(next, SeqCst);
            }
        });
        let load = Arc::clone(self);
        tasks.spawn(async move {
            let channel = channel(addr).await;
            while !load.ends.load(SeqCst) {
                let number = load.deleted.load(SeqCst) + 1;
                let name = format!("brief-{number}");
                declare(&channel, &name).await;
                publish(&channel, &name, &[0; 1000]).await;
                let deleted = channel.queue_delete(name.into(), QueueDeleteOptions::default());
                deleted.await.unwrap();
                load.deleted.store(number, SeqCst);
            }
        });
        let (load, url) = (Arc::clone(self), url.to_owned());
        tasks.spawn(async move {
            while !load.ends.load(SeqCst) {
                let next = load.registered.load(SeqCst);
                register(&url, next..next + 1).await;
                load.registered.store(next + 1, SeqCst);
            }
        });
        tasks
    }

    /// Waits until everything was done so many times more.
    async fn proceeds(&self, times: usize) {
        for count in [&self.confirmed, &self.registered, &self.deleted] {
            let wanted = count.load(SeqCst) + times;
            until(|| count.load(SeqCst) >= wanted).await;
        }
    }
}

async fn until(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "it does not happen");
        sleep(Duration::from_millis(5)).await;
    }
}

/// All modes below a folder that are not those of a private file or folder.
fn open_to_others(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::metadata(&path).unwrap();
        let mode = metadata.permissions().mode() & 0o777;
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        if mode != expected {
            found.push(path.clone());
        }
        if metadata.is_dir() {
            found.extend(open_to_others(&path));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_has_everything_that_was_answered_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let (daemon, addr) = start(&path);
    let own = channel(addr).await;
    for queue in ["settled", "kept"] {
        assert_eq!(declare(&own, queue).await, 0);
    }
    for number in 0..20 {
        publish(&own, "settled", number.to_string().as_bytes()).await;
        publish(&own, "kept", number.to_string().as_bytes()).await;
    }
    assert_eq!(drain(&own, "settled").await.len(), 20);
    // On the same channel, so that what was settled before is durable too.
    publish(&own, "kept", b"20").await;

    let load = Arc::<Load>::default();
    let tasks = load.start(&daemon.url, addr);
    for round in 0..5 {
        load.proceeds(5).await;
        let (confirmed, registered) = (load.confirmed.load(SeqCst), load.registered.load(SeqCst));
        let file = folder.path().join(format!("backup-{round}"));
        succeeds(&back_up(&daemon, &file).await);
        let to = folder.path().join(format!("restored-{round}"));
        succeeds(&restore(&file, &to));
        let text = succeeds(&run(&["store", "check"], &to));
        assert!(
            text.ends_with("sound\n") && text.contains("in queues"),
            "{text}"
        );
        assert_eq!(open_to_others(&to), Vec::<PathBuf>::new());

        let (restored, addr) = start(&to);
        assert!(instances(&restored).await >= registered as u64);
        let channel = channel(addr).await;
        assert_eq!(declare(&channel, "settled").await, 0, "round {round}");
        let kept: Vec<_> = drain(&channel, "kept").await;
        let kept: Vec<_> = kept.iter().map(|body| number(body)).collect();
        assert_eq!(kept, (0..=20).collect::<Vec<_>>());
        let loaded = drain(&channel, "load").await;
        let numbers: BTreeSet<_> = loaded.iter().map(|body| number(body)).collect();
        assert_eq!(numbers.len(), loaded.len(), "each once");
        assert!(numbers.is_superset(&(1..=confirmed).collect()));
        let log = restored.stop();
        assert!(log.iter().all(|line| line["level"] != "WARN"), "{log:?}");
    }
    load.proceeds(1).await;
    load.ends.store(true, SeqCst);
    tasks.join_all().await;
}

/// A daemon with a queue of large messages, and the first files of their log.
struct Filled {
    folder: tempfile::TempDir,
    daemon: Daemon,
    channel: Channel,
    segments: Vec<PathBuf>,
}

impl Filled {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (daemon, addr) = start(&folder.path().join("data"));
        let channel = channel(addr).await;
        declare(&channel, "large").await;
        for _ in 0..MANY {
            publish(&channel, "large", &vec![7; LARGE]).await;
        }
        let messages = fs::read_dir(folder.path().join("data/messages")).unwrap();
        let mut segments: Vec<_> = messages.map(|entry| entry.unwrap().path()).collect();
        segments.retain(|path| path.display().to_string().contains("segment-"));
        segments.sort_unstable();
        // The last one is written further.
        segments.pop();
        assert!(segments.len() >= 2, "{segments:?}");
        Self {
            folder,
            daemon,
            channel,
            segments,
        }
    }

    /// A backup of which the client has read the first piece.
    async fn begun(&self) -> (Vec<u8>, Response) {
        let request = Client::new().get(format!("{}/system/snapshot", self.daemon.url));
        let mut answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let first = answer.chunk().await.unwrap().unwrap();
        (first.to_vec(), answer)
    }

    /// Removes the messages that the files hold, and waits until that is durable.
    async fn purge(&self) {
        let purged = self
            .channel
            .queue_purge("large".into(), QueuePurgeOptions::default());
        assert_eq!(purged.await.unwrap() as usize, MANY);
        publish(&self.channel, "large", b"later").await;
    }

    async fn until_space_is_given_back(&self) {
        until(|| self.segments.iter().all(|path| !path.exists())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_backup_is_read_the_daemon_works_and_keeps_what_the_backup_needs() {
    let filled = Filled::start().await;
    let (mut backup, mut answer) = filled.begun().await;
    filled.purge().await;
    register(&filled.daemon.url, 0..5).await;
    let (_, queues) = get(&filled.daemon, "/broker/queues?name=large").await;
    assert_eq!(queues["total_count"], 1);
    for _ in 0..20 {
        publish(&filled.channel, "large", b"later").await;
        assert!(filled.segments.iter().all(|path| path.exists()));
    }
    while let Some(piece) = answer.chunk().await.unwrap() {
        backup.extend_from_slice(&piece);
    }
    assert!(backup.len() > MANY * LARGE);
    filled.until_space_is_given_back().await;

    let (file, to) = (
        filled.folder.path().join("backup"),
        filled.folder.path().join("to"),
    );
    fs::write(&file, &backup).unwrap();
    succeeds(&restore(&file, &to));
    let (restored, addr) = start(&to);
    let channel = channel(addr).await;
    assert_eq!(declare(&channel, "large").await as usize, MANY);
    let bodies = drain(&channel, "large").await;
    assert!(bodies.iter().all(|body| *body == vec![7; LARGE]));
    assert_eq!(instances(&restored).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_whose_client_leaves_keeps_no_space() {
    let filled = Filled::start().await;
    let begun = filled.begun().await;
    filled.purge().await;
    assert!(filled.segments.iter().all(|path| path.exists()));
    drop(begun);
    filled.until_space_is_given_back().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_backup_of_messages_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let (daemon, addr) = start(&path);
    let channel = channel(addr).await;
    declare(&channel, "q").await;
    for _ in 0..30 {
        publish(&channel, "q", &[7; 1000]).await;
    }
    let file = folder.path().join("backup");
    succeeds(&back_up(&daemon, &file).await);
    let text = fails(&restore(&file, &path));
    assert!(text.contains("in use by another process"), "{text}");
    let whole = fs::read(&file).unwrap();
    let at = whole.windows(50).position(|bytes| bytes == [7; 50]);
    let at = at.expect("a body in the backup");
    let mut flipped = whole.clone();
    flipped[at] ^= 1;
    let to = folder.path().join("to");
    for damaged in [&flipped[..], &whole[..at], &whole[..whole.len() - 1], b""] {
        fs::write(&file, damaged).unwrap();
        let text = fails(&restore(&file, &to));
        assert!(text.contains("damaged or cut off"), "{text}");
        let left = fs::read_dir(&to).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["LOCK"]);
    }
    fs::write(&file, &whole).unwrap();
    succeeds(&restore(&file, &to));
    daemon.stop();
    let (_restored, addr) = start(&to);
    let channel = self::channel(addr).await;
    assert_eq!(declare(&channel, "q").await, 30);
}
