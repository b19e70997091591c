//! Steps are counted for bytes of headers, words of keys, fields of bindings, consumers without credit and dropped
//! publishes of a transaction.

use std::ops::Range;

use super::{
    fixture::{Client, World, name, table, text},
    turns::{LAST_PIECE, add_queue, check_in_turns, frame, publish},
};
use crate::broker::{
    budget::TURN_STEPS_MAX,
    config::Limits,
    listing::{Listing, Wanted},
    vhost::{BindSpec, BindTarget, Stamp},
    wire::{
        Method, Properties, Table, ValueRef,
        method::{basic, channel, modes, queue},
        table::TableBuilder,
    },
};

/// The most that one indivisible piece of work costs: headers as long as a frame are copied.
const HEADERS_PIECE: i64 = 8_192;
/// Headers of about this length in bytes.
const LONG: usize = 100_000;

/// Fields without values, each of five bytes.
fn fields(numbers: Range<usize>, first: Option<(&str, &str)>) -> Table {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let mut fields = TableBuilder::new();
    if let Some((name, value)) = first {
        fields.put_str(name, value);
    }
    for number in numbers {
        let name = [number >> 10, number >> 5, number].map(|part| LETTERS[part % 32]);
        fields.put(name, ValueRef::Void);
    }
    fields.build()
}

fn bind_headers(world: &mut World, client: &Client, key: &str, arguments: Table) {
    let spec = BindSpec {
        source: name("h"),
        target: BindTarget::Queue(name("q")),
        routing_key: name(key),
        arguments,
    };
    world.vhost.bind(&spec, client.peer.id).unwrap();
}

/// A queue behind a headers exchange.
fn with_headers_exchange() -> (World, Client) {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare_exchange(&mut world, "h", "headers");
    add_queue(&mut world, &client, "q", false);
    (world, client)
}

/// Steps of what a client does, and those of the longest turn.
fn steps(world: &mut World, act: impl FnOnce(&mut World)) -> (i64, i64) {
    (world.steps, world.steps_max) = (0, 0);
    act(world);
    (world.steps, world.steps_max)
}

#[track_caller]
fn check_steps(world: &mut World, least: usize, act: impl FnOnce(&mut World)) {
    let (all, most) = steps(world, act);
    let least = i64::try_from(least).unwrap();
    assert!(all >= least, "{all} steps, at least {least} were expected");
    let longest = TURN_STEPS_MAX + HEADERS_PIECE;
    assert!(most <= longest, "{most} steps in one turn");
}

fn long_headers() -> Properties {
    Properties::NONE.with_headers(&table(&[("long", text(&"x".repeat(LONG)))]))
}

#[test]
fn a_publish_is_compared_with_bindings_of_many_fields() {
    let (mut world, mut client) = with_headers_exchange();
    for number in 0..40 {
        bind_headers(
            &mut world,
            &client,
            &number.to_string(),
            fields(0..2_000, None),
        );
    }
    // One more that does not match, at its last field.
    bind_headers(&mut world, &client, "", fields(0..2_001, None));
    let headers = Properties::NONE.with_headers(&fields(0..2_000, None));
    let publish = publish("h", "", &headers, "x");
    let heard = check_in_turns(&mut world, &mut client, &publish);
    assert!(heard.is_empty(), "{heard:?}");
    assert_eq!(client.drain(&mut world, "q"), ["x"]);
}

#[test]
fn one_binding_of_many_fields_is_compared_in_turns() {
    for (mode, last, is_routed) in [("all", 0, true), ("all", 1, false), ("any", 1, false)] {
        let (mut world, mut client) = with_headers_exchange();
        let range = if mode == "any" {
            26_000..32_000
        } else {
            6_000..26_000
        };
        let wanted = fields(range.start..range.end + last, Some(("x-match", mode)));
        bind_headers(&mut world, &client, "", wanted);
        let headers = Properties::NONE.with_headers(&fields(0..26_000, None));
        let publish = publish("h", "", &headers, "x");
        let heard = check_in_turns(&mut world, &mut client, &publish);
        assert_eq!(heard.is_empty(), is_routed, "{mode} {last}: {heard:?}");
        let expected: &[&str] = if is_routed { &["x"] } else { &[] };
        assert_eq!(client.drain(&mut world, "q"), expected, "{mode} {last}");
    }
}

