//! Messages to some queues carry the connection they came over, whatever way they take and whatever they claim.

use super::fixture::*;
use crate::broker::{config::Limits, vhost::Stamp, wire::Properties};

const HEADER: &str = "x-musterd-connection";
const USER: &str = "x-musterd-user";

fn world() -> World {
    let stamp = Stamp {
        queues: vec![name("service.register")],
        header: name(HEADER),
        user_header: name(USER),
    };
    World::with(Limits::default(), stamp)
}

fn lie() -> Properties {
    Properties::NONE.with_headers(&table(&[
        ("a", text("b")),
        (HEADER, text("of another")),
        (USER, text("of another")),
    ]))
}

/// The stamp of the next message in a queue.
#[track_caller]
fn stamp_in(client: &mut Client, world: &mut World, queue: &str) -> Option<String> {
    stamps_in(client, world, queue).0
}

/// The same, and the user.
#[track_caller]
fn stamps_in(
    client: &mut Client,
    world: &mut World,
    queue: &str,
) -> (Option<String>, Option<String>) {
    let got = client.get(world, queue).unwrap();
    let [connection, user] = [HEADER, USER].map(|name| {
        let headers = got.properties.headers()?;
        let of_name = headers.iter().filter(|(key, _)| *key == name.as_bytes());
        assert!(of_name.count() <= 1);
        let stamp = headers.field(name.as_bytes())?.as_str_bytes()?;
        Some(String::from_utf8_lossy(stamp).into_owned())
    });
    (connection, user)
}

#[test]
fn the_user_that_logged_in_is_stamped_whatever_the_client_claims() {
    let mut world = world();
    let mut client = world.client(1);
    client.declare(&mut world, "service.register", table(&[]));
    let user = Some(client.session.user().to_owned());
    let mut stamp = |client: &mut Client| {
        client.publish_with(&mut world, ("", "service.register"), &lie(), "x");
        stamps_in(client, &mut world, "service.register")
    };
    let own = Some(client.peer.id.to_string());
    assert_eq!(stamp(&mut client), (own, user.clone()));
    client.session = client.session.unstamped();
    assert_eq!(stamp(&mut client), (None, user), "without a heartbeat");
    client.session = client.session.of_the_process();
    assert_eq!(stamp(&mut client), (None, None), "the process is no user");
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
