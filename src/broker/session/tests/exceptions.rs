//! What a client does wrong and what it hears: code, level and words.

use bytes::BytesMut;

use super::fixture::{Client, World, expiring, name, table, text, with_short};
use crate::broker::{
    session::SessionPhase,
    wire::{
        Method, MethodId, Properties, ValueRef,
        content::put_content,
        method::{MethodSpec, basic, channel, connection, exchange, modes, queue},
    },
};

/// The exception that was raised: whether it is the connection's, code, text, method.
fn raised(client: &mut Client) -> (bool, u16, String, MethodId) {
    match client.sent().pop().map(|sent| sent.method) {
        Some(Method::ChannelClose(close)) => (
            false,
            close.reply_code,
            close.reply_text.to_string(),
            MethodId::new(close.class_id, close.method_id),
        ),
        Some(Method::ConnectionClose(close)) => (
            true,
            close.reply_code,
            close.reply_text.to_string(),
            MethodId::new(close.class_id, close.method_id),
        ),
        other => panic!("no exception but {other:?}"),
    }
}

#[track_caller]
fn check_soft<M: MethodSpec>(method: &M, code: u16, words: &str) {
    let mut world = World::new();
    check_in(&mut world, method, (false, code), words);
}

#[track_caller]
fn check_hard<M: MethodSpec>(method: &M, code: u16, words: &str) {
    let mut world = World::new();
    check_in(&mut world, method, (true, code), words);
}

/// There is a queue `q` with x-max-length 5, and another connection's own queue `theirs`.
#[track_caller]
fn check_in<M: MethodSpec>(world: &mut World, method: &M, expected: (bool, u16), words: &str) {
    let mut other = world.client(1);
    other.declare(world, "q", table(&[("x-max-length", ValueRef::I32(5))]));
    other.declare_exchange(world, "e", "direct");
    let exclusive = queue::Declare {
        queue: name("theirs"),
        exclusive: true,
        ..Default::default()
    };
    other.send(world, 1, &exclusive);
    let mut client = world.client(1);
    client.send(world, 1, method);
    let (hard, code, text, id) = raised(&mut client);
    assert_eq!((hard, code), expected, "{text}");
    assert_eq!(text, words);
    assert_eq!(id, M::ID);
}

fn declare(queue: &str) -> queue::Declare {
    queue::Declare {
        queue: name(queue),
        ..Default::default()
    }
}

