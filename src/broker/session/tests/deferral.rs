//! What deferred work meets when it continues: things that are gone, and limits that are reached.

use bytes::BytesMut;

use super::fixture::{Client, FRAME_MAX, World, name, table, text};
use crate::broker::{
    vhost::{BindSpec, BindTarget},
    wire::{
        Method, Properties, Table, ValueRef,
        content::put_content,
        method::{MethodSpec, basic, exchange, modes},
        table::TableBuilder,
    },
};

fn frame(method: &impl MethodSpec) -> BytesMut {
    let mut out = BytesMut::new();
    method.put(&mut out, 1);
    out
}

fn publish(exchange: &str, key: &str, properties: &Properties) -> BytesMut {
    let mut out = frame(&basic::Publish {
        exchange: name(exchange),
        routing_key: name(key),
        ..Default::default()
    });
    put_content(&mut out, 1, properties, b"x", FRAME_MAX);
    out
}

fn bind(world: &mut World, client: &Client, source: &str, target: BindTarget, key: &str) {
    let spec = BindSpec {
        source: name(source),
        target,
        routing_key: name(key),
        arguments: Table::EMPTY,
    };
    world.vhost.bind(&spec, client.peer.id).unwrap();
}

/// A queue whose dead letters go to "dead".
fn with_dead(world: &mut World, client: &mut Client, queue: &str, more: &[(&str, ValueRef<'_>)]) {
    let mut fields = vec![
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("dead")),
    ];
    fields.extend_from_slice(more);
    client.declare(world, queue, table(&fields));
}

#[test]
fn more_messages_are_rejected_at_once_than_dead_letters_may_wait() {
    for (requeue, limit) in [(false, None), (true, Some(0))] {
        let mut world = World::new();
        let mut client = world.client(1);
        client.declare(&mut world, "dead", table(&[]));
        let limit = limit.map(|limit| ("x-delivery-limit", ValueRef::I32(limit)));
        with_dead(&mut world, &mut client, "q", limit.as_slice());
        client.consume(&mut world, 1, "q", "c");
        let message = publish("", "q", &Properties::NONE);
        client.send_bytes(&mut world, &message.repeat(3_000));
        let nack = basic::Nack {
            delivery_tag: 0,
            multiple: true,
            requeue,
        };
        client.send(&mut world, 1, &nack);
        assert_eq!(client.depth(&mut world, "dead"), Some(3_000), "{requeue}");
    }
}

#[test]
fn an_exchange_is_deleted_while_a_message_searches_it() {
    for (kind, count) in [("topic", 60), ("headers", 20_000)] {
        let mut world = World::new();
        let (mut client, mut other) = (world.client(1), world.client(1));
        client.declare_exchange(&mut world, "start", "fanout");
        for exchange in ["large", "small"] {
            client.declare_exchange(&mut world, exchange, kind);
            bind(
                &mut world,
                &client,
                "start",
                BindTarget::Exchange(name(exchange)),
                "",
            );
        }
        client.declare(&mut world, "q", table(&[]));
        let queue = || BindTarget::Queue(name("q"));
        let mut random = fastrand::Rng::with_seed(1);
        for number in 0..count {
            let words: Vec<_> = match kind {
                "topic" => (0..127)
                    .map(|_| ["#", "*", "a"][random.usize(..3)])
                    .collect(),
                _ => vec!["a"],
            };
            let key = if kind == "topic" {
                words.join(".")
            } else {
                number.to_string()
            };
            bind(&mut world, &client, "large", queue(), &key);
        }
        for number in 0..2_000 {
            bind(
                &mut world,
                &client,
                "small",
                queue(),
                &format!("b.{number}"),
            );
        }
        bind(&mut world, &client, "small", queue(), "#");
        client.push(&publish("start", &["a"; 127].join("."), &Properties::NONE));
        client.turn(&mut world);
        assert!(
            client.session.is_busy(&world.vhost),
            "the case must take several turns"
        );
        let delete = exchange::Delete {
            exchange: name("large"),
            ..Default::default()
        };
        other.send(&mut world, 1, &delete);
        while world.pump() {}
        assert_eq!(client.drain(&mut world, "q"), ["x"], "{kind}");
    }
}

#[test]
fn a_consumer_that_is_late_with_many_loses_no_channel() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(
        &mut world,
        "q",
        table(&[("x-consumer-timeout", ValueRef::I64(1000))]),
    );
    client.consume(&mut world, 1, "q", "slow");
    let message = publish("", "q", &Properties::NONE);
    client.send_bytes(&mut world, &message.repeat(10_000));
    client.sent();
    world.now.ms += 1000;
    // Time passes while they are requeued.
    loop {
        world.vhost.begin_turn();
        if !world.vhost.tick(world.now) {
            break;
        }
        world.now.ms += 5;
    }
    world.pass(1000);
    let sent: Vec<_> = client.sent().into_iter().map(|sent| sent.method).collect();
    assert!(
        matches!(sent[..], [Method::BasicCancel(_)]),
        "{} frames",
        sent.len()
    );
    assert_eq!(client.depth(&mut world, "q"), Some(10_000));
}

#[test]
fn dead_letters_of_full_queues_are_bounded_and_counted() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.send(&mut world, 1, &modes::ConfirmSelect { nowait: true });
    // Each message is refused by every queue, and so is each of its dead letters.
    client.declare_exchange(&mut world, "f", "fanout");
    for number in 0..60 {
        let queue = format!("q{number}");
        let arguments = table(&[
            ("x-max-length", ValueRef::I32(0)),
            ("x-overflow", text("reject-publish-dlx")),
            ("x-dead-letter-exchange", text("f")),
        ]);
        client.declare(&mut world, &queue, arguments);
        bind(
            &mut world,
            &client,
            "f",
            BindTarget::Queue(name(&queue)),
            "",
        );
    }
    let mut headers = TableBuilder::new();
    headers.put_str("filler", "y".repeat(2_000));
    let properties = Properties::NONE.with_headers(&headers.build());
    client.push(&publish("f", "", &properties).repeat(200));
    let mut held_max = 0;
    for _ in 0..1_000 {
        client.turn(&mut world);
        held_max = held_max.max(world.held());
    }
    assert!(
        held_max > 1024 * 2_000,
        "{held_max} bytes: they are not counted"
    );
    assert!(held_max < 64 << 20, "{held_max} bytes: they have no bound");
}
