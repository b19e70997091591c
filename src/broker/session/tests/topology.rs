//! Bindings and what goes with what.

use super::fixture::{Client, World, name, table, text};
use crate::broker::wire::{
    Method, Properties, ValueRef,
    method::{basic, exchange, queue},
};

fn bind_exchange(world: &mut World, client: &mut Client, from: &str, to: &str, key: &str) {
    let bind = exchange::Bind {
        source: name(from),
        destination: name(to),
        routing_key: name(key),
        ..Default::default()
    };
    client.send(world, 1, &bind);
    assert!(matches!(client.sent()[0].method, Method::ExchangeBindOk(_)));
}

#[test]
fn one_copy_however_many_ways() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(&mut world, "q", table(&[]));
    for exchange in ["a", "b"] {
        client.declare_exchange(&mut world, exchange, "topic");
        client.bind(&mut world, "q", exchange, "#");
        client.bind(&mut world, "q", exchange, "k.*");
    }
    bind_exchange(&mut world, &mut client, "a", "b", "#");
    bind_exchange(&mut world, &mut client, "b", "a", "#");
    client.publish_with(&mut world, ("a", "k.x"), &Properties::NONE, "once");
    assert_eq!(client.drain(&mut world, "q"), ["once"]);
}

#[test]
fn arguments_make_bindings_different() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(&mut world, "q", table(&[]));
    client.declare_exchange(&mut world, "h", "headers");
    let bind = |value| queue::Bind {
        queue: name("q"),
        exchange: name("h"),
        arguments: table(&[("k", text(value)), ("x-match", text("all"))]),
        ..Default::default()
    };
    client.send(&mut world, 1, &bind("1"));
    client.send(&mut world, 1, &bind("2"));
    let other_order = queue::Unbind {
        queue: name("q"),
        exchange: name("h"),
        arguments: table(&[("x-match", text("all")), ("k", text("1"))]),
        ..Default::default()
    };
    client.send(&mut world, 1, &other_order);
    client.sent();
    for value in ["1", "2"] {
        let properties = Properties::NONE.with_headers(&table(&[("k", text(value))]));
        client.publish_with(&mut world, ("h", ""), &properties, value);
    }
    client.sent();
    assert_eq!(client.drain(&mut world, "q"), ["2"]);
}

#[test]
fn auto_delete_exchanges_are_deleted_with_their_last_binding() {
    let mut world = World::new();
    let mut client = world.client(1);
    let count = 5000;
    for number in 0..count {
        let declare = exchange::Declare {
            exchange: name(&format!("e{number}")),
            kind: name("fanout"),
            auto_delete: true,
            ..Default::default()
        };
        client.send(&mut world, 1, &declare);
    }
    client.sent();
    for number in 1..count {
        let (from, to) = (format!("e{}", number - 1), format!("e{number}"));
        bind_exchange(&mut world, &mut client, &from, &to, "");
    }
    client.declare(&mut world, "q", table(&[]));
    client.bind(&mut world, "q", &format!("e{}", count - 1), "");
    client.publish_with(&mut world, ("e0", ""), &Properties::NONE, "far");
    assert_eq!(client.drain(&mut world, "q"), ["far"]);
    client.send(
        &mut world,
        1,
        &queue::Delete {
            queue: name("q"),
            ..Default::default()
        },
    );
    client.sent();
    let mut left = Vec::new();
    world.vhost.begin_turn();
    world.vhost.exchanges(0, &mut left);
    assert!(
        left.iter().all(|exchange| !exchange.name.starts_with('e')),
        "{}",
        left.len()
    );
    assert_eq!(world.vhost.view().bindings, 0);
}

#[test]
fn an_auto_delete_queue_is_deleted_with_its_last_consumer() {
    let mut world = World::new();
    let mut client = world.client(2);
    let declare = queue::Declare {
        queue: name("q"),
        auto_delete: true,
        ..Default::default()
    };
    client.send(&mut world, 1, &declare);
    client.sent();
    world.pass(100_000);
    assert_eq!(client.depth(&mut world, "q"), Some(0));
    client.consume(&mut world, 2, "q", "a");
    client.send(
        &mut world,
        2,
        &crate::broker::wire::method::channel::Close::default(),
    );
    client.sent();
    assert_eq!(client.depth(&mut world, "q"), None);
}

#[test]
fn the_empty_name_is_the_last_declared_queue() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.send(&mut world, 1, &queue::Declare::default());
    let Method::QueueDeclareOk(made) = client.sent().remove(0).method else {
        panic!("not declared");
    };
    assert!(
        made.queue.starts_with(b"amq.gen-") && made.queue.len() == 30,
        "{}",
        made.queue
    );
    client.bind(&mut world, "", "amq.direct", "");
    let key = made.queue.to_string();
    client.publish_with(&mut world, ("amq.direct", &key), &Properties::NONE, "x");
    assert!(client.sent().is_empty(), "bound by its own name");
    assert_eq!(client.drain(&mut world, ""), ["x"]);
}

