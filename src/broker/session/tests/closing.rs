//! How connections end.

use bytes::BytesMut;

use super::fixture::{World, name};
use crate::broker::{
    session::SessionPhase,
    wire::{
        Method,
        method::{MethodSpec, basic, channel, connection, queue},
    },
};

#[test]
fn one_connection_close_is_answered_while_closing() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.send(&mut world, 1, &channel::Open {});
    assert_eq!(client.phase(), SessionPhase::Closing);
    client.sent();
    for _ in 0..3 {
        client.send(&mut world, 0, &connection::Close::default());
        assert_eq!(client.phase(), SessionPhase::Closed);
    }
    let sent = client.sent();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(matches!(sent[0].method, Method::ConnectionCloseOk(_)));
}

#[test]
fn many_exclusive_queues_are_deleted_quickly() {
    let mut world = World::new();
    let mut client = world.client(8);
    let mut out = BytesMut::new();
    for number in 0..40_000 {
        let declare = queue::Declare {
            queue: name(&format!("own-{number}")),
            exclusive: true,
            auto_delete: true,
            nowait: true,
            ..Default::default()
        };
        let consume = basic::Consume {
            queue: declare.queue.clone(),
            nowait: true,
            ..Default::default()
        };
        let channel = 1 + number % 8;
        declare.put(&mut out, channel);
        consume.put(&mut out, channel);
    }
    client.send_bytes(&mut world, &out);
    assert!(client.sent().is_empty());
    world.steps = 0;
    client.vanish(&mut world);
    let most = 100 * 40_000;
    assert!(world.steps <= most, "{} steps", world.steps);
    assert_eq!(world.client(1).depth(&mut world, "own-7"), None);
}
