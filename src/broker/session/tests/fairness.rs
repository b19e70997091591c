//! Consumers, queues and channels that share a limit take turns.

use bytes::BytesMut;

use super::fixture::{Client, World, name, table};
use crate::broker::{
    config::Limits,
    vhost::Stamp,
    wire::{
        Method,
        method::{MethodSpec, basic, channel},
    },
};

/// Acknowledges what comes, a number of times: how much each consumer got.
fn counts_of_three(client: &mut Client, world: &mut World, rounds: usize) -> [usize; 3] {
    let mut counts = [0; 3];
    for _ in 0..rounds {
        let sent = client.sent();
        let mut acks = BytesMut::new();
        for sent in sent {
            if let Method::BasicDeliver(deliver) = &sent.method {
                let tag: usize = deliver.consumer_tag.as_str().unwrap().parse().unwrap();
                counts[tag] += 1;
                basic::Ack {
                    delivery_tag: deliver.delivery_tag,
                    multiple: false,
                }
                .put(&mut acks, sent.channel);
            }
        }
        client.send_bytes(world, &acks);
    }
    counts
}

/// Deliveries to each consumer while the outbox is emptied so many times.
fn counts_without_acks<const N: usize>(
    client: &mut Client,
    world: &mut World,
    times: usize,
) -> [usize; N] {
    let mut counts = [0; N];
    for _ in 0..times {
        for sent in client.sent() {
            if let Method::BasicDeliver(deliver) = &sent.method {
                let tag: usize = deliver.consumer_tag.as_str().unwrap().parse().unwrap();
                counts[tag] += 1;
            }
        }
        world.vhost.resume(client.peer.id);
        while world.pump() {}
    }
    counts
}

#[test]
fn consumers_that_share_a_limit_take_turns() {
    // As many queues as consumers, or one for all; the limit is a count or bytes.
    for (queues, prefetch, unacked) in [
        (3, 1, 1 << 20),
        (1, 1, 1 << 20),
        (3, 0, 1 << 10),
        (1, 0, 1 << 10),
        (3, 2, 1 << 20),
    ] {
        let limits = Limits {
            unacked_per_channel: bytesize::ByteSize::b(unacked).into(),
            ..Limits::default()
        };
        let mut world = World::with(limits, Stamp::default());
        let mut client = world.client(1);
        client.qos(&mut world, 1, prefetch, true);
        client.sent();
        for number in 0..queues {
            let queue = format!("q{number}");
            client.declare(&mut world, &queue, table(&[]));
            for _ in 0..100 {
                client.publish(&mut world, &queue, &"x".repeat(1 << 10));
            }
        }
        for number in 0..3 {
            let queue = format!("q{}", number % queues);
            client.consume(&mut world, 1, &queue, &number.to_string());
        }
        let counts = counts_of_three(&mut client, &mut world, 30);
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(
            most - least <= 4 && *least >= 8,
            "{queues} queues, {prefetch}, {unacked}: {counts:?}"
        );
    }
}

#[test]
fn channels_that_share_an_outbox_take_turns() {
    let mut world = World::new();
    let mut client = world.client_with_room(1_000);
    let numbers = [1, 2, 3];
    for number in numbers {
        client.send(&mut world, number, &channel::Open {});
    }
    client.sent();
    for number in numbers {
        let queue = format!("q{number}");
        client.declare(&mut world, &queue, table(&[]));
        for _ in 0..40 {
            client.publish(&mut world, &queue, &"x".repeat(900));
        }
    }
    for number in numbers {
        client.consume(
            &mut world,
            number,
            &format!("q{number}"),
            &(number - 1).to_string(),
        );
    }
    let counts: [_; 3] = counts_without_acks(&mut client, &mut world, 30);
    assert!(counts.iter().all(|count| *count >= 8), "{counts:?}");
}

#[test]
fn a_consumer_without_credit_does_not_stop_others_of_its_channel() {
    let limits = Limits {
        unacked_per_channel: bytesize::ByteSize::kib(1).into(),
        ..Limits::default()
    };
    let mut world = World::with(limits, Stamp::default());
    let mut client = world.client_with_room(1_000);
    client.send(&mut world, 1, &channel::Open {});
    client.sent();
    for queue in ["a", "b"] {
        client.declare(&mut world, queue, table(&[]));
        for _ in 0..20 {
            client.publish(&mut world, queue, &"x".repeat(900));
        }
    }
    // The limit of unacknowledged bytes stops the first one only.
    client.consume(&mut world, 1, "a", "0");
    let without_acks = basic::Consume {
        queue: name("b"),
        consumer_tag: name("1"),
        no_ack: true,
        ..Default::default()
    };
    client.send(&mut world, 1, &without_acks);
    let counts: [_; 2] = counts_without_acks(&mut client, &mut world, 40);
    assert_eq!(counts, [2, 20]);
}
