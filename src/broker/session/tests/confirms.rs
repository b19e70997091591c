//! Confirms, returns and transactions.

use bytes::BytesMut;

use super::fixture::{Client, World, name, table};
use crate::broker::wire::{
    Method, Properties,
    content::put_content,
    method::{MethodSpec, basic, modes},
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
fn what_comes_back_comes_before_its_confirm() {
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
