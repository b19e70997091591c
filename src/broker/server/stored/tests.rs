mod leaving;

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use tokio::time::timeout;

use crate::broker::{
    Broker, BrokerError, Config, DurableStore,
    durable::{ExchangeRow, TopologyChange, TopologyStore, TopologyTable, testing::MemoryTopology},
    exchange::ExchangeKind,
    listing::Wanted,
    local::{LocalChannel, LocalPublish, ReceivedMessage},
    wire::{
        ShortStr, Table,
        method::queue::Declare,
        properties::PropertyList,
        table::{TableBuilder, ValueRef},
    },
};

const PATIENCE: Duration = Duration::from_secs(10);

/// What survives a broker.
struct Kept {
    topology: Arc<MemoryTopology>,
    folder: tempfile::TempDir,
}

impl Kept {
    fn new() -> Self {
        Self {
            topology: Arc::default(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    async fn open(&self) -> Result<Broker, BrokerError> {
        let config = Config {
            listen: String::new(),
            ..Config::default()
        };
        let store = DurableStore {
            topology: Arc::clone(&self.topology) as _,
            messages: self.folder.path().to_owned(),
        };
        let listening = Broker::bind_durable(config, store).await;
        listening.map(|listening| listening.broker())
    }
}

async fn close(broker: Broker) {
    broker.shared().stores.get().unwrap().close().await;
}

fn short(text: &str) -> ShortStr {
    ShortStr::try_from(text).unwrap()
}

fn queue(name: &str, max_length: i64) -> Declare {
    let mut arguments = TableBuilder::new();
    arguments.put("x-max-length", ValueRef::I64(max_length));
    Declare {
        queue: short(name),
        durable: true,
        arguments: arguments.build(),
        ..Declare::default()
    }
}

async fn declare(channel: &mut LocalChannel, declare: Declare) {
    let declared = timeout(PATIENCE, channel.declare_queue(declare)).await;
    declared.expect("an answer in time").unwrap();
}

async fn bind(channel: &mut LocalChannel, queue: &str, exchange: &str, key: &str) {
    let bound = timeout(
        PATIENCE,
        channel.bind(short(queue), short(exchange), short(key)),
    );
    bound.await.expect("an answer in time").unwrap();
}

/// Everything that was declared, as text.
async fn everything(broker: &Broker) -> Vec<String> {
    let wanted = Wanted {
        vhost: None,
        name: String::new(),
        limit: 100,
    };
    let (exchanges, queues) = (
        broker.exchanges(&wanted).await,
        broker.queues(&wanted).await,
    );
    let bindings = broker.bindings(&wanted).await;
    let own = |name: &String| !name.is_empty() && !name.starts_with("amq.");
    let mut lines: Vec<_> = (exchanges.items.iter())
        .filter(|exchange| own(&exchange.name))
        .map(|one| format!("exchange {}", serde_json::to_string(one).unwrap()))
        .chain(queues.items.iter().map(|one| {
            let arguments = serde_json::to_string(&one.arguments).unwrap();
            format!("queue {} {} {arguments}", one.name, one.durable)
        }))
        .chain(
            (bindings.items.iter())
                .map(|one| format!("{} -> {} {}", one.source, one.destination, one.routing_key)),
        )
        .collect();
    lines.sort_unstable();
    lines
}

/// A channel with publisher confirms.
async fn confirming(broker: &Broker) -> LocalChannel {
    let mut channel = broker.local("/").unwrap().open();
    channel.select_confirms().await.unwrap();
    channel
}

#[tokio::test]
async fn what_is_durable_is_put_back_and_nothing_else() {
    let kept = Kept::new();
    let store = Arc::clone(&kept.topology);
    let broker = kept.open().await.unwrap();
    let mut channel = broker.local("/").unwrap().open();
    let exchange = channel.declare_exchange(short("orders"), short("topic"));
    timeout(PATIENCE, exchange).await.unwrap().unwrap();
    declare(&mut channel, queue("a", 5)).await;
    declare(&mut channel, queue("b", 6)).await;
    bind(&mut channel, "a", "orders", "order.*").await;
    bind(&mut channel, "b", "orders", "#").await;
    bind(&mut channel, "a", "amq.topic", "x.#").await;
    let expected = everything(&broker).await;

    // Nothing of this survives: it is transient, of one connection, or deleted again.
    let transient = Declare {
        durable: false,
        ..queue("transient", 1)
    };
    let exclusive = Declare {
        exclusive: true,
        ..queue("exclusive", 1)
    };
    for one in [transient, exclusive] {
        let name = one.queue.to_string();
        declare(&mut channel, one).await;
        bind(&mut channel, &name, "orders", "k").await;
    }
    declare(&mut channel, queue("deleted", 1)).await;
    bind(&mut channel, "deleted", "orders", "k").await;
    broker.delete("/", "deleted").await.unwrap();
    let counts = [
        TopologyTable::Exchanges,
        TopologyTable::Queues,
        TopologyTable::Bindings,
    ]
    .map(|table| store.count(table));
    assert_eq!(counts, [1, 2, 3], "the answer to the delete came after it");
    drop(channel);
    close(broker).await;

    let broker = kept.open().await.unwrap();
    assert_eq!(everything(&broker).await, expected);
    // A new queue never has the bindings of an earlier one.
    let mut channel = broker.local("/").unwrap().open();
    declare(&mut channel, queue("deleted", 1)).await;
    declare(&mut channel, queue("a", 5)).await;
    broker.delete("/", "deleted").await.unwrap();
    assert_eq!(everything(&broker).await, expected);
}

#[tokio::test]
async fn a_binding_whose_queue_is_gone_is_not_put_back_to_a_queue_of_the_same_name() {
    let kept = Kept::new();
    let store = Arc::clone(&kept.topology);
    let broker = kept.open().await.unwrap();
    let mut channel = broker.local("/").unwrap().open();
    declare(&mut channel, queue("a", 5)).await;
    bind(&mut channel, "a", "amq.topic", "x").await;
    drop(channel);
    close(broker).await;
    // As a crash between both leaves it.
    let mut rows = Vec::new();
    let read = store.read(TopologyTable::Queues, &mut |number, row| {
        rows.push((number, row));
        Ok(())
    });
    read.unwrap();
    let change = |number, value| TopologyChange {
        table: TopologyTable::Queues,
        number,
        value,
    };
    let (number, row) = rows.remove(0);
    let changes = [
        change(number, None),
        change(number + 1000, Some(row.to_vec())),
    ];
    store.commit(&changes).unwrap();
    let broker = kept.open().await.unwrap();
    assert_eq!(everything(&broker).await.len(), 1, "the queue alone");
    close(broker).await;
    let broker = kept.open().await.unwrap();
    let mut channel = broker.local("/").unwrap().open();
    declare(&mut channel, queue("b", 5)).await;
    assert_eq!(store.count(TopologyTable::Bindings), 0, "it is cleaned up");
}

#[tokio::test]
async fn rows_of_other_vhosts_are_kept_and_unreadable_ones_are_refused() {
    let kept = Kept::new();
    let store = Arc::clone(&kept.topology);
    let row = ExchangeRow {
        vhost: short("elsewhere"),
        name: short("e"),
        kind: ExchangeKind::Fanout,
        auto_delete: false,
        internal: false,
        arguments: Table::EMPTY,
    };
    let change = |value| TopologyChange {
        table: TopologyTable::Exchanges,
        number: 5000,
        value: Some(value),
    };
    store.commit(&[change(row.encode())]).unwrap();
    let broker = kept.open().await.unwrap();
    assert!(everything(&broker).await.is_empty());
    assert_eq!(store.count(TopologyTable::Exchanges), 1);
    close(broker).await;
    store.commit(&[change(vec![9])]).unwrap();
    let refused = kept.open().await.unwrap_err();
    assert!(matches!(refused, BrokerError::Stored(_)));
}

/// Publishes a persistent message and waits until it is durable.
async fn keep(channel: &mut LocalChannel, queue: &str) {
    let persistent = PropertyList {
        delivery_mode: Some(2),
        ..PropertyList::default()
    };
    channel.publish(LocalPublish {
        exchange: ShortStr::EMPTY,
        routing_key: short(queue),
        properties: persistent.build(),
        body: "kept".into(),
    });
    let confirmed = timeout(PATIENCE, channel.confirmed()).await;
    assert_eq!(confirmed.expect("a confirm in time").unwrap(), 1);
}

async fn ready(broker: &Broker, queue: &str) -> Option<u64> {
    Some(broker.queue("/", queue).await?.messages_ready)
}

#[tokio::test]
async fn messages_of_a_queue_that_was_lost_are_kept_and_those_of_a_deleted_one_are_not() {
    let kept = Kept::new();
    let broker = kept.open().await.unwrap();
    let mut channel = confirming(&broker).await;
    for name in ["lost", "deleted"] {
        declare(&mut channel, queue(name, 10)).await;
        keep(&mut channel, name).await;
    }
    assert_eq!(broker.delete("/", "deleted").await, Some(1));
    close(broker).await;
    assert_eq!(kept.topology.notes.load(SeqCst), 1);
    // The rows are lost, as by damage, for one start.
    let intact = kept.topology.rows(TopologyTable::Queues);
    kept.topology.clear(TopologyTable::Queues);
    let broker = kept.open().await.unwrap();
    assert_eq!(ready(&broker, "lost").await, None);
    close(broker).await;
    let put_back = intact.into_iter().map(|(number, value)| TopologyChange {
        table: TopologyTable::Queues,
        number,
        value: Some(value),
    });
    let put_back: Vec<_> = put_back.collect();
    assert_eq!(put_back.len(), 1);
    kept.topology.commit(&put_back).unwrap();
    let broker = kept.open().await.unwrap();
    assert_eq!(ready(&broker, "lost").await, Some(1));
    assert_eq!(ready(&broker, "deleted").await, None);
    close(broker).await;
    // What was deleted is deleted in the log too by now: no note of it is left.
    assert_eq!(kept.topology.count(TopologyTable::DeletedQueues), 0);
}

#[tokio::test]
async fn a_deleted_queue_is_noted_until_its_messages_are_deleted_durably() {
    let kept = Kept::new();
    let broker = kept.open().await.unwrap();
    let mut channel = confirming(&broker).await;
    declare(&mut channel, queue("q", 10)).await;
    keep(&mut channel, "q").await;
    close(broker).await;
    // As a crash leaves it between the commit of the deletion and the log of messages.
    let number = kept.topology.rows(TopologyTable::Queues)[0].0;
    kept.topology.clear(TopologyTable::Queues);
    let note = TopologyChange {
        table: TopologyTable::DeletedQueues,
        number,
        value: Some(Vec::new()),
    };
    kept.topology.commit(&[note]).unwrap();
    close(kept.open().await.unwrap()).await;
    let broker = kept.open().await.unwrap();
    assert_eq!(kept.topology.count(TopologyTable::DeletedQueues), 0);
    let stores = broker.shared().stores.get().unwrap();
    assert_eq!(stores.log.stats().live_messages, 0);
    close(broker).await;
}

/// A queue of this type that gives a message up when it was requeued more than `limit` times.
fn limited(name: &str, kind: &str, limit: i64) -> Declare {
    let mut arguments = TableBuilder::new();
    arguments.put_str("x-queue-type", short(kind));
    arguments.put("x-delivery-limit", ValueRef::I64(limit));
    arguments.put_str("x-dead-letter-exchange", &ShortStr::EMPTY);
    arguments.put_str("x-dead-letter-routing-key", short("dead"));
    Declare {
        queue: short(name),
        durable: true,
        arguments: arguments.build(),
        ..Declare::default()
    }
}

/// The next message of a queue, left unacknowledged; and its channel.
async fn hold(broker: &Broker, queue: &str) -> (LocalChannel, ReceivedMessage) {
    let mut channel = broker.local("/").unwrap().open();
    channel.consume(short(queue), 0, false).await.unwrap();
    let next = timeout(PATIENCE, channel.next(1)).await;
    let mut next = next.expect("a message in time").unwrap().unwrap();
    (channel, next.remove(0))
}

fn delivery_count(message: &ReceivedMessage) -> i64 {
    let headers = message.properties.headers();
    match headers.and_then(|headers| headers.field(b"x-delivery-count")) {
        None => 0,
        Some(ValueRef::I64(count)) => count,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_message_that_ends_the_daemon_each_time_is_given_up() {
    for kind in ["quorum", "classic"] {
        let kept = Kept::new();
        let broker = kept.open().await.unwrap();
        let mut channel = broker.local("/").unwrap().open();
        channel.select_confirms().await.unwrap();
        declare(&mut channel, limited("q", kind, 2)).await;
        declare(&mut channel, queue("dead", 10)).await;
        keep(&mut channel, "q").await;
        close(broker).await;
        for run in 0..3 {
            let broker = kept.open().await.unwrap();
            let (channel, message) = hold(&broker, "q").await;
            assert_eq!(message.redelivered, run > 0, "{kind}");
            assert_eq!(delivery_count(&message), run, "{kind}");
            // The consumer ends with the daemon: it can neither acknowledge nor reject.
            close(broker).await;
            drop(channel);
        }
        let broker = kept.open().await.unwrap();
        let (_channel, letter) = hold(&broker, "dead").await;
        let headers = letter.properties.headers().unwrap();
        let reason = headers.field(b"x-first-death-reason");
        assert_eq!(
            reason.and_then(ValueRef::as_str_bytes),
            Some(&b"delivery_limit"[..])
        );
        assert_eq!(ready(&broker, "q").await, Some(0), "{kind}");
        close(broker).await;
    }
}

#[tokio::test]
async fn deliveries_are_counted_when_a_run_requeues_and_the_next_ends_early() {
    let kept = Kept::new();
    let broker = kept.open().await.unwrap();
    let mut channel = confirming(&broker).await;
    declare(&mut channel, limited("q", "quorum", 20)).await;
    keep(&mut channel, "q").await;
    // Its channel closes: requeued.
    drop(hold(&broker, "q").await);
    let (held, message) = hold(&broker, "q").await;
    assert_eq!(delivery_count(&message), 1);
    close(broker).await;
    drop(held);
    // Starts without a consumer count nothing.
    for _ in 0..2 {
        let broker = kept.open().await.unwrap();
        assert_eq!(ready(&broker, "q").await, Some(1));
        close(broker).await;
    }
    let broker = kept.open().await.unwrap();
    let (held, message) = hold(&broker, "q").await;
    assert_eq!((delivery_count(&message), message.redelivered), (2, true));
    drop(held);
    let (_held, message) = hold(&broker, "q").await;
    assert_eq!(delivery_count(&message), 3);
    close(broker).await;
}

#[tokio::test]
async fn messages_that_a_consumer_held_come_back_redelivered_and_the_others_do_not() {
    let kept = Kept::new();
    let broker = kept.open().await.unwrap();
    let mut channel = confirming(&broker).await;
    declare(&mut channel, queue("q", 10)).await;
    keep(&mut channel, "q").await;
    let (held, _) = hold(&broker, "q").await;
    // Given at once to a consumer that waits for it.
    keep(&mut channel, "q").await;
    close(broker).await;
    drop(held);
    let broker = kept.open().await.unwrap();
    let mut channel = confirming(&broker).await;
    keep(&mut channel, "q").await;
    let (mut consumer, first) = hold(&broker, "q").await;
    let mut redelivered = vec![first.redelivered];
    while redelivered.len() < 3 {
        let next = timeout(PATIENCE, consumer.next(1)).await.unwrap().unwrap();
        redelivered.extend(next.unwrap().iter().map(|one| one.redelivered));
    }
    assert_eq!(redelivered, [true, true, false]);
    close(broker).await;
}

#[tokio::test]
async fn the_index_of_the_log_counts_as_held() {
    let kept = Kept::new();
    let broker = kept.open().await.unwrap();
    let mut channel = confirming(&broker).await;
    declare(&mut channel, queue("q", 1000)).await;
    let counted = |broker: &Broker| {
        let stores = broker.shared().stores.get().unwrap();
        let bytes = stores.index.lock().bytes() as u64;
        assert_eq!(bytes, stores.log.stats().index_bytes);
        bytes
    };
    let empty = counted(&broker);
    for _ in 0..20 {
        keep(&mut channel, "q").await;
    }
    let filled = counted(&broker);
    assert!(filled >= empty + 20 * 16, "{filled} after {empty}");
    close(broker).await;
    let broker = kept.open().await.unwrap();
    assert!(counted(&broker) >= 20 * 16);
    assert!(broker.shared().memory.used() as u64 > counted(&broker));
    close(broker).await;
}

#[tokio::test]
async fn while_messages_are_copied_a_later_topology_knows_each_queue_that_they_are_of() {
    let kept = Kept::new();
    let broker = kept.open().await.unwrap();
    let mut channel = confirming(&broker).await;
    for name in ["deleted", "other"] {
        declare(&mut channel, queue(name, 10)).await;
        keep(&mut channel, name).await;
    }
    let frozen = broker.freeze_messages().unwrap();
    assert!(!frozen.files().is_empty());
    assert_eq!(broker.delete("/", "deleted").await, Some(1));
    let stores = broker.shared().stores.get().unwrap();
    for _ in 0..2 {
        keep(&mut channel, "other").await;
        stores.until_committed().await;
    }
    let notes = || kept.topology.count(TopologyTable::DeletedQueues);
    assert_eq!(notes(), 1);
    drop(frozen);
    stores.until_committed().await;
    assert_eq!(notes(), 0);
    drop(channel);
    close(broker).await;
}
