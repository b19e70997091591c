//! Who gets which message, when, and what comes back.

use super::fixture::{Client, World, expiring, name, table, text, with_priority, with_short};
use crate::broker::{
    config::Limits,
    queue::ready::NEVER,
    vhost::Stamp,
    wire::{
        Method, Properties, ValueRef,
        method::{basic, channel, exchange, queue},
    },
};

fn publish_all(world: &mut World, client: &mut Client, queue: &str, bodies: &str) {
    for body in bodies.split(' ') {
        client.publish(world, queue, body);
    }
}

fn tags(client: &mut Client) -> String {
    client
        .delivered()
        .into_iter()
        .map(|(tag, ..)| tag)
        .collect()
}

#[test]
fn consumers_of_equal_priority_take_turns() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(&mut world, "q", table(&[]));
    for tag in ["a", "b", "c"] {
        client.consume(&mut world, 1, "q", tag);
    }
    publish_all(&mut world, &mut client, "q", "1 2 3 4 5 6");
    assert_eq!(tags(&mut client), "abcabc");
}

#[test]
fn a_consumer_keeps_the_prefetch_of_its_start() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(&mut world, "q", table(&[]));
    client.qos(&mut world, 1, 2, false);
    client.consume(&mut world, 1, "q", "a");
    client.qos(&mut world, 1, 3, false);
    client.consume(&mut world, 1, "q", "b");
    publish_all(&mut world, &mut client, "q", "1 2 3 4 5 6 7 8 9");
    let mut got: Vec<_> = tags(&mut client).chars().collect();
    got.sort_unstable();
    assert_eq!(got, ['a', 'a', 'b', 'b', 'b']);
    client.ack(&mut world, 1, 1);
    assert_eq!(tags(&mut client), "a");
}

#[test]
fn the_limit_of_a_channel_is_shared() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(&mut world, "q", table(&[]));
    client.qos(&mut world, 1, 4, true);
    client.consume(&mut world, 1, "q", "a");
    client.consume(&mut world, 1, "q", "b");
    publish_all(&mut world, &mut client, "q", "1 2 3 4 5 6");
    assert_eq!(tags(&mut client).len(), 4);
    client.send(
        &mut world,
        1,
        &basic::Ack {
            delivery_tag: 2,
            multiple: true,
        },
    );
    assert_eq!(tags(&mut client).len(), 2);
}

#[test]
fn the_consumer_of_higher_priority_is_served_first_until_it_is_full() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(&mut world, "q", table(&[]));
    client.qos(&mut world, 1, 2, false);
    client.consume(&mut world, 1, "q", "lo");
    let high = basic::Consume {
        queue: name("q"),
        consumer_tag: name("hi"),
        arguments: table(&[("x-priority", ValueRef::I32(10))]),
        ..Default::default()
    };
    client.send(&mut world, 1, &high);
    publish_all(&mut world, &mut client, "q", "1 2 3 4");
    assert_eq!(tags(&mut client), "hihilolo");
}

#[test]
fn a_single_active_consumer_is_active_until_it_ends() {
    let mut world = World::new();
    let mut client = world.client(2);
    let single = table(&[("x-single-active-consumer", ValueRef::Bool(true))]);
    client.declare(&mut world, "q", single);
    client.consume(&mut world, 1, "q", "a");
    client.consume(&mut world, 2, "q", "b");
    publish_all(&mut world, &mut client, "q", "1 2");
    assert_eq!(tags(&mut client), "aa");
    client.send(
        &mut world,
        1,
        &basic::Cancel {
            consumer_tag: name("a"),
            nowait: false,
        },
    );
    publish_all(&mut world, &mut client, "q", "3");
    assert_eq!(
        client.bodies(),
        "3",
        "what the first holds stays with its channel"
    );
    client.send(&mut world, 1, &channel::Close::default());
    assert_eq!(client.bodies(), "1 2");
}

