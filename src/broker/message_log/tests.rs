//! The log as its owner sees it.

mod damage;
mod faults;
mod flow;
mod frames;
mod full;
mod model;
mod real;
mod repair;
mod space;

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;

use super::{
    LogPosition, MessageLogError, MessageLogOptions, MessageLogState, QueueNumber, QueuePlace,
    ReadLimits, RecoveredMessages, RecoveredQueue, StoredMessage,
    group::MessageGroup,
    pending::{LogOperation, QueueChange},
    read, recover,
    shared::Shared,
    writer::LogWriter,
};
use crate::{
    broker::{
        memory::Memory,
        message::{Death, DeathReason, InboundMessage, Message},
        queue::FIRST_POSITION,
        wire::{ShortStr, properties::PropertyList, table::TableBuilder},
    },
    disk::{Disk, testing::SimDisk},
};

/// The place of the n-th message of a queue.
const fn at(n: u64) -> u64 {
    FIRST_POSITION + n
}

const SMALL: MessageLogOptions = MessageLogOptions {
    segment_bytes: 8 << 10,
    // Only records that somebody waits for become durable.
    sync_interval: Duration::from_secs(3600),
    retry_interval: Duration::ZERO,
    reserve_bytes: 4 << 10,
};

/// A log without its thread: the test takes the turns.
struct TestLog {
    writer: LogWriter,
    shared: Arc<Shared>,
    recovered: RecoveredMessages,
}

impl TestLog {
    fn open(disk: &SimDisk) -> Self {
        Self::try_open(disk, SMALL).expect("it opens")
    }

    fn try_open(disk: &SimDisk, options: MessageLogOptions) -> Result<Self, MessageLogError> {
        let disk: Box<dyn Disk> = Box::new(disk.clone());
        let opened = recover::open(disk, Path::new("sim"), options)?;
        Ok(Self {
            shared: opened.writer.shared(),
            writer: opened.writer,
            recovered: opened.recovered,
        })
    }

    fn append(&self, message: &Arc<Message>, places: &[QueuePlace]) -> LogPosition {
        self.shared.append(message, places)
    }

    /// Appends a message with this body to one queue.
    fn publish(&self, queue: QueueNumber, position: u64, body: &[u8]) -> LogPosition {
        self.append(&message(body), &[place(queue, position)])
    }

    fn change(&self, change: QueueChange) -> LogPosition {
        self.shared.push(LogOperation::Change(change))
    }

    fn settle(&self, queue: QueueNumber, first: u64, last: u64) -> LogPosition {
        self.change(QueueChange::settled(queue, first..=last))
    }

    fn deliver(&self, queue: QueueNumber, position: u64) -> LogPosition {
        self.change(QueueChange::delivered(queue, position))
    }

    fn requeue(&self, queue: QueueNumber, from: u64, position: u64, returns: u32) -> LogPosition {
        self.change(QueueChange::Requeued {
            queue,
            from,
            position,
            returns,
        })
    }

    fn group(&self) -> MessageGroup {
        MessageGroup::new(&self.shared)
    }

    /// Writes everything and makes it durable.
    fn sync(&mut self) {
        self.shared.request_durable(LogPosition::MAX);
        self.turns();
    }

    /// Takes turns until there is nothing to do at once.
    fn turns(&mut self) {
        for _ in 0..10_000 {
            if self.writer.turn() != super::writer::NextTurn::Now {
                return;
            }
        }
        panic!("the writer finds no end");
    }

    /// Takes a few turns: with a full disk there is always something to do.
    fn turns_at_most(&mut self, count: usize) {
        for _ in 0..count {
            self.writer.turn();
        }
    }

    fn durable(&self) -> LogPosition {
        self.shared.durable.load(Relaxed)
    }

    fn state(&self) -> MessageLogState {
        self.shared.state.borrow().clone()
    }

    fn read(&self, queue: QueueNumber) -> Vec<StoredMessage> {
        self.try_read(queue).expect("it can be read")
    }

    fn try_read(&self, queue: QueueNumber) -> Result<Vec<StoredMessage>, MessageLogError> {
        let limits = ReadLimits {
            messages: usize::MAX,
            bytes: u64::MAX,
        };
        read::read(&self.shared, queue, 0..=u64::MAX, limits)
    }

    fn bodies(&self, queue: QueueNumber) -> Vec<Bytes> {
        self.read(queue).into_iter().map(|one| one.body).collect()
    }

    fn queue(&self, queue: QueueNumber) -> Option<RecoveredQueue> {
        let mut queues = self.recovered.queues.iter();
        queues.find(|one| one.queue == queue).copied()
    }
}

fn place(queue: QueueNumber, position: u64) -> QueuePlace {
    QueuePlace {
        queue,
        position,
        deadline: None,
    }
}

fn inbound(body: &[u8]) -> InboundMessage {
    let mut inbound = InboundMessage::new(
        ShortStr::from_static("exchange"),
        ShortStr::from_static("key"),
        PropertyList {
            delivery_mode: Some(2),
            ..PropertyList::default()
        }
        .build(),
        Bytes::copy_from_slice(body),
    );
    inbound.persistent = true;
    inbound
}

