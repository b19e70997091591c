//! However large a thing is, a turn costs a bounded number of steps, and others have theirs in between.

use bytes::BytesMut;

use super::fixture::{Client, FRAME_MAX, World, name, table};
use crate::broker::{
    budget::TURN_STEPS_MAX,
    vhost::{BindSpec, BindTarget, DeclareQueue, Largest},
    wire::{
        Method, Properties, Table, ValueRef,
        content::put_content,
        method::{MethodSpec, basic, channel, exchange, modes, queue},
        table::{ArrayBuilder, TableBuilder},
    },
};

/// The most that the last piece of work of a turn costs beyond the end of its budget.
pub(super) const LAST_PIECE: i64 = 600;

pub(super) fn frame(method: &impl MethodSpec) -> BytesMut {
    let mut out = BytesMut::new();
    method.put(&mut out, 1);
    out
}

pub(super) fn publish(exchange: &str, key: &str, properties: &Properties, body: &str) -> BytesMut {
    let mut out = frame(&basic::Publish {
        exchange: name(exchange),
        routing_key: name(key),
        mandatory: true,
        ..Default::default()
    });
    put_content(&mut out, 1, properties, body.as_bytes(), FRAME_MAX);
    out
}

pub(super) fn add_queue(world: &mut World, client: &Client, queue: &str, exclusive: bool) {
    let spec = DeclareQueue {
        name: name(queue),
        durable: false,
        exclusive,
        auto_delete: false,
        arguments: Table::EMPTY,
    };
    let declared = world.vhost.declare_queue(&spec, client.peer.id, world.now);
    declared.unwrap();
}

fn bind(world: &mut World, client: &Client, queue: &str, exchange: &str, key: &str) {
    let spec = BindSpec {
        source: name(exchange),
        target: BindTarget::Queue(name(queue)),
        routing_key: name(key),
        arguments: Table::EMPTY,
    };
    world.vhost.bind(&spec, client.peer.id).unwrap();
}

/// Carries out one request of many steps: it takes several turns, none of them is long, another client works in each,
/// and what the client sent behind it waits until it is done. What the client heard of it.
#[track_caller]
pub(super) fn check_in_turns(
    world: &mut World,
    client: &mut Client,
    request: &[u8],
) -> Vec<Method> {
    let mut other = world.client(1);
    other.declare(world, "other", table(&[]));
    client.sent();
    (world.turns, world.steps_max) = (0, 0);
    client.push(request);
    client.push(&frame(&basic::Qos::default()));
    let mut turns = 0;
    loop {
        let exhausted = client.turn(world);
        turns += 1;
        if exhausted && !client.session.is_busy(&world.vhost) {
            break;
        }
        other.publish(world, "other", "meanwhile");
        assert_eq!(other.drain(world, "other"), ["meanwhile"], "turn {turns}");
    }
    while world.pump() {}
    let most = TURN_STEPS_MAX + LAST_PIECE;
    assert!(
        world.steps_max <= most,
        "{} steps in one turn",
        world.steps_max
    );
    let mut heard: Vec<_> = client.sent().into_iter().map(|sent| sent.method).collect();
    assert!(turns > 1, "one turn is no test: {heard:?}");
    assert!(
        matches!(heard.pop(), Some(Method::BasicQosOk(_))),
        "the next request waits"
    );
    heard
}

#[test]
fn a_queue_with_many_bindings_is_deleted() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare_exchange(&mut world, "t", "topic");
    add_queue(&mut world, &client, "q", false);
    for number in 0..8_000 {
        bind(&mut world, &client, "q", "t", &format!("a.{number}.b"));
    }
    let delete = frame(&queue::Delete {
        queue: name("q"),
        ..Default::default()
    });
    let heard = check_in_turns(&mut world, &mut client, &delete);
    assert!(matches!(heard[..], [Method::QueueDeleteOk(_)]), "{heard:?}");
    assert_eq!(world.vhost.view().bindings, 0);
}

#[test]
fn an_exchange_with_many_bindings_is_deleted() {
    for kind in ["topic", "direct", "fanout", "headers"] {
        let mut world = World::new();
        let mut client = world.client(1);
        client.declare_exchange(&mut world, "x", kind);
        for number in 0..2_500 {
            let queue = format!("q{number}");
            add_queue(&mut world, &client, &queue, false);
            bind(&mut world, &client, &queue, "x", &format!("a.{number}"));
        }
        let delete = frame(&exchange::Delete {
            exchange: name("x"),
            ..Default::default()
        });
        let heard = check_in_turns(&mut world, &mut client, &delete);
        assert!(
            matches!(heard[..], [Method::ExchangeDeleteOk(_)]),
            "{kind}: {heard:?}"
        );
        assert_eq!(world.vhost.view().bindings, 0, "{kind}");
    }
}

