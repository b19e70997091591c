//! Loads whose latency counts: confirms, calls, a fixed rate, one operation after the other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

use tokio::time::Instant;

use crate::brokers::Broker;
use crate::cases::{Gauge, Meter, Sample, consume_on, measure, name};
use crate::link::{ACK, Acks, DELIVER, Link, NACK, Waiting, method, publish};
use crate::window::Window;

/// Latencies in ns give the sample its p50 and p99.
pub(crate) fn percentiles(sample: &mut Sample, mut latencies: Vec<u64>) {
    latencies.sort_unstable();
    let at = |share: usize| {
        latencies
            .get(latencies.len() * share / 100)
            .map(|nanos| *nanos as f64 / 1000.0)
    };
    (sample.p50_us, sample.p99_us) = (at(50), at(99));
}

pub(crate) fn nanos(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Publisher confirms with `window` messages open, while a consumer empties the queue.
pub(crate) fn confirms(broker: &Broker, time: Duration, window: u64) -> Sample {
    let queue = name("confirms");
    let mut link = Link::open(broker.addr());
    link.declare_queue(&queue, b"");
    link.select_confirms();
    let mut consumer = Link::open(broker.addr());
    consumer.consume(&queue, Acks::None);
    let mut one = Vec::new();
    publish(&mut one, "", &queue, "", &[b'x'; 1024]);
    let gauge = Gauge::default();
    let sample = scope(|threads| {
        threads.spawn(|| consume_on(consumer, &gauge, Acks::None, 1));
        let sample = publish_confirmed(broker, &mut link, &one, time, window, &gauge.published);
        gauge.stop.store(true, Ordering::Relaxed);
        publish_the_last(&mut link, &gauge, &one);
        sample
    });
    link.delete_queue(&queue);
    link.close();
    sample
}

/// Sends one publish again and again with at most `window` unconfirmed; measured for `time` after a warm-up of a
/// quarter of it. `published` counts what was sent.
pub(crate) fn publish_confirmed(
    broker: &Broker,
    link: &mut Link,
    one: &[u8],
    time: Duration,
    window: u64,
    published: &AtomicU64,
) -> Sample {
    let begin = Instant::now();
    let (mut window, mut meter) = (Window::new(window), None);
    let (mut latencies, mut out) = (Vec::new(), Vec::new());
    while begin.elapsed() < time.mul_f64(1.25) {
        for _ in 0..window.room() {
            window.send(nanos(begin));
            out.extend_from_slice(one);
        }
        published.store(window.sent(), Ordering::Relaxed);
        link.write(&out);
        out.clear();
        link.read(|method| {
            assert!(method.id != NACK, "the broker refused a message");
            if method.id == ACK {
                let now = nanos(begin);
                window.confirm(method, |sent| {
                    if meter.is_some() {
                        latencies.push(now - sent);
                    }
                });
            }
        });
        if meter.is_none() && begin.elapsed() > time / 4 {
            meter = Some(Meter::start(broker, window.settled()));
        }
    }
    let meter = meter.expect("a run longer than its start");
    let mut sample = meter.stop(window.settled());
    percentiles(&mut sample, latencies);
    sample
}

/// One more message wakes a consumer that waits for nothing.
fn publish_the_last(link: &mut Link, gauge: &Gauge, one: &[u8]) {
    gauge.published.fetch_add(1, Ordering::Relaxed);
    link.write(one);
}

/// Calls by direct reply-to, one at a time.
pub(crate) fn round_trips(broker: &Broker, time: Duration) -> Sample {
    let queue = name("calls");
    let mut server = Link::open(broker.addr());
    server.declare_queue(&queue, b"");
    server.consume(&queue, Acks::None);
    let mut client = Link::open(broker.addr());
    client.consume("amq.rabbitmq.reply-to", Acks::None);
    let mut question = Vec::new();
    publish(
        &mut question,
        "",
        &queue,
        "amq.rabbitmq.reply-to",
        &[b'?'; 128],
    );
    let stop = AtomicBool::new(false);
    let sample = scope(|threads| {
        threads.spawn(|| {
            let mut out = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                server.read(|method| {
                    if method.id == DELIVER {
                        publish(&mut out, "", method.reply_to(), "", &[b'!'; 128]);
                    }
                });
                server.write(&out);
                out.clear();
            }
        });
        let begin = Instant::now();
        let (mut calls, mut latencies, mut meter) = (0, Vec::new(), None);
        while begin.elapsed() < time.mul_f64(1.25) {
            if meter.is_none() && begin.elapsed() > time / 4 {
                meter = Some(Meter::start(broker, calls));
                latencies.clear();
            }
            latencies.push(call(&mut client, &question));
            calls += 1;
        }
        let mut sample = meter.expect("a run longer than its start").stop(calls);
        percentiles(&mut sample, latencies);
        stop.store(true, Ordering::Relaxed);
        call(&mut client, &question);
        sample
    });
    client.delete_queue(&queue);
    client.close();
    sample
}

