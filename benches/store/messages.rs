//! Persistent messages through real sockets, beside RabbitMQ's classic durable queue on the same disk.

use std::{sync::atomic::AtomicU64, thread::sleep, time::Duration};

use crate::{
    brokers::Broker,
    cases::{Meter, Sample, name},
    durable::{consume, declare, fill, message},
    latency::publish_confirmed,
    link::{DELIVER, Link, ack},
    options::{Options, folder},
    report::{ANY, Comparison, Target, pairs, print_head},
};

struct Case {
    target: Target,
    run: fn(&Broker, &Options) -> Sample,
}

pub(crate) const NAMES: [&str; 3] = [
    "1 KB persistent, confirms, window 256",
    "1 KB persistent, confirms, one in flight",
    "1 KB persistent, waiting, an ack each, prefetch 300",
];

const CASES: [Case; 3] = [
    Case {
        target: Target {
            rate: 4.0,
            cpu: 0.25,
            ..ANY
        },
        run: |broker, options| confirms(broker, options.time, 256),
    },
    Case {
        target: Target { p50: 0.6, ..ANY },
        run: |broker, options| confirms(broker, options.time, 1),
    },
    Case {
        target: Target { rate: 4.0, ..ANY },
        run: |broker, options| consumed(broker, options.waiting),
    },
];

pub(crate) fn run(options: &Options) -> bool {
    let (here, there) = (folder(), folder());
    let ours = Broker::stored(here.path(), &[]);
    let theirs = Broker::rabbitmq(there.path());
    print_head("musterd", "RabbitMQ");
    let mut reached = true;
    for (name, case) in NAMES.into_iter().zip(CASES) {
        if options.wants(name) {
            let run = |broker| (case.run)(broker, options);
            reached &= Comparison {
                name,
                target: case.target,
                pairs: pairs(name, options.pairs, || run(&ours), || run(&theirs)),
            }
            .print();
        }
    }
    reached
}

/// One publisher. Nobody consumes: a message that is consumed at once need not be written.
fn confirms(broker: &Broker, time: Duration, window: u64) -> Sample {
    let queue = name("durable");
    let mut link = Link::open(broker.addr());
    declare(&mut link, std::slice::from_ref(&queue));
    link.select_confirms();
    let sent = AtomicU64::new(0);
    let sample = publish_confirmed(broker, &mut link, &message(&queue), time, window, &sent);
    remove(link, &queue);
    sample
}

/// One consumer, on a queue that has `count` messages before it comes.
fn consumed(broker: &Broker, count: u64) -> Sample {
    let queue = name("waiting");
    fill(broker.addr(), &queue, count);
    let mut link = Link::open(broker.addr());
    link.prefetch(300);
    let meter = Meter::start(broker, 0);
    consume(&mut link, &queue);
    let (mut taken, mut out) = (0, Vec::new());
    while taken < count {
        link.read(|method| {
            if method.id == DELIVER {
                taken += 1;
                ack(&mut out, method.tag());
            }
        });
        link.write(&out);
        out.clear();
    }
    // Answered behind the acks: the broker has them all.
    link.prefetch(300);
    let sample = meter.stop(count);
    remove(link, &queue);
    sample
}

/// What the broker still has to do for it is not the next run's.
fn remove(mut link: Link, queue: &str) {
    link.delete_queue(queue);
    link.close();
    sleep(Duration::from_millis(500));
}
