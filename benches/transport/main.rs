//! The transport beside itself: `queue` against `direct`, the embedded broker against RabbitMQ, the daemon
//! against lapin alone:
//! `cargo bench --bench transport -- [--pairs 5] [--seconds 3] [--only rest|events|commands|backlog] [--backlog 50000]`.
//! The exit code is 0 if every target was reached.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod amqp;
mod backlog;
mod client;
#[expect(dead_code, reason = "the store's bench uses more of it")]
mod daemon;
#[path = "../amqp/link.rs"]
#[expect(dead_code, reason = "the broker's own bench uses more of it")]
mod link;
mod pace;
#[path = "../amqp/process.rs"]
#[expect(dead_code, reason = "memory is not measured here")]
mod process;
#[path = "../../tests/it/rabbitmq.rs"]
#[expect(dead_code, reason = "the tests also pause nodes and share them")]
mod rabbitmq;
mod report;
mod rest;

use std::{process::ExitCode, time::Duration};

use backlog::Flow;
use daemon::Daemon;
use rabbitmq::Rabbit;
use report::{compared, limited, median, pairs, verdict};

/// What the command line says.
struct Options {
    pairs: usize,
    time: Duration,
    only: String,
    backlog: u64,
}

impl Options {
    fn read() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let after = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            arguments.get(at + 1)
        };
        let number = |name: &str, default: f64| {
            after(name).map_or(default, |text| text.parse().expect("a number"))
        };
        Self {
            pairs: after("--pairs").map_or(5, |text| text.parse().expect("--pairs takes a number")),
            time: Duration::from_secs_f64(number("--seconds", 3.0)),
            only: after("--only").cloned().unwrap_or_default(),
            backlog: after("--backlog").map_or(50_000, |text| text.parse().expect("a number")),
        }
    }

    fn includes(&self, name: &str) -> bool {
        name.contains(&self.only)
    }
}

/// Prints its tables; true when every target was reached.
type Section = fn(&Options) -> bool;

fn main() -> ExitCode {
    let options = Options::read();
    pace::wake_in_time();
    let sections: [(&str, Section); 4] = [
        ("rest", rest),
        ("events", events),
        ("commands", commands),
        ("backlog", backlogs),
    ];
    let mut reached = true;
    for (name, run) in sections {
        if options.includes(name) {
            reached &= run(&options);
        }
    }
    if reached {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn rest(options: &Options) -> bool {
    let daemon = Daemon::embedded();
    client::register_many(daemon.http, 0..1_000, client::registration);
    rest::CHANGES.store(1_000, std::sync::atomic::Ordering::Relaxed);
    println!(
        "\n| REST, {} pairs | queue: p50, p99 | direct: the same | p50 (wanted) | p99 (wanted) | |",
        options.pairs
    );
    println!("|---|---|---|---|---|---|");
    let mut reached = true;
    for rate in [1_000.0, 5_000.0] {
        let halves = rest::register(&daemon, options.pairs, options.time, rate);
        reached &= compared(&format!("register, {rate} changes/s"), &halves);
    }
    let (most, halves) = rest::discover(&daemon, options.pairs, options.time);
    let name = format!("discover, {:.0}/s and 1,000 changes/s", most / 2.0);
    compared(&name, &halves) && reached
}

fn events(options: &Options) -> bool {
    let daemon = Daemon::embedded();
    println!("\n| from register's 200 to an AMQP subscriber | p50, p99 | wanted of p50 | |");
    println!("|---|---|---|---|");
    let mut reached = true;
    for rate in [100.0, 1_000.0, 5_000.0] {
        let run = |mode| amqp::event(&daemon, mode, options.time, rate);
        let (queue, dual) = split(pairs(options.pairs, ["queue", "dual"], run));
        for (mode, runs) in [("queue", queue), ("dual", dual)] {
            reached &= limited(&format!("{mode}, {rate} changes/s"), &runs, 1_000.0);
        }
    }
    reached
}

fn commands(options: &Options) -> bool {
    let daemon = Daemon::embedded();
    client::register_many(daemon.http, 0..1_000, client::registration);
    println!(
        "\n| service.discover by direct reply-to, one in flight | p50, p99 | wanted of p50 | |"
    );
    println!("|---|---|---|---|");
    let run = |mode| amqp::discover(&daemon, mode, options.time);
    let (queue, dual) = split(pairs(options.pairs, ["queue", "dual"], run));
    let queue = limited("queue", &queue, 400.0);
    limited("dual", &dual, 400.0) && queue
}

fn split<T>(pairs: Vec<[T; 2]>) -> (Vec<T>, Vec<T>) {
    pairs.into_iter().map(|[one, other]| (one, other)).unzip()
}

fn backlogs(options: &Options) -> bool {
    let embedded = Daemon::embedded();
    let rabbit = Rabbit::private();
    let external = Daemon::on(rabbit.addr());
    // The first connection declares the exchange.
    for daemon in [&embedded, &external] {
        daemon.settle("queue");
    }
    let count = options.backlog;
    let mut runs = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..options.pairs {
        let [ours, alone, theirs, alone_there] = &mut runs;
        ours.push(backlog::leaves(&embedded, None, count));
        alone.push(backlog::lapin_alone(&embedded, count));
        theirs.push(backlog::leaves(&external, Some(rabbit.pid()), count));
        alone_there.push(backlog::lapin_alone(&external, count));
    }
    let [ours, alone, theirs, alone_there] = runs;
    println!(
        "\n| {count} events leave with confirms | events/s | CPU of daemon and broker for each |"
    );
    println!("|---|---|---|");
    let of = |runs: &[Flow], of: fn(&Flow) -> f64| median(runs.iter().map(of));
    for (name, runs) in [
        ("the daemon, embedded broker", &ours),
        ("the daemon, RabbitMQ", &theirs),
    ] {
        let (rate, cpu) = (of(runs, |flow| flow.rate), of(runs, |flow| flow.cpu_us));
        println!("| {name} | {rate:.0} | {cpu:.1} µs |");
    }
    for (name, runs) in [
        ("lapin alone, embedded broker", &alone),
        ("lapin alone, RabbitMQ", &alone_there),
    ] {
        println!("| {name} | {:.0} | |", of(runs, |flow| flow.rate));
    }
    let ratio = |ones: &[Flow], others: &[Flow], of: fn(&Flow) -> f64| {
        let ratios = ones.iter().zip(others);
        median(ratios.map(|(one, other)| of(one) / of(other)))
    };
    let share = ratio(&ours, &alone, |flow| flow.rate);
    let share_there = ratio(&theirs, &alone_there, |flow| flow.rate);
    let rate = ratio(&ours, &theirs, |flow| flow.rate);
    let cpu = ratio(&ours, &theirs, |flow| flow.cpu_us);
    println!("\n| ratio | | wanted | |\n|---|---|---|---|");
    let rows = [
        (
            "the daemon to lapin alone, embedded broker",
            share,
            "at least 0.8",
            share >= 0.8,
        ),
        (
            "the same at RabbitMQ",
            share_there,
            "at least 0.8",
            share_there >= 0.8,
        ),
        (
            "embedded to RabbitMQ, events/s",
            rate,
            "at least 1",
            rate >= 1.0,
        ),
        ("embedded to RabbitMQ, CPU", cpu, "below 1", cpu < 1.0),
    ];
    for (name, figure, wanted, reached) in rows {
        println!("| {name} | {figure:.2} | {wanted} | {} |", verdict(reached));
    }
    rows.iter().all(|(_, _, _, reached)| *reached)
}