#[test]
fn many_messages_are_purged() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(&mut world, "q", table(&[]));
    let message = publish("", "q", &Properties::NONE, "");
    client.send_bytes(&mut world, &message.repeat(12_000));
    let purge = frame(&queue::Purge {
        queue: name("q"),
        ..Default::default()
    });
    let heard = check_in_turns(&mut world, &mut client, &purge);
    let [Method::QueuePurgeOk(purged)] = &heard[..] else {
        panic!("{heard:?}");
    };
    assert_eq!(purged.message_count, 12_000);
    assert_eq!(client.depth(&mut world, "q"), Some(0));
}

#[test]
fn a_channel_with_many_consumers_is_closed() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(&mut world, "q", table(&[]));
    for number in 0..5_000 {
        client.consume(&mut world, 1, "q", &number.to_string());
    }
    client.sent();
    let mut other = world.client(1);
    client.push(&frame(&channel::Close::default()));
    (world.turns, world.steps_max) = (0, 0);
    client.turn(&mut world);
    assert!(
        client.session.is_busy(&world.vhost),
        "it takes more than one turn"
    );
    other.publish(&mut world, "q", "nobody gets it");
    while client.session.is_busy(&world.vhost) {
        client.turn(&mut world);
    }
    assert!(
        world.steps_max <= TURN_STEPS_MAX + LAST_PIECE,
        "{}",
        world.steps_max
    );
    let heard = client.sent();
    assert_eq!(heard.len(), 1, "no delivery to a channel that is closed");
    assert!(matches!(heard[0].method, Method::ChannelCloseOk(_)));
    assert_eq!(other.drain(&mut world, "q"), ["nobody gets it"]);
    assert_eq!(world.vhost.view().consumers, 0);
}

#[test]
fn exclusive_queues_are_deleted_with_their_connection() {
    let mut world = World::new();
    let mut client = world.client(1);
    for number in 0..2_000 {
        add_queue(&mut world, &client, &format!("q{number}"), true);
    }
    world.vhost.begin_turn();
    (world.turns, world.steps_max) = (0, 0);
    client.vanish(&mut world);
    assert!(world.turns > 2, "{} turns are no test", world.turns);
    assert!(
        world.steps_max <= TURN_STEPS_MAX + LAST_PIECE,
        "{}",
        world.steps_max
    );
    assert_eq!(world.vhost.view().queues, 0);
}

#[test]
fn a_publish_searches_many_patterns_of_wildcards() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.send(&mut world, 1, &modes::ConfirmSelect { nowait: true });
    client.declare_exchange(&mut world, "t", "topic");
    let mut random = fastrand::Rng::with_seed(1);
    for number in 0..40 {
        let queue = format!("q{}", number % 4);
        if number < 4 {
            add_queue(&mut world, &client, &queue, false);
        }
        let words: Vec<_> = (0..127)
            .map(|_| ["#", "*", "a"][random.usize(..3)])
            .collect();
        bind(&mut world, &client, &queue, "t", &words.join("."));
    }
    bind(&mut world, &client, "q0", "t", "#");
    let key = ["a"; 127].join(".");
    let heard = check_in_turns(
        &mut world,
        &mut client,
        &publish("t", &key, &Properties::NONE, "1"),
    );
    assert_eq!(
        heard,
        [Method::BasicAck(basic::Ack {
            delivery_tag: 1,
            multiple: false
        })]
    );
    let heard = check_in_turns(
        &mut world,
        &mut client,
        &publish("t", &key, &Properties::NONE, "2"),
    );
    assert_eq!(
        heard,
        [Method::BasicAck(basic::Ack {
            delivery_tag: 2,
            multiple: false
        })]
    );
    assert_eq!(
        client.drain(&mut world, "q0"),
        ["1", "2"],
        "in order, each once"
    );
}

#[test]
fn a_publish_goes_to_many_queues() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare_exchange(&mut world, "f", "fanout");
    for number in 0..8_000 {
        let queue = format!("q{number}");
        add_queue(&mut world, &client, &queue, false);
        bind(&mut world, &client, &queue, "f", "");
    }
    let heard = check_in_turns(
        &mut world,
        &mut client,
        &publish("f", "", &Properties::NONE, "x"),
    );
    assert!(heard.is_empty(), "{heard:?}");
    for number in [0, 4_000, 7_999] {
        let queue = format!("q{number}");
        assert_eq!(client.drain(&mut world, &queue), ["x"], "{queue}");
    }
}

