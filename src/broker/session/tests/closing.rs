//! How connections end.

use super::fixture::World;
use crate::broker::{
    session::Phase,
    wire::{
        Method,
        method::{channel, connection},
    },
};

#[test]
fn one_close_is_answered_while_closing() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.send(&mut world, 1, &channel::Open {});
    assert_eq!(client.phase(), Phase::Closing);
    client.sent();
    for _ in 0..3 {
        client.send(&mut world, 0, &connection::Close::default());
        assert_eq!(client.phase(), Phase::Closed);
    }
    let sent = client.sent();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(matches!(sent[0].method, Method::ConnectionCloseOk(_)));
}
