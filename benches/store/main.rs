//! What state on the disk costs: persistent messages beside RabbitMQ, registrations beside those in memory, starts with
//! much to read, and the memory of a daemon that has much on its disk:
//! `cargo bench --bench store -- [PART OF A NAME]… [--pairs 3] [--seconds 2] [--waiting 100000] [--instances 100000]
//! [--messages 1000000] [--gigabytes 1] [--long] [--list]`.
//! `--long` queues 10 GB. Everything is written below `target`: the figures are those of that disk, for both brokers.
//! The exit code tells whether every target was reached.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]
#![expect(clippy::print_stderr, reason = "and how far it is")]

mod brokers;
#[path = "../amqp/cases.rs"]
#[expect(dead_code, reason = "the broker's own bench has more loads")]
mod cases;
#[path = "../transport/client.rs"]
mod client;
#[path = "../transport/daemon.rs"]
#[expect(dead_code, reason = "the transport's bench uses more of it")]
mod daemon;
mod durable;
#[path = "../amqp/latency.rs"]
#[expect(dead_code, reason = "the broker's own bench has more loads")]
mod latency;
#[path = "../amqp/link.rs"]
mod link;
mod log;
mod memory;
mod messages;
mod options;
#[path = "../amqp/process.rs"]
mod process;
#[path = "../../tests/it/rabbitmq.rs"]
#[expect(dead_code, reason = "the tests also pause nodes and share them")]
mod rabbitmq;
mod registrations;
#[path = "../amqp/report.rs"]
mod report;
mod starts;
#[path = "../amqp/window.rs"]
mod window;

use std::process::ExitCode;

use options::Options;

/// The names of its cases, and what runs those that are wanted; true when every target was reached.
struct Section {
    cases: &'static [&'static str],
    run: fn(&Options) -> bool,
}

const SECTIONS: [Section; 5] = [
    Section {
        cases: &log::NAMES,
        run: log::run,
    },
    Section {
        cases: &messages::NAMES,
        run: messages::run,
    },
    Section {
        cases: &registrations::NAMES,
        run: registrations::run,
    },
    Section {
        cases: &starts::NAMES,
        run: starts::run,
    },
    Section {
        cases: &memory::NAMES,
        run: memory::run,
    },
];

fn main() -> ExitCode {
    let options = Options::read();
    if options.list {
        let names = SECTIONS.iter().flat_map(|section| section.cases);
        names.for_each(|name| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    let mut reached = true;
    for section in SECTIONS {
        if section.cases.iter().any(|name| options.wants(name)) {
            reached &= (section.run)(&options);
        }
    }
    if reached {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
