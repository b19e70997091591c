//! How soon a daemon is ready that finds much in its store, and how large it is then.

use std::{path::Path, thread::scope};

use tokio::time::Instant;

use crate::{
    brokers::Broker,
    client::{Client, number_after, register_many},
    durable::{fill, ready_messages},
    options::{Options, folder},
    report::{print_limit, print_limits_head, thousands},
};

pub(crate) const NAMES: [&str; 2] = ["start with instances", "start with messages"];

const MIB: f64 = 1024.0 * 1024.0;

pub(crate) fn run(options: &Options) -> bool {
    print_limits_head();
    let mut reached = true;
    if options.wants(NAMES[0]) {
        reached &= instances(options.instances);
    }
    if options.wants(NAMES[1]) {
        reached &= messages(options.messages);
    }
    reached
}

/// The daemon on this folder, and the time until /ready was 200, in seconds.
fn start(folder: &Path) -> (Broker, f64) {
    let begin = Instant::now();
    let broker = Broker::stored(folder, &[]);
    (broker, begin.elapsed().as_secs_f64())
}

fn stop(broker: Broker) {
    match broker {
        Broker::Musterd(daemon) => daemon.stop(),
        Broker::RabbitMq(rabbit) => rabbit.stop(),
    }
}

fn instances(count: u64) -> bool {
    let here = folder();
    let (broker, _) = start(here.path());
    register(&broker, count);
    stop(broker);
    let (broker, stopped) = start(here.path());
    assert_eq!(registered(&broker), count, "the instances are there again");
    let resident = broker.resident();
    // SIGKILL.
    drop(broker);
    let (broker, killed) = start(here.path());
    assert_eq!(registered(&broker), count, "the instances are there again");
    let what = thousands(count as f64);
    let row = |how, seconds| {
        let name = format!("ready with {what} instances after {how}");
        print_limit(&name, seconds, 1.0, "s", None)
    };
    let reached = row("a stop", stopped) & row("a kill", killed);
    print_size("resident then", resident, None);
    reached
}

fn register(broker: &Broker, count: u64) {
    const CONNECTIONS: u64 = 8;
    let addr = broker.http();
    scope(|threads| {
        for lane in 0..CONNECTIONS {
            let numbers = count * lane / CONNECTIONS..count * (lane + 1) / CONNECTIONS;
            threads.spawn(move || register_many(addr, numbers, instance));
        }
    });
}

/// Ten instances of each service.
fn instance(n: u64) -> String {
    format!(
        r#"{{"service_id":"start-{n}","service_name":"start-{}","host":"10.0.{}.{}","port":8080,"metadata":{{"region":"eu-1","build":"2026.11.{n}"}},"tags":["v2","http"],"version":"2.1.0","ttl":"1h"}}"#,
        n / 10,
        n / 250 % 250,
        n % 250
    )
}

fn registered(broker: &Broker) -> u64 {
    let mut client = Client::open(broker.http());
    let metrics = client.ask("GET", "/metrics", b"");
    number_after(metrics, b"\nmusterd_instances ").expect("the registry's metrics")
}

fn messages(count: u64) -> bool {
    const QUEUE: &str = "bench-start";
    let here = folder();
    let (broker, _) = start(here.path());
    fill(broker.addr(), QUEUE, count);
    stop(broker);
    let has_all = |broker: &Broker| {
        let found = ready_messages(broker.addr(), QUEUE);
        assert_eq!(found, count, "the messages are there again");
    };
    let (broker, stopped) = start(here.path());
    let resident = broker.resident();
    has_all(&broker);
    // SIGKILL.
    drop(broker);
    let (broker, killed) = start(here.path());
    has_all(&broker);
    drop(broker);
    let (boot, theirs) = rabbitmq(QUEUE, count, has_all);
    let what = thousands(count as f64);
    let row = |how, seconds, rival| {
        let name = format!("ready with {what} queued messages of 1 KB after {how}");
        print_limit(&name, seconds, 3.0, "s", rival)
    };
    let reached = row("a stop", stopped, Some(boot)) & row("a kill", killed, None);
    print_size("resident then", resident, Some(theirs));
    reached
}

/// How long RabbitMQ takes to boot with as many after a stop, in seconds, and its resident memory then.
fn rabbitmq(queue: &str, count: u64, has_all: impl Fn(&Broker)) -> (f64, f64) {
    let there = folder();
    let mut broker = Broker::rabbitmq(there.path());
    fill(broker.addr(), queue, count);
    let Broker::RabbitMq(rabbit) = &mut broker else {
        unreachable!("RabbitMQ was started");
    };
    rabbit.stop();
    let begin = Instant::now();
    rabbit.restart();
    let boot = begin.elapsed().as_secs_f64();
    has_all(&broker);
    (boot, broker.resident())
}

/// A size in bytes that has no limit.
pub(crate) fn print_size(name: &str, ours: f64, theirs: Option<f64>) {
    let theirs = theirs.map_or_else(|| "-".to_owned(), |size| format!("{:.0} MiB", size / MIB));
    println!("| {name} | {:.0} MiB | {theirs} | | |", ours / MIB);
}
