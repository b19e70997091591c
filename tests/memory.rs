//! What the broker and the registry count, compared with what the allocator gave: within a factor of 2 for each kind
//! of thing that a client can make them keep. One test, alone in its process: the allocator counts for all threads.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]

#[path = "memory/registry.rs"]
mod registry;

use std::{
    alloc::System,
    net::Ipv4Addr,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bytes::BytesMut;
use musterd::broker::{
    auth::{self, Authenticator},
    config::Limits,
    memory::{Memory, SHARED_BODY_MIN},
    outbox::Outbox,
    peer::Peer,
    session::{Context, Session, SessionIdentity, SessionLimits},
    vhost::{BrokerTime, Stamp, Vhost},
    wire::{
        FrameReader, Properties, ShortStr, Table,
        content::{put_body, put_content, put_header},
        method::{MethodSpec, basic, channel, exchange, modes, queue},
        table::TableBuilder,
    },
};
use proptest::{prelude::*, test_runner::TestRunner};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const FRAME_MAX: u32 = 131_072;
/// Makes the broker keep things of these sizes.
type Fill = fn(&mut Client, Sizes);

/// Named in each measurement.
const KINDS: &[(&str, Fill)] = &[
    ("queues", queues),
    ("exchanges", exchanges),
    ("bindings of a direct exchange", |client, sizes| {
        bindings(client, sizes, "direct");
    }),
    ("bindings of a fanout exchange", |client, sizes| {
        bindings(client, sizes, "fanout");
    }),
    (
        "bindings that were moved from a topic exchange",
        moved_bindings,
    ),
    ("bindings of a topic exchange", |client, sizes| {
        bindings(client, sizes, "topic");
    }),
    ("bindings of a headers exchange", |client, sizes| {
        bindings(client, sizes, "headers");
    }),
    ("consumers", consumers),
    ("cancelled consumers without credit", cancelled),
    ("channels", channels),
    ("messages in one queue", messages),
    ("messages in many queues", messages_in_many_queues),
    ("messages given out", given_out),
    ("messages given out, most of them settled", settled),
    ("unfinished publishes", unfinished),
    ("transactions", transactions),
    ("an outbox that nobody reads", outbox),
];

/// How large the parts of a thing are.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    name: usize,
    arguments: usize,
    body: usize,
    count: usize,
}

fn sizes() -> impl Strategy<Value = Sizes> {
    (
        6..255_usize,
        prop_oneof![Just(0_usize), 10..200_usize, 200..20_000_usize],
        prop_oneof![0..200_usize, 200..10_000_usize, 16_000..60_000_usize],
        150..400_usize,
    )
        .prop_map(|(name, arguments, body, count)| Sizes {
            name,
            arguments,
            body,
            count,
        })
}

/// A vhost and one client of it, without a socket.
struct Client {
    vhost: Vhost,
    memory: Arc<Memory>,
    peer: Arc<Peer>,
    session: Session,
    frames: FrameReader,
    out: BytesMut,
}

impl Client {
    fn new() -> Self {
        let limits = Limits {
            unacked_per_channel: bytesize::ByteSize::gib(4).into(),
            transaction_per_channel: bytesize::ByteSize::gib(4).into(),
            ..Limits::default()
        };
        let memory = Memory::new(usize::MAX);
        let vhost = Vhost::new("/", limits, Arc::clone(&memory), Stamp::default());
        let outbox = Outbox::counted(usize::MAX, memory.charge(0));
        let peer = Arc::new(Peer::with_outbox(1, outbox));
        peer.frame_max.store(FRAME_MAX, Relaxed);
        let auth = Authenticator::new(&auth::Config::default(), &auth::Users::new()).unwrap();
        let guest = auth.login_certified("guest", Ipv4Addr::LOCALHOST.into());
        let identity = SessionIdentity {
            connection: 1,
            grant: guest.unwrap().grant("/").unwrap(),
        };
        let limits = SessionLimits {
            channel_max: 2047,
            message_bytes: 1 << 30,
            tx_bytes: usize::MAX,
        };
        let mut client = Self {
            session: Session::new(Arc::clone(&peer), identity, limits),
            vhost,
            memory,
            peer,
            frames: FrameReader::default(),
            out: BytesMut::new(),
        };
        client.send(1, &channel::Open {});
        client
    }

    /// Sends a method, and takes what the broker answers.
    fn send(&mut self, number: u16, method: &impl MethodSpec) {
        method.put(&mut self.out, number);
        self.flush();
        drop(self.peer.take());
    }

    fn publish(
        &mut self,
        number: u16,
        exchange: &str,
        key: &str,
        properties: &Properties,
        body: usize,
    ) {
        let publish = basic::Publish {
            exchange: short(exchange),
            routing_key: short(key),
            ..Default::default()
        };
        publish.put(&mut self.out, number);
        let body = vec![7; body];
        put_content(&mut self.out, number, properties, &body, FRAME_MAX);
        self.flush();
    }

