//! Brokers that are not the daemon's own: something can be done to them, or to the way there.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use lapin::{
    BasicProperties, Connection,
    options::{BasicPublishOptions, QueueDeclareOptions, QueuePurgeOptions},
    types::FieldTable,
};
use musterd::broker::auth::config::{PermissionConfig, UserConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::super::stage::{PATIENCE, Stage, config, connect, is_rabbit, vhost};
use crate::{daemon::Daemon, rabbitmq::Rabbit};

/// How much a daemon's broker may hold, so that it runs short of memory.
pub(super) const MEMORY_KEY: [&str; 2] = ["--set", "broker.limits.memory=1MiB"];
/// The queue that holds more.
const BULK: &str = "bulk";
/// A user, and its password.
const NARROW: &str = "narrow";

/// What a daemon needs, but for answering commands.
fn all_but_answers() -> PermissionConfig {
    let named = || r"^(musterd|service\.|health\.|amq\.gen-)".to_owned();
    PermissionConfig {
        configure: named(),
        write: named(),
        read: named(),
    }
}

/// The broker under test, for a daemon without an embedded one: the one embedded in another daemon, or a
/// vhost of RabbitMQ.
pub(super) struct Host {
    pub(super) url: String,
    _daemon: Option<Stage>,
}

impl Host {
    pub(super) async fn start() -> Self {
        if is_rabbit() {
            let url = tokio::task::spawn_blocking(|| vhost(&Rabbit::shared())).await;
            return Self {
                url: url.unwrap(),
                _daemon: None,
            };
        }
        let mut config = config(&[("transport.mode", "direct")]);
        let narrow = UserConfig {
            password: Some(NARROW.to_owned().into()),
            permissions: [("/".to_owned(), all_but_answers())].into(),
            ..UserConfig::default()
        };
        config.broker.users.insert(NARROW.to_owned(), narrow);
        let daemon = Stage::with(config, None).await;
        Self {
            url: daemon.amqp.clone(),
            _daemon: Some(daemon),
        }
    }

    /// Its URL for a user who may not publish by the default exchange, and so not answer.
    pub(super) async fn narrow(&self) -> String {
        if is_rabbit() {
            let vhost = self.url.rsplit('/').next().unwrap().to_owned();
            let PermissionConfig {
                configure,
                write,
                read,
            } = all_but_answers();
            let made = tokio::task::spawn_blocking(move || {
                let rabbit = Rabbit::shared();
                rabbit.ctl(&["add_user", NARROW, NARROW]);
                rabbit.ctl(&[
                    "set_permissions",
                    "-p",
                    &vhost,
                    NARROW,
                    &configure,
                    &write,
                    &read,
                ]);
            });
            made.await.unwrap();
        }
        self.url
            .replace("guest:guest", &format!("{NARROW}:{NARROW}"))
    }

    /// Where it listens.
    fn address(&self) -> SocketAddr {
        let (_, rest) = self.url.split_once('@').unwrap();
        rest.split('/').next().unwrap().parse().unwrap()
    }
}

/// The broker under test in a separate process, to be stopped and killed.
pub(in super::super) enum Own {
    Daemon { daemon: Daemon, url: String },
    Rabbit { rabbit: Rabbit, url: String },
}

impl Own {
    /// Starts it; `keys` are for the daemon whose broker it is, where it is a daemon's.
    pub(in super::super) async fn start(keys: &'static [&'static str]) -> Self {
        let started = tokio::task::spawn_blocking(move || {
            if is_rabbit() {
                let rabbit = Rabbit::private();
                let url = vhost(&rabbit);
                return Self::Rabbit { rabbit, url };
            }
            let daemon = Daemon::start(&[&["--set", "transport.mode=direct"], keys].concat());
            let line = daemon.logged(|line| line.get("amqp.address").is_some());
            let address = line["amqp.address"].as_str().unwrap();
            let url = format!("amqp://guest:guest@{address}/%2f");
            Self::Daemon { daemon, url }
        });
        started.await.unwrap()
    }

    pub(in super::super) fn url(&self) -> &str {
        match self {
            Self::Daemon { url, .. } | Self::Rabbit { url, .. } => url,
        }
    }

    /// It is short of memory from now on: publishers are blocked. A daemon's broker must have the limit
    /// `MEMORY_KEY`.
    pub(super) async fn run_short(&self) {
        match self {
            Self::Daemon { url, .. } => fill(url).await,
            Self::Rabbit { rabbit, .. } => {
                let watermark = ["set_vm_memory_high_watermark", "0.00001"];
                tokio::task::block_in_place(|| rabbit.ctl(&watermark));
            }
        }
    }

    /// It has memory again.
    pub(super) async fn recover(&self) {
        match self {
            Self::Daemon { url, .. } => {
                let connection = connect(url).await;
                let channel = connection.create_channel().await.unwrap();
                let purged = channel.queue_purge(BULK.into(), QueuePurgeOptions::default());
                assert_eq!(purged.await.unwrap(), 1);
            }
            Self::Rabbit { rabbit, .. } => {
                let watermark = ["set_vm_memory_high_watermark", "0.6"];
                tokio::task::block_in_place(|| rabbit.ctl(&watermark));
            }
        }
    }

    /// It holds its sockets and answers nobody.
    pub(super) fn pause(&self) {
        match self {
            Self::Daemon { daemon, .. } => daemon.signal("-STOP"),
            Self::Rabbit { rabbit, .. } => rabbit.pause(),
        }
    }

    pub(super) fn resume(&self) {
        match self {
            Self::Daemon { daemon, .. } => daemon.signal("-CONT"),
            Self::Rabbit { rabbit, .. } => rabbit.resume(),
        }
    }

    /// A crash.
    pub(super) fn kill(&self) {
        match self {
            Self::Daemon { daemon, .. } => daemon.signal("-KILL"),
            Self::Rabbit { rabbit, .. } => rabbit.kill(),
        }
    }
}

