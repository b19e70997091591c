use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::{Deliver, Outbox, Put};
use crate::broker::{
    message::Content,
    wire::{
        Properties, ShortStr,
        content::put_content,
        method::{MethodSpec, basic},
    },
};

#[track_caller]
fn check_bytes(body_len: usize, frame_max: u32) {
    let exchange = ShortStr::from_static("logs");
    let routing_key = ShortStr::from_static("a.b");
    let consumer_tag = ShortStr::from_static("ctag");
    let properties = Properties::decode(Bytes::from_static(&[0x10, 0, 2])).unwrap();
    let body = Bytes::from(vec![7; body_len]);
    let outbox = Outbox::new(1 << 20);
    let put = outbox.deliver(&Deliver {
        channel: 300,
        consumer_tag: &consumer_tag,
        delivery_tag: 9,
        redelivered: true,
        content: Content {
            exchange: &exchange,
            routing_key: &routing_key,
            properties: &properties,
            body: &body,
            body_charged: false,
        },
        frame_max,
    });
    assert_eq!(put, Put::First);
    let mut expected = BytesMut::new();
    let deliver = basic::Deliver {
        consumer_tag,
        delivery_tag: 9,
        redelivered: true,
        exchange,
        routing_key,
    };
    deliver.put(&mut expected, 300);
    put_content(&mut expected, 300, &properties, &body, frame_max);
    assert_eq!(outbox.unsent(), expected.len());
    let mut chunks = VecDeque::new();
    outbox.take(&mut chunks);
    let written: Vec<u8> = chunks.iter().flatten().copied().collect();
    assert_eq!(written, expected);
}

#[test]
fn a_delivery_is_written_as_the_codec_writes_it() {
    for body_len in [0, 1, 4088, 4089, 16 * 1024, 300_000] {
        check_bytes(body_len, 4096);
        check_bytes(body_len, 131_072);
    }
}

#[test]
fn deliveries_are_refused_when_full_and_go_on_when_half_is_written() {
    let name = ShortStr::EMPTY;
    let body = Bytes::from_static(&[0; 100]);
    let content = Content {
        exchange: &name,
        routing_key: &name,
        properties: &Properties::NONE,
        body: &body,
        body_charged: false,
    };
    let deliver = Deliver {
        channel: 1,
        consumer_tag: &name,
        delivery_tag: 1,
        redelivered: false,
        content,
        frame_max: 4096,
    };
    let outbox = Outbox::new(1000);
    let mut delivered = 0;
    while outbox.deliver(&deliver) != Put::Full {
        delivered += 1;
    }
    assert!((5..10).contains(&delivered), "{delivered} deliveries");
    let unsent = outbox.unsent();
    assert!(!outbox.wrote(unsent - 501));
    assert!(outbox.wrote(1));
    assert!(!outbox.wrote(1), "resumed once");
    outbox.close();
    assert_eq!(outbox.deliver(&deliver), Put::Full);
    assert_eq!(outbox.unsent(), 0);
}