#[test]
fn compared_bytes_count() {
    let (mut world, mut client) = with_headers_exchange();
    let wanted = table(&[("long", text(&"x".repeat(LONG)))]);
    for number in 0..20 {
        bind_headers(&mut world, &client, &number.to_string(), wanted.clone());
    }
    check_steps(&mut world, 20 * LONG / 1024, |world| {
        client.publish_with(world, ("h", ""), &long_headers(), "x");
    });
}

#[test]
fn consumers_without_credit_count() {
    const COUNT: usize = 15_000;
    let mut world = World::with(
        Limits {
            consumers_per_channel: 100_000.into(),
            ..Limits::default()
        },
        Stamp::default(),
    );
    let mut client = world.client(1);
    client.declare(&mut world, "q", table(&[]));
    client.qos(&mut world, 1, 1, false);
    let message = publish("", "q", &Properties::NONE, "x");
    for number in 0..COUNT {
        let consume = basic::Consume {
            queue: name("q"),
            consumer_tag: name(&number.to_string()),
            nowait: true,
            arguments: table(&[(
                "x-priority",
                ValueRef::I32(i32::try_from(number % 3).unwrap()),
            )]),
            ..Default::default()
        };
        client.send(&mut world, 1, &consume);
    }
    client.send_bytes(&mut world, &message.repeat(COUNT));
    assert_eq!(client.delivered().len(), COUNT, "each has one");
    let longest = TURN_STEPS_MAX + LAST_PIECE;
    let (all, most) = steps(&mut world, |world| client.publish(world, "q", "waits"));
    assert!(all >= i64::try_from(COUNT / 3).unwrap(), "{all} steps");
    assert!(most <= longest, "{most} steps in one turn");
    client.ack(&mut world, 1, 7);
    assert_eq!(client.bodies(), "waits");
}

#[test]
fn bytes_of_headers_that_are_written_again_count() {
    let mut world = World::new();
    let mut client = world.client(1);
    let quorum = table(&[("x-queue-type", text("quorum"))]);
    let declare = queue::Declare {
        queue: name("q"),
        durable: true,
        arguments: quorum,
        ..Default::default()
    };
    client.send(&mut world, 1, &declare);
    check_steps(&mut world, LONG / 1024, |world| {
        client.publish_with(world, ("", "q"), &long_headers(), "x");
        client.consume(world, 1, "q", "c");
    });
    // With the header x-delivery-count.
    check_steps(&mut world, LONG / 32, |world| {
        client.nack(world, 1, 1, true);
    });
    assert_eq!(client.delivered().len(), 2);
    let cancel = basic::Cancel {
        consumer_tag: name("c"),
        nowait: true,
    };
    client.send(&mut world, 1, &cancel);
    client.nack(&mut world, 1, 2, true);
    client.sent();
    check_steps(&mut world, LONG / 16, |world| {
        assert!(client.get(world, "q").is_some());
    });
}

#[test]
fn bytes_of_headers_that_are_returned_count() {
    let mut world = World::new();
    let mut client = world.client(1);
    check_steps(&mut world, LONG / 16, |world| {
        client.publish_with(world, ("", "nowhere"), &long_headers(), "x");
    });
    assert!(matches!(client.sent()[0].method, Method::BasicReturn(_)));
}

#[test]
fn bytes_of_headers_that_are_stamped_count() {
    let stamp = Stamp {
        queues: vec![name("q")],
        header: name("x-from"),
        ..Stamp::default()
    };
    let mut world = World::with(Limits::default(), stamp);
    let mut client = world.client(1);
    client.declare(&mut world, "q", table(&[]));
    check_steps(&mut world, LONG / 32, |world| {
        client.publish_with(world, ("", "q"), &long_headers(), "x");
    });
    let headers = client.get(&mut world, "q").unwrap().properties;
    assert!(headers.headers().unwrap().field(b"x-from").is_some());
}

