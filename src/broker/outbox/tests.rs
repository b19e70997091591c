use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::{Deliver, Outbox, Put};
use crate::broker::{
    memory::Memory,
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
fn deliveries_stop_when_the_outbox_is_full_and_resume_at_half() {
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

#[test]
fn unread_bytes_of_a_slow_client_are_counted_without_shared_bodies() {
    let name = ShortStr::EMPTY;
    let body = Bytes::from(vec![7; 20_000]);
    let memory = Memory::new(usize::MAX);
    let outbox = Outbox::counted(1 << 20, memory.charge(0));
    let deliver = |body_charged| {
        let put = outbox.deliver(&Deliver {
            channel: 1,
            consumer_tag: &name,
            delivery_tag: 1,
            redelivered: false,
            content: Content {
                exchange: &name,
                routing_key: &name,
                properties: &Properties::NONE,
                body: &body,
                body_charged,
            },
            frame_max: 131_072,
        });
        assert_ne!(put, Put::Full);
    };
    deliver(false);
    assert_eq!(memory.used(), 0, "the client may take it at once");
    outbox.stall();
    assert_eq!(memory.used(), outbox.unsent());
    let before = memory.used();
    deliver(true);
    outbox.stall();
    assert_eq!(memory.used(), outbox.unsent() - 20_000);
    assert!(memory.used() > before);
    outbox.wrote(outbox.unsent() - 100);
    assert_eq!(memory.used(), 0, "the rest is a part of the body");
    outbox.wrote(100);
    assert_eq!((memory.used(), outbox.unsent()), (0, 0));
    deliver(false);
    outbox.stall();
    assert!(memory.used() > 20_000);
    outbox.close();
    assert_eq!(memory.used(), 0);
}
