//! Confirms, returns and transactions.

use bytes::BytesMut;

use super::fixture::{Client, World, name, table, text};
use crate::broker::{
    config::Limits,
    vhost::Stamp,
    wire::{
        Method, Properties,
        content::put_content,
        method::{MethodSpec, basic, modes},
    },
};

fn select(world: &mut World, client: &mut Client, method: &impl MethodSpec) {
    client.send(world, 1, method);
    client.sent();
}

#[test]
fn one_frame_confirms_a_batch() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(&mut world, "q", table(&[]));
    select(&mut world, &mut client, &modes::ConfirmSelect::default());
    let mut batch = BytesMut::new();
    for _ in 0..10 {
        basic::Publish {
            routing_key: name("q"),
            ..Default::default()
        }
        .put(&mut batch, 1);
        put_content(&mut batch, 1, &Properties::NONE, b"x", 4096);
    }
    client.send_bytes(&mut world, &batch);
    let sent = client.sent();
    let ack = basic::Ack {
        delivery_tag: 10,
        multiple: true,
    };
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].method, Method::BasicAck(ack));
}

#[test]
fn a_returned_message_is_sent_before_its_confirm() {
    let mut world = World::new();
    let mut client = world.client(1);
    select(&mut world, &mut client, &modes::ConfirmSelect::default());
    client.publish(&mut world, "nowhere", "body");
    let sent = client.sent();
    let returned = basic::Return {
        reply_code: 312,
        reply_text: name("NO_ROUTE"),
        exchange: name(""),
        routing_key: name("nowhere"),
    };
    assert_eq!(sent[0].method, Method::BasicReturn(returned));
    assert_eq!(sent[0].text(), "body");
    let ack = basic::Ack {
        delivery_tag: 1,
        multiple: false,
    };
    assert_eq!(sent[1].method, Method::BasicAck(ack));
}

#[test]
fn nothing_happens_before_a_commit() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(&mut world, "q", table(&[]));
    client.publish(&mut world, "q", "first");
    client.send(
        &mut world,
        1,
        &basic::Get {
            queue: name("q"),
            no_ack: false,
        },
    );
    client.sent();
    select(&mut world, &mut client, &modes::TxSelect {});
    client.publish(&mut world, "q", "second");
    client.ack(&mut world, 1, 1);
    assert_eq!(client.depth(&mut world, "q"), Some(0));
    select(&mut world, &mut client, &modes::TxRollback {});
    assert_eq!(
        client.depth(&mut world, "q"),
        Some(0),
        "the publish is forgotten"
    );
    client.publish(&mut world, "q", "third");
    client.ack(&mut world, 1, 1);
    select(&mut world, &mut client, &modes::TxCommit {});
    assert_eq!(client.depth(&mut world, "q"), Some(1));
    client.send(&mut world, 1, &basic::Recover { requeue: true });
    client.sent();
    assert_eq!(
        client.drain(&mut world, "q"),
        ["third"],
        "the acknowledgement holds"
    );
}

#[test]
fn modes_exclude_each_other() {
    let mut world = World::new();
    let mut client = world.client(2);
    select(&mut world, &mut client, &modes::TxSelect {});
    client.send(&mut world, 1, &modes::ConfirmSelect::default());
    let Method::ChannelClose(close) = client.sent().remove(0).method else {
        panic!("no exception");
    };
    assert_eq!(
        close.reply_text,
        "PRECONDITION_FAILED - cannot switch from tx to confirm mode"
    );
    client.send(&mut world, 2, &modes::ConfirmSelect::default());
    client.send(&mut world, 2, &modes::TxSelect {});
    let Method::ChannelClose(close) = client.sent().remove(1).method else {
        panic!("no exception");
    };
    assert_eq!(
        close.reply_text,
        "PRECONDITION_FAILED - cannot switch from confirm to tx mode"
    );
}

