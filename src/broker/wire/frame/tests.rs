use amq_protocol::frame::AMQPFrame;
use bytes::BytesMut;
use proptest::{collection, prelude::*};

use super::{FrameKind, FrameReader, ProtocolHeader, put_heartbeat};
use crate::broker::wire::{ReplyCode, WireError, content::put_body, oracle};

fn reader(bytes: &[u8]) -> FrameReader {
    let mut reader = FrameReader::with_capacity(bytes.len());
    reader.input().extend_from_slice(bytes);
    reader
}

#[track_caller]
fn check_header(bytes: &[u8], expected: Option<ProtocolHeader>) {
    assert_eq!(
        reader(bytes).protocol_header(),
        expected,
        "{}",
        bytes.escape_ascii()
    );
}

#[test]
fn protocol_headers() {
    check_header(b"AMQP\0\0\x09\x01", Some(ProtocolHeader::V0_9_1));
    check_header(b"AMQP\x01\x01\0\x09", Some(ProtocolHeader::V0_9));
    check_header(b"AMQP\0\0\x08\x09", Some(ProtocolHeader::Unsupported));
    check_header(b"AMQP\0\x01\0\0", Some(ProtocolHeader::Unsupported));
    check_header(b"HTTP/1.1", Some(ProtocolHeader::Unsupported));
    check_header(b"GE", Some(ProtocolHeader::Unsupported));
    for cut in 0..8 {
        check_header(&b"AMQP\0\0\x09\x01"[..cut], None);
        check_header(&b"AMQP\x01\x01\0\x09"[..cut], None);
    }
}

#[test]
fn a_frame_may_follow_the_header_at_once() {
    let mut reader = reader(b"AMQP\0\0\x09\x01\x08\0\0\0\0\0\0\xce");
    assert_eq!(reader.protocol_header(), Some(ProtocolHeader::V0_9_1));
    let frame = reader.next(4096).expect("well-formed").expect("whole");
    assert_eq!((frame.kind, frame.channel), (FrameKind::Heartbeat, 0));
    assert_eq!(frame.payload.len(), 0);
    assert!(reader.next(4096).expect("well-formed").is_none());
    assert_eq!(reader.buffered(), 0);
}

#[track_caller]
fn check_error(bytes: &[u8], frame_max: u32, text: &str) {
    let error = reader(bytes).next(frame_max).expect_err("refused");
    assert_eq!(error.to_string(), text);
    assert_eq!(error.code(), ReplyCode::FrameError);
}

#[test]
fn errors_read_as_rabbitmq_writes_them() {
    check_error(
        b"\x01\0\x01\0\0\x13\x88",
        4096,
        "type 1, all octets = <<>>: {frame_too_large,5000,4088}",
    );
    check_error(
        b"\x01\0\x01\xff\xff\xff\xff",
        4096,
        "type 1, all octets = <<>>: {frame_too_large,4294967295,4088}",
    );
    check_error(
        b"\x07\0\0\0\0\0\0\xce",
        4096,
        "type 7, all octets = <<>>: unknown_frame",
    );
    check_error(
        b"\x01\0\0\0\0\0\x02\x01\x02\x00",
        4096,
        "type 1, all octets = <<1,2>>: {invalid_frame_end_marker,0}",
    );
    check_error(
        b"\x03\0\0\0\0\0\x14abcdefghijklmnopqrst\x00",
        4096,
        "type 3, first 16 octets = <<\"abcdefghijklmnop\">>: {invalid_frame_end_marker,0}",
    );
}

#[test]
fn a_frame_may_be_eight_bytes_too_large() {
    let frame = |payload: usize| {
        let mut out = BytesMut::new();
        put_body(&mut out, 1, &vec![0; payload], u32::MAX);
        reader(&out).next(4096).map(|frame| frame.is_some())
    };
    assert_eq!(frame(4096), Ok(true));
    let error = WireError::FrameTooLarge {
        kind: 3,
        size: 4097,
        max: 4088,
    };
    assert_eq!(frame(4097), Err(error));
}

