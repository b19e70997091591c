//! How long does the broker hold a vhost's lock? The longest turn of each large piece of work, in CPU time of the
//! thread, so that other load on the machine does not count. No turn may take more than 5 ms.
//!
//! No socket: a session gets frames in memory, as the tests give them.
//!
//! `cargo bench --bench turns [-- <part of a case's name>]`

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

#[path = "turns/large.rs"]
mod large;

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::BytesMut;
use bytesize::ByteSize;
use musterd::broker::{
    auth::Grant,
    budget::TURN_STEPS,
    config::Limits,
    memory::Memory,
    peer::Peer,
    session::{Context, Session, SessionIdentity, SessionLimits},
    vhost::{BrokerTime, DeclareQueue, Largest, Stamp, Vhost, VhostSample},
    wire::{
        FrameReader, Properties, ShortStr, Table, ValueRef,
        content::put_content,
        method::{MethodSpec, basic, channel, connection, exchange, queue},
        table::{ArrayBuilder, TableBuilder},
    },
};
use rustix::time::{ClockId, clock_gettime};

const FRAME_MAX: u32 = 131_072;

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// A vhost with one client, and what its turns took.
struct World {
    vhost: Vhost,
    now: BrokerTime,
    session: Session,
    peer: Arc<Peer>,
    frames: FrameReader,
    longest: Duration,
    total: Duration,
    turns: usize,
    steps: i64,
}

impl World {
    fn new() -> Self {
        let limits = Limits {
            queues: 1_000_000.into(),
            bindings: 1_000_000.into(),
            consumers_per_channel: 100_000.into(),
            ..Limits::default()
        };
        let memory = Memory::new(usize::MAX);
        let peer = Arc::new(Peer::detached(1, usize::MAX));
        peer.frame_max.store(FRAME_MAX, Relaxed);
        peer.cancel_notify.store(true, Relaxed);
        let identity = SessionIdentity {
            connection: 1,
            grant: Grant::all("bench", "/"),
        };
        let session_limits = SessionLimits {
            channel_max: 64,
            message_bytes: ByteSize::mib(16).as_u64(),
            tx_bytes: usize::MAX,
        };
        let mut world = Self {
            vhost: Vhost::new("/", limits, memory, Stamp::default()),
            now: BrokerTime {
                ms: 1,
                unix_ms: 1_700_000_000_000,
            },
            session: Session::new(Arc::clone(&peer), identity, session_limits),
            peer,
            frames: FrameReader::default(),
            longest: Duration::ZERO,
            total: Duration::ZERO,
            turns: 0,
            steps: 0,
        };
        world.send(1, &channel::Open {});
        world
    }

