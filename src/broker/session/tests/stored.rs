//! Confirms and commits of messages that are stored.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use bytesize::ByteSize;

use super::fixture::{Client, World, name, table, text};
use crate::broker::{
    budget::TURN_STEPS_MAX,
    config::Limits,
    durable::{LoadRequests, TopologyJournal, load, testing::MemoryTopology},
    message_log::{MessageLog, MessageLogOptions, MessageLogState, QueueNumber},
    vhost::{Stamp, VhostLog},
    wire::{
        Method, Properties, ValueRef,
        method::{basic, modes, queue},
        properties::PropertyList,
    },
};

/// A vhost with a log of messages, in which nothing is durable until a test says so.
struct Logged {
    world: World,
    log: MessageLog,
    durable: Arc<AtomicU64>,
    loads: Arc<LoadRequests>,
    _folder: tempfile::TempDir,
}

impl Logged {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (log, _) = MessageLog::open(folder.path(), MessageLogOptions::default()).unwrap();
        let durable = Arc::<AtomicU64>::default();
        let loads = Arc::<LoadRequests>::default();
        let mut world = World::with(limits, Stamp::default());
        let topology = Arc::<MemoryTopology>::default();
        let journal = Arc::new(TopologyJournal::open(topology).unwrap());
        world.vhost.set_topology(Arc::clone(&journal));
        world.vhost.set_log(VhostLog {
            log: log.clone(),
            durable: Arc::clone(&durable),
            loads: Arc::clone(&loads),
            vhost: 0,
        });
        std::thread::spawn(move || journal.run(|| ()));
        Self {
            world,
            log,
            durable,
            loads,
            _folder: folder,
        }
    }

    /// A client in confirm mode, with a durable queue of this name.
    fn client(&mut self, queue: &str) -> Client {
        let mut client = self.world.client(1);
        client.send(&mut self.world, 1, &durable(queue));
        client.send(&mut self.world, 1, &modes::ConfirmSelect::default());
        assert_eq!(client.sent().len(), 2);
        client
    }

    /// Waits until everything that was appended is written.
    fn write(&self) {
        let last = self.log.settle(QueueNumber::MAX, 0);
        self.log.request_durable(last);
        while self.log.durable() < last {
            assert_eq!(*self.log.state().borrow(), MessageLogState::Ready);
            std::thread::yield_now();
        }
    }

    /// Reads what is asked for from the log; whether anything was.
    fn load(&mut self) -> bool {
        if self.loads.is_empty() {
            return false;
        }
        let request = self.loads.next().unwrap();
        let loaded = load(&self.log, &request).unwrap();
        let world = &mut self.world;
        world.vhost.begin_turn();
        world.vhost.on_loaded(request.queue, loaded, world.now);
        while world.pump() {}
        true
    }

    /// Everything that was appended is durable.
    fn sync(&mut self) {
        self.durable.store(u64::MAX, SeqCst);
        self.world.progress();
        self.durable.store(0, SeqCst);
    }
}

fn durable(queue: &str) -> queue::Declare {
    queue::Declare {
        queue: name(queue),
        durable: true,
        ..Default::default()
    }
}

fn persistent() -> Properties {
    PropertyList {
        delivery_mode: Some(2),
        ..PropertyList::default()
    }
    .build()
}

/// The acks that a client was sent.
fn acks(client: &mut Client) -> Vec<(u64, bool)> {
    let acks = client.sent().into_iter().map(|sent| match sent.method {
        Method::BasicAck(ack) => (ack.delivery_tag, ack.multiple),
        other => panic!("{other:?}"),
    });
    acks.collect()
}

#[test]
fn a_persistent_message_is_confirmed_when_it_is_durable_and_later_ones_after_it() {
    let mut logged = Logged::new();
    let mut client = logged.client("q");
    let world = &mut logged.world;
    client.declare(world, "t", table(&[]));
    client.publish(world, "q", "transient");
    assert_eq!(acks(&mut client), [(1, false)]);
    client.publish_with(world, ("", "t"), &persistent(), "not in a durable queue");
    assert_eq!(acks(&mut client), [(2, false)]);
    client.publish_with(world, ("", "q"), &persistent(), "kept");
    client.publish(world, "q", "transient, behind it");
    client.publish_with(world, ("", "q"), &persistent(), "kept");
    world.progress();
    assert_eq!(acks(&mut client), []);
    let mut other = logged.client("r");
    let world = &mut logged.world;
    other.publish(world, "q", "another channel");
    assert_eq!(acks(&mut other), [(1, false)]);
    logged.sync();
    assert_eq!(acks(&mut client), [(5, true)]);
    client.publish(&mut logged.world, "q", "transient");
    assert_eq!(acks(&mut client), [(6, false)]);
}

