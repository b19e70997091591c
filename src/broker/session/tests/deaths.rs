//! Dead letters: reasons, headers, limits, cycles.

use super::fixture::{Client, World, expiring, name, table, text, with_priority};
use crate::broker::wire::{
    Method, Properties, Table, ValueRef,
    method::{basic, modes, queue},
    table::{ArrayBuilder, TableBuilder},
};

/// A queue whose dead go to the queue `dead`.
fn with_dead(world: &mut World, client: &mut Client, more: &[(&str, ValueRef<'_>)]) {
    client.declare(world, "dead", table(&[]));
    let mut fields = vec![
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("dead")),
    ];
    fields.extend_from_slice(more);
    client.declare(world, "q", table(&fields));
}

fn deaths(properties: &Properties) -> Vec<Table> {
    let deaths = properties.headers().unwrap().field(b"x-death").unwrap();
    deaths
        .as_array()
        .unwrap()
        .iter()
        .map(|death| death.as_table().unwrap().to_table())
        .collect()
}

#[test]
fn a_rejected_message_has_an_x_death_header() {
    let mut world = World::new();
    let mut client = world.client(1);
    with_dead(&mut world, &mut client, &[]);
    for round in 1..=2 {
        client.publish(&mut world, "q", "x");
        client.send(
            &mut world,
            1,
            &basic::Get {
                queue: name("q"),
                no_ack: false,
            },
        );
        client.sent();
        client.nack(&mut world, 1, round, false);
    }
    let got = client.get(&mut world, "dead").unwrap();
    let headers = got.properties.headers().unwrap();
    assert_eq!(headers.field(b"x-first-death-queue"), Some(text("q")));
    assert_eq!(
        headers.field(b"x-first-death-reason"),
        Some(text("rejected"))
    );
    assert_eq!(headers.field(b"x-first-death-exchange"), Some(text("")));
    let deaths = deaths(&got.properties);
    assert_eq!(deaths.len(), 1);
    let names: Vec<_> = deaths[0].iter().map(|(name, _)| name.to_vec()).collect();
    assert_eq!(
        names,
        [
            &b"count"[..],
            b"reason",
            b"queue",
            b"time",
            b"exchange",
            b"routing-keys"
        ]
    );
    assert_eq!(deaths[0].field(b"count"), Some(ValueRef::I64(1)));
    assert_eq!(
        deaths[0].field(b"time"),
        Some(ValueRef::Timestamp(1_700_000_000))
    );
    let keys = deaths[0]
        .field(b"routing-keys")
        .unwrap()
        .as_array()
        .unwrap();
    assert!(keys.iter().eq([text("q")]));
}

#[test]
fn an_expired_message_loses_its_expiration() {
    let mut world = World::new();
    let mut client = world.client(1);
    with_dead(&mut world, &mut client, &[]);
    client.publish_with(&mut world, ("", "q"), &expiring("20"), "x");
    world.pass(30);
    let got = client.get(&mut world, "dead").unwrap();
    assert_eq!(got.properties.expiration(), None);
    let death = deaths(&got.properties).remove(0);
    assert_eq!(death.field(b"reason"), Some(text("expired")));
    assert_eq!(death.field(b"original-expiration"), Some(text("20")));
}

#[test]
fn a_full_queue_drops_its_head() {
    let mut world = World::new();
    let mut client = world.client(1);
    with_dead(
        &mut world,
        &mut client,
        &[("x-max-length", ValueRef::I32(2))],
    );
    for body in ["1", "2", "3", "4"] {
        client.publish(&mut world, "q", body);
    }
    assert_eq!(client.drain(&mut world, "q"), ["3", "4"]);
    assert_eq!(client.drain(&mut world, "dead"), ["1", "2"]);
}

#[test]
fn a_full_queue_with_priorities_drops_the_highest() {
    let mut world = World::new();
    let mut client = world.client(1);
    let limits = [
        ("x-max-length", ValueRef::I32(2)),
        ("x-max-priority", ValueRef::I32(5)),
    ];
    with_dead(&mut world, &mut client, &limits);
    for priority in [1, 5, 3] {
        let properties = with_priority(priority);
        client.publish_with(&mut world, ("", "q"), &properties, &priority.to_string());
    }
    assert_eq!(client.drain(&mut world, "q"), ["3", "1"]);
    assert_eq!(client.drain(&mut world, "dead"), ["5"]);
}

#[test]
fn length_in_bytes_counts_bodies_only() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(
        &mut world,
        "q",
        table(&[("x-max-length-bytes", ValueRef::I32(10))]),
    );
    for body in ["aaaaa", "bbbbb", "ccccc"] {
        client.publish(&mut world, "q", body);
    }
    assert_eq!(client.drain(&mut world, "q"), ["bbbbb", "ccccc"]);
}