fn with_copies(count: usize, name_of: impl Fn(usize) -> String) -> Properties {
    let mut keys = ArrayBuilder::new();
    for number in 0..count {
        keys.push(ValueRef::Str(name_of(number).as_bytes()));
    }
    let mut headers = TableBuilder::new();
    headers.put_array("CC", &keys);
    Properties::NONE.with_headers(&headers.build())
}

#[test]
fn many_keys_find_many_queues() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare_exchange(&mut world, "t", "topic");
    for number in 0..200 {
        let queue = format!("q{number}");
        add_queue(&mut world, &client, &queue, false);
        bind(&mut world, &client, &queue, "t", "#");
    }
    let keys = with_copies(2_000, |number| format!("k{number}"));
    let heard = check_in_turns(&mut world, &mut client, &publish("t", "k", &keys, "x"));
    assert!(heard.is_empty(), "{heard:?}");
    for number in 0..200 {
        assert_eq!(
            client.drain(&mut world, &format!("q{number}")),
            ["x"],
            "one copy each"
        );
    }
}

#[test]
fn many_messages_expire_and_are_dead_lettered() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(&mut world, "dead", table(&[]));
    let fields = [
        ("x-dead-letter-exchange", ValueRef::Str(b"")),
        ("x-dead-letter-routing-key", ValueRef::Str(b"dead")),
        ("x-message-ttl", ValueRef::I32(10)),
    ];
    client.declare(&mut world, "q", table(&fields));
    let message = publish("", "q", &Properties::NONE, "x");
    client.send_bytes(&mut world, &message.repeat(3_000));
    (world.turns, world.steps_max) = (0, 0);
    world.pass(20);
    assert!(world.turns > 1, "{} turns are no test", world.turns);
    assert!(
        world.steps_max <= TURN_STEPS_MAX + LAST_PIECE,
        "{}",
        world.steps_max
    );
    assert_eq!(client.depth(&mut world, "dead"), Some(3_000));
}

#[test]
fn one_large_message_takes_the_place_of_many_small_ones() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(
        &mut world,
        "q",
        table(&[("x-max-length-bytes", ValueRef::I32(20_000))]),
    );
    let message = publish("", "q", &Properties::NONE, "x");
    client.send_bytes(&mut world, &message.repeat(20_000));
    (world.turns, world.steps_max) = (0, 0);
    client.publish(&mut world, "q", &"y".repeat(19_999));
    assert!(world.turns > 1, "{} turns are no test", world.turns);
    assert!(
        world.steps_max <= TURN_STEPS_MAX + LAST_PIECE,
        "{}",
        world.steps_max
    );
    assert_eq!(client.depth(&mut world, "q"), Some(2));
}

#[test]
fn a_list_is_made_in_parts() {
    let mut world = World::new();
    let client = world.client(1);
    for number in 0..20_000 {
        add_queue(&mut world, &client, &format!("q{number}"), false);
    }
    let (mut listed, mut from, mut parts) = (Vec::new(), Some(0), 0);
    while let Some(at) = from {
        world.vhost.begin_turn();
        from = world.vhost.queues(at, &mut listed);
        parts += 1;
        assert!(
            world.vhost.turn_steps() <= TURN_STEPS_MAX,
            "{}",
            world.vhost.turn_steps()
        );
    }
    assert!(parts > 1, "{parts} parts are no test");
    let mut names: Vec<_> = listed.iter().map(|queue| &*queue.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 20_000);
}

#[test]
fn the_largest_queues_are_found() {
    let mut world = World::new();
    let mut client = world.client(1);
    for number in 0..50 {
        let queue = format!("q{number}");
        add_queue(&mut world, &client, &queue, false);
        for _ in 0..(number * 7 % 50) {
            client.publish(&mut world, &queue, "x");
        }
    }
    for max in [0, 1, 3, 60] {
        let mut largest = Largest::new(max);
        world.vhost.begin_turn();
        assert_eq!(world.vhost.largest(0, &mut largest), None);
        let sizes: Vec<_> = largest.into_sizes().iter().map(|size| size.ready).collect();
        let expected: Vec<_> = (0..50).rev().take(max).collect();
        assert_eq!(sizes, expected, "at most {max}");
    }
}

#[test]
fn large_answers_use_up_a_turn() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(&mut world, "q", table(&[]));
    for _ in 0..8 {
        client.publish(&mut world, "q", &"x".repeat(200_000));
    }
    let get = frame(&basic::Get {
        queue: name("q"),
        no_ack: true,
    });
    client.push(&get.repeat(8));
    client.turn(&mut world);
    let sent = client.sent().len();
    assert!(
        (1..=2).contains(&sent),
        "{sent} of 8 before the outbox is looked at"
    );
}
