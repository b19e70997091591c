//! Messages of which many expire at once.

use super::fixture::{Client, World, expiring, table};

/// A queue with more messages that have expired than die in one turn, and one that lives.
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
fn nobody_fetches_one_that_has_expired() {
    let mut world = World::new();
    let mut client = outlived(&mut world);
    assert!(client.get(&mut world, "q").is_none());
    world.pass(0);
    assert_eq!(client.drain(&mut world, "q"), ["lives"]);
}
