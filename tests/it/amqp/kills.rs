//! The broker with a store, killed at random moments under load and compared with a model.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions,
        BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::FieldTable,
};
use parking_lot::Mutex;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::daemon::Daemon;

/// Every message goes to both.
const BOTH: [&str; 2] = ["both-0", "both-1"];
/// Tokens are moved between these, each by one transaction.
const MOVED: [&str; 2] = ["moved-0", "moved-1"];
const TOKENS: u64 = 10;
/// How long a client may take to see that its daemon was killed.
const CALL_MAX: Duration = Duration::from_secs(5);

/// What is known of a message in a queue.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// It was confirmed, or committed, or found after a restart.
    stored: bool,
    /// Its acknowledgement was sent: it may be gone.
    acked: bool,
}

/// By queue, then by the number in the body. Even numbers are published with confirms, odd ones in transactions.
#[derive(Debug, Default)]
struct Model {
    queues: BTreeMap<&'static str, BTreeMap<u64, Known>>,
    stored: usize,
}

impl Model {
    fn know(&mut self, queue: &'static str, number: u64, change: impl FnOnce(&mut Known)) {
        change(
            self.queues
                .entry(queue)
                .or_default()
                .entry(number)
                .or_default(),
        );
    }

    /// Both queues have it for certain.
    fn store(&mut self, number: u64) {
        self.stored += 1;
        for queue in BOTH {
            self.know(queue, number, |known| known.stored = true);
        }
    }

    /// Compares a queue with what was found in it after a restart.
    fn check(&mut self, queue: &'static str, found: &[u64], round: usize) {
        let set: BTreeSet<_> = found.iter().copied().collect();
        assert_eq!(
            set.len(),
            found.len(),
            "round {round}: twice in {queue}: {found:?}"
        );
        for kind in [0, 1] {
            let of_one = found.iter().filter(|number| *number % 2 == kind);
            assert!(
                of_one.is_sorted(),
                "round {round}: the order in {queue}: {found:?}"
            );
        }
        let known = self.queues.entry(queue).or_default();
        for (number, known) in &*known {
            let may_miss = known.acked || !known.stored;
            assert!(
                may_miss || set.contains(number),
                "round {round}: {number} is not in {queue}"
            );
        }
        for number in &set {
            assert!(
                known.contains_key(number),
                "round {round}: {number} came back to {queue}"
            );
        }
        let stored = Known {
            stored: true,
            acked: false,
        };
        *known = set.into_iter().map(|number| (number, stored)).collect();
    }
}

#[derive(Clone)]
struct Load {
    url: String,
    model: Arc<Mutex<Model>>,
    next: Arc<AtomicU64>,
}

type Ended = Result<(), lapin::Error>;