#[test]
fn what_is_dropped_at_once_is_confirmed_at_once() {
    let mut logged = Logged::new();
    let mut client = logged.client("q");
    let world = &mut logged.world;
    let arguments = table(&[("x-max-length", ValueRef::I32(0))]);
    client.send(
        world,
        1,
        &queue::Declare {
            arguments,
            ..durable("none")
        },
    );
    assert_eq!(client.sent().len(), 1);
    client.publish_with(world, ("", "none"), &persistent(), "x");
    assert_eq!(acks(&mut client), [(1, false)]);
    assert_eq!(logged.log.stats().pending_bytes, 0);
}

#[test]
fn a_commit_is_answered_when_it_is_durable() {
    let mut logged = Logged::new();
    let mut plain = logged.client("q");
    let world = &mut logged.world;
    let mut client = world.client(1);
    client.send(world, 1, &modes::TxSelect {});
    client.publish(world, "q", "transient");
    client.send(world, 1, &modes::TxCommit {});
    let answers = |client: &mut Client| client.sent().len();
    assert_eq!(answers(&mut client), 2, "nothing to wait for");
    client.publish_with(world, ("", "q"), &persistent(), "kept");
    let mut frames = bytes::BytesMut::new();
    crate::broker::wire::method::MethodSpec::put(&modes::TxCommit {}, &mut frames, 1);
    client.push(&frames);
    client.turn(world);
    assert_eq!(answers(&mut client), 0);
    assert!(client.session.is_parked(&world.vhost));
    assert_eq!(plain.depth(world, "q"), Some(2), "others see it");
    logged.sync();
    assert_eq!(answers(&mut client), 1);
    assert!(!client.session.is_busy(&logged.world.vhost));
    // What it acknowledges is a part of it.
    let world = &mut logged.world;
    client.send(
        world,
        1,
        &basic::Get {
            queue: name("q"),
            no_ack: false,
        },
    );
    client.send(
        world,
        1,
        &basic::Get {
            queue: name("q"),
            no_ack: false,
        },
    );
    client.sent();
    client.ack(world, 1, 2);
    client.push(&frames);
    client.turn(world);
    assert_eq!(answers(&mut client), 0);
    logged.sync();
    assert_eq!(answers(&mut client), 1);
}

#[test]
fn a_refused_message_is_nacked_at_once() {
    let mut logged = Logged::new();
    let mut client = logged.client("q");
    let world = &mut logged.world;
    let arguments = table(&[
        ("x-max-length", ValueRef::I32(1)),
        ("x-overflow", text("reject-publish")),
    ]);
    client.send(
        world,
        1,
        &queue::Declare {
            arguments,
            ..durable("one")
        },
    );
    client.sent();
    client.publish_with(world, ("", "one"), &persistent(), "kept");
    client.publish_with(world, ("", "one"), &persistent(), "refused");
    let sent = client.sent();
    assert!(matches!(&sent[0].method, Method::BasicNack(nack) if nack.delivery_tag == 2));
    assert_eq!(sent.len(), 1);
    logged.sync();
    assert_eq!(acks(&mut client), [(1, false)]);
}

