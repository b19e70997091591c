//! What the broker's process holds: resident memory before and after.

use std::thread::{scope, sleep};
use std::time::Duration;

use tokio::time::Instant;

use crate::brokers::Broker;
use crate::cases::name;
use crate::link::{Acks, Link, publish};

/// Resident bytes for each byte of body, with `count` queued messages of 1 KB.
pub(crate) fn queued(broker: &Broker, count: usize) -> f64 {
    let queue = name("memory");
    let mut link = Link::open(broker.addr());
    link.declare_queue(&queue, b"");
    link.select_confirms();
    let before = settled(broker);
    let mut one = Vec::new();
    publish(&mut one, "", &queue, "", &[b'x'; 1024]);
    let hundred = one.repeat(100);
    for _ in 0..count / 100 {
        link.write(&hundred);
    }
    // Answered behind the publishes of the channel: the queue has them all.
    link.call(60, 10, |out| out.extend_from_slice(&[0; 7]));
    let after = settled(broker);
    link.delete_queue(&queue);
    link.close();
    (after - before) / (count as f64 * 1024.0)
}

/// Resident bytes of a connection with one channel, one exclusive queue and one consumer.
pub(crate) fn connection(broker: &Broker, count: usize) -> f64 {
    // The first ones warm what is made once.
    let mut links: Vec<Link> = (0..50).map(|index| consumer(broker, index)).collect();
    let before = settled(broker);
    links.extend((0..count).map(|index| consumer(broker, 50 + index)));
    let after = settled(broker);
    let mut link = Link::open(broker.addr());
    for index in 0..links.len() {
        link.delete_queue(&format!("bench-connection-{index}"));
    }
    links.into_iter().for_each(drop);
    (after - before) / count as f64
}

fn consumer(broker: &Broker, index: usize) -> Link {
    let queue = format!("bench-connection-{index}");
    let mut link = Link::open(broker.addr());
    link.declare_queue(&queue, b"");
    link.consume(&queue, Acks::None);
    link
}

/// What many connections left behind.
pub(crate) struct Churned {
    pub(crate) before: f64,
    pub(crate) after: f64,
    pub(crate) count: u64,
    pub(crate) seconds: f64,
}

/// Connections with a channel each, opened and closed at a fixed rate for `time`, after a warm-up of a tenth
/// of that.
pub(crate) fn churn(broker: &Broker, rate: u32, time: Duration) -> Churned {
    come_and_go(broker, rate, time / 10);
    let before = settled(broker);
    let begin = Instant::now();
    let count = come_and_go(broker, rate, time);
    let seconds = begin.elapsed().as_secs_f64();
    Churned {
        before,
        after: settled(broker),
        count,
        seconds,
    }
}

fn come_and_go(broker: &Broker, rate: u32, time: Duration) -> u64 {
    const THREADS: u32 = 2;
    let one = || {
        let (begin, mut count) = (Instant::now(), 0);
        while begin.elapsed() < time {
            Link::open(broker.addr()).close();
            count += 1;
            let due = begin + Duration::from_secs(1) * THREADS / rate * count;
            sleep(due.saturating_duration_since(Instant::now()));
        }
        u64::from(count)
    };
    scope(|threads| {
        let workers: Vec<_> = (0..THREADS).map(|_| threads.spawn(one)).collect();
        let counts = workers.into_iter().map(|worker| worker.join());
        counts.map(|count| count.expect("it comes and goes")).sum()
    })
}

fn settled(broker: &Broker) -> f64 {
    sleep(Duration::from_millis(1500));
    broker.resident()
}
