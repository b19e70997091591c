//! Queues of which many messages expire at once.

use bytes::BytesMut;

use super::fixture::{Client, World, expiring, name, table};
use crate::broker::wire::method::{MethodSpec, basic};

/// A queue with more expired messages than one turn removes, and one that has not expired.
fn outlived(world: &mut World) -> Client {
    let mut client = world.client(1);
    client.declare(world, "q", table(&[]));
    for _ in 0..1100 {
        client.publish_with(world, ("", "q"), &expiring("10"), "dead");
    }
    client.publish(world, "q", "lives");
    world.now.ms += 20;
    client
}

#[test]
fn a_consumer_gets_none_that_has_expired() {
    let mut world = World::new();
    let mut client = outlived(&mut world);
    client.consume(&mut world, 1, "q", "a");
    assert_eq!(client.bodies(), "lives");
}

#[test]
fn basic_get_fetches_the_first_message_that_has_not_expired() {
    let mut world = World::new();
    let mut client = outlived(&mut world);
    // So late in a turn that they do not all die in it.
    world.vhost.begin_turn();
    world.vhost.charge_frame(20_000 * 512);
    let mut out = BytesMut::new();
    let get = basic::Get {
        queue: name("q"),
        no_ack: true,
    };
    get.put(&mut out, 1);
    client.begin(&mut world, &out);
    assert!(client.session.is_busy(&world.vhost), "it takes two turns");
    assert!(client.sent().is_empty());
    world.pass(0);
    assert_eq!(client.sent()[0].text(), "lives");
}