#[test]
fn a_transaction_is_bounded() {
    let mut world = World::new();
    let mut client = world.client(1);
    select(&mut world, &mut client, &modes::TxSelect {});
    let body = "x".repeat(700_000);
    client.publish(&mut world, "q", &body);
    assert!(client.sent().is_empty());
    client.publish(&mut world, "q", &body);
    assert!(matches!(client.sent()[0].method, Method::ChannelClose(_)));
}

/// Properties with headers of this many bytes and a few.
fn with_headers_of(length: usize) -> Properties {
    let value = "h".repeat(length);
    Properties::NONE.with_headers(&table(&[("h", text(&value))]))
}

#[test]
fn headers_in_a_transaction_count() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(&mut world, "q", table(&[]));
    select(&mut world, &mut client, &modes::TxSelect {});
    let properties = with_headers_of(100_000);
    for count in 1..=10 {
        client.publish_with(&mut world, ("", "q"), &properties, "");
        assert!(world.held() > count * 100_000, "after {count}");
    }
    assert!(client.sent().is_empty());
    client.publish_with(&mut world, ("", "q"), &properties, "");
    let Method::ChannelClose(close) = client.sent().remove(0).method else {
        panic!("the limit is 1 MiB");
    };
    assert_eq!(close.reply_code, 406);
    assert_eq!(world.held(), 0);
}

#[test]
fn headers_without_their_body_count() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(&mut world, "q", table(&[]));
    let publish = basic::Publish {
        routing_key: name("q"),
        ..Default::default()
    };
    let mut out = BytesMut::new();
    publish.put(&mut out, 1);
    put_content(&mut out, 1, &with_headers_of(100_000), b"xyz", 131_072);
    let body = out.split_off(out.len() - 11);
    client.send_bytes(&mut world, &out);
    let used = world.held();
    assert!((100_000..101_000).contains(&used), "{used}");
    client.send_bytes(&mut world, &body[..5]);
    assert_eq!(world.held(), used, "bytes in the read buffer count once");
    client.send_bytes(&mut world, &body[5..]);
    assert_eq!(client.drain(&mut world, "q"), ["xyz"]);
    assert_eq!(world.held(), 0);
}

/// A client that has published 25 messages in a transaction, of which 10 are carried out in a turn.
fn with_a_long_transaction() -> (World, Client) {
    let limits = Limits {
        settled_at_once: 10.into(),
        ..Limits::default()
    };
    let mut world = World::with(limits, Stamp::default());
    let mut client = world.client(1);
    client.declare(&mut world, "q", table(&[]));
    select(&mut world, &mut client, &modes::TxSelect {});
    for number in 0..25 {
        client.publish(&mut world, "q", &number.to_string());
    }
    (world, client)
}

#[test]
fn a_long_commit_lets_others_have_the_vhost() {
    let (mut world, mut client) = with_a_long_transaction();
    client.publish(&mut world, "nowhere", "back");
    let mut out = BytesMut::new();
    modes::TxCommit {}.put(&mut out, 1);
    client.begin(&mut world, &out);
    let mut turns = 1;
    while client.session.is_busy(&world.vhost) {
        world.vhost.pump(world.now);
        turns += 1;
    }
    assert_eq!(turns, 3, "26 publishes, 10 in a turn");
    let sent = client.sent();
    assert!(matches!(sent[0].method, Method::BasicReturn(_)));
    assert!(matches!(sent[1].method, Method::TxCommitOk(_)));
    assert_eq!(sent.len(), 2);
    let all: Vec<_> = (0..25).map(|number| number.to_string()).collect();
    assert_eq!(client.drain(&mut world, "q"), all);
    assert_eq!(world.held(), 0);
}

#[test]
fn a_commit_is_finished_after_its_client_disconnects() {
    let (mut world, mut client) = with_a_long_transaction();
    let mut out = BytesMut::new();
    modes::TxCommit {}.put(&mut out, 1);
    client.begin(&mut world, &out);
    client.vanish(&mut world);
    assert_eq!(world.client(1).depth(&mut world, "q"), Some(25));
    assert!(client.sent().is_empty());
}
