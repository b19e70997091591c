//! What AMQP clients notice: how soon an event comes, how soon a command is answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::scope,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    client::{Client, number_after, registration},
    daemon::Daemon,
    link::{Acks, DELIVER, Link, publish},
    pace::{Latencies, at_rate},
    rest::{CHANGES, registering},
};

const QUEUE: &str = "bench-events";
const REVISION: &[u8] = b"\"revision\":";

/// A queue that hears every event, and a consumer on it.
pub(crate) fn subscriber(daemon: &Daemon) -> Link {
    let mut link = Link::open(daemon.amqp);
    link.declare_queue(QUEUE, b"");
    link.bind(QUEUE, "musterd", "service.events.#");
    link.consume(QUEUE, Acks::None);
    link
}

/// Takes what comes, until `over` and one more message; every delivery's body is shown.
pub(crate) fn take_all(link: &mut Link, over: &AtomicBool, mut each: impl FnMut(&[u8])) {
    while !over.load(Ordering::Relaxed) {
        link.read(|method| {
            if method.id == DELIVER {
                each(method.body);
            }
        });
    }
}

/// From register's 200 to the event at a subscriber, 0 where the event came first.
pub(crate) fn event(daemon: &Daemon, mode: &str, time: Duration, rate: f64) -> Latencies {
    daemon.settle(mode);
    let begin = Instant::now();
    let nanos = || u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let over = AtomicBool::new(false);
    let answered = Arc::new(Mutex::new(Vec::new()));
    let mut link = subscriber(daemon);
    let mut came = Vec::new();
    scope(|threads| {
        threads.spawn(|| {
            take_all(&mut link, &over, |body| {
                let revision = number_after(body, REVISION).expect("an event's revision");
                came.push((revision, nanos()));
            });
        });
        at_rate(rate, time, || {
            let mut client = Client::open(daemon.http);
            let answered = Arc::clone(&answered);
            move |_| {
                let body = registration(CHANGES.fetch_add(1, Ordering::Relaxed));
                let answer = client.ask("POST", "/services/register", body.as_bytes());
                let at = nanos();
                let revision = number_after(answer, REVISION).expect("a revision");
                answered.lock().push((revision, at));
            }
        });
        daemon.drained();
        over.store(true, Ordering::Relaxed);
        // The task that waits for the next message sees that it was the last.
        registering(daemon)(0);
    });
    link.delete_queue(QUEUE);
    link.close();
    let mut answered = std::mem::take(&mut *answered.lock());
    answered.sort_unstable();
    came.sort_unstable();
    let waits = answered.iter().map(|(revision, at)| {
        let found = came.binary_search_by_key(revision, |(revision, _)| *revision);
        let found = found.expect("every event comes");
        came[found].1.saturating_sub(*at)
    });
    // The first ones meet a daemon that has slept.
    Latencies::new(waits.skip(answered.len() / 6).collect())
}

/// service.discover by direct reply-to, one in flight.
pub(crate) fn discover(daemon: &Daemon, mode: &str, time: Duration) -> Latencies {
    const REPLY_TO: &str = "amq.rabbitmq.reply-to";
    daemon.settle(mode);
    let mut client = Link::open(daemon.amqp);
    client.consume(REPLY_TO, Acks::None);
    let mut question = Vec::new();
    let body = br#"{"service_name":"load-7","healthy_only":true}"#;
    publish(&mut question, "", "service.discover", REPLY_TO, body);
    let begin = Instant::now();
    let mut nanos = Vec::new();
    while begin.elapsed() < time.mul_f64(1.25) {
        let asked = Instant::now();
        client.write(&question);
        let mut answered = false;
        while !answered {
            client.read(|method| answered |= method.id == DELIVER);
        }
        if begin.elapsed() > time / 4 {
            nanos.push(u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
    }
    client.close();
    Latencies::new(nanos)
}