    fn flush(&mut self) {
        // A separate allocation, as a read from a socket would be.
        let bytes = self.out.split().to_vec();
        self.out = BytesMut::new();
        self.frames.input().extend_from_slice(&bytes);
        let now = BrokerTime {
            ms: 1000,
            unix_ms: 1_700_000_000_000,
        };
        let mut context = Context {
            vhost: &mut self.vhost,
            now,
        };
        while let Some(frame) = self.frames.next(FRAME_MAX).unwrap() {
            self.session.on_frame(frame, &mut context);
            while self.session.is_busy(context.vhost) {
                context.vhost.pump(now);
            }
        }
        self.session.end_batch();
        self.frames = FrameReader::default();
        while self.vhost.pump(now) {}
        assert_eq!(self.session.take_raised(), None);
    }

    fn declare(&mut self, name: &str, arguments: Table) {
        let declare = queue::Declare {
            queue: short(name),
            nowait: true,
            arguments,
            ..Default::default()
        };
        self.send(1, &declare);
    }

    fn declare_exchange(&mut self, name: &str, kind: &str, arguments: Table) {
        let declare = exchange::Declare {
            exchange: short(name),
            kind: short(kind),
            nowait: true,
            arguments,
            ..Default::default()
        };
        self.send(1, &declare);
    }

    fn bind(&mut self, queue: &str, exchange: &str, key: &str, arguments: Table) {
        let bind = queue::Bind {
            queue: short(queue),
            exchange: short(exchange),
            routing_key: short(key),
            nowait: true,
            arguments,
        };
        self.send(1, &bind);
    }

    fn consume(&mut self, number: u16, queue: &str, tag: &str, no_ack: bool, arguments: Table) {
        let consume = basic::Consume {
            queue: short(queue),
            consumer_tag: short(tag),
            no_ack,
            nowait: true,
            arguments,
            ..Default::default()
        };
        self.send(number, &consume);
    }
}

fn short(text: &str) -> ShortStr {
    ShortStr::copied(text.as_bytes()).unwrap()
}

/// A name of this length that is not that of another number.
fn name(number: usize, len: usize) -> String {
    format!("{number:06}{}", "n".repeat(len.saturating_sub(6)))
}

/// A table of about so many bytes in fields of at most 1,000.
fn table(len: usize) -> Table {
    let mut table = TableBuilder::new();
    for (number, start) in (0..len).step_by(1000).enumerate() {
        table.put_str(format!("k{number}"), "v".repeat((len - start).min(1000)));
    }
    table.build()
}

fn queues(client: &mut Client, sizes: Sizes) {
    for number in 0..sizes.count {
        client.declare(&name(number, sizes.name), table(sizes.arguments));
    }
}

fn exchanges(client: &mut Client, sizes: Sizes) {
    for number in 0..sizes.count {
        client.declare_exchange(&name(number, sizes.name), "topic", table(sizes.arguments));
    }
}

/// A key of this length, of words of ten characters.
fn key(number: usize, len: usize) -> String {
    let mut key = name(number, len).into_bytes();
    key.iter_mut()
        .skip(6)
        .step_by(10)
        .for_each(|byte| *byte = b'.');
    String::from_utf8(key).unwrap()
}

fn bindings(client: &mut Client, sizes: Sizes, kind: &str) {
    client.declare("q", Table::EMPTY);
    client.declare_exchange("x", kind, Table::EMPTY);
    for number in 0..sizes.count {
        let key = key(number, sizes.name);
        client.bind("q", "x", &key, table(sizes.arguments));
    }
}

/// So that the places in the table of all bindings are in use again.
fn moved_bindings(client: &mut Client, sizes: Sizes) {
    bindings(client, sizes, "topic");
    client.declare_exchange("y", "fanout", Table::EMPTY);
    for number in 0..sizes.count {
        let unbind = queue::Unbind {
            queue: short("q"),
            exchange: short("x"),
            routing_key: short(&key(number, sizes.name)),
            arguments: table(sizes.arguments),
        };
        client.send(1, &unbind);
    }
    for number in 0..sizes.count {
        let key = key(number, sizes.name);
        client.bind("q", "y", &key, table(sizes.arguments));
    }
}

fn consumers(client: &mut Client, sizes: Sizes) {
    client.declare("q", Table::EMPTY);
    for number in 0..sizes.count {
        let tag = name(number, sizes.name);
        client.consume(1, "q", &tag, true, table(sizes.arguments));
    }
}

fn channels(client: &mut Client, sizes: Sizes) {
    for number in 0..sizes.count {
        client.send(u16::try_from(number + 2).unwrap(), &channel::Open {});
    }
}