#[test]
fn bytes_of_headers_without_bcc_count() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(&mut world, "q", table(&[]));
    let long = "x".repeat(LONG);
    let keys = crate::broker::wire::table::ArrayBuilder::new();
    let headers = table(&[("long", text(&long)), ("BCC", ValueRef::Array(keys.view()))]);
    let properties = Properties::NONE.with_headers(&headers);
    check_steps(&mut world, LONG / 32, |world| {
        client.publish_with(world, ("", "q"), &properties, "x");
    });
}

#[test]
fn words_of_patterns_count() {
    const WORDS: usize = 127;
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare_exchange(&mut world, "t", "topic");
    client.declare(&mut world, "q", table(&[]));
    let key = ["a"; WORDS].join(".");
    check_steps(&mut world, WORDS, |world| {
        client.bind(world, "q", "t", &key);
    });
    let unbind = queue::Unbind {
        queue: name("q"),
        exchange: name("t"),
        routing_key: name(&key),
        ..Default::default()
    };
    check_steps(&mut world, WORDS, |world| client.send(world, 1, &unbind));
    client.sent();
    client.bind(&mut world, "q", "t", &key);
    let delete = queue::Delete {
        queue: name("q"),
        ..Default::default()
    };
    check_steps(&mut world, WORDS, |world| client.send(world, 1, &delete));
}

#[test]
fn publishes_of_a_transaction_that_are_dropped_count() {
    const COUNT: usize = 2_000;
    let ends: [fn(&mut World, &mut Client); 4] = [
        |world, client| client.send(world, 1, &modes::TxRollback {}),
        |world, client| client.send(world, 1, &channel::Close::default()),
        // An exception closes the channel.
        |world, client| client.publish_with(world, ("no such exchange", ""), &Properties::NONE, ""),
        |world, client| client.vanish(world),
    ];
    for (number, end) in ends.into_iter().enumerate() {
        let mut world = World::new();
        let mut client = world.client(1);
        client.declare(&mut world, "q", table(&[]));
        client.send(&mut world, 1, &modes::TxSelect {});
        let message = publish("", "q", &Properties::NONE, "");
        client.send_bytes(&mut world, &message.repeat(COUNT));
        let held = world.held();
        assert!(held > COUNT, "{held} bytes are held");
        check_steps(&mut world, COUNT, |world| end(world, &mut client));
        assert_eq!(world.held(), 0, "{number}");
    }
}

#[test]
fn what_is_behind_a_rollback_waits_until_its_publishes_are_dropped() {
    let mut world = World::new();
    world.tx_bytes = usize::MAX;
    let mut client = world.client(1);
    client.declare(&mut world, "q", table(&[]));
    client.send(&mut world, 1, &modes::TxSelect {});
    let message = publish("", "q", &Properties::NONE, "");
    client.send_bytes(&mut world, &message.repeat(20_000));
    let rollback = frame(&modes::TxRollback {});
    let heard = check_in_turns(&mut world, &mut client, &rollback);
    assert!(matches!(heard[..], [Method::TxRollbackOk(_)]), "{heard:?}");
    assert_eq!(client.depth(&mut world, "q"), Some(0));
    assert_eq!(world.held(), 0);
}

#[test]
fn bytes_of_names_that_are_searched_count() {
    const COUNT: usize = 500;
    let mut world = World::new();
    let client = world.client(1);
    for number in 0..COUNT {
        let queue = format!("{number:04}{}", "a".repeat(250));
        add_queue(&mut world, &client, &queue, false);
    }
    let mut listing = Listing::new(&Wanted {
        vhost: None,
        name: "aaab".to_owned(),
        limit: 10,
    });
    world.vhost.begin_turn();
    assert_eq!(world.vhost.queues(0, &mut listing), None);
    assert_eq!(listing.total, 0);
    let least = i64::try_from(COUNT * 4).unwrap();
    assert!(
        world.vhost.turn_steps() >= least,
        "{}",
        world.vhost.turn_steps()
    );
}