#[test]
fn line_ends_are_no_part_of_a_name() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(&mut world, "a\r\nb", table(&[]));
    assert_eq!(client.depth(&mut world, "ab"), Some(0));
}

#[test]
fn deletion_respects_if_unused_and_if_empty() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(
        &mut world,
        "q",
        table(&[("x-max-length", ValueRef::I32(9))]),
    );
    client.publish(&mut world, "q", "1");
    client.publish(&mut world, "q", "2");
    let delete = queue::Delete {
        queue: name("q"),
        if_empty: true,
        ..Default::default()
    };
    let mut other = world.client(1);
    other.send(&mut world, 1, &delete);
    let Method::ChannelClose(close) = other.sent().remove(0).method else {
        panic!("no exception");
    };
    assert_eq!(
        close.reply_text,
        "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty"
    );
    client.send(
        &mut world,
        1,
        &queue::Delete {
            if_empty: false,
            ..delete
        },
    );
    let deleted = queue::DeleteOk { message_count: 2 };
    assert_eq!(client.sent()[0].method, Method::QueueDeleteOk(deleted));
    client.send(
        &mut world,
        1,
        &queue::Delete {
            queue: name("q"),
            ..Default::default()
        },
    );
    let deleted = queue::DeleteOk { message_count: 0 };
    assert_eq!(
        client.sent()[0].method,
        Method::QueueDeleteOk(deleted),
        "deleted already"
    );
}

#[test]
fn a_queue_without_a_type_is_a_classic_one() {
    let classic = || table(&[("x-queue-type", text("classic"))]);
    for (first, second) in [(classic(), table(&[])), (table(&[]), classic())] {
        let mut world = World::new();
        let mut client = world.client(1);
        client.declare(&mut world, "q", first);
        client.declare(&mut world, "q", second);
        let quorum = queue::Declare {
            queue: name("q"),
            durable: true,
            arguments: table(&[("x-queue-type", text("quorum"))]),
            ..Default::default()
        };
        client.send(&mut world, 1, &quorum);
        let Method::ChannelClose(close) = client.sent().remove(0).method else {
            panic!("no exception");
        };
        assert_eq!(close.reply_code, 406);
    }
}

#[test]
fn arguments_of_any_size_are_taken() {
    let mut world = World::new();
    let mut client = world.client(1);
    let ages = [
        ("x-message-ttl", ValueRef::I64(315_360_000_000)),
        ("x-expires", ValueRef::I64(315_360_000_000)),
    ];
    client.declare(&mut world, "q", table(&ages));
    client.publish(&mut world, "q", "kept");
    world.pass(5_000_000_000);
    assert_eq!(client.drain(&mut world, "q"), ["kept"]);
    for (tag, priority) in [("low", i64::MIN), ("high", i64::MAX)] {
        let consume = basic::Consume {
            queue: name("q"),
            consumer_tag: name(tag),
            no_ack: true,
            arguments: table(&[("x-priority", ValueRef::I64(priority))]),
            ..Default::default()
        };
        client.send(&mut world, 1, &consume);
    }
    client.sent();
    client.publish(&mut world, "q", "first");
    assert_eq!(client.delivered()[0].0, "high");
}

#[test]
fn when_both_exchanges_are_missing_the_source_is_named() {
    let mut world = World::new();
    let mut client = world.client(1);
    let bind = exchange::Bind {
        source: name("from"),
        destination: name("to"),
        ..Default::default()
    };
    client.send(&mut world, 1, &bind);
    let Method::ChannelClose(close) = client.sent().remove(0).method else {
        panic!("no exception");
    };
    assert_eq!(
        close.reply_text,
        "NOT_FOUND - no exchange 'from' in vhost '/'"
    );
}

#[test]
fn only_a_binding_that_is_there_is_locked_with_its_queue() {
    let mut world = World::new();
    let (mut owner, mut other) = (world.client(1), world.client(2));
    let own = queue::Declare {
        queue: name("own"),
        exclusive: true,
        ..Default::default()
    };
    owner.send(&mut world, 1, &own);
    let bind = queue::Bind {
        queue: name("own"),
        exchange: name("amq.topic"),
        routing_key: name("k"),
        ..Default::default()
    };
    owner.send(&mut world, 1, &bind);
    let unbind = |key| queue::Unbind {
        queue: name("own"),
        exchange: name("amq.topic"),
        routing_key: name(key),
        ..Default::default()
    };
    other.send(&mut world, 1, &unbind("none"));
    other.send(&mut world, 2, &unbind("k"));
    let answers: Vec<_> = other.sent().into_iter().map(|sent| sent.method).collect();
    assert!(
        matches!(&answers[..], [Method::QueueUnbindOk(_), Method::ChannelClose(close)] if close.reply_code == 405),
        "{answers:?}"
    );
}