#[test]
fn a_full_queue_may_refuse() {
    check("reject-publish", &[]);
    check("reject-publish-dlx", &["2"]);

    #[track_caller]
    fn check(overflow: &str, dead: &[&str]) {
        let mut world = World::new();
        let mut client = world.client(1);
        let limits = [
            ("x-max-length", ValueRef::I32(1)),
            ("x-overflow", text(overflow)),
        ];
        with_dead(&mut world, &mut client, &limits);
        client.send(&mut world, 1, &modes::ConfirmSelect::default());
        client.sent();
        client.publish(&mut world, "q", "1");
        client.publish(&mut world, "q", "2");
        let answers: Vec<_> = client.sent().into_iter().map(|sent| sent.method).collect();
        let ack = basic::Ack {
            delivery_tag: 1,
            multiple: false,
        };
        let nack = basic::Nack {
            delivery_tag: 2,
            multiple: false,
            requeue: true,
        };
        assert_eq!(answers, [Method::BasicAck(ack), Method::BasicNack(nack)]);
        assert_eq!(client.drain(&mut world, "q"), ["1"]);
        assert_eq!(client.drain(&mut world, "dead"), dead);
    }
}

#[test]
fn a_message_beyond_the_delivery_limit_is_dead_lettered() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(&mut world, "dead", table(&[]));
    let declare = queue::Declare {
        queue: name("q"),
        durable: true,
        arguments: table(&[
            ("x-queue-type", text("quorum")),
            ("x-delivery-limit", ValueRef::I32(2)),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text("dead")),
        ]),
        ..Default::default()
    };
    client.send(&mut world, 1, &declare);
    client.sent();
    client.publish(&mut world, "q", "x");
    for delivery in 1..=3u64 {
        client.send(
            &mut world,
            1,
            &basic::Get {
                queue: name("q"),
                no_ack: false,
            },
        );
        let got = client.sent().remove(0);
        let count = got.properties.headers().unwrap().field(b"x-delivery-count");
        assert_eq!(
            count,
            Some(ValueRef::I64(i64::try_from(delivery).unwrap() - 1))
        );
        client.nack(&mut world, 1, delivery, true);
    }
    assert_eq!(client.depth(&mut world, "q"), Some(0));
    let got = client.get(&mut world, "dead").unwrap();
    assert_eq!(
        deaths(&got.properties)[0].field(b"reason"),
        Some(text("delivery_limit"))
    );
}

#[test]
fn a_dead_letter_cycle_without_a_reject_ends() {
    let mut world = World::new();
    let mut client = world.client(1);
    let arguments = table(&[
        ("x-dead-letter-exchange", text("")),
        ("x-message-ttl", ValueRef::I32(10)),
    ]);
    client.declare(&mut world, "q", arguments);
    client.publish(&mut world, "q", "x");
    for _ in 0..5 {
        world.pass(20);
    }
    assert_eq!(client.depth(&mut world, "q"), Some(0));
    assert_eq!(world.held(), 0);
}

