//! Deliveries that nobody settles in time, and settlements that take more than one turn.

use std::sync::atomic::Ordering::Relaxed;

use super::fixture::*;
use crate::broker::{
    config::Limits,
    vhost::Stamp,
    wire::{
        Method, Table, ValueRef,
        method::{MethodSpec, basic, channel},
    },
};

fn within(ms: i64) -> Table {
    table(&[("x-consumer-timeout", ValueRef::I64(ms))])
}

fn methods(client: &mut Client) -> Vec<Method> {
    client.sent().into_iter().map(|sent| sent.method).collect()
}

#[test]
fn a_late_consumer_is_cancelled_and_its_messages_are_requeued() {
    let mut world = World::new();
    let (mut slow, mut other) = (world.client(1), world.client(1));
    slow.declare(&mut world, "q", within(1000));
    slow.consume(&mut world, 1, "q", "slow");
    for body in ["1", "2"] {
        slow.publish(&mut world, "q", body);
    }
    assert_eq!(slow.bodies(), "1 2");
    other.consume(&mut world, 1, "q", "other");
    world.pass(999);
    assert!(
        slow.sent().is_empty() && other.bodies().is_empty(),
        "it is in time"
    );
    world.pass(1);
    let sent = methods(&mut slow);
    assert!(
        matches!(&sent[..], [Method::BasicCancel(cancel)]
            if *cancel.consumer_tag == *b"slow" && cancel.nowait),
        "{sent:?}"
    );
    let again = |body: &str, tag| ("other".to_owned(), body.to_owned(), tag, true);
    assert_eq!(other.delivered(), [again("1", 1), again("2", 2)]);
    // It is not the client's fault that it did not know yet.
    slow.ack(&mut world, 1, 2);
    slow.nack(&mut world, 1, 1, true);
    let all = basic::Ack {
        delivery_tag: 2,
        multiple: true,
    };
    slow.send(&mut world, 1, &all);
    assert!(
        slow.sent().is_empty(),
        "a late acknowledgement is no mistake"
    );
    slow.ack(&mut world, 1, 3);
    assert!(
        matches!(&methods(&mut slow)[..], [Method::ChannelClose(_)]),
        "3 is one"
    );
}

#[test]
fn a_client_without_cancel_notify_loses_its_channel() {
    let mut world = World::new();
    let (mut old, mut other) = (world.client(2), world.client(1));
    old.peer.cancel_notify.store(false, Relaxed);
    old.declare(&mut world, "q", within(1000));
    old.consume(&mut world, 2, "q", "old");
    old.publish(&mut world, "q", "x");
    old.sent();
    world.pass(1000);
    let sent = old.sent();
    let Method::ChannelClose(close) = &sent[0].method else {
        panic!("{sent:?}");
    };
    let text = "PRECONDITION_FAILED - delivery acknowledgement on channel 2 timed out. Timeout value \
                used: 1000 ms. This timeout value can be configured, see consumers doc guide to learn more";
    assert_eq!((sent[0].channel, close.reply_code), (2, 406));
    assert_eq!(&*close.reply_text, text.as_bytes());
    assert_eq!(other.drain(&mut world, "q"), ["x"]);
    // What crosses our close is ignored; then the number is free again.
    old.ack(&mut world, 2, 1);
    assert!(old.sent().is_empty());
    old.send(&mut world, 2, &channel::CloseOk {});
    old.send(&mut world, 2, &channel::Open {});
    assert!(matches!(&methods(&mut old)[..], [Method::ChannelOpenOk(_)]));
    assert_eq!(old.depth(&mut world, "q"), Some(0), "channel 1 continues");
}

#[test]
fn an_unsettled_get_closes_the_channel_at_the_timeout() {
    let mut world = World::new();
    let mut client = world.client(2);
    client.declare(&mut world, "q", within(1000));
    client.publish(&mut world, "q", "x");
    let get = basic::Get {
        queue: name("q"),
        no_ack: false,
    };
    client.send(&mut world, 2, &get);
    client.sent();
    world.pass(1000);
    assert!(matches!(
        &methods(&mut client)[..],
        [Method::ChannelClose(_)]
    ));
    assert_eq!(client.depth(&mut world, "q"), Some(1));
}