#[test]
fn unsettled_messages_are_requeued_in_order() {
    let mut world = World::new();
    let mut client = world.client(2);
    client.declare(&mut world, "q", table(&[]));
    publish_all(&mut world, &mut client, "q", "0 1 2");
    client.qos(&mut world, 2, 2, false);
    client.consume(&mut world, 2, "q", "a");
    assert_eq!(client.bodies(), "0 1");
    client.send(&mut world, 2, &channel::Close::default());
    client.sent();
    client.consume(&mut world, 1, "q", "b");
    let delivered: Vec<_> = client
        .delivered()
        .into_iter()
        .map(|(_, body, _, again)| (body, again))
        .collect();
    let expected = [("0", true), ("1", true), ("2", false)];
    assert_eq!(
        delivered,
        expected.map(|(body, again)| (body.to_owned(), again))
    );
}

#[test]
fn a_requeued_message_keeps_its_position() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(&mut world, "q", table(&[]));
    publish_all(&mut world, &mut client, "q", "0 1 2 3");
    for _ in 0..3 {
        client.send(
            &mut world,
            1,
            &basic::Get {
                queue: name("q"),
                no_ack: false,
            },
        );
    }
    client.sent();
    client.nack(&mut world, 1, 2, true);
    client.nack(&mut world, 1, 1, true);
    assert_eq!(client.drain(&mut world, "q"), ["0", "1", "3"]);
    client.send(&mut world, 1, &basic::Recover { requeue: true });
    client.sent();
    assert_eq!(client.drain(&mut world, "q"), ["2"]);
}

#[test]
fn priorities() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(
        &mut world,
        "q",
        table(&[("x-max-priority", ValueRef::I32(5))]),
    );
    for priority in [1, 3, 9, 5, 0] {
        let properties = with_priority(priority);
        client.publish_with(&mut world, ("", "q"), &properties, &priority.to_string());
    }
    client.publish(&mut world, "q", "none");
    assert_eq!(
        client.drain(&mut world, "q"),
        ["9", "5", "3", "1", "0", "none"]
    );
}

#[test]
fn an_expired_message_is_counted_until_it_is_at_the_head() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(&mut world, "q", table(&[]));
    client.publish(&mut world, "q", "lives");
    client.publish_with(&mut world, ("", "q"), &expiring("10"), "dies");
    world.pass(50);
    assert_eq!(client.depth(&mut world, "q"), Some(2));
    assert_eq!(client.drain(&mut world, "q"), ["lives"]);
}

#[test]
fn an_unused_queue_expires() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(&mut world, "q", table(&[("x-expires", ValueRef::I32(100))]));
    world.pass(90);
    assert_eq!(
        client.depth(&mut world, "q"),
        Some(0),
        "to look at it is to use it"
    );
    world.pass(90);
    client.consume(&mut world, 1, "q", "a");
    world.pass(1000);
    client.send(
        &mut world,
        1,
        &basic::Cancel {
            consumer_tag: name("a"),
            nowait: true,
        },
    );
    world.pass(90);
    assert_eq!(client.depth(&mut world, "q"), Some(0));
    world.pass(101);
    client.sent();
    assert_eq!(client.depth(&mut world, "q"), None);
}

#[test]
fn a_deleted_queue_leaves_no_deadline() {
    let mut world = World::new();
    let mut client = world.client(1);
    let arguments = table(&[("x-expires", ValueRef::I32(100_000))]);
    client.declare(&mut world, "q", arguments);
    client.publish_with(&mut world, ("", "q"), &expiring("500"), "x");
    assert_eq!(world.vhost.next_deadline(), world.now.ms + 500);
    let delete = queue::Delete {
        queue: name("q"),
        ..Default::default()
    };
    client.send(&mut world, 1, &delete);
    assert_eq!(world.vhost.next_deadline(), NEVER);
}