impl Load {
    async fn channel(&self) -> Result<(Connection, Channel), lapin::Error> {
        let connection = Connection::connect(&self.url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        Ok((connection, channel))
    }

    fn number(&self, odd: u64) -> u64 {
        let number = self.next.fetch_add(1, Relaxed) * 2 + odd;
        let mut model = self.model.lock();
        for queue in BOTH {
            model.know(queue, number, |_| ());
        }
        number
    }

    /// Publishes with confirms, several at a time.
    async fn publish(self) -> Ended {
        let (_connection, channel) = self.channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        loop {
            let mut waiting = Vec::new();
            for _ in 0..fastrand::usize(1..30) {
                let number = self.number(0);
                waiting.push((number, publish(&channel, "amq.fanout", "", number).await?));
            }
            for (number, confirm) in waiting {
                assert!(matches!(confirm.await?, Confirmation::Ack(_)));
                self.model.lock().store(number);
            }
        }
    }

    /// Publishes in transactions.
    async fn commit(self) -> Ended {
        let (_connection, channel) = self.channel().await?;
        channel.tx_select().await?;
        loop {
            let mut numbers = Vec::new();
            for _ in 0..fastrand::usize(1..10) {
                let number = self.number(1);
                // Nothing is confirmed but the whole.
                drop(publish(&channel, "amq.fanout", "", number).await?);
                numbers.push(number);
            }
            channel.tx_commit().await?;
            for number in numbers {
                self.model.lock().store(number);
            }
        }
    }

    /// Acknowledges most of a queue's messages, requeues some.
    async fn consume(self, queue: &'static str) -> Ended {
        let (_connection, channel) = self.channel().await?;
        channel.basic_qos(20, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let mut consumer = channel
            .basic_consume(queue.into(), "".into(), options, FieldTable::default())
            .await?;
        while let Some(delivery) = consumer.next().await {
            let delivery = delivery?;
            if fastrand::u8(..10) == 0 {
                let options = BasicNackOptions {
                    requeue: true,
                    ..BasicNackOptions::default()
                };
                delivery.nack(options).await?;
                continue;
            }
            let number = number(&delivery.data);
            self.model
                .lock()
                .know(queue, number, |known| known.acked = true);
            delivery.ack(BasicAckOptions::default()).await?;
        }
        Ok(())
    }

    /// Moves tokens to and fro.
    async fn shift(self) -> Ended {
        let (_connection, channel) = self.channel().await?;
        channel.tx_select().await?;
        let mut way = 0;
        loop {
            let options = BasicGetOptions::default();
            let Some(got) = channel.basic_get(MOVED[way].into(), options).await? else {
                way = 1 - way;
                continue;
            };
            drop(publish(&channel, "", MOVED[1 - way], number(&got.data)).await?);
            got.ack(BasicAckOptions::default()).await?;
            channel.tx_commit().await?;
        }
    }

    /// What is in a queue. Everything goes back.
    async fn contents(&self, queue: &str) -> Vec<u64> {
        let (connection, channel) = self.channel().await.unwrap();
        let mut found = Vec::new();
        let get = || channel.basic_get(queue.into(), BasicGetOptions::default());
        while let Some(got) = get().await.unwrap() {
            found.push(number(&got.data));
        }
        close(&connection).await;
        found
    }

    async fn declare(&self) {
        let (connection, channel) = self.channel().await.unwrap();
        for queue in BOTH.into_iter().chain(MOVED) {
            let options = QueueDeclareOptions {
                durable: true,
                ..QueueDeclareOptions::default()
            };
            let declared = channel.queue_declare(queue.into(), options, FieldTable::default());
            declared.await.unwrap();
        }
        for queue in BOTH {
            let options = QueueBindOptions::default();
            let bound = channel.queue_bind(
                queue.into(),
                "amq.fanout".into(),
                "".into(),
                options,
                FieldTable::default(),
            );
            bound.await.unwrap();
        }
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .unwrap();
        for token in 0..TOKENS {
            let sent = publish(&channel, "", MOVED[0], token).await.unwrap();
            sent.await.unwrap();
        }
        close(&connection).await;
    }
}

/// The client may see the end of the connection before the answer to its close.
async fn close(connection: &Connection) {
    let _ended = connection.close(200, "done".into()).await;
}

async fn publish(
    channel: &Channel,
    exchange: &str,
    key: &str,
    number: u64,
) -> Result<impl Future<Output = Result<Confirmation, lapin::Error>> + use<>, lapin::Error> {
    let body = format!("{number} {}", "x".repeat(fastrand::usize(..2000)));
    let properties = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions::default();
    channel
        .basic_publish(
            exchange.into(),
            key.into(),
            options,
            body.as_bytes(),
            properties,
        )
        .await
}

fn number(body: &[u8]) -> u64 {
    let text = std::str::from_utf8(body).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

fn start(path: &Path) -> (Daemon, String) {
    let path = format!("store.path={}", path.display());
    let daemon = Daemon::start(&["--set", &path, "--set", "broker.limits.queue_memory=64KiB"]);
    let line = daemon.logged(|line| line.get("amqp.address").is_some());
    let address = line["amqp.address"].as_str().unwrap();
    let url = format!("amqp://guest:guest@{address}/%2f");
    (daemon, url)
}

/// `MUSTERD_KILLS` is the number of kills; 10 without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_confirmed_is_lost_and_nothing_settled_returns_when_it_is_killed_at_any_moment() {
    let kills = std::env::var("MUSTERD_KILLS").map_or(10, |n| n.parse().expect("a number"));
    let folder = tempfile::tempdir().unwrap();
    let model = Arc::<Mutex<Model>>::default();
    let next = Arc::<AtomicU64>::default();
    for round in 0..=kills {
        let (daemon, url) = start(folder.path());
        let load = Load {
            url,
            model: Arc::clone(&model),
            next: Arc::clone(&next),
        };
        if round == 0 {
            load.declare().await;
        }
        for queue in BOTH {
            let found = load.contents(queue).await;
            model.lock().check(queue, &found, round);
        }
        let mut tokens = load.contents(MOVED[0]).await;
        tokens.extend(load.contents(MOVED[1]).await);
        tokens.sort_unstable();
        assert_eq!(tokens, (0..TOKENS).collect::<Vec<_>>(), "round {round}");
        if round == kills {
            break;
        }
        let mut clients = JoinSet::new();
        clients.spawn(load.clone().publish());
        clients.spawn(load.clone().commit());
        clients.spawn(load.clone().shift());
        for queue in BOTH {
            clients.spawn(load.clone().consume(queue));
        }
        sleep(Duration::from_millis(fastrand::u64(50..600))).await;
        drop(daemon);
        let ended = async {
            while let Some(ended) = clients.join_next().await {
                drop(ended.unwrap());
            }
        };
        // Each of them ends with its connection, but for calls that lapin never ends.
        if timeout(CALL_MAX, ended).await.is_err() {
            clients.shutdown().await;
        }
    }
    let stored = model.lock().stored;
    assert!(stored > kills * 10, "{stored} messages in {kills} rounds");
}