/// Sends more than the broker may hold; returns when it has arrived. Its sender is blocked then.
async fn fill(url: &str) {
    let [sender, asker] = [connect(url).await, connect(url).await];
    let [sending, asking] = [&sender, &asker].map(Connection::create_channel);
    let (sending, asking) = (sending.await.unwrap(), asking.await.unwrap());
    let declare = |passive| {
        let options = QueueDeclareOptions {
            passive,
            ..QueueDeclareOptions::default()
        };
        asking.queue_declare(BULK.into(), options, FieldTable::default())
    };
    declare(false).await.unwrap();
    let options = BasicPublishOptions::default();
    let body = vec![b'x'; 2 << 20];
    let properties = BasicProperties::default();
    let sent = sending.basic_publish("".into(), BULK.into(), options, &body, properties);
    sent.await.unwrap();
    let taken = async {
        while declare(true).await.unwrap().message_count() == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, taken).await.expect("it is full");
}

/// A way to a broker that takes as long as a test says, and ends when it says so.
pub(super) struct SlowWay {
    address: SocketAddr,
    delay_ms: Arc<AtomicU64>,
    cut: watch::Sender<u32>,
    _tasks: JoinSet<()>,
}

impl SlowWay {
    /// A way to this broker, without delay at first.
    pub(super) async fn to(host: &Host) -> Self {
        let broker = host.address();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let delay_ms = Arc::<AtomicU64>::default();
        let delay = Arc::clone(&delay_ms);
        let cut = watch::Sender::new(0);
        let cuts = cut.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut ways = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(broker).await.unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (client, server) = (client.into_split(), server.into_split());
                let there = carry(client.0, server.1, Arc::clone(&delay));
                let back = carry(server.0, client.1, Arc::clone(&delay));
                let mut cut = cuts.subscribe();
                ways.spawn(async move {
                    tokio::select! {
                        ((), ()) = async { tokio::join!(there, back) } => (),
                        _ = cut.changed() => (),
                    }
                });
            }
        });
        Self {
            address,
            delay_ms,
            cut,
            _tasks: tasks,
        }
    }

    /// The broker's URL by this way.
    pub(super) fn url(&self, host: &Host) -> String {
        let by = self.address.to_string();
        host.url.replace(&host.address().to_string(), &by)
    }

    /// Every connection is gone; others can be made.
    pub(super) fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }

    /// From now on each byte takes so much longer, in either direction.
    pub(super) fn delay(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).unwrap();
        self.delay_ms.store(ms, Relaxed);
    }
}

/// Carries bytes one way, each with its delay, until one of the ends closes.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay_ms: Arc<AtomicU64>) {
    let (tx, mut rx) = mpsc::channel::<(Instant, Vec<u8>)>(4096);
    let reading = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(n @ 1..) = from.read(&mut buffer).await {
            let due = Instant::now() + Duration::from_millis(delay_ms.load(Relaxed));
            if tx.send((due, buffer[..n].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, bytes)) = rx.recv().await {
            sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(reading, writing);
}