    fn turn<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let begun = cpu_time();
        self.vhost.begin_turn();
        let done = work(self);
        let took = cpu_time() - begun;
        self.longest = self.longest.max(took);
        self.total += took;
        self.turns += 1;
        self.steps += self.vhost.turn_steps();
        done
    }

    fn run(&mut self, bytes: &[u8]) {
        self.frames.input().extend_from_slice(bytes);
        loop {
            let is_done = self.turn(|world| {
                let is_done = world.work();
                !world.vhost.pump(world.now) && is_done
            });
            self.peer.outbox.take(&mut VecDeque::new());
            if is_done {
                return;
            }
        }
    }

    /// Carries out frames as far as this turn goes; whether that were all.
    fn work(&mut self) -> bool {
        let mut context = Context {
            vhost: &mut self.vhost,
            now: self.now,
        };
        for _ in 0..256 {
            if self.session.is_busy(context.vhost) || context.vhost.is_turn_over() {
                return false;
            }
            match self.frames.next(FRAME_MAX) {
                Ok(Some(frame)) => self.session.on_frame(frame, &mut context),
                Ok(None) => {
                    self.session.end_batch();
                    return true;
                }
                Err(error) => panic!("the bench sends nonsense: {error}"),
            }
        }
        self.session.end_batch();
        false
    }

    fn send(&mut self, channel: u16, method: &impl MethodSpec) {
        let mut out = BytesMut::new();
        method.put(&mut out, channel);
        self.run(&out);
    }

    fn publish(&mut self, exchange: &str, key: &str, properties: &Properties) {
        let mut out = BytesMut::new();
        basic::Publish {
            exchange: name(exchange),
            routing_key: name(key),
            ..Default::default()
        }
        .put(&mut out, 1);
        put_content(&mut out, 1, properties, b"x", FRAME_MAX);
        self.run(&out);
    }

    /// The same publish many times.
    fn publish_all(&mut self, count: usize, key: &str) {
        let mut out = BytesMut::new();
        basic::Publish {
            routing_key: name(key),
            ..Default::default()
        }
        .put(&mut out, 1);
        put_content(&mut out, 1, &Properties::NONE, b"", FRAME_MAX);
        for _ in 0..count / 1_000 {
            self.run(&out.repeat(1_000));
        }
    }

    fn consume(&mut self, tag: &str, no_ack: bool, arguments: Table) {
        self.send(
            1,
            &basic::Consume {
                queue: name("q0"),
                consumer_tag: name(tag),
                no_ack,
                nowait: true,
                arguments,
                ..Default::default()
            },
        );
    }

    fn exchange(&mut self, kind: &str) {
        self.send(
            1,
            &exchange::Declare {
                exchange: name("x"),
                kind: name(kind),
                ..Default::default()
            },
        );
    }

    fn queues(&mut self, count: usize, exclusive: bool, arguments: &Table) {
        for number in 0..count {
            let spec = DeclareQueue {
                name: name(&format!("q{number}")),
                durable: false,
                exclusive,
                auto_delete: false,
                arguments: arguments.clone(),
            };
            let now = self.now;
            let declared = self.turn(|world| world.vhost.declare_queue(&spec, 1, now));
            declared.expect("the limit is higher");
        }
    }

    fn bind(&mut self, queue: usize, key: &str, arguments: Table) {
        self.send(
            1,
            &queue::Bind {
                queue: name(&format!("q{queue}")),
                exchange: name("x"),
                routing_key: name(key),
                nowait: true,
                arguments,
            },
        );
    }

    /// Prints what was measured, and resets it.
    #[expect(clippy::cast_precision_loss, reason = "far fewer steps than 2^53")]
    fn report(&mut self, what: &str) {
        println!(
            "{what:<58} {:>9} {:>10.1} {:>9.2} {:>8.0}",
            self.turns,
            self.total.as_secs_f64() * 1e3,
            self.longest.as_secs_f64() * 1e3,
            self.total.as_secs_f64() * 1e9 / (self.steps.max(1) as f64),
        );
        (self.longest, self.total) = (Duration::ZERO, Duration::ZERO);
        (self.turns, self.steps) = (0, 0);
    }
}

fn name(text: &str) -> ShortStr {
    ShortStr::try_from(text).expect("short")
}

fn main() {
    let wanted = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    println!("a turn has {TURN_STEPS} steps for frames");
    println!(
        "{:<58} {:>9} {:>10} {:>9} {:>8}",
        "", "turns", "CPU ms", "longest", "ns/step"
    );
    let cases: [(&str, fn()); 15] = [
        ("bindings", bindings),
        ("patterns", patterns),
        ("headers", headers),
        ("fields", large::fields),
        ("copies", copies),
        ("fanout", fanout),
        ("messages", messages),
        ("consumers", consumers),
        ("queues", queues),
        ("disconnect", disconnect),
        ("unacked", large::unacked),
        ("priorities", large::priorities),
        ("transactions", large::transactions),
        ("redelivered", large::redelivered),
        ("unbound", large::unbound),
    ];
    for (case, run) in cases {
        if wanted
            .as_ref()
            .is_none_or(|wanted| case.contains(&**wanted))
        {
            run();
        }
    }
}

fn bindings() {
    for kind in ["topic", "direct", "fanout"] {
        let mut world = World::new();
        world.exchange(kind);
        world.queues(2, false, &Table::EMPTY);
        for number in 0..190_000 {
            world.bind(0, &format!("a.{number}.b"), Table::EMPTY);
        }
        world.report(&format!("190,000 bindings are made ({kind})"));
        world.send(
            1,
            &queue::Delete {
                queue: name("q0"),
                ..Default::default()
            },
        );
        world.report(&format!(
            "a queue with 190,000 bindings is deleted ({kind})"
        ));
        for number in 0..190_000 {
            world.bind(1, &format!("a.{number}.b"), Table::EMPTY);
        }
        world.report(&format!("190,000 bindings are made again ({kind})"));
        world.send(
            1,
            &exchange::Delete {
                exchange: name("x"),
                ..Default::default()
            },
        );
        world.report(&format!(
            "an exchange with 190,000 bindings is deleted ({kind})"
        ));
    }
}

fn patterns() {
    let mut world = World::new();
    world.exchange("topic");
    world.queues(1, false, &Table::EMPTY);
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..4_000 {
        let words: Vec<_> = (0..127)
            .map(|_| ["#", "*", "a"][random.usize(..3)])
            .collect();
        world.bind(0, &words.join("."), Table::EMPTY);
    }
    world.report("4,000 patterns of 127 words are bound");
    world.publish("x", &["a"; 127].join("."), &Properties::NONE);
    world.report("a publish against 4,000 patterns of 127 wildcards");
}