#[test]
fn there_is_no_limit_unless_one_is_asked_for() {
    let day = 24 * 3600 * 1000;
    let usual = |ms| Limits {
        consumer_timeout: std::time::Duration::from_millis(ms).into(),
        ..Limits::default()
    };
    for (limits, arguments, cancelled) in [
        (Limits::default(), table(&[]), false),
        (usual(1000), table(&[]), true),
        (usual(1000), within(0), false),
        (usual(0), within(1000), true),
    ] {
        let mut world = World::with(limits, Stamp::default());
        let mut client = world.client(1);
        client.declare(&mut world, "q", arguments);
        client.consume(&mut world, 1, "q", "c");
        client.publish(&mut world, "q", "x");
        client.sent();
        world.pass(day);
        assert_eq!(!client.sent().is_empty(), cancelled);
    }
}

#[test]
fn a_consumer_that_settles_in_time_is_kept() {
    let mut world = World::new();
    let mut client = world.client(1);
    client.declare(&mut world, "q", within(1000));
    client.consume(&mut world, 1, "q", "c");
    for tag in 1..=20 {
        client.publish(&mut world, "q", "x");
        if tag > 1 {
            client.ack(&mut world, 1, tag - 1);
        }
        world.pass(900);
        assert!(client.sent().iter().all(|sent| matches!(
            sent.method,
            Method::BasicDeliver(_) | Method::BasicConsumeOk(_)
        )));
    }
    let left = world.vhost.next_deadline() - world.now.ms;
    assert!((1..=100).contains(&left), "the last one is watched: {left}");
}

/// A vhost that settles three deliveries a turn.
fn in_small_turns() -> World {
    let limits = Limits {
        settled_at_once: 3.into(),
        ..Limits::default()
    };
    World::with(limits, Stamp::default())
}

fn holding_ten(world: &mut World) -> Client {
    let mut client = world.client(2);
    client.declare(world, "q", table(&[]));
    client.consume(world, 2, "q", "c");
    for number in 0..10 {
        client.publish(world, "q", &number.to_string());
    }
    assert_eq!(client.delivered().len(), 10);
    client
}

#[test]
fn many_are_settled_in_several_turns() {
    let mut world = in_small_turns();
    let mut client = holding_ten(&mut world);
    let mut context = crate::broker::session::Context {
        vhost: &mut world.vhost,
        now: world.now,
    };
    let mut out = bytes::BytesMut::new();
    let nack = basic::Nack {
        delivery_tag: 8,
        multiple: true,
        requeue: true,
    };
    nack.put(&mut out, 2);
    let mut frames = crate::broker::wire::FrameReader::default();
    frames.input().extend_from_slice(&out);
    let frame = frames.next(FRAME_MAX).unwrap().unwrap();
    client.session.on_frame(frame, &mut context);
    assert!(client.session.is_busy(context.vhost), "three of eight");
    assert!(context.vhost.has_work());
    let turns = (0..9)
        .take_while(|_| context.vhost.pump(context.now))
        .count();
    assert!(!client.session.is_busy(context.vhost));
    assert!((1..=3).contains(&turns), "{turns} turns");
    let wanted: Vec<_> = (0..8).map(|number| number.to_string()).collect();
    let redelivered = client.delivered();
    let bodies: Vec<_> = redelivered
        .iter()
        .map(|(_, body, ..)| body.clone())
        .collect();
    assert_eq!(bodies, wanted, "in their order");
    assert!(redelivered.iter().all(|(.., redelivered)| *redelivered));
}

#[test]
fn a_channel_that_ends_gives_everything_back_in_order() {
    let wanted: Vec<_> = (0..10).map(|number| number.to_string()).collect();
    let mut world = in_small_turns();
    let mut client = holding_ten(&mut world);
    client.send(&mut world, 2, &channel::Close::default());
    assert!(matches!(
        &methods(&mut client)[..],
        [Method::ChannelCloseOk(_)]
    ));
    assert_eq!(client.drain(&mut world, "q"), wanted);
    assert_eq!(world.vhost.view().channels, 1);

    let mut world = in_small_turns();
    let mut client = holding_ten(&mut world);
    client.vanish(&mut world);
    assert_eq!(world.vhost.view().channels, 0);
    assert_eq!(world.client(1).drain(&mut world, "q"), wanted);
}