#[test]
fn a_dead_letter_cycle_with_a_reject_is_counted() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(
        &mut world,
        "q",
        table(&[("x-dead-letter-exchange", text(""))]),
    );
    client.publish(&mut world, "q", "x");
    for round in 1..=3 {
        client.send(
            &mut world,
            1,
            &basic::Get {
                queue: name("q"),
                no_ack: false,
            },
        );
        client.sent();
        client.nack(&mut world, 1, round, false);
    }
    let got = client.get(&mut world, "q").unwrap();
    let deaths = deaths(&got.properties);
    assert_eq!(deaths.len(), 1);
    assert_eq!(deaths[0].field(b"count"), Some(ValueRef::I64(3)));
}

/// A queue that hands its messages to the next one when it has had them for a moment.
fn declare_link(world: &mut World, client: &mut Client, number: usize, next: usize) {
    let next = format!("q{next}");
    let arguments = table(&[
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(&next)),
        ("x-message-ttl", ValueRef::I32(10)),
    ]);
    client.declare(world, &format!("q{number}"), arguments);
}

#[test]
fn a_cycle_longer_than_a_message_remembers_ends() {
    let mut world = World::new();
    let mut client = world.client(1);
    for number in 0..70 {
        declare_link(&mut world, &mut client, number, (number + 1) % 70);
    }
    client.publish(&mut world, "q0", "x");
    for _ in 0..100 {
        world.pass(20);
    }
    assert_eq!(world.held(), 0, "the message is still in the cycle");
}

#[test]
fn a_message_that_remembers_all_its_way_arrives() {
    let mut world = World::new();
    let mut client = world.client(1);
    for number in 0..64 {
        declare_link(&mut world, &mut client, number, number + 1);
    }
    let rejecting = table(&[
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("q0")),
    ]);
    client.declare(&mut world, "q64", rejecting);
    client.publish(&mut world, "q0", "x");
    for round in 1..=2 {
        for _ in 0..64 {
            world.pass(20);
        }
        let get = basic::Get {
            queue: name("q64"),
            no_ack: false,
        };
        client.send(&mut world, 1, &get);
        let got = client.sent().remove(0);
        assert_eq!(deaths(&got.properties).len(), 64, "in round {round}");
        client.nack(&mut world, 1, round, false);
    }
}

#[test]
fn a_dead_letter_is_routed_by_its_hidden_keys_too() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare_exchange(&mut world, "dlx", "direct");
    for queue in ["by-key", "by-cc", "by-bcc"] {
        let fields = [("x-dead-letter-exchange", text("dlx"))];
        client.declare(&mut world, queue, table(&fields));
    }
    client.declare(
        &mut world,
        "work",
        table(&[("x-dead-letter-exchange", text("dlx"))]),
    );
    for (queue, key) in [("by-key", "work"), ("by-cc", "copy"), ("by-bcc", "hidden")] {
        client.bind(&mut world, queue, "dlx", key);
    }
    let (mut cc, mut bcc) = (ArrayBuilder::new(), ArrayBuilder::new());
    cc.push(text("copy"));
    bcc.push(text("hidden"));
    let mut headers = TableBuilder::new();
    headers.put_array("CC", &cc);
    headers.put_array("BCC", &bcc);
    let properties = Properties::NONE.with_headers(&headers.build());
    client.publish_with(&mut world, ("", "work"), &properties, "x");
    let get = basic::Get {
        queue: name("work"),
        no_ack: false,
    };
    client.send(&mut world, 1, &get);
    client.sent();
    client.nack(&mut world, 1, 1, false);
    for queue in ["by-key", "by-cc", "by-bcc"] {
        let letter = client.get(&mut world, queue).expect(queue);
        let headers = letter.properties.headers().unwrap();
        assert_eq!(headers.field(b"BCC"), None, "{queue}");
        assert!(headers.field(b"CC").is_some(), "{queue}");
        let death = &deaths(&letter.properties)[0];
        let keys = death.field(b"routing-keys").unwrap().as_array().unwrap();
        let keys: Vec<_> = keys.iter().collect();
        assert_eq!(keys, [text("work"), text("copy")], "{queue}");
    }
}