fn headers() {
    let mut world = World::new();
    world.exchange("headers");
    world.queues(1, false, &Table::EMPTY);
    for number in 0..10_000 {
        let mut arguments = TableBuilder::new();
        arguments.put_bool(format!("w{number}"), true);
        world.bind(0, "", arguments.build());
    }
    world.report("10,000 bindings of a headers exchange are made");
    let mut headers = TableBuilder::new();
    for number in 0..9_999 {
        headers.put_bool(format!("k{number:04}"), true);
    }
    let properties = Properties::NONE.with_headers(&headers.build());
    world.publish("x", "", &properties);
    world.report("10,000 headers against 10,000 bindings");
}

fn copies() {
    let mut world = World::new();
    world.exchange("topic");
    world.queues(2_000, false, &Table::EMPTY);
    for number in 0..2_000 {
        world.bind(number, "#", Table::EMPTY);
    }
    let mut keys = ArrayBuilder::new();
    // One octet each: the header must fit into a frame.
    for letter in (b'a'..=b'z').cycle().take(20_000) {
        keys.push(ValueRef::Str(&[letter]));
    }
    let mut headers = TableBuilder::new();
    headers.put_array("CC", &keys);
    let properties = Properties::NONE.with_headers(&headers.build());
    world.report("2,000 queues are bound");
    world.publish("x", "", &properties);
    world.report("20,000 CC keys over 2,000 queues");
}

fn fanout() {
    let mut world = World::new();
    world.exchange("fanout");
    world.queues(100_000, false, &Table::EMPTY);
    for number in 0..100_000 {
        world.bind(number, "", Table::EMPTY);
    }
    world.report("100,000 queues are bound to a fanout exchange");
    world.publish("x", "", &Properties::NONE);
    world.report("a publish to 100,000 queues");
}

fn messages() {
    let mut dead = TableBuilder::new();
    dead.put_str("x-dead-letter-exchange", "");
    dead.put_str("x-dead-letter-routing-key", "q1");
    dead.put("x-message-ttl", ValueRef::I32(1_000));
    for (arguments, what) in [
        (Table::EMPTY, "expire never and are purged"),
        (dead.build(), "expire and are dead-lettered"),
    ] {
        let mut world = World::new();
        world.queues(1, false, &arguments);
        world.send(
            1,
            &queue::Declare {
                queue: name("q1"),
                ..Default::default()
            },
        );
        for _ in 0..500_000 {
            world.publish("", "q0", &Properties::NONE);
        }
        world.report("500,000 messages are published");
        world.now.ms += 2_000;
        while world.turn(|world| world.vhost.tick(world.now)) {}
        world.report(&format!("500,000 messages {what}: the clock"));
        for queue in ["q0", "q1"] {
            let queue = name(queue);
            world.send(
                1,
                &queue::Purge {
                    queue,
                    nowait: true,
                },
            );
        }
        world.report("500,000 messages are purged");
    }
}

fn consumers() {
    let mut world = World::new();
    world.queues(1, false, &Table::EMPTY);
    for number in 0..50_000 {
        world.send(
            1,
            &basic::Consume {
                queue: name("q0"),
                consumer_tag: name(&number.to_string()),
                nowait: true,
                ..Default::default()
            },
        );
    }
    world.report("50,000 consumers begin");
    world.send(1, &channel::Close::default());
    world.report("a channel with 50,000 consumers is closed");
}

fn queues() {
    let mut world = World::new();
    world.queues(200_000, false, &Table::EMPTY);
    world.report("200,000 queues are declared");
    let mut listed = Vec::new();
    let mut from = Some(0);
    while let Some(at) = from {
        from = world.turn(|world| world.vhost.queues(at, &mut listed));
    }
    world.report("200,000 queues are listed");
    let mut largest = Largest::new(100);
    from = Some(0);
    while let Some(at) = from {
        from = world.turn(|world| world.vhost.largest(at, &mut largest));
    }
    world.report("the largest of 200,000 queues");
    let mut sample = VhostSample::default();
    from = Some(0);
    while let Some(at) = from {
        from = world.turn(|world| world.vhost.sample(at, &mut sample));
    }
    world.report("counters of 200,000 queues");
}

fn disconnect() {
    let mut world = World::new();
    world.exchange("topic");
    world.queues(50_000, true, &Table::EMPTY);
    for number in 0..50_000 {
        world.bind(number, &format!("a.{number}"), Table::EMPTY);
    }
    world.report("50,000 exclusive queues are bound");
    world.send(0, &connection::Close::default());
    world.report("a connection with 50,000 exclusive queues is closed");
}
