mod samples;

use amq_protocol::frame::AMQPFrame;
use bytes::{Bytes, BytesMut};
use proptest::{collection, prelude::*};

use self::samples::{Pool, samples};
use super::{Method, MethodId, basic, modes, queue};
use crate::broker::wire::{
    FrameKind, FrameReader, ReplyCode, ShortStr, WireError, oracle, table::TableError,
};

fn encoded(method: &Method, channel: u16) -> BytesMut {
    let mut out = BytesMut::new();
    method.put(&mut out, channel);
    out
}

/// The payload of a frame.
fn payload(frame: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&frame[7..frame.len() - 1])
}

/// Names and values of all arguments, as the oracle shows them and in our spelling.
fn arguments_of_theirs(method: &impl std::fmt::Debug) -> String {
    let text = format!("{method:?}")
        .replace("virtual_host", "vhost")
        .replace("FieldTable({})", "{}");
    let text = unwrapped(&text, "LongString");
    let text = unwrapped(&text, "ShortString");
    text.split_once(" { ")
        .map(|(_, rest)| rest.trim_end_matches(')').to_owned())
        .unwrap_or_default()
}

/// `Name("x")` without its wrapping.
fn unwrapped(text: &str, name: &str) -> String {
    let opening = format!("{name}(");
    let mut parts = text.split(&opening);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (inside, rest) = part.split_once(')').expect("closed");
        out.push_str(inside);
        out.push_str(rest);
    }
    out
}

/// The same of ours.
fn arguments_of_ours(method: &Method) -> String {
    let text = format!("{method:?}");
    let text = as_numbers(&text)
        .replace("prefetch_size: 0, ", "")
        .replace(" { ticket: 1 }", "");
    text.split_once(" { ")
        .map(|(_, rest)| rest.trim_end_matches(')').to_owned())
        .unwrap_or_default()
}

/// Every `b"…"` as a list of numbers, the way the oracle shows long strings.
fn as_numbers(text: &str) -> String {
    let mut parts = text.split("b\"");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (inside, rest) = part.split_once('"').expect("closed");
        out.push_str(&format!("{:?}{rest}", inside.as_bytes()));
    }
    out
}

/// Two arguments have but one value for the oracle, and it does not show them.
fn as_the_oracle_knows_it(method: Method) -> Method {
    match method {
        Method::AccessRequestOk(_) => modes::AccessRequestOk { ticket: 1 }.into(),
        Method::BasicQos(qos) => basic::Qos {
            prefetch_size: 0,
            ..qos
        }
        .into(),
        other => other,
    }
}

#[test]
fn every_method_has_a_sample() {
    let ids: Vec<_> = samples(&Pool::plain()).iter().map(Method::id).collect();
    assert_eq!(ids, MethodId::ALL);
    assert_eq!(ids.len(), 66);
}

#[test]
fn names_and_numbers() {
    assert_eq!(MethodId::new(40, 51).name(), Some("exchange.unbind-ok"));
    assert_eq!(MethodId::new(60, 80).to_string(), "basic.ack");
    assert_eq!(MethodId::new(60, 81).to_string(), "60.81");
    let publish = Method::from(basic::Publish::default());
    assert_eq!(
        (publish.name(), publish.id()),
        ("basic.publish", MethodId::BASIC_PUBLISH)
    );
    assert!(publish.carries_content());
    assert_eq!(
        samples(&Pool::plain())
            .iter()
            .filter(|method| method.carries_content())
            .count(),
        4
    );
}

#[track_caller]
fn check_refused(payload: &'static [u8], error: WireError, code: ReplyCode, method: MethodId) {
    assert_eq!(
        Method::decode(&Bytes::from_static(payload)),
        Err(error.clone())
    );
    assert_eq!((error.code(), error.method()), (code, method));
}

#[test]
fn an_unreadable_method_is_named() {
    let ack = MethodId::new(60, 80);
    let cut = WireError::Arguments {
        method: ack,
        arguments: Bytes::from_static(b"\0\0\x01"),
    };
    assert_eq!(cut.to_string(), "cannot decode <<0,0,1>>");
    check_refused(b"\0\x3c\0\x50\0\0\x01", cut, ReplyCode::FrameError, ack);

    let longer = Bytes::from_static(b"\0\0\0\0\0\0\0\x01\0\0");
    let longer = WireError::Arguments {
        method: ack,
        arguments: longer,
    };
    check_refused(
        b"\0\x3c\0\x50\0\0\0\0\0\0\0\x01\0\0",
        longer,
        ReplyCode::FrameError,
        ack,
    );

    let unknown = MethodId::new(60, 99);
    let error = WireError::UnknownMethod(unknown);
    check_refused(b"\0\x3c\0\x63", error, ReplyCode::CommandInvalid, unknown);

    let unknown = MethodId::new(61, 10);
    let error = WireError::UnknownClass(unknown);
    check_refused(b"\0\x3d\0\x0a", error, ReplyCode::NotImplemented, unknown);

    check_refused(
        b"\0\x3c\0",
        WireError::NoMethod(3),
        ReplyCode::FrameError,
        MethodId::NONE,
    );
}

#[test]
fn an_unknown_tag_is_a_syntax_error_of_its_method() {
    let declare = MethodId::new(50, 10);
    let error = WireError::Table {
        method: declare,
        error: TableError::UnknownTag(b'?'),
    };
    check_refused(
        b"\0\x32\0\x0a\0\0\x01q\0\0\0\0\x03\x01k?",
        error,
        ReplyCode::SyntaxError,
        declare,
    );
}

#[test]
fn a_table_with_a_wrong_size_is_a_frame_error() {
    let payload = b"\0\x32\0\x0a\0\0\x01q\0\xff\xff\xff\xff\x01kV";
    let error = Method::decode(&Bytes::from_static(payload)).expect_err("refused");
    assert_eq!(error.code(), ReplyCode::FrameError);
}

