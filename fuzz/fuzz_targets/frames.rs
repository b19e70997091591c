//! Any bytes, in pieces of any size: every frame is refused or decoded, and what was decoded gives the same bytes when
//! it is encoded again.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use musterd::broker::wire::{ContentHeader, FrameKind, FrameReader, Method, content::put_header};

fuzz_target!(|data: &[u8]| {
    let Some((&piece, bytes)) = data.split_first() else {
        return;
    };
    let mut reader = FrameReader::default();
    let _header = reader.protocol_header();
    for part in bytes.chunks(usize::from(piece).max(1)) {
        reader.input().extend_from_slice(part);
        loop {
            match reader.next(4096) {
                Ok(Some(frame)) => match frame.kind {
                    FrameKind::Method => check_method(&frame.payload.to_bytes()),
                    FrameKind::Header => check_header(&frame.payload.to_bytes()),
                    FrameKind::Body | FrameKind::Heartbeat => {}
                },
                Ok(None) => break,
                Err(error) => {
                    assert!(error.code().text(&error.to_string()).len() <= 255);
                    return;
                }
            }
        }
        assert!(reader.missing() <= 4096 + 8);
    }
});

fn check_method(payload: &Bytes) {
    let method = match Method::decode(payload) {
        Ok(method) => method,
        Err(error) => {
            assert!(error.code().is_hard());
            return;
        }
    };
    let mut frame = BytesMut::new();
    method.put(&mut frame, 1);
    let again = Bytes::copy_from_slice(&frame[7..frame.len() - 1]);
    // Reserved strings are dropped.
    assert!(again.len() <= payload.len());
    // Compared as bytes, because NaN does not equal itself.
    let mut twice = BytesMut::new();
    Method::decode(&again)
        .expect("our own encoding")
        .put(&mut twice, 1);
    assert_eq!(frame, twice);
}

fn check_header(payload: &Bytes) {
    let Ok(header) = ContentHeader::decode(payload) else {
        return;
    };
    let mut frame = BytesMut::new();
    put_header(&mut frame, 1, header.body_size, &header.properties);
    assert_eq!(&frame[7..frame.len() - 1], &payload[..]);
    let list = header.properties.to_list();
    assert_eq!(list.build().as_bytes(), header.properties.as_bytes());
    for (name, value) in header.properties.headers().into_iter().flatten() {
        assert!(name.len() <= 255);
        assert!(!value.type_name().is_empty());
    }
}
