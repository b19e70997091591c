use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::{LocalChannel, LocalClient, LocalError, LocalPublish};
use crate::broker::{
    Broker, Config,
    config::Limits,
    listing::Wanted,
    server::ConnectionView,
    wire::{
        ShortStr,
        method::queue::Declare,
        properties::PropertyList,
        table::{TableBuilder, ValueRef},
    },
};

const PATIENCE: Duration = Duration::from_secs(5);

fn client(limits: Limits) -> LocalClient {
    let config = Config {
        listen: String::new(),
        limits,
        ..Config::default()
    };
    Broker::new(config).unwrap().local("/").unwrap()
}

fn short(text: &str) -> ShortStr {
    ShortStr::try_from(text).unwrap()
}

fn queue(name: &str, max_length: Option<i64>) -> Declare {
    let mut arguments = TableBuilder::new();
    if let Some(max) = max_length {
        arguments.put("x-max-length", ValueRef::I64(max));
        arguments.put_str("x-overflow", "reject-publish");
    }
    Declare {
        queue: short(name),
        durable: true,
        arguments: arguments.build(),
        ..Declare::default()
    }
}

fn message(key: &str, body: &str) -> LocalPublish {
    LocalPublish {
        exchange: ShortStr::EMPTY,
        routing_key: short(key),
        properties: PropertyList::default().build(),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

#[tokio::test]
async fn a_channel_in_the_same_process_is_listed_with_its_connection() {
    let config = Config {
        listen: String::new(),
        ..Config::default()
    };
    let broker = Broker::new(config).unwrap();
    let channel = broker.local("/").unwrap().open();
    let wanted = Wanted {
        vhost: Some("/".to_owned()),
        name: "process".to_owned(),
        limit: 10,
    };
    let channels = broker.channels(&wanted).await.items;
    let connections = broker.connections(&wanted).await.items;
    let ids: Vec<_> = channels.iter().map(|one| one.connection).collect();
    assert_eq!(ids, [channel.peer.id]);
    let shown = |one: &ConnectionView| (one.id, one.name.clone(), one.channels);
    let expected = [(channel.peer.id, "in process".to_owned(), 1)];
    assert_eq!(connections.iter().map(shown).collect::<Vec<_>>(), expected);
    assert_eq!(broker.overview().await.connections, 0, "it is no client");
    drop(channel);
    assert_eq!(broker.connections(&wanted).await.total, 0);
    assert_eq!(broker.channels(&wanted).await.total, 0);
}

async fn with_queue(client: &LocalClient, name: &str, max_length: Option<i64>) -> LocalChannel {
    let mut channel = client.open();
    channel
        .declare_queue(queue(name, max_length))
        .await
        .unwrap();
    channel.select_confirms().await.unwrap();
    channel
}

/// The bodies of the next messages, each acknowledged.
async fn take(channel: &mut LocalChannel, count: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    while bodies.len() < count {
        let next = timeout(PATIENCE, channel.next(7)).await.expect("in time");
        let some = next.unwrap().expect("a consumer");
        assert!(some.len() <= 7);
        let last = some[some.len() - 1].delivery_tag;
        bodies.extend(
            some.iter()
                .map(|one| String::from_utf8(one.body.to_vec()).unwrap()),
        );
        channel.ack(last, true).await.unwrap();
    }
    bodies
}

/// The number of confirms until the channel has no more, and the error that ended it.
async fn confirms(channel: &mut LocalChannel) -> (usize, Option<LocalError>) {
    let mut count = 0;
    loop {
        match timeout(PATIENCE, channel.confirmed())
            .await
            .expect("in time")
        {
            Ok(0) => return (count, None),
            Ok(more) => count += more,
            Err(error) => return (count, Some(error)),
        }
    }
}

fn code_and_text(error: &LocalError) -> (u16, String) {
    match error {
        LocalError::Closed { code, text } => (*code, text.clone()),
        LocalError::Refused => (0, String::new()),
    }
}

#[tokio::test]
async fn published_messages_are_confirmed_and_delivered_in_order() {
    for (count, prefetch) in [(1, 256), (100, 10), (1_000, 256), (1_000, 0)] {
        let client = client(Limits::default());
        let mut sender = with_queue(&client, "q", None).await;
        for at in 0..count {
            sender.publish(message("q", &at.to_string()));
        }
        assert_eq!(confirms(&mut sender).await, (count, None));
        let mut consumer = client.open();
        consumer.consume(short("q"), prefetch, false).await.unwrap();
        let expected: Vec<_> = (0..count).map(|at| at.to_string()).collect();
        assert_eq!(
            take(&mut consumer, count).await,
            expected,
            "{count} {prefetch}"
        );
        // Straight from the publisher to a consumer that waits.
        sender.publish(message("q", "more"));
        assert_eq!(confirms(&mut sender).await, (1, None));
        assert_eq!(take(&mut consumer, 1).await, ["more"]);
        consumer.cancel().await.unwrap();
        assert!(consumer.next(1).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_refusal_comes_after_the_confirms_before_it() {
    for (room, sent) in [(0, 1), (5, 6), (70, 200)] {
        let client = client(Limits::default());
        let mut sender = with_queue(&client, "q", Some(room)).await;
        for at in 0..sent {
            sender.publish(message("q", &at.to_string()));
        }
        let (confirmed, error) = confirms(&mut sender).await;
        assert_eq!(confirmed as i64, room, "{room} {sent}");
        assert_eq!(error, Some(LocalError::Refused), "{room} {sent}");
    }
}

#[tokio::test]
async fn an_error_closes_its_own_channel_and_no_other() {
    let client = client(Limits::default());
    let mut other = with_queue(&client, "q", None).await;
    for (case, code) in [
        ("declared otherwise", 406),
        ("no queue", 404),
        ("no tag", 406),
    ] {
        let mut channel = client.open();
        let error = match case {
            "declared otherwise" => channel.declare_queue(queue("q", Some(1))).await.map(drop),
            "no queue" => channel.consume(short("nowhere"), 1, false).await,
            _ => channel.ack(7, false).await,
        };
        let error = error.unwrap_err();
        assert_eq!(code_and_text(&error).0, code, "{case}: {error}");
        assert!(!channel.is_open(), "{case}");
        assert_eq!(channel.confirmed().await, Err(error), "{case}");
        other.publish(message("q", case));
        assert_eq!(confirms(&mut other).await, (1, None), "{case}");
    }
}

#[tokio::test]
async fn a_dropped_channel_requeues_its_messages_and_deletes_its_queue() {
    let client = client(Limits::default());
    let mut sender = with_queue(&client, "q", None).await;
    for at in 0..3_000 {
        sender.publish(message("q", &at.to_string()));
    }
    assert_eq!(confirms(&mut sender).await, (3_000, None));
    let mut first = client.open();
    let own = Declare {
        exclusive: true,
        ..Declare::default()
    };
    let own = first.declare_queue(own).await.unwrap();
    first.consume(short("q"), 2_000, false).await.unwrap();
    let some = first.next(usize::MAX).await.unwrap().unwrap();
    assert!(some.len() > 1);
    drop(first);
    let mut second = client.open();
    second.consume(short("q"), 0, false).await.unwrap();
    // More than one turn settles: the rest is left to the vhost's own clock, which does not run here.
    let mut bodies = Vec::new();
    while bodies.len() < 3_000 {
        let next = timeout(PATIENCE, second.next(500)).await;
        let some = next.expect("in time").unwrap().unwrap();
        second
            .ack(some[some.len() - 1].delivery_tag, true)
            .await
            .unwrap();
        bodies.extend(some.into_iter().map(|one| one.body));
    }
    bodies.sort_unstable();
    bodies.dedup();
    assert_eq!(bodies.len(), 3_000);
    let gone = second.consume(own, 1, false).await.unwrap_err();
    assert_eq!(code_and_text(&gone).0, 404, "{gone}");
}

#[tokio::test]
async fn a_deleted_queue_ends_its_consumer() {
    let broker = Broker::new(Config::default()).unwrap();
    let client = broker.local("/").unwrap();
    let mut consumer = with_queue(&client, "q", None).await;
    consumer.consume(short("q"), 1, false).await.unwrap();
    assert_eq!(broker.delete("/", "q").await, Some(0));
    let next = timeout(PATIENCE, consumer.next(1)).await.expect("in time");
    assert!(next.unwrap().is_none());
    assert!(broker.local("/nowhere").is_none());
}

#[tokio::test(start_paused = true)]
async fn the_memory_alarm_blocks_publishers_only() {
    let limits = Limits {
        memory: bytesize::ByteSize::kib(64).into(),
        ..Limits::default()
    };
    let client = client(limits);
    let mut sender = with_queue(&client, "q", None).await;
    sender.publish(message("q", &"x".repeat(70_000)));
    assert_eq!(confirms(&mut sender).await, (1, None));
    assert!(client.is_blocked());
    sender.publish(message("q", "waits"));
    let waiting = timeout(Duration::from_secs(60), sender.confirmed()).await;
    assert!(waiting.is_err(), "it is blocked: {waiting:?}");
    // What takes the place of consumed messages is not blocked: otherwise nothing could make room.
    let mut exempt = client.open_exempt();
    exempt.publish(message("nowhere", "answer"));
    assert_eq!(confirms(&mut exempt).await, (1, None));
    let mut consumer = client.open();
    consumer.consume(short("q"), 1, false).await.unwrap();
    assert_eq!(take(&mut consumer, 1).await[0].len(), 70_000);
    assert_eq!(confirms(&mut sender).await, (1, None));
    assert_eq!(take(&mut consumer, 1).await, ["waits"]);
}

/// A consumer that does not take what it is sent is sent no more than its outbox holds.
#[tokio::test]
async fn a_consumer_that_does_not_read_gets_no_more_than_its_room() {
    let limits = Limits {
        outbox_per_connection: bytesize::ByteSize::kib(4).into(),
        ..Limits::default()
    };
    let client = client(limits);
    let mut consumer = with_queue(&client, "q", None).await;
    consumer.consume(short("q"), 0, false).await.unwrap();
    let mut sender = with_queue(&client, "q", None).await;
    for at in 0..200 {
        sender.publish(message("q", &format!("{at}{}", "x".repeat(500))));
    }
    assert_eq!(confirms(&mut sender).await, (200, None));
    assert!(consumer.peer.outbox.unsent() < 6 * 1024);
    let bodies = take(&mut consumer, 200).await;
    for (at, body) in bodies.iter().enumerate() {
        assert!(body.starts_with(&format!("{at}x")), "{at}: {body}");
    }
}