#[test]
fn consumers_of_a_deleted_queue_are_cancelled() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(&mut world, "q", table(&[]));
    client.consume(&mut world, 1, "q", "a");
    client.sent();
    let mut other = world.client(1);
    other.send(
        &mut world,
        1,
        &queue::Delete {
            queue: name("q"),
            ..Default::default()
        },
    );
    let cancel = basic::Cancel {
        consumer_tag: name("a"),
        nowait: true,
    };
    assert_eq!(client.sent()[0].method, Method::BasicCancel(cancel));
}

#[test]
fn deliveries_pause_while_a_client_does_not_read() {
    let mut world = World::new();
    let mut slow = world.client_with_room(2000);
    slow.send(&mut world, 1, &channel::Open {});
    slow.sent();
    slow.declare(&mut world, "q", table(&[]));
    let consume = basic::Consume {
        queue: name("q"),
        no_ack: true,
        ..Default::default()
    };
    slow.send(&mut world, 1, &consume);
    let mut fast = world.client(1);
    for number in 0..20 {
        fast.publish(&mut world, "q", &format!("{number:0500}"));
    }
    let waiting = fast.depth(&mut world, "q").unwrap();
    assert!((14..=17).contains(&waiting), "{waiting} wait");
    let mut got = slow.delivered().len();
    while slow
        .peer
        .resume
        .swap(false, std::sync::atomic::Ordering::Relaxed)
    {
        let now = world.now;
        let mut context = crate::broker::session::Context {
            vhost: &mut world.vhost,
            now,
        };
        slow.session.resume(&mut context);
        world.vhost.pump(now);
        got += slow.delivered().len();
    }
    assert_eq!(got, 20);
}

#[test]
fn settling_a_get_makes_room_for_consumers() {
    let limits = Limits {
        unacked_per_channel: bytesize::ByteSize::kib(1).into(),
        ..Limits::default()
    };
    let mut world = World::with(limits, Stamp::default());
    let mut client = world.client(1);
    client.declare(&mut world, "q", table(&[]));
    client.publish(&mut world, "q", &"x".repeat(2000));
    client.publish(&mut world, "q", "next");
    let get = basic::Get {
        queue: name("q"),
        no_ack: false,
    };
    client.send(&mut world, 1, &get);
    client.consume(&mut world, 1, "q", "a");
    assert_eq!(client.bodies(), "", "the channel holds too much");
    client.ack(&mut world, 1, 1);
    assert_eq!(client.bodies(), "next");
}

#[test]
fn a_direct_reply_reaches_its_requester() {
    let mut world = World::new();
    let mut caller = world.client(1);
    let mut server = world.client(1);
    server.declare(&mut world, "rpc", table(&[]));
    server.consume(&mut world, 1, "rpc", "server");
    server.sent();
    let replies = basic::Consume {
        queue: name("amq.rabbitmq.reply-to"),
        consumer_tag: name("replies"),
        no_ack: true,
        ..Default::default()
    };
    caller.send(&mut world, 1, &replies);
    caller.sent();
    let request = with_short(9, "amq.rabbitmq.reply-to");
    caller.publish_with(&mut world, ("", "rpc"), &request, "question");
    let sent = server.sent();
    let address = String::from_utf8(sent[0].properties.reply_to().unwrap().to_vec()).unwrap();
    assert!(address.starts_with("amq.rabbitmq.reply-to."), "{address}");
    assert_eq!(
        server.depth(&mut world, &address),
        Some(0),
        "the caller is there"
    );
    server.publish(&mut world, &address, "answer");
    assert!(
        server.sent().is_empty(),
        "a reply that arrives is not returned"
    );
    let delivered = caller.delivered();
    assert_eq!(
        delivered,
        [("replies".to_owned(), "answer".to_owned(), 1, false)]
    );
    caller.vanish(&mut world);
    server.publish(&mut world, &address, "too late");
    assert!(matches!(server.sent()[0].method, Method::BasicReturn(_)));
}