fn messages(client: &mut Client, sizes: Sizes) {
    client.declare("q", Table::EMPTY);
    let properties = Properties::NONE.with_headers(&table(sizes.arguments));
    for _ in 0..sizes.count {
        client.publish(1, "", "q", &properties, sizes.body);
    }
}

fn messages_in_many_queues(client: &mut Client, sizes: Sizes) {
    client.declare_exchange("x", "fanout", Table::EMPTY);
    for number in 0..100 {
        client.declare(&name(number, 6), Table::EMPTY);
        client.bind(&name(number, 6), "x", "", Table::EMPTY);
    }
    for _ in 0..sizes.count {
        client.publish(1, "x", "", &Properties::NONE, sizes.body.min(500));
    }
}

fn given_out(client: &mut Client, sizes: Sizes) {
    messages(client, sizes);
    client.consume(1, "q", "c", false, Table::EMPTY);
}

/// Every eighth message is not settled.
fn settled(client: &mut Client, sizes: Sizes) {
    let count = sizes.count * 4;
    client.declare("q", Table::EMPTY);
    for _ in 0..count {
        client.publish(1, "", "q", &Properties::NONE, 0);
    }
    client.consume(1, "q", "c", false, Table::EMPTY);
    for delivery_tag in (1..=count as u64).filter(|tag| tag % 8 != 0) {
        let ack = basic::Ack {
            delivery_tag,
            multiple: false,
        };
        client.send(1, &ack);
    }
}

/// They come and go while a channel may hold no more.
fn cancelled(client: &mut Client, sizes: Sizes) {
    client.declare("q", Table::EMPTY);
    let qos = basic::Qos {
        prefetch_count: 1,
        global: true,
        ..Default::default()
    };
    client.send(1, &qos);
    for number in 0..20 {
        client.consume(1, "q", &name(number, sizes.name), false, Table::EMPTY);
    }
    for _ in 0..2 {
        client.publish(1, "", "q", &Properties::NONE, 0);
    }
    for _ in 0..sizes.count * 20 {
        client.consume(1, "q", "c", false, Table::EMPTY);
        let cancel = basic::Cancel {
            consumer_tag: short("c"),
            nowait: true,
        };
        client.send(1, &cancel);
    }
}

fn unfinished(client: &mut Client, sizes: Sizes) {
    let properties = Properties::NONE.with_headers(&table(sizes.arguments));
    for number in 2..=u16::try_from(sizes.count).unwrap() {
        client.send(number, &channel::Open {});
        let publish = basic::Publish {
            routing_key: short(&name(0, sizes.name)),
            ..Default::default()
        };
        publish.put(&mut client.out, number);
        put_header(&mut client.out, number, sizes.body as u64 + 1, &properties);
        put_body(&mut client.out, number, &vec![7; sizes.body], FRAME_MAX);
        client.flush();
    }
}

fn transactions(client: &mut Client, sizes: Sizes) {
    client.send(1, &modes::TxSelect {});
    messages(client, sizes);
}

fn outbox(client: &mut Client, sizes: Sizes) {
    client.declare("q", Table::EMPTY);
    client.consume(1, "q", "c", true, Table::EMPTY);
    let properties = Properties::NONE.with_headers(&table(sizes.arguments));
    for _ in 0..sizes.count {
        client.publish(1, "", "q", &properties, sizes.body);
    }
    client.peer.outbox.stall();
}

fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

#[test]
fn counted_memory_is_within_a_factor_of_2_of_the_allocated() {
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(12)
    };
    registry::check(&config);
    // The smallest body that is shared and not copied, and the largest one that is.
    let fixed = [SHARED_BODY_MIN, SHARED_BODY_MIN - 1].map(|body| Sizes {
        name: 6,
        arguments: 0,
        body,
        count: 150,
    });
    for (kind, grow) in KINDS {
        let check = |sizes: Sizes| {
            let mut client = Client::new();
            let before = (client.memory.used(), allocated());
            grow(&mut client, sizes);
            let (counted, real) = (client.memory.used() - before.0, allocated() - before.1);
            prop_assert!(
                counted <= 2 * real && real <= 2 * counted,
                "{kind}: {counted} bytes are counted, {real} were allocated"
            );
            let memory = Arc::clone(&client.memory);
            let (mut session, mut vhost) = (client.session, client.vhost);
            session.end(&mut Context {
                vhost: &mut vhost,
                now: BrokerTime::default(),
            });
            while vhost.pump(BrokerTime::default()) {}
            drop((session, vhost, client.peer));
            prop_assert_eq!((memory.used(), memory.topology()), (0, 0), "{} left", kind);
            Ok(())
        };
        for sizes in fixed {
            check(sizes).unwrap();
        }
        let tried = TestRunner::new(config.clone()).run(&sizes(), check);
        if let Err(error) = tried {
            panic!("{error}");
        }
    }
}