fn message(body: &[u8]) -> Arc<Message> {
    keep(inbound(body))
}

fn keep(mut inbound: InboundMessage) -> Arc<Message> {
    inbound.keep(&Memory::new(usize::MAX), &ShortStr::EMPTY)
}

/// A message with every part that a message can have.
fn rich_message() -> Arc<Message> {
    let text = ShortStr::from_static;
    let mut rich = inbound(b"rich");
    rich.exchange = text("");
    rich.routing_key = ShortStr::truncated(&"k".repeat(255));
    rich.properties = PropertyList {
        content_type: Some(text("text/plain")),
        delivery_mode: Some(2),
        priority: Some(7),
        timestamp: Some(1_700_000_000),
        expiration: Some(text("60000")),
        ..PropertyList::default()
    }
    .build();
    rich.priority = 7;
    rich.ttl = Some(60_000);
    rich.hidden_keys = Some([text("a"), text("")].into());
    let death = |reason, expiration| Death {
        queue: text("queue"),
        reason,
        count: u64::MAX,
        exchange: text("exchange"),
        routing_keys: vec![text("key"), text("cc")],
        expiration,
        time: 1_700_000_001,
    };
    rich.deaths = Some(
        [
            death(DeathReason::Rejected, None),
            death(DeathReason::Expired, Some(text("5000"))),
            death(DeathReason::MaxLen, None),
            death(DeathReason::DeliveryLimit, None),
        ]
        .into(),
    );
    keep(rich)
}

#[test]
fn a_message_is_the_same_after_a_restart() {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    let rich = rich_message();
    let deadline = Some(1_700_000_060_000);
    let expiring = QueuePlace {
        deadline,
        ..place(1, at(0))
    };
    log.append(&rich, &[expiring, place(2, at(5))]);
    log.sync();
    let log = TestLog::open(&disk.after_kill());
    for (queue, position, deadline) in [(1, at(0), deadline), (2, at(5), None)] {
        let [stored] = &log.read(queue)[..] else {
            panic!("one message in queue {queue}");
        };
        let head = &stored.head;
        assert_eq!(stored.position, position);
        assert_eq!(stored.deadline, deadline);
        assert_eq!((stored.returns, stored.redelivered), (0, false));
        assert_eq!(stored.body, rich.body);
        assert_eq!(head.exchange, rich.exchange);
        assert_eq!(head.routing_key, rich.routing_key);
        assert_eq!(head.properties, rich.properties);
        assert_eq!((head.priority, head.ttl), (rich.priority, rich.ttl));
        assert_eq!(head.hidden_keys, rich.hidden_keys);
        assert_eq!(head.deaths, rich.deaths);
        let places = log.shared.index.lock().places(queue, 0..=u64::MAX, 10);
        assert_eq!(places.len(), 1);
        assert_eq!(places[0].priority, 7);
        assert_eq!(places[0].expires, deadline.is_some());
        assert_eq!(places[0].body_len, 4);
    }
}

#[test]
fn a_message_in_many_queues_is_written_once() {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    let places: Vec<_> = (0..20).map(|queue| place(queue, at(0))).collect();
    log.append(&message(&[7; 4000]), &places);
    log.sync();
    assert!(log.shared.counts.written_bytes.load(Relaxed) < 5000);
    assert_eq!(log.shared.stats().live_messages, 1);
    for queue in 0..19 {
        log.settle(queue, at(0), at(0));
        log.sync();
        assert_eq!(log.shared.stats().live_messages, 1, "queue {queue}");
    }
    assert_eq!(log.bodies(19), [vec![7; 4000]]);
    log.settle(19, at(0), at(0));
    log.sync();
    assert_eq!(log.shared.stats().live_messages, 0);
}

#[test]
fn a_queue_does_not_read_the_places_of_thousands() {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    let places: Vec<_> = (0..1000).map(|queue| place(queue, at(0))).collect();
    log.append(&message(b"to all"), &places);
    log.sync();
    let calls = disk.read_bytes();
    assert_eq!(log.bodies(999), ["to all"]);
    assert!(disk.read_bytes() - calls < 3000);
}

#[test]
fn settled_messages_never_return() {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    for n in 0..100 {
        log.publish(1, at(n), format!("message {n}").as_bytes());
        log.publish(2, at(n), b"purged");
        log.publish(3, at(n), b"deleted");
    }
    log.sync();
    log.settle(1, at(5), at(5));
    log.settle(1, at(10), at(89));
    log.settle(2, 0, at(97));
    log.change(QueueChange::Deleted { queue: 3 });
    log.sync();
    let log = TestLog::open(&disk.after_kill());
    let left: Vec<u64> = log.read(1).iter().map(|one| one.position).collect();
    let expected: Vec<u64> = (0..100)
        .filter(|n| *n != 5 && !(10..90).contains(n))
        .map(at)
        .collect();
    assert_eq!(left, expected);
    assert_eq!(log.read(2).len(), 2);
    assert_eq!(log.read(3).len(), 0);
    let queue = log.queue(1).expect("it is known");
    assert_eq!(queue.messages, 19);
    assert_eq!(queue.next_position, at(100));
}

