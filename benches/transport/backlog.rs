//! How fast a backlog leaves with confirms, beside what lapin alone reaches at the same broker.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread::scope,
};

use futures_util::{StreamExt, stream::FuturesOrdered};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable, LongString},
};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    amqp::{subscriber, take_all},
    client::{Client, register_many, registration},
    daemon::Daemon,
    link::{Link, publish as put},
    process::cpu_us,
    rest::{CHANGES, registering},
};

/// Messages sent and not confirmed yet, as `transport.amqp.window`.
const WINDOW: usize = 256;

/// What one run gave.
#[derive(Clone, Copy)]
pub(crate) struct Flow {
    /// Events a second.
    pub(crate) rate: f64,
    /// CPU time of daemon and broker for each, in µs.
    pub(crate) cpu_us: f64,
}

/// So many changes are made in mode direct; from the flip until all have left and are confirmed.
pub(crate) fn leaves(daemon: &Daemon, broker: Option<u32>, count: u64) -> Flow {
    daemon.settle("direct");
    let first = CHANGES.fetch_add(count, Ordering::Relaxed);
    register_many(daemon.http, first..first + count, registration);
    let spent = || daemon.cpu_us() + broker.map_or(0.0, cpu_us);
    heard(daemon, |_| {
        let before = spent();
        daemon.set("queue");
        let took = daemon.drained();
        flow(count, took.as_secs_f64(), spent() - before)
    })
}

/// As many messages of the same form from lapin and nothing else, to the same exchange.
pub(crate) fn lapin_alone(daemon: &Daemon, count: u64) -> Flow {
    daemon.settle("direct");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let url = format!("amqp://guest:guest@{}/%2f", daemon.amqp);
    heard(daemon, |body| {
        let before = daemon.cpu_us();
        let took = runtime.block_on(async {
            let connection = Connection::connect(&url, ConnectionProperties::default());
            let connection = connection.await.expect("the broker listens");
            let channel = connection.create_channel().await.expect("a channel");
            let confirms = channel.confirm_select(ConfirmSelectOptions::default());
            confirms.await.expect("confirms");
            let begin = Instant::now();
            publish_all(&channel, body, count).await;
            begin.elapsed()
        });
        flow(count, took.as_secs_f64(), daemon.cpu_us() - before)
    })
}

async fn publish_all(channel: &Channel, body: &[u8], count: u64) {
    let mut confirms = FuturesOrdered::new();
    for n in 0..count {
        if confirms.len() == WINDOW {
            let confirmed = confirms.next().await;
            assert!(matches!(confirmed, Some(Confirmation::Ack(None))));
        }
        confirms.push_back(publish(channel, body, n));
    }
    while let Some(confirmed) = confirms.next().await {
        assert!(matches!(confirmed, Confirmation::Ack(None)));
    }
}

async fn publish(channel: &Channel, body: &[u8], n: u64) -> Confirmation {
    let mut headers = FieldTable::default();
    for (key, value) in [("service_name", "load-7"), ("service_id", "load-307")] {
        let value = AMQPValue::LongString(LongString::from(value));
        headers.insert(key.into(), value);
    }
    let revision = i64::try_from(n).expect("few messages");
    headers.insert("revision".into(), AMQPValue::LongLongInt(revision));
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(2)
        .with_message_id(format!("0123456789abcdef-{n}").into())
        .with_type("updated".into())
        .with_timestamp(1_800_000_000)
        .with_headers(headers);
    let key = "service.events.updated.load-7";
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("musterd".into(), key.into(), options, body, properties);
    let confirm = sent.await.expect("the broker reads");
    confirm.await.expect("the broker answers")
}

/// Works while a subscriber takes everything; `work` is shown the body of an event.
fn heard<T>(daemon: &Daemon, work: impl FnOnce(&[u8]) -> T) -> T {
    let body = one_event(daemon);
    let over = AtomicBool::new(false);
    let mut link: Link = subscriber(daemon);
    let done = scope(|threads| {
        threads.spawn(|| take_all(&mut link, &over, |_| ()));
        let done = work(&body);
        over.store(true, Ordering::Relaxed);
        wake(daemon);
        done
    });
    link.delete_queue("bench-events");
    link.close();
    done
}

/// An event's body, as long as they all are.
fn one_event(daemon: &Daemon) -> Vec<u8> {
    static KEPT: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    let mut kept = KEPT.lock();
    if kept.is_empty() {
        registering(daemon)(0);
        let mut client = Client::open(daemon.http);
        let answer = client.ask("GET", "/events?limit=1", b"").to_vec();
        let begin = answer.iter().position(|octet| *octet == b'[');
        let end = answer.iter().rposition(|octet| *octet == b']');
        kept.extend_from_slice(&answer[begin.expect("a list") + 1..end.expect("its end")]);
    }
    kept.clone()
}

/// A message of no importance, so that the subscriber looks up.
fn wake(daemon: &Daemon) {
    let mut link = Link::open(daemon.amqp);
    let mut out = Vec::new();
    put(&mut out, "musterd", "service.events.bench.end", "", b"{}");
    link.write(&out);
    link.close();
}

fn flow(count: u64, seconds: f64, cpu_us: f64) -> Flow {
    Flow {
        rate: count as f64 / seconds,
        cpu_us: cpu_us / count as f64,
    }
}
