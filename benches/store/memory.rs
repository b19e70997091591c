//! What stays in memory of much that is on the disk.

use std::{thread::sleep, time::Duration};

use crate::{
    brokers::Broker,
    durable::{BODY, declare, fill, ready_messages},
    link::Link,
    options::{Options, folder},
    process::memory,
    report::{print_limits_head, thousands},
    starts::print_size,
};

pub(crate) const NAMES: [&str; 1] = ["memory with queues and messages on the disk"];

pub(crate) fn run(options: &Options) -> bool {
    const QUEUES: usize = 10_000;
    const QUEUE: &str = "bench-memory";
    let here = folder();
    let broker = Broker::stored(here.path(), &[]);
    print_limits_head();
    print_size("resident when idle", settled(&broker), None);
    let names: Vec<String> = (0..QUEUES).map(|n| format!("bench-memory-{n}")).collect();
    let mut link = Link::open(broker.addr());
    declare(&mut link, &names);
    let name = format!("with {} durable queues", thousands(QUEUES as f64));
    print_size(&name, settled(&broker), None);
    let count = options.gigabytes * 1_000_000_000 / BODY as u64;
    fill(broker.addr(), QUEUE, count);
    let name = format!("and {} GB of queued 1 KB messages", options.gigabytes);
    print_size(&name, settled(&broker), None);
    let peak = memory(&broker.pid().to_string(), "VmHWM:");
    print_size("the most it had", peak, None);
    assert_eq!(
        ready_messages(broker.addr(), QUEUE),
        count,
        "nothing is lost"
    );
    link.close();
    true
}

fn settled(broker: &Broker) -> f64 {
    sleep(Duration::from_millis(1500));
    broker.resident()
}
