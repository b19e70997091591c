//! The loads. Each runs against one broker for a while and returns what it saw.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

use tokio::time::Instant;

use crate::brokers::Broker;
use crate::link::{Acks, DELIVER, Link, ack, publish};

/// Messages that may be between publisher and consumer: no broker is measured on a growing queue.
const AHEAD: u64 = 10_000;
/// Bytes that a publisher writes at once.
const BATCH: usize = 64 * 1024;

/// What one run gave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// Messages, deliveries, calls or connections a second.
    pub(crate) rate: f64,
    /// The broker's CPU time for each, in µs.
    pub(crate) cpu_us: f64,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
}

/// Rate and CPU between two moments.
pub(crate) struct Meter<'a> {
    broker: &'a Broker,
    begin: Instant,
    cpu_us: f64,
    count: u64,
}

impl<'a> Meter<'a> {
    pub(crate) fn start(broker: &'a Broker, count: u64) -> Self {
        Self {
            broker,
            begin: Instant::now(),
            cpu_us: broker.cpu_us(),
            count,
        }
    }

    pub(crate) fn stop(&self, count: u64) -> Sample {
        let (done, spent) = (
            (count - self.count) as f64,
            self.broker.cpu_us() - self.cpu_us,
        );
        assert!(done > 0.0, "nothing arrived");
        Sample {
            rate: done / self.begin.elapsed().as_secs_f64(),
            cpu_us: spent / done,
            ..Sample::default()
        }
    }
}

/// What publishers and consumers of a run share.
#[derive(Default)]
pub(crate) struct Gauge {
    pub(crate) published: AtomicU64,
    pub(crate) consumed: AtomicU64,
    pub(crate) stop: AtomicBool,
}