fn with_arguments(fields: &[(&str, ValueRef<'_>)]) -> queue::Declare {
    queue::Declare {
        arguments: table(fields),
        ..declare("new")
    }
}

fn declare_exchange(exchange: &str, kind: &str) -> exchange::Declare {
    exchange::Declare {
        exchange: name(exchange),
        kind: name(kind),
        ..Default::default()
    }
}

const LOCKED: &str = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'theirs' in \
                      vhost '/'. It could be originally declared on another connection or the \
                      exclusive property value does not match that of the original declaration.";

#[test]
fn queues() {
    let passive = queue::Declare {
        passive: true,
        ..declare("none")
    };
    check_soft(&passive, 404, "NOT_FOUND - no queue 'none' in vhost '/'");
    check_soft(&declare("theirs"), 405, LOCKED);
    check_soft(
        &queue::Delete {
            queue: name("theirs"),
            ..Default::default()
        },
        405,
        LOCKED,
    );
    check_soft(
        &basic::Get {
            queue: name("theirs"),
            no_ack: true,
        },
        405,
        LOCKED,
    );
    check_soft(
        &declare("amq.mine"),
        403,
        "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
    );
    let other_length = queue::Declare {
        arguments: table(&[("x-max-length", ValueRef::I64(6))]),
        ..declare("q")
    };
    check_soft(
        &other_length,
        406,
        "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q' in vhost '/': \
         received '6' but current is '5'",
    );
    check_soft(
        &declare("q"),
        406,
        "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q' in vhost '/': \
         received none but current is the value '5' of type 'signedint'",
    );
    check_soft(
        &queue::Declare {
            durable: true,
            ..declare("q")
        },
        406,
        "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received \
         'true' but current is 'false'",
    );
}

#[test]
fn queues_that_are_not_there() {
    check_soft(
        &queue::Purge {
            queue: name("none"),
            ..Default::default()
        },
        404,
        "NOT_FOUND - no queue 'none' in vhost '/'",
    );
    check_soft(
        &queue::Bind::default(),
        404,
        "NOT_FOUND - no previously declared queue",
    );
    let bind = queue::Bind {
        queue: name("q"),
        exchange: name("none"),
        ..Default::default()
    };
    check_soft(&bind, 404, "NOT_FOUND - no exchange 'none' in vhost '/'");
    check_soft(
        &queue::Bind {
            exchange: name(""),
            ..bind
        },
        403,
        "ACCESS_REFUSED - operation not permitted on the default exchange",
    );
}

#[test]
fn arguments_of_queues() {
    check("x-message-ttl", ValueRef::I32(-1), "{value_negative,-1}");
    check(
        "x-message-ttl",
        text("1"),
        "\"expected integer, got longstr\"",
    );
    check("x-expires", ValueRef::I32(0), "{value_zero,0}");
    check("x-max-length", ValueRef::I8(-5), "{value_negative,-5}");
    check(
        "x-max-priority",
        ValueRef::I32(256),
        "{max_value_exceeded,256}",
    );
    check("x-overflow", text("drop"), "invalid_overflow");
    check(
        "x-dead-letter-routing-key",
        text("k"),
        "routing_key_but_no_dlx_defined",
    );
    check(
        "x-queue-mode",
        text("busy"),
        "\"unsupported queue mode 'busy'\"",
    );

    #[track_caller]
    fn check(key: &str, value: ValueRef<'_>, why: &str) {
        let words = format!(
            "PRECONDITION_FAILED - invalid arg '{key}' for queue 'new' in vhost '/': {why}"
        );
        check_soft(&with_arguments(&[(key, value)]), 406, &words);
    }

    check_soft(
        &with_arguments(&[("x-dead-letter-exchange", ValueRef::I32(1))]),
        406,
        "PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue \
         'new' in vhost '/'",
    );
    check_soft(
        &with_arguments(&[("x-queue-type", text("quorum"))]),
        406,
        "PRECONDITION_FAILED - invalid property 'non-durable' for queue 'new' in vhost '/'",
    );
}

#[test]
fn exchanges() {
    check_soft(
        &declare_exchange("x", "bogus"),
        406,
        "PRECONDITION_FAILED - unknown exchange type 'bogus'",
    );
    check_soft(
        &declare_exchange("e", "fanout"),
        406,
        "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'e' in vhost '/': received \
         'fanout' but current is 'direct'",
    );
    check_soft(
        &declare_exchange("amq.x", "fanout"),
        403,
        "ACCESS_REFUSED - exchange name 'amq.x' contains reserved prefix 'amq.*'",
    );
    check_soft(
        &declare_exchange("", "direct"),
        403,
        "ACCESS_REFUSED - operation not permitted on the default exchange",
    );
    let passive = exchange::Declare {
        passive: true,
        ..declare_exchange("none", "")
    };
    check_soft(&passive, 404, "NOT_FOUND - no exchange 'none' in vhost '/'");
    check_soft(
        &exchange::Delete {
            exchange: name("amq.topic"),
            ..Default::default()
        },
        403,
        "ACCESS_REFUSED - deletion of system exchange 'amq.topic' in vhost '/' not allowed",
    );
}

#[test]
fn basic_methods() {
    let consume = basic::Consume {
        queue: name("none"),
        ..Default::default()
    };
    check_soft(&consume, 404, "NOT_FOUND - no queue 'none' in vhost '/'");
    let replies = basic::Consume {
        queue: name("amq.rabbitmq.reply-to"),
        ..Default::default()
    };
    check_soft(
        &replies,
        406,
        "PRECONDITION_FAILED - reply consumer cannot acknowledge",
    );
    let ack = basic::Ack {
        delivery_tag: 99,
        multiple: false,
    };
    check_soft(&ack, 406, "PRECONDITION_FAILED - unknown delivery tag 99");
    let qos = basic::Qos {
        prefetch_size: 1,
        ..Default::default()
    };
    check_hard(&qos, 540, "NOT_IMPLEMENTED - prefetch_size!=0 (1)");
    check_hard(
        &basic::Recover { requeue: false },
        540,
        "NOT_IMPLEMENTED - requeue=false",
    );
    check_hard(
        &channel::Flow { active: false },
        540,
        "NOT_IMPLEMENTED - active=false",
    );
    check_hard(
        &channel::Open {},
        504,
        "CHANNEL_ERROR - second 'channel.open' seen",
    );
    check_soft(
        &modes::TxCommit {},
        406,
        "PRECONDITION_FAILED - channel is not transactional",
    );
    let open = connection::Open { vhost: name("/") };
    check_hard(&open, 503, "COMMAND_INVALID - unimplemented method");
}

#[test]
fn publishes() {
    check(
        ("none", "k"),
        &Properties::NONE,
        404,
        "NOT_FOUND - no exchange 'none' in vhost '/'",
    );
    check(
        ("amq.rabbitmq.trace", "k"),
        &Properties::NONE,
        403,
        "ACCESS_REFUSED - cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost '/'",
    );
    check(
        ("", "q"),
        &expiring("abc"),
        406,
        "PRECONDITION_FAILED - invalid expiration 'abc': no_integer",
    );
    check(
        ("", "q"),
        &Properties::decode(vec![0x10, 0, 9].into()).unwrap(),
        406,
        "PRECONDITION_FAILED - invalid message: {delivery_mode_unknown,9}",
    );
    check(
        ("", "q"),
        &with_short(4, "bob"),
        406,
        "PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'guest'",
    );
    check(
        ("", "q"),
        &with_short(9, "amq.rabbitmq.reply-to"),
        406,
        "PRECONDITION_FAILED - fast reply consumer does not exist",
    );

    #[track_caller]
    fn check(target: (&str, &str), properties: &Properties, code: u16, words: &str) {
        let mut world = World::new();
        let mut client = world.client(1);
        client.publish_with(&mut world, target, properties, "body");
        let (hard, got, text, id) = raised(&mut client);
        assert_eq!((hard, got), (false, code), "{text}");
        assert_eq!(text, words);
        assert_eq!(id, MethodId::BASIC_PUBLISH);
    }
}

#[test]
fn frames_out_of_place() {
    let publish = basic::Publish::default();
    let frame = |method: &dyn Fn(&mut BytesMut)| {
        let mut out = BytesMut::new();
        method(&mut out);
        out
    };
    check(
        &frame(&|out| put_content(out, 1, &Properties::NONE, b"x", 4096)),
        505,
        "UNEXPECTED_FRAME - expected method frame, got non method frame instead",
    );
    check(
        &frame(&|out| {
            publish.put(out, 1);
            publish.put(out, 1);
        }),
        505,
        "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame \
         instead",
    );
    check(
        &frame(&|out| queue::Declare::default().put(out, 7)),
        504,
        "CHANNEL_ERROR - expected 'channel.open'",
    );
    check(
        &frame(&|out| queue::Declare::default().put(out, 0)),
        504,
        "CHANNEL_ERROR - unexpected method in connection state running",
    );
    check(
        b"\x08\0\x01\0\0\0\0\xCE",
        505,
        "UNEXPECTED_FRAME - type 8, all octets = <<>>",
    );
    check(
        b"\x08\0\0\0\0\0\x01\0\xCE",
        501,
        "FRAME_ERROR - type 8, all octets = <<0>>: unknown_frame",
    );
    check(
        b"\x07\0\0\0\0\0\0\xCE",
        501,
        "FRAME_ERROR - type 7, all octets = <<>>: unknown_frame",
    );
    let mut longer = frame(&|out| publish.put(out, 1));
    longer.extend_from_slice(b"\x02\0\x01\0\0\0\x0e\0\x3c\0\0\0\0\0\0\0\0\0\x02\0\0\xCE");
    longer.extend_from_slice(b"\x03\0\x01\0\0\0\x03abc\xCE");
    check(
        &longer,
        501,
        "FRAME_ERROR - content body frame exceeds remaining content size",
    );

    #[track_caller]
    fn check(bytes: &[u8], code: u16, words: &str) {
        let mut world = World::new();
        let mut client = world.client(1);
        client.send_bytes(&mut world, bytes);
        let (hard, got, text, _) = raised(&mut client);
        assert_eq!((hard, got), (true, code), "{text}");
        assert_eq!(text, words);
        assert_eq!(client.phase(), SessionPhase::Closing);
        client.send(&mut world, 0, &connection::CloseOk {});
        assert_eq!(client.phase(), SessionPhase::Closed);
    }
}

#[test]
fn a_channel_that_was_closed_ignores_everything_until_the_answer() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.send(
        &mut world,
        1,
        &basic::Ack {
            delivery_tag: 1,
            multiple: false,
        },
    );
    assert_eq!(raised(&mut client).1, 406);
    client.publish(&mut world, "nowhere", "ignored");
    client.send(
        &mut world,
        1,
        &basic::Ack {
            delivery_tag: 1,
            multiple: false,
        },
    );
    assert!(client.sent().is_empty());
    client.send(&mut world, 1, &channel::Close::default());
    assert!(matches!(client.sent()[0].method, Method::ChannelCloseOk(_)));
    client.send(&mut world, 1, &channel::CloseOk {});
    client.send(&mut world, 1, &channel::Open {});
    assert!(matches!(client.sent()[0].method, Method::ChannelOpenOk(_)));
    client.declare(&mut world, "q", table(&[]));
}

#[test]
fn too_many_channels() {
    let mut world = World::new();
    let mut client = world.client(8);
    client.send(&mut world, 9, &channel::Open {});
    let (hard, code, text, _) = raised(&mut client);
    assert!(hard && code == 530, "{text}");
    assert_eq!(
        text,
        "NOT_ALLOWED - number of channels opened (8) has reached the negotiated channel_max (8)"
    );
}

#[test]
fn a_body_that_is_too_large_is_refused_by_its_header() {
    let mut world = World::new();
    let mut client = world.client(1);
    let mut out = BytesMut::new();
    basic::Publish::default().put(&mut out, 1);
    out.extend_from_slice(b"\x02\0\x01\0\0\0\x0e\0\x3c\0\0\0\0\0\0\x7f\0\0\0\0\0\xCE");
    client.send_bytes(&mut world, &out);
    let (hard, code, text, _) = raised(&mut client);
    assert!(!hard && code == 406, "{text}");
    assert!(
        text.contains("message size 2130706432 is larger than"),
        "{text}"
    );
}
