use bytes::{Bytes, BytesMut};
use proptest::{collection, prelude::*};

use super::{ContentHeader, body_ranges, put_body_head, put_content};
use crate::broker::wire::{
    FrameKind, FrameReader, Properties, ReplyCode, WireError, frame::FRAME_END,
};

#[track_caller]
fn check_ranges(len: usize, frame_max: u32, expected: &[(usize, usize)]) {
    let ranges = body_ranges(len, frame_max).map(|range| (range.start, range.end));
    assert_eq!(ranges.collect::<Vec<_>>(), expected);
}

#[test]
fn a_body_is_cut_to_fit() {
    check_ranges(0, 4096, &[]);
    check_ranges(1, 4096, &[(0, 1)]);
    check_ranges(4088, 4096, &[(0, 4088)]);
    check_ranges(4089, 4096, &[(0, 4088), (4088, 4089)]);
    // A limit too small for any payload still makes progress.
    check_ranges(2, 0, &[(0, 1), (1, 2)]);
}

#[track_caller]
fn check_refused(payload: &'static [u8], error: WireError, code: ReplyCode) {
    assert_eq!(
        ContentHeader::decode(&Bytes::from_static(payload)),
        Err(error.clone())
    );
    assert_eq!(error.code(), code);
}

#[test]
fn a_header_of_another_kind_is_refused() {
    let class = b"\0\x32\0\0\0\0\0\0\0\0\0\0\0\0";
    check_refused(
        class,
        WireError::HeaderClass(50),
        ReplyCode::UnexpectedFrame,
    );
    let weight = b"\0\x3c\0\x01\0\0\0\0\0\0\0\0\0\0";
    check_refused(
        weight,
        WireError::HeaderWeight(1),
        ReplyCode::UnexpectedFrame,
    );
    let short = b"\0\x3c\0\0\0\0\0\0\0\0\0";
    check_refused(short, WireError::HeaderLength(11), ReplyCode::FrameError);
    let no_flags = b"\0\x3c\0\0\0\0\0\0\0\0\0\0";
    let error = WireError::Properties("the flags are missing");
    check_refused(no_flags, error, ReplyCode::SyntaxError);
}

proptest! {
    #[test]
    fn content_is_decoded_as_it_was_encoded(
        body in collection::vec(any::<u8>(), 0..3000),
        frame_max in 12_u32..600,
        channel: u16,
    ) {
        let mut out = BytesMut::new();
        put_content(&mut out, channel, &Properties::NONE, &body, frame_max);
        let mut reader = FrameReader::default();
        reader.input().extend_from_slice(&out);

        let header = reader.next(4096).expect("a frame").expect("whole");
        prop_assert_eq!((header.kind, header.channel), (FrameKind::Header, channel));
        let header = ContentHeader::decode(header.payload).expect("well-formed");
        prop_assert_eq!(header.body_size, body.len() as u64);

        let mut back = Vec::new();
        while let Some(frame) = reader.next(frame_max).expect("a frame") {
            prop_assert_eq!((frame.kind, frame.channel), (FrameKind::Body, channel));
            prop_assert!(frame.payload.len() <= frame_max as usize - 8);
            back.extend_from_slice(&frame.payload);
        }
        prop_assert_eq!(back, body);
    }

    #[test]
    fn heads_around_a_body_make_the_same_frames(body in collection::vec(any::<u8>(), 1..500)) {
        let mut whole = BytesMut::new();
        super::put_body(&mut whole, 7, &body, 100);
        let mut pieces = BytesMut::new();
        for range in body_ranges(body.len(), 100) {
            put_body_head(&mut pieces, 7, range.len());
            pieces.extend_from_slice(&body[range]);
            pieces.extend_from_slice(&[FRAME_END]);
        }
        prop_assert_eq!(whole, pieces);
    }
}