#[test]
fn long_strings_are_shares_of_the_payload() {
    let routing_key = ShortStr::try_from("k".repeat(100)).expect("short");
    let publish = basic::Publish {
        routing_key,
        ..Default::default()
    };
    let payload = payload(&encoded(&publish.into(), 1));
    let Ok(Method::BasicPublish(publish)) = Method::decode(&payload) else {
        panic!("a publish");
    };
    assert!(
        payload
            .as_ptr_range()
            .contains(&publish.routing_key.as_ptr())
    );
    let detached = publish.routing_key.detached();
    assert!(!payload.as_ptr_range().contains(&detached.as_ptr()));
}

#[test]
fn a_ticket_is_ignored() {
    // Old clients send the ticket that access.request-ok gave them.
    let payload = Bytes::from_static(b"\0\x32\0\x1e\0\x01\x01q\0");
    let purge = queue::Purge {
        queue: "q".try_into().expect("short"),
        nowait: false,
    };
    assert_eq!(Method::decode(&payload), Ok(Method::QueuePurge(purge)));
}

proptest! {
    #[test]
    fn every_method_agrees_with_the_oracle(pool in Pool::any_text(), channel: u16) {
        for method in samples(&pool).into_iter().map(as_the_oracle_knows_it) {
            let ours = encoded(&method, channel);
            let theirs = oracle::read(&ours);
            prop_assert_eq!(&oracle::write(&theirs), &ours);
            let AMQPFrame::Method(their_channel, class) = theirs else {
                panic!("a method frame");
            };
            prop_assert_eq!(their_channel, channel);
            let id = MethodId::new(class.get_amqp_class_id(), class.get_amqp_method_id());
            prop_assert_eq!(id, method.id());
            prop_assert_eq!(arguments_of_theirs(&class), arguments_of_ours(&method));
        }
    }

    #[test]
    fn every_method_round_trips(pool in Pool::any(), channel: u16) {
        for method in samples(&pool) {
            let mut reader = FrameReader::default();
            reader.input().extend_from_slice(&encoded(&method, channel));
            let frame = reader.next(u32::MAX).expect("a frame").expect("whole");
            prop_assert_eq!((frame.kind, frame.channel), (FrameKind::Method, channel));
            prop_assert_eq!(Method::decode(frame.payload), Ok(method));
            prop_assert_eq!(reader.buffered(), 0);
        }
    }

    #[test]
    fn tables_agree_with_the_oracle(table in oracle::table()) {
        let arguments = oracle::to_ours(&table);
        let ours = encoded(&queue::Declare { arguments, ..Default::default() }.into(), 1);
        let theirs = oracle::read(&ours);
        prop_assert_eq!(oracle::write(&theirs), ours);
    }

    #[test]
    fn every_method_cut_at_every_byte_is_refused(pool in Pool::any()) {
        for method in samples(&pool) {
            let whole = payload(&encoded(&method, 1));
            for len in 0..whole.len() {
                prop_assert!(Method::decode(&whole.slice(..len)).is_err(), "{:?} cut at {}", method, len);
            }
            let longer = [&whole[..], b"\0"].concat();
            prop_assert!(Method::decode(&Bytes::from(longer)).is_err(), "{:?} and one more", method);
        }
    }

    #[test]
    fn arbitrary_arguments_never_panic(
        id in proptest::sample::select(MethodId::ALL),
        arguments in collection::vec(prop_oneof![any::<u8>(), 0..4_u8], 0..60),
    ) {
        let head = [id.class.to_be_bytes(), id.method.to_be_bytes()].concat();
        let whole = Bytes::from([&head[..], &arguments].concat());
        match Method::decode(&whole) {
            Ok(method) => {
                prop_assert_eq!(method.id(), id);
                let again = payload(&encoded(&method, 0));
                // What is reserved is written empty.
                prop_assert!(again.len() <= whole.len());
                prop_assert_eq!(Method::decode(&again), Ok(method));
            }
            Err(error) => {
                prop_assert_eq!(error.method(), id);
                prop_assert!(error.code().is_hard());
            }
        }
    }

    #[test]
    fn arbitrary_payloads_never_panic(payload in collection::vec(any::<u8>(), 0..60)) {
        if let Err(error) = Method::decode(&Bytes::from(payload)) {
            prop_assert!(error.code().text(&error.to_string()).len() <= 255);
        }
    }
}

#[test]
fn names_must_be_utf8_but_for_those_that_come_with_a_content() {
    let odd = || ShortStr::copied(b"odd-\xff").unwrap();
    let refused: [Method; 4] = [
        queue::Declare {
            queue: odd(),
            ..Default::default()
        }
        .into(),
        queue::Bind {
            routing_key: odd(),
            ..Default::default()
        }
        .into(),
        basic::Consume {
            consumer_tag: odd(),
            ..Default::default()
        }
        .into(),
        basic::Cancel {
            consumer_tag: odd(),
            ..Default::default()
        }
        .into(),
    ];
    for method in refused {
        let error = decode(&method).unwrap_err();
        assert_eq!(
            error,
            WireError::Text {
                method: method.id()
            }
        );
        assert_eq!(error.code(), ReplyCode::FrameError);
        assert_eq!(error.to_string(), "Malformed UTF-8 in shortstr");
    }
    let publish: Method = basic::Publish {
        routing_key: odd(),
        ..Default::default()
    }
    .into();
    assert_eq!(decode(&publish), Ok(publish));
}

fn decode(method: &Method) -> Result<Method, WireError> {
    let frame = encoded(method, 1);
    Method::decode(&payload(&frame))
}
