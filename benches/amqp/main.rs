//! musterd's embedded broker beside RabbitMQ on the same machine, in turns:
//! `cargo bench --bench amqp -- [--pairs 5] [--seconds 3] [--only TEXT] [--alone musterd|rabbitmq|fixed] [--list]`.
//! The exit code is 0 if every target was reached.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]
#![expect(clippy::print_stderr, reason = "and how far it is")]

mod brokers;
mod cases;
mod fixed;
mod latency;
mod link;
mod memory;
mod process;
#[path = "../../tests/it/rabbitmq.rs"]
#[expect(dead_code, reason = "the tests also pause nodes and share them")]
mod rabbitmq;
mod report;
mod serve;
mod window;

use std::process::ExitCode;
use std::time::Duration;

use brokers::{Broker, Embedded};
use cases::Sample;
use link::Acks;
use rabbitmq::Rabbit;
use report::{ANY, Comparison, Target, print_limits_head};

/// The daemon's own: the child must hold and spend what the daemon does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A load that is compared.
struct Case {
    name: &'static str,
    target: Target,
    run: fn(&Broker, Duration) -> Sample,
}

const THROUGH: Target = Target {
    rate: 5.0,
    cpu: 0.2,
    ..ANY
};

const CASES: &[Case] = &[
    Case {
        name: "1 KB, auto-ack",
        target: THROUGH,
        run: |b, t| cases::through_one_queue(b, t, 1024, Acks::None),
    },
    Case {
        name: "16 B, auto-ack",
        target: THROUGH,
        run: |b, t| cases::through_one_queue(b, t, 16, Acks::None),
    },
    Case {
        name: "1 KB, an ack each, prefetch 300",
        target: THROUGH,
        run: |b, t| cases::through_one_queue(b, t, 1024, Acks::Each),
    },
    Case {
        name: "16 B, an ack each, prefetch 300",
        target: THROUGH,
        run: |b, t| cases::through_one_queue(b, t, 16, Acks::Each),
    },
    Case {
        name: "1 KB, confirms, window 256",
        target: Target {
            rate: 5.0,
            cpu: 0.25,
            p99: 0.1,
            ..ANY
        },
        run: |b, t| latency::confirms(b, t, 256),
    },
    Case {
        name: "1 KB, fan-out 1 → 4 (deliveries)",
        target: Target {
            rate: 5.0,
            cpu: 0.25,
            ..ANY
        },
        run: |b, t| cases::fan_out(b, t, 1024),
    },
    Case {
        name: "direct reply-to, one in flight",
        target: Target {
            cpu: 1.0 / 3.0,
            p50: 0.45,
            p99: 0.45,
            ..ANY
        },
        run: latency::round_trips,
    },
    Case {
        name: "1 KB at 10,000 a second",
        target: Target { p99: 0.1, ..ANY },
        run: |b, t| latency::at_a_fixed_rate(b, t, 10_000.0),
    },
    Case {
        name: "connection and channel, opened and closed",
        target: Target {
            rate: 8.0,
            cpu: 0.125,
            ..ANY
        },
        run: latency::connections,
    },
    Case {
        name: "queues declared",
        target: Target { rate: 20.0, ..ANY },
        run: latency::declarations,
    },
];

/// What the command line says.
struct Options {
    pairs: usize,
    time: Duration,
    only: String,
    alone: String,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let after = |name: &str| {
        arguments
            .iter()
            .position(|argument| argument == name)
            .and_then(|at| arguments.get(at + 1))
    };
    if let Some(listen) = after("--serve") {
        return serve::serve(listen.clone());
    }
    if let Some(listen) = after("--serve-fixed") {
        return fixed::serve(listen);
    }
    if arguments.iter().any(|argument| argument == "--list") {
        CASES.iter().for_each(|case| println!("{}", case.name));
        return ExitCode::SUCCESS;
    }
    let options = Options {
        pairs: after("--pairs").map_or(5, |text| text.parse().expect("--pairs takes a number")),
        time: Duration::from_secs_f64(
            after("--seconds").map_or(3.0, |text| text.parse().expect("--seconds takes a number")),
        ),
        only: after("--only").cloned().unwrap_or_default(),
        alone: after("--alone").cloned().unwrap_or_default(),
    };
    if options.alone.is_empty() {
        compare(&options)
    } else {
        alone(&options)
    }
}

fn chosen(options: &Options) -> impl Iterator<Item = &'static Case> {
    CASES
        .iter()
        .filter(|case| case.name.contains(&options.only))
}