#[test]
fn a_wrong_length_allocates_nothing() {
    let mut reader = reader(b"\x03\0\x01\x7f\xff\xff\xff");
    let before = reader.input().capacity();
    assert!(reader.next(131_072).is_err());
    assert_eq!(reader.input().capacity(), before);
}

#[test]
fn the_missing_bytes_follow_from_the_size() {
    assert_eq!(reader(b"").missing(), 1);
    assert_eq!(reader(b"\x03\0\x01\0\0").missing(), 1);
    assert_eq!(reader(b"\x03\0\x01\0\0\0\x0a").missing(), 11);
    assert_eq!(reader(b"\x03\0\x01\0\0\0\x0aabc").missing(), 8);
}

fn frames() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
    let body = collection::vec(any::<u8>(), 1..100);
    collection::vec((any::<u16>(), body), 1..6)
}

proptest! {
    #[test]
    fn frames_cut_at_every_byte(frames in frames()) {
        let mut wire = BytesMut::new();
        for (channel, body) in &frames {
            put_body(&mut wire, *channel, body, 4096);
        }
        put_heartbeat(&mut wire);
        for cut in 0..=wire.len() {
            let mut reader = FrameReader::default();
            let mut back = Vec::new();
            for part in [&wire[..cut], &wire[cut..]] {
                reader.input().extend_from_slice(part);
                while let Some(frame) = reader.next(4096).expect("well-formed") {
                    back.push((frame.kind, frame.channel, frame.payload.to_bytes()));
                }
            }
            prop_assert_eq!(reader.buffered(), 0);
            let (last, ..) = back.pop().expect("the heartbeat");
            prop_assert_eq!(last, FrameKind::Heartbeat);
            let bodies = back.into_iter().map(|(_, channel, payload)| (channel, payload.to_vec()));
            prop_assert_eq!(bodies.collect::<Vec<_>>(), frames.clone());
        }
    }

    #[test]
    fn bodies_agree_with_the_oracle(channel: u16, body in collection::vec(any::<u8>(), 1..300)) {
        let mut ours = BytesMut::new();
        put_body(&mut ours, channel, &body, 131_072);
        prop_assert_eq!(oracle::read(&ours), AMQPFrame::Body(channel, body));
    }

    #[test]
    fn arbitrary_bytes_never_grow_the_input(
        bytes in collection::vec(any::<u8>(), 0..400),
        frame_max in 0_u32..300,
    ) {
        let mut reader = reader(&bytes);
        let mut left = reader.buffered();
        while let Ok(Some(frame)) = reader.next(frame_max) {
            prop_assert!(frame.payload.len() <= frame_max.max(8) as usize);
            prop_assert!(reader.buffered() < left);
            left = reader.buffered();
        }
    }
}

#[test]
fn the_beginning_of_a_publish_is_known_before_it_is_taken() {
    let publish = [1, 0, 1, 0, 0, 0, 4, 0, 60, 0, 40, 0xCE];
    let get = [1, 0, 1, 0, 0, 0, 4, 0, 60, 0, 70, 0xCE];
    let header = [2, 0, 1, 0, 0, 0, 0, 0xCE];
    let body = [3, 0, 1, 0, 0, 0, 1, 9, 0xCE];
    let heartbeat = [8, 0, 0, 0, 0, 0, 0, 0xCE];
    let cases: [(&[u8], bool); 5] = [
        (&publish, true),
        (&get, false),
        (&header, true),
        (&body, false),
        (&heartbeat, false),
    ];
    for (frame, expected) in cases {
        let mut reader = FrameReader::default();
        let (first, rest) = frame.split_at(frame.len() - 1);
        reader.input().extend_from_slice(first);
        assert!(!reader.next_is_publish(4096).unwrap(), "incomplete");
        reader.input().extend_from_slice(rest);
        for _ in 0..2 {
            assert_eq!(reader.next_is_publish(4096).unwrap(), expected, "{frame:?}");
        }
        assert!(reader.next(4096).unwrap().is_some(), "it is still there");
    }
}
