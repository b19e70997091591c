//! Messages to some queues carry the connection they came over, whatever way they take and whatever they claim.

use super::fixture::*;
use crate::broker::{config::Limits, vhost::Stamp, wire::Properties};

const HEADER: &str = "x-musterd-connection";

fn world() -> World {
    let stamp = Stamp {
        queues: vec![name("service.register")],
        header: name(HEADER),
    };
    World::with(Limits::default(), stamp)
}

fn lie() -> Properties {
    Properties::NONE.with_headers(&table(&[("a", text("b")), (HEADER, text("of another"))]))
}

/// The stamp of the next message in a queue.
#[track_caller]
fn stamp_in(client: &mut Client, world: &mut World, queue: &str) -> Option<String> {
    let got = client.get(world, queue).unwrap();
    let headers = got.properties.headers()?;
    assert!(
        headers
            .iter()
            .filter(|(key, _)| *key == HEADER.as_bytes())
            .count()
            <= 1
    );
    let stamp = headers.field(HEADER.as_bytes())?.as_str_bytes()?;
    Some(String::from_utf8_lossy(stamp).into_owned())
}

#[test]
fn messages_by_every_exchange_are_stamped() {
    let mut world = world();
    let mut client = world.client(1);
    client.declare(&mut world, "service.register", table(&[]));
    client.declare(&mut world, "else", table(&[]));
    client.declare_exchange(&mut world, "musterd", "topic");
    client.declare_exchange(&mut world, "before", "fanout");
    client.bind(
        &mut world,
        "service.register",
        "musterd",
        "service.register",
    );
    client.bind(&mut world, "service.register", "before", "");
    client.bind(&mut world, "else", "before", "");
    let own = Some(client.peer.id.to_string());
    for properties in [Properties::NONE, lie()] {
        for exchange in ["", "musterd", "before"] {
            client.publish_with(&mut world, (exchange, "service.register"), &properties, "x");
            assert_eq!(
                stamp_in(&mut client, &mut world, "service.register"),
                own,
                "{exchange}"
            );
        }
    }
}

#[test]
fn messages_of_a_transaction_are_stamped() {
    let mut world = world();
    let mut client = world.client(1);
    client.declare(&mut world, "service.register", table(&[]));
    client.send(
        &mut world,
        1,
        &crate::broker::wire::method::modes::TxSelect {},
    );
    client.sent();
    client.publish_with(&mut world, ("", "service.register"), &lie(), "x");
    client.send(
        &mut world,
        1,
        &crate::broker::wire::method::modes::TxCommit {},
    );
    client.sent();
    let own = Some(client.peer.id.to_string());
    assert_eq!(stamp_in(&mut client, &mut world, "service.register"), own);
}

#[test]
fn messages_of_other_queues_are_not_stamped() {
    let mut world = world();
    let mut client = world.client(1);
    client.declare(&mut world, "else", table(&[]));
    client.publish_with(&mut world, ("", "else"), &lie(), "x");
    assert_eq!(
        stamp_in(&mut client, &mut world, "else").as_deref(),
        Some("of another")
    );
    client.publish_with(&mut world, ("", "else"), &Properties::NONE, "x");
    assert_eq!(stamp_in(&mut client, &mut world, "else"), None);
}

#[test]
fn a_stamp_of_a_dead_lettered_message_is_removed() {
    let mut world = world();
    let mut client = world.client(1);
    client.declare(&mut world, "service.register", table(&[]));
    let by_death = [
        ("x-message-ttl", crate::broker::wire::ValueRef::I32(0)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("service.register")),
    ];
    client.declare(&mut world, "detour", table(&by_death));
    client.publish_with(&mut world, ("", "detour"), &lie(), "x");
    assert_eq!(stamp_in(&mut client, &mut world, "service.register"), None);
}

#[test]
fn a_session_that_is_not_stamped_cannot_stamp_itself() {
    let mut world = world();
    let mut client = world.client(1);
    client.session = client.session.unstamped();
    client.declare(&mut world, "service.register", table(&[]));
    client.publish_with(&mut world, ("", "service.register"), &lie(), "x");
    assert_eq!(stamp_in(&mut client, &mut world, "service.register"), None);
}
