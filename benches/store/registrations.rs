//! Registrations over HTTP, kept alive: with a store beside those in memory, and with an fsync before each answer.

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread::scope,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    brokers::Broker,
    cases::{Gauge, Sample, measure},
    client::{Client, number_after, registration},
    latency::{nanos, percentiles},
    options::{Options, folder},
    report::{ANY, Comparison, Target, median, pairs, print_head, thousands},
};

pub(crate) const NAMES: [&str; 2] = [
    "register, sync = interval, 16 clients",
    "register, sync = always, 64 clients",
];

const INTERVAL: Target = Target {
    rate: 0.9,
    p99: 1.3,
    ..ANY
};

/// Numbers of changes: none twice, so that each is an event.
static CHANGES: AtomicU64 = AtomicU64::new(0);

pub(crate) fn run(options: &Options) -> bool {
    let mut reached = true;
    if options.wants(NAMES[0]) {
        reached &= interval(options);
    }
    if options.wants(NAMES[1]) {
        reached &= always(options);
    }
    reached
}

fn interval(options: &Options) -> bool {
    const CLIENTS: usize = 16;
    let here = folder();
    let stored = Broker::stored(here.path(), &["store.sync=interval"]);
    let in_memory = Broker::in_memory();
    print_head("interval", "in memory");
    let run = |broker| registered(broker, CLIENTS, options.time).0;
    Comparison {
        name: NAMES[0],
        target: INTERVAL,
        pairs: pairs(NAMES[0], options.pairs, || run(&stored), || run(&in_memory)),
    }
    .print()
}

fn always(options: &Options) -> bool {
    const CLIENTS: usize = 64;
    let here = folder();
    let broker = Broker::stored(here.path(), &["store.sync=always"]);
    println!("\n| {} | figure | target | |\n|---|---|---|---|", NAMES[1]);
    let runs: Vec<Shared> = (0..options.pairs)
        .map(|_| shared(&broker, CLIENTS, here.path(), options.time))
        .collect();
    let of = |of: fn(&Shared) -> f64| median(runs.iter().map(of));
    let (rate, share) = (of(|run| run.sample.rate), of(Shared::share));
    let reached = [rate >= 10_000.0, share >= 0.5].map(|reached| {
        if reached {
            (true, "reached")
        } else {
            (false, "**missed**")
        }
    });
    println!(
        "| registrations/s, p50, p99 | {}, {:.2}, {:.2} ms | at least 10,000/s | {} |",
        thousands(rate),
        of(|run| run.sample.p50_us.unwrap_or(f64::NAN)) / 1e3,
        of(|run| run.sample.p99_us.unwrap_or(f64::NAN)) / 1e3,
        reached[0].1
    );
    println!(
        "| share of (clients per fsync x fsyncs/s of the disk): {} / ({:.1} x {}) | {share:.2} | at least 0.5 | {} |",
        thousands(rate),
        of(|run| run.per_sync),
        thousands(of(|run| run.disk)),
        reached[1].1
    );
    reached.iter().all(|(reached, _)| *reached)
}

/// One run in which registrations share fsyncs.
struct Shared {
    sample: Sample,
    /// Registrations for each fsync.
    per_sync: f64,
    /// Small appends with an fsync each that the disk takes in a second.
    disk: f64,
}

impl Shared {
    /// The rate to that of a store which does nothing but fsync.
    fn share(&self) -> f64 {
        self.sample.rate / (self.per_sync * self.disk)
    }
}

fn shared(broker: &Broker, clients: usize, folder: &Path, time: Duration) -> Shared {
    let before = syncs(broker);
    let (sample, registrations) = registered(broker, clients, time);
    let synced = syncs(broker) - before;
    Shared {
        sample,
        per_sync: registrations as f64 / synced as f64,
        disk: appends(folder, time / 2),
    }
}

/// So many clients, each with one registration in flight; and how many there were, those of the warm-up too.
fn registered(broker: &Broker, clients: usize, time: Duration) -> (Sample, u64) {
    let (begin, gauge) = (Instant::now(), Gauge::default());
    let one = || {
        let mut client = Client::open(broker.http());
        let mut latencies = Vec::new();
        while !gauge.stopped() {
            let body = registration(CHANGES.fetch_add(1, Ordering::Relaxed));
            let sent = Instant::now();
            client.ask("POST", "/services/register", body.as_bytes());
            gauge.consumed.fetch_add(1, Ordering::Relaxed);
            if begin.elapsed() > time / 4 {
                latencies.push(nanos(sent));
            }
        }
        latencies
    };
    let (mut sample, latencies) = scope(|threads| {
        let running: Vec<_> = (0..clients).map(|_| threads.spawn(one)).collect();
        let sample = measure(broker, &gauge, time);
        let all = running
            .into_iter()
            .flat_map(|one| one.join().expect("no registration fails"));
        (sample, all.collect())
    });
    percentiles(&mut sample, latencies);
    (sample, gauge.consumed.into_inner())
}

/// The store's fsyncs so far.
fn syncs(broker: &Broker) -> u64 {
    let mut client = Client::open(broker.http());
    let metrics = client.ask("GET", "/metrics", b"");
    number_after(metrics, b"\nmusterd_store_syncs_total ").expect("the store's metrics")
}

/// Appends of 512 bytes to a file in this folder, each with an fsync: how many in a second.
fn appends(folder: &Path, time: Duration) -> f64 {
    let path = folder.join("appends");
    let mut file = File::create(&path).expect("a file on the disk that is measured");
    let (begin, mut count) = (Instant::now(), 0_u32);
    while begin.elapsed() < time {
        file.write_all(&[7; 512]).expect("room on the disk");
        file.sync_data().expect("a disk that works");
        count += 1;
    }
    let rate = f64::from(count) / begin.elapsed().as_secs_f64();
    std::fs::remove_file(path).expect("a file of this process");
    rate
}