fn call(client: &mut Link, question: &[u8]) -> u64 {
    let begin = Instant::now();
    client.write(question);
    let mut answered = false;
    while !answered {
        client.read(|method| answered |= method.id == DELIVER);
    }
    nanos(begin)
}

/// Messages at a fixed rate; their latency from the publisher's write to the consumer's read.
pub(crate) fn at_a_fixed_rate(broker: &Broker, time: Duration, rate: f64) -> Sample {
    let queue = name("fixed");
    let mut setup = Link::open(broker.addr());
    setup.declare_queue(&queue, b"");
    let mut consumer = Link::open(broker.addr());
    consumer.consume(&queue, Acks::None);
    let begin = Instant::now();
    let gauge = Gauge::default();
    let mut latencies = Vec::new();
    let mut sample = scope(|threads| {
        let latencies = &mut latencies;
        let (gauge, queue) = (&gauge, &queue);
        threads.spawn(move || {
            while !(gauge.stopped()
                && gauge.consumed.load(Ordering::Relaxed)
                    >= gauge.published.load(Ordering::Relaxed))
            {
                consumer.read(|method| {
                    if method.id == DELIVER {
                        let sent = u64::from_be_bytes(
                            method.body[..8].try_into().expect("a body of 1 KB"),
                        );
                        latencies.push(nanos(begin).saturating_sub(sent));
                        gauge.consumed.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        threads.spawn(move || {
            let mut link = Link::open(broker.addr());
            let (mut body, mut out) = (vec![b'x'; 1024], Vec::new());
            let start = begin.elapsed().as_secs_f64();
            let mut published = 0_u64;
            while !gauge.stopped() {
                if (published as f64) < (begin.elapsed().as_secs_f64() - start) * rate {
                    body[..8].copy_from_slice(&nanos(begin).to_be_bytes());
                    publish(&mut out, "", queue, "", &body);
                    link.write(&out);
                    out.clear();
                    published += 1;
                    gauge.published.store(published, Ordering::Relaxed);
                } else {
                    sleep(Duration::from_micros(50));
                }
            }
            publish(&mut out, "", queue, "", &body);
            gauge.published.fetch_add(1, Ordering::Relaxed);
            link.write(&out);
            link.close();
        });
        measure(broker, gauge, time)
    });
    percentiles(&mut sample, latencies);
    setup.delete_queue(&queue);
    setup.close();
    sample
}

/// Connections with a channel, opened and closed one after the other by a thread that never sleeps: a
/// sleeping one is slower than the broker.
pub(crate) fn connections(broker: &Broker, time: Duration) -> Sample {
    one_after_the_other(broker, time, |_| {
        Link::open_by(broker.addr(), Waiting::Awake).close();
    })
}

/// Queues declared one after the other on one channel.
pub(crate) fn declarations(broker: &Broker, time: Duration) -> Sample {
    let prefix = name("declared");
    let mut link = Link::open_by(broker.addr(), Waiting::Awake);
    let mut names = Vec::new();
    let sample = one_after_the_other(broker, time, |index| {
        let queue = format!("{prefix}-{index}");
        link.declare_queue(&queue, b"");
        names.push(queue);
    });
    let mut out = Vec::new();
    for chunk in names.chunks(100) {
        for queue in chunk {
            // With nowait: nobody measures this.
            method(&mut out, 1, 50, 40, |out| {
                out.extend_from_slice(&[0, 0, u8::try_from(queue.len()).expect("a short name")]);
                out.extend_from_slice(queue.as_bytes());
                out.push(4);
            });
        }
        link.write(&out);
        out.clear();
    }
    link.close();
    sample
}

fn one_after_the_other(broker: &Broker, time: Duration, mut work: impl FnMut(u64)) -> Sample {
    let (begin, mut done, mut latencies) = (Instant::now(), 0, Vec::new());
    let meter = Meter::start(broker, 0);
    while begin.elapsed() < time {
        let start = Instant::now();
        work(done);
        latencies.push(nanos(start));
        done += 1;
    }
    let mut sample = meter.stop(done);
    percentiles(&mut sample, latencies);
    sample
}