impl Gauge {
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Lets a load run, then measures it for `time`.
pub(crate) fn measure(broker: &Broker, gauge: &Gauge, time: Duration) -> Sample {
    sleep(time / 4);
    let meter = Meter::start(broker, gauge.consumed.load(Ordering::Relaxed));
    sleep(time);
    let sample = meter.stop(gauge.consumed.load(Ordering::Relaxed));
    gauge.stop.store(true, Ordering::Relaxed);
    sample
}

/// Publishes `frames` (whole publishes, `count` of them) again and again while the consumers keep up.
/// `copies` is how often each message is delivered.
fn publish_on(addr: SocketAddr, gauge: &Gauge, frames: &[u8], count: u64, copies: u64) {
    let mut link = Link::open(addr);
    while !gauge.stopped() {
        let published = gauge.published.load(Ordering::Relaxed);
        if published.saturating_sub(gauge.consumed.load(Ordering::Relaxed) / copies) > AHEAD {
            sleep(Duration::from_micros(50));
            continue;
        }
        link.write(frames);
        gauge.published.store(published + count, Ordering::Relaxed);
    }
    // A consumer that waits for more sees that it is over.
    gauge.published.fetch_add(count, Ordering::Relaxed);
    link.write(frames);
    link.close();
}

/// Consumes until everything that was published has arrived.
pub(crate) fn consume_on(mut link: Link, gauge: &Gauge, acks: Acks, copies: u64) {
    let mut out = Vec::new();
    loop {
        let mut count = 0;
        link.read(|method| {
            if method.id == DELIVER {
                count += 1;
                if acks == Acks::Each {
                    ack(&mut out, method.tag());
                }
            }
        });
        if !out.is_empty() {
            link.write(&out);
            out.clear();
        }
        let consumed = gauge.consumed.fetch_add(count, Ordering::Relaxed) + count;
        if gauge.stopped() && consumed >= gauge.published.load(Ordering::Relaxed) * copies {
            return;
        }
    }
}

/// As many publishes as make a batch, to the keys in turn.
fn batch(exchange: &str, keys: &[String], size: usize) -> (Vec<u8>, u64) {
    let body = vec![b'x'; size];
    let (mut out, mut count) = (Vec::new(), 0);
    while out.len() < BATCH || count % keys.len() != 0 {
        publish(&mut out, exchange, &keys[count % keys.len()], "", &body);
        count += 1;
    }
    (out, count as u64)
}

pub(crate) fn name(kind: &str) -> String {
    format!("bench-{kind}-{:08x}", fastrand::u32(..))
}

/// One publisher, one queue, one consumer.
pub(crate) fn through_one_queue(
    broker: &Broker,
    time: Duration,
    size: usize,
    acks: Acks,
) -> Sample {
    spread(broker, time, size, acks, 1)
}

/// One publisher, `queues` queues in turn, one consumer on all of them.
pub(crate) fn spread(
    broker: &Broker,
    time: Duration,
    size: usize,
    acks: Acks,
    queues: usize,
) -> Sample {
    let prefix = name("queue");
    let names: Vec<String> = (0..queues)
        .map(|index| format!("{prefix}-{index}"))
        .collect();
    let mut setup = Link::open(broker.addr());
    let mut consumer = Link::open(broker.addr());
    if acks == Acks::Each {
        consumer.prefetch(300);
    }
    for name in &names {
        setup.declare_queue(name, b"");
        consumer.consume(name, acks);
    }
    let gauge = Gauge::default();
    let (frames, count) = batch("", &names, size);
    let sample = scope(|threads| {
        threads.spawn(|| publish_on(broker.addr(), &gauge, &frames, count, 1));
        threads.spawn(|| consume_on(consumer, &gauge, acks, 1));
        measure(broker, &gauge, time)
    });
    names.iter().for_each(|name| setup.delete_queue(name));
    setup.close();
    sample
}

/// One publisher, one queue, one consumer, beside `others` queues with consumers that get nothing.
pub(crate) fn beside(broker: &Broker, time: Duration, others: usize) -> Sample {
    let prefix = name("idle");
    let names: Vec<String> = (0..others)
        .map(|index| format!("{prefix}-{index}"))
        .collect();
    let mut idle = Link::open(broker.addr());
    for name in &names {
        idle.declare_queue(name, b"");
        idle.consume(name, Acks::None);
    }
    let sample = spread(broker, time, 16, Acks::None, 1);
    names.iter().for_each(|name| idle.delete_queue(name));
    idle.close();
    sample
}

/// A fan-out exchange with four queues and four consumers; a delivery counts as one.
pub(crate) fn fan_out(broker: &Broker, time: Duration, size: usize) -> Sample {
    let exchange = name("fanout");
    let mut setup = Link::open(broker.addr());
    setup.declare_exchange(&exchange, "fanout");
    let queues: Vec<String> = (0..4).map(|index| format!("{exchange}-{index}")).collect();
    let mut consumers = Vec::new();
    for queue in &queues {
        setup.declare_queue(queue, b"");
        setup.bind(queue, &exchange, "");
        let mut consumer = Link::open(broker.addr());
        consumer.consume(queue, Acks::None);
        consumers.push(consumer);
    }
    let gauge = Gauge::default();
    let (frames, count) = batch(&exchange, &[String::new()], size);
    let sample = scope(|threads| {
        threads.spawn(|| publish_on(broker.addr(), &gauge, &frames, count, 4));
        for consumer in consumers {
            let gauge = &gauge;
            threads.spawn(move || consume_a_share(consumer, gauge));
        }
        measure(broker, &gauge, time)
    });
    queues.iter().for_each(|queue| setup.delete_queue(queue));
    setup.delete_exchange(&exchange);
    setup.close();
    sample
}

/// Consumes until this consumer has had a copy of each message.
fn consume_a_share(mut link: Link, gauge: &Gauge) {
    let mut mine = 0;
    while !(gauge.stopped() && mine >= gauge.published.load(Ordering::Relaxed)) {
        let mut count = 0;
        link.read(|method| count += u64::from(method.id == DELIVER));
        mine += count;
        gauge.consumed.fetch_add(count, Ordering::Relaxed);
    }
}

/// A topic exchange with `bindings` that do not match and one that does.
pub(crate) fn topic(broker: &Broker, time: Duration, bindings: usize) -> Sample {
    let (exchange, queue) = (name("topic"), name("topic-queue"));
    let mut setup = Link::open(broker.addr());
    setup.declare_exchange(&exchange, "topic");
    setup.declare_queue(&queue, b"");
    for index in 0..bindings {
        setup.bind(&queue, &exchange, &format!("stock.{index}.*.price"));
    }
    setup.bind(&queue, &exchange, "bond.*.price");
    let mut consumer = Link::open(broker.addr());
    consumer.consume(&queue, Acks::None);
    let gauge = Gauge::default();
    let (frames, count) = batch(&exchange, &["bond.x.price".to_owned()], 16);
    let sample = scope(|threads| {
        threads.spawn(|| publish_on(broker.addr(), &gauge, &frames, count, 1));
        threads.spawn(|| consume_on(consumer, &gauge, Acks::None, 1));
        measure(broker, &gauge, time)
    });
    setup.delete_queue(&queue);
    setup.delete_exchange(&exchange);
    setup.close();
    sample
}

/// A consumer that always has `unacked` messages open: each delivery acks the oldest.
pub(crate) fn with_unacked(broker: &Broker, time: Duration, unacked: u64) -> Sample {
    let queue = name("unacked");
    let mut setup = Link::open(broker.addr());
    setup.declare_queue(&queue, b"");
    let mut consumer = Link::open(broker.addr());
    consumer.consume(&queue, Acks::Each);
    let gauge = Gauge::default();
    let (frames, count) = batch("", std::slice::from_ref(&queue), 16);
    let sample = scope(|threads| {
        threads.spawn(|| publish_on(broker.addr(), &gauge, &frames, count, 1));
        threads.spawn(|| {
            let (mut out, mut oldest) = (Vec::new(), 1);
            while !(gauge.stopped()
                && gauge.consumed.load(Ordering::Relaxed)
                    >= gauge.published.load(Ordering::Relaxed))
            {
                let mut count = 0;
                consumer.read(|method| {
                    count += u64::from(method.id == DELIVER);
                    if method.id == DELIVER && method.tag() > oldest + unacked {
                        ack(&mut out, oldest);
                        oldest += 1;
                    }
                });
                if !out.is_empty() {
                    consumer.write(&out);
                    out.clear();
                }
                gauge.consumed.fetch_add(count, Ordering::Relaxed);
            }
        });
        while gauge.consumed.load(Ordering::Relaxed) < unacked {
            sleep(Duration::from_millis(10));
        }
        measure(broker, &gauge, time)
    });
    setup.delete_queue(&queue);
    setup.close();
    sample
}