#[test]
fn a_quorum_queue_without_limit_leaves_memory_with_what_was_requeued_behind_others() {
    let limits = Limits {
        queue_memory: ByteSize::kib(64).into(),
        ..Limits::default()
    };
    let mut logged = Logged::with(limits);
    let mut client = logged.world.client(1);
    let declare = queue::Declare {
        arguments: table(&[
            ("x-queue-type", text("quorum")),
            ("x-delivery-limit", ValueRef::I32(-1)),
        ]),
        ..durable("q")
    };
    client.send(&mut logged.world, 1, &declare);
    let publish = |logged: &mut Logged, client: &mut Client, numbers: std::ops::Range<u32>| {
        for number in numbers {
            let body = format!("{number} {}", "x".repeat(1000));
            client.publish_with(&mut logged.world, ("", "q"), &persistent(), &body);
        }
    };
    let get = |logged: &mut Logged, client: &mut Client| {
        let get = basic::Get {
            queue: name("q"),
            no_ack: false,
        };
        client.send(&mut logged.world, 1, &get);
    };
    publish(&mut logged, &mut client, 0..200);
    get(&mut logged, &mut client);
    get(&mut logged, &mut client);
    client.nack(&mut logged.world, 1, 1, true);
    client.nack(&mut logged.world, 1, 2, true);
    publish(&mut logged, &mut client, 200..300);
    client.sent();
    assert!(logged.world.held() > 300_000);
    logged.write();
    logged.sync();
    assert!(logged.world.held() < 100_000, "{}", logged.world.held());
    // While most are on the disk only.
    get(&mut logged, &mut client);
    client.nack(&mut logged.world, 1, 3, true);
    publish(&mut logged, &mut client, 300..400);
    logged.write();
    logged.sync();
    assert!(logged.world.held() < 100_000, "{}", logged.world.held());
    client.sent();
    let consume = basic::Consume {
        queue: name("q"),
        no_ack: true,
        ..Default::default()
    };
    client.send(&mut logged.world, 1, &consume);
    while logged.load() {}
    let delivered = client
        .sent()
        .into_iter()
        .filter(|sent| !sent.body.is_empty());
    let numbers: Vec<u32> = delivered
        .map(|sent| {
            let text = String::from_utf8(sent.body.to_vec()).unwrap();
            text.split(' ').next().unwrap().parse().unwrap()
        })
        .collect();
    let expected = (3..200).chain([0, 1]).chain(200..300);
    let expected: Vec<u32> = expected.chain([2]).chain(300..400).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn confirms_and_messages_that_leave_memory_count() {
    const QUEUES: usize = 40;
    const MESSAGES: usize = 1_200;
    let mut logged = Logged::with(Limits {
        queue_memory: ByteSize::kib(64).into(),
        ..Limits::default()
    });
    let mut client = logged.client("q0");
    let world = &mut logged.world;
    for number in 1..QUEUES {
        client.send(world, 1, &durable(&format!("q{number}")));
    }
    client.sent();
    client.declare_exchange(world, "f", "fanout");
    for number in 0..QUEUES {
        client.bind(world, &format!("q{number}"), "f", "");
    }
    for _ in 0..MESSAGES {
        client.publish_with(world, ("f", ""), &persistent(), "x");
    }
    let held = world.held();
    (world.turns, world.steps, world.steps_max) = (0, 0, 0);
    logged.sync();
    let last = MESSAGES as u64;
    assert_eq!(acks(&mut client).last(), Some(&(last, true)));
    let world = &mut logged.world;
    assert!(world.held() < held / 2, "{} of {held}", world.held());
    let least = MESSAGES + QUEUES * (MESSAGES - 100);
    let least = i64::try_from(least).unwrap();
    assert!(world.steps >= least, "{} steps, not {least}", world.steps);
    assert!(
        world.steps_max <= TURN_STEPS_MAX,
        "{} steps in one of {} turns",
        world.steps_max,
        world.turns
    );
}

#[test]
fn messages_behind_those_in_the_log_do_not_keep_these_from_being_read() {
    let mut logged = Logged::with(Limits {
        queue_memory: ByteSize::kib(256).into(),
        ..Limits::default()
    });
    let mut client = logged.client("q");
    let body = "x".repeat(1_000);
    for _ in 0..400 {
        client.publish_with(&mut logged.world, ("", "q"), &persistent(), &body);
    }
    logged.write();
    logged.sync();
    assert!(logged.world.held() < 100_000, "{}", logged.world.held());
    // More than the queue reads ahead, and less than its memory.
    for _ in 0..300 {
        client.publish_with(&mut logged.world, ("", "q"), &persistent(), "y");
    }
    logged.write();
    logged.sync();
    client.sent();
    let consume = basic::Consume {
        queue: name("q"),
        no_ack: true,
        ..Default::default()
    };
    client.send(&mut logged.world, 1, &consume);
    while logged.load() {}
    assert_eq!(client.delivered().len(), 700);
}