#[test]
fn cc_headers_are_delivered_and_bcc_headers_are_not() {
    let mut world = World::new();
    let mut client = world.client(1);
    for queue in ["to", "cc", "bcc"] {
        client.declare(&mut world, queue, table(&[]));
    }
    let mut cc = crate::broker::wire::table::ArrayBuilder::new();
    cc.push(text("cc"));
    let mut bcc = crate::broker::wire::table::ArrayBuilder::new();
    bcc.push(text("bcc"));
    let mut headers = crate::broker::wire::table::TableBuilder::new();
    headers.put_array("CC", &cc).put_array("BCC", &bcc);
    let properties = Properties::NONE.with_headers(&headers.build());
    client.publish_with(&mut world, ("", "to"), &properties, "x");
    for queue in ["to", "cc", "bcc"] {
        let got = client.get(&mut world, queue).unwrap();
        let headers = got.properties.headers().unwrap();
        assert!(headers.field(b"BCC").is_none(), "{queue}");
        assert!(headers.field(b"CC").is_some(), "{queue}");
    }
}

#[test]
fn an_alternate_exchange_takes_what_found_no_queue() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare_exchange(&mut world, "last", "fanout");
    client.declare(&mut world, "rest", table(&[]));
    client.bind(&mut world, "rest", "last", "");
    let declare = exchange::Declare {
        exchange: name("first"),
        kind: name("direct"),
        arguments: table(&[("alternate-exchange", text("last"))]),
        ..Default::default()
    };
    client.send(&mut world, 1, &declare);
    client.sent();
    client.publish_with(&mut world, ("first", "nowhere"), &Properties::NONE, "x");
    assert!(client.sent().is_empty(), "it was routed");
    assert_eq!(client.drain(&mut world, "rest"), ["x"]);
}

#[test]
fn memory_of_disconnected_clients_is_released() {
    let mut world = World::new();
    let mut client = world.client(2);
    let exclusive = queue::Declare {
        queue: name("own"),
        exclusive: true,
        ..Default::default()
    };
    client.send(&mut world, 1, &exclusive);
    client.declare(&mut world, "q", table(&[]));
    client.consume(&mut world, 2, "q", "a");
    publish_all(&mut world, &mut client, "q", "1 2 3");
    publish_all(&mut world, &mut client, "own", "4 5");
    client.vanish(&mut world);
    let mut other = world.client(1);
    assert_eq!(other.depth(&mut world, "own"), None);
    other.send(&mut world, 1, &channel::CloseOk {});
    other.send(&mut world, 1, &channel::Open {});
    other.sent();
    assert_eq!(other.drain(&mut world, "q"), ["1", "2", "3"]);
    other.send(
        &mut world,
        1,
        &queue::Delete {
            queue: name("q"),
            ..Default::default()
        },
    );
    assert_eq!(world.held(), 0, "no message is left anywhere");
}

#[test]
fn expired_messages_behind_a_live_one_are_not_delivered() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(&mut world, "q", table(&[]));
    client.publish(&mut world, "q", "first");
    for _ in 0..1500 {
        client.publish_with(&mut world, ("", "q"), &expiring("20"), "late");
    }
    client.publish(&mut world, "q", "last");
    world.pass(50);
    client.consume(&mut world, 1, "q", "a");
    world.pass(1);
    assert_eq!(client.bodies(), "first last");
}

#[test]
fn a_queue_that_counts_deliveries_hands_over_what_may_not_wait() {
    let mut world = World::new();
    let mut client = world.client(1);
    let limits = [
        ("x-delivery-limit", ValueRef::I64(3)),
        ("x-max-length", ValueRef::I64(0)),
    ];
    client.declare(&mut world, "q", table(&limits));
    client.consume(&mut world, 1, "q", "a");
    client.sent();
    client.publish(&mut world, "q", "plain");
    let headers = Properties::NONE.with_headers(&table(&[("mine", ValueRef::I64(1))]));
    client.publish_with(&mut world, ("", "q"), &headers, "headed");
    let sent = client.sent();
    let count = |index: usize| {
        let headers = sent[index].properties.headers();
        headers.and_then(|headers| headers.field(b"x-delivery-count").map(|_| ()))
    };
    assert_eq!((sent.len(), count(0), count(1)), (2, None, None));
}