/// One broker's figures, for work on it.
fn alone(options: &Options) -> ExitCode {
    let broker = match options.alone.as_str() {
        "rabbitmq" => Broker::RabbitMq(Rabbit::private()),
        // Only for loads that it can answer: connections, declarations, a fixed rate.
        "fixed" => Broker::Musterd(Embedded::fixed()),
        _ => Broker::Musterd(Embedded::start()),
    };
    println!("\n| case | rate/s, CPU, p50, p99 |\n|---|---|");
    for case in chosen(options) {
        let samples: Vec<Sample> = (0..options.pairs)
            .map(|_| (case.run)(&broker, options.time))
            .collect();
        println!("| {} | {} |", case.name, report::figures(samples.iter()));
    }
    ExitCode::SUCCESS
}

fn compare(options: &Options) -> ExitCode {
    let (ours, theirs) = (
        Broker::Musterd(Embedded::start()),
        Broker::RabbitMq(Rabbit::private()),
    );
    report::print_head("musterd", "RabbitMQ");
    let mut reached = true;
    for case in chosen(options) {
        let run = |broker| (case.run)(broker, options.time);
        let pairs = report::pairs(case.name, options.pairs, || run(&ours), || run(&theirs));
        reached &= Comparison {
            name: case.name,
            target: case.target,
            pairs,
        }
        .print();
    }
    if "memory".contains(&options.only) {
        reached &= memory_limits(&theirs);
    }
    if "churn".contains(&options.only) {
        reached &= churn(options);
    }
    if "flat cost".contains(&options.only) {
        reached &= flat_costs(&ours, options);
    }
    if reached {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// On brokers that have done nothing yet: what was held before would be used again.
fn memory_limits(theirs: &Broker) -> bool {
    const MIB: f64 = 1024.0 * 1024.0;
    print_limits_head();
    let embedded = Embedded::start();
    let idle = report::print_limit(
        "an idle broker adds to the daemon",
        embedded.added / MIB,
        2.0,
        "MiB",
        None,
    );
    let connection = |broker: &Broker| memory::connection(broker, 500) / 1024.0;
    let connections = report::print_limit(
        "a connection with a channel, a queue and a consumer",
        connection(&Broker::Musterd(embedded)),
        30.0,
        "KiB",
        Some(connection(theirs)),
    );
    let fresh = Broker::Musterd(Embedded::start());
    let queued = report::print_limit(
        "100,000 queued messages of 1 KB, to their bodies",
        memory::queued(&fresh, 100_000),
        1.3,
        "x",
        Some(memory::queued(theirs, 100_000)),
    );
    idle && connections && queued
}

/// Resident memory before and after a long time of connections that come and go.
fn churn(options: &Options) -> bool {
    const MIB: f64 = 1024.0 * 1024.0;
    print_limits_head();
    let fresh = Broker::Musterd(Embedded::start());
    let time = options.time * 20;
    let churned = memory::churn(&fresh, 500, time);
    println!(
        "| {} connections, {:.0}/s for {:.0} s: resident before, after | {:.1}, {:.1} MiB | | | |",
        churned.count,
        churned.count as f64 / churned.seconds,
        churned.seconds,
        churned.before / MIB,
        churned.after / MIB
    );
    let growth = (churned.after - churned.before) / MIB;
    report::print_limit("growth by that", growth, 2.0, "MiB", None)
}

/// CPU per message at a large size against a small one, the median of as many pairs.
fn flat_costs(broker: &Broker, options: &Options) -> bool {
    print_limits_head();
    let growth =
        |name: &str, limit: f64, large: &dyn Fn() -> Sample, small: &dyn Fn() -> Sample| {
            let ratios = (0..options.pairs).map(|_| large().cpu_us / small().cpu_us);
            report::print_limit(name, report::median(ratios), limit, "x", None)
        };
    let time = options.time;
    let queues = |count| move || cases::spread(broker, time, 16, Acks::None, count);
    let queues = growth(
        "cost with 10,000 queues in turn, to 10",
        1.5,
        &queues(10_000),
        &queues(10),
    );
    let beside = |count| move || cases::beside(broker, time, count);
    let others = growth(
        "cost with 10,000 other queues, to 10 others",
        1.1,
        &beside(10_000),
        &beside(10),
    );
    let topic = |count| move || cases::topic(broker, time, count);
    let topic = growth(
        "topic cost with 10,000 bindings that do not match, to 10",
        2.0,
        &topic(10_000),
        &topic(10),
    );
    let unacked = |count| move || cases::with_unacked(broker, time, count);
    let unacked = growth(
        "cost of an ack with 100,000 unacked, to 100",
        1.5,
        &unacked(100_000),
        &unacked(100),
    );
    queues && others && topic && unacked
}