#[test]
fn a_position_is_known_while_a_record_of_it_exists() {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    log.publish(1, at(41), b"one");
    log.publish(1, 17, b"requeued once");
    log.settle(1, 0, u64::MAX);
    log.sync();
    let log = TestLog::open(&disk.after_kill());
    let queue = log.queue(1).expect("it is known");
    assert_eq!((queue.messages, queue.body_bytes), (0, 0));
    assert_eq!((queue.next_position, queue.next_return), (at(42), 18));
}

#[test]
fn deliveries_and_requeues_are_known_after_a_restart() {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    for n in 0..6 {
        log.publish(1, at(n), &[b'a' + u8::try_from(n).unwrap()]);
    }
    for n in 0..4 {
        log.deliver(1, at(n));
    }
    log.requeue(1, at(1), at(1), 1);
    log.requeue(1, at(2), 0, 1);
    log.requeue(1, at(3), 1, 1);
    log.requeue(1, 0, 2, 2);
    log.settle(1, 1, 1);
    log.sync();
    let check = |log: &TestLog| {
        let found: Vec<_> = log
            .read(1)
            .into_iter()
            .map(|one| (one.position, one.body, one.returns, one.redelivered))
            .collect();
        let expected = [
            (2, "c", 2, true),
            (at(0), "a", 0, true),
            (at(1), "b", 1, true),
            (at(4), "e", 0, false),
            (at(5), "f", 0, false),
        ];
        let expected = expected.map(|(position, body, returns, redelivered)| {
            (position, Bytes::from(body), returns, redelivered)
        });
        assert_eq!(found, expected);
    };
    check(&log);
    let mut again = TestLog::open(&disk.after_kill());
    check(&again);
    assert_eq!(again.queue(1).map(|queue| queue.next_return), Some(3));
    again.settle(1, 2, 2);
    again.sync();
    assert_eq!(again.bodies(1).len(), 4);
}

#[test]
fn a_delivery_in_progress_is_known_after_a_restart_also_of_a_requeued_message() {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    for n in 0..5 {
        log.publish(1, at(n), &[0; 300]);
    }
    // Requeued at another position, and at the same one.
    for (n, position) in [(1, 0), (2, at(2)), (3, at(3))] {
        log.deliver(1, at(n));
        log.requeue(1, at(n), position, 1);
    }
    for position in [at(0), 0, at(2)] {
        log.deliver(1, position);
    }
    log.deliver(1, at(2));
    log.sync();
    let held = |log: &TestLog| -> Vec<_> {
        let all = log.read(1).into_iter();
        all.map(|one| (one.position, one.returns, one.redelivered, one.held))
            .collect()
    };
    let expected = [
        (0, 1, true, true),
        (at(0), 0, true, true),
        (at(2), 1, true, true),
        (at(3), 1, true, false),
        (at(4), 0, false, false),
    ];
    assert_eq!(held(&log), expected);
    let mut log = TestLog::open(&disk.after_kill());
    assert_eq!(held(&log), expected);
    // Cleaned, so that messages and what happened to them are written again.
    for n in 0..100 {
        log.publish(2, at(n), &[0; 500]);
        log.settle(2, at(n), at(n));
        log.sync();
    }
    assert_eq!(held(&log), expected);
    assert!(log.shared.counts.moved_bytes.load(Relaxed) > 1000);
    let disk = log.shared.disk.names().unwrap();
    assert!(!disk.contains(&"segment-0000000001".to_owned()));
}

#[test]
fn a_group_that_is_dropped_changes_nothing() {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    log.publish(1, at(0), b"stays");
    let mut group = log.group();
    group.append(&message(b"never"), &[place(1, at(1))]);
    group.settle(1, at(0));
    drop(group);
    log.sync();
    assert_eq!(TestLog::open(&disk.after_kill()).bodies(1), ["stays"]);
}

#[test]
fn what_is_settled_before_its_group_is_committed_does_not_return() {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    let mut group = log.group();
    let mut other = log.group();
    group.append(&message(b"settled"), &[place(1, at(0)), place(2, at(0))]);
    other.append(&message(b"purged"), &[place(3, at(0))]);
    log.settle(1, at(0), at(0));
    log.settle(3, 0, at(9));
    log.sync();
    log.sync();
    log.shared.commit(group);
    log.sync();
    assert_eq!(log.bodies(1).len(), 0);
    assert_eq!(log.bodies(2), ["settled"]);
    log.shared.commit(other);
    log.sync();
    assert_eq!(log.bodies(3).len(), 0);
    let mut log = TestLog::open(&disk.after_kill());
    assert_eq!(log.bodies(1).len() + log.bodies(3).len(), 0);
    assert_eq!(log.bodies(2), ["settled"]);
    log.settle(2, at(0), at(0));
    log.sync();
    assert_eq!(log.shared.stats().live_messages, 0);
    assert_eq!(log.shared.pending_bytes.load(Relaxed), 0);
}
