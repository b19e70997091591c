//! Who sent a message, and whether they are still there: what the program around the broker may ask.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};
use musterd::broker::{Broker, Config};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const HEADER: &str = "x-musterd-connection";

async fn connect(url: &str) -> Connection {
    let properties = ConnectionProperties::default();
    Connection::connect(url, properties).await.unwrap()
}

fn lie() -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert(HEADER.into(), AMQPValue::LongString("1".into()));
    BasicProperties::default().with_headers(headers)
}

/// Declares a command queue that the exchange knows too.
async fn declare(channel: &Channel, queue: &str) {
    let options = QueueDeclareOptions::default();
    let declared = channel.queue_declare(queue.into(), options, FieldTable::default());
    declared.await.unwrap();
    let (options, none) = (QueueBindOptions::default(), FieldTable::default());
    let bound = channel.queue_bind(queue.into(), "musterd".into(), queue.into(), options, none);
    bound.await.unwrap();
}

/// Sends a command whose stamp is a lie, by this exchange.
async fn send(channel: &Channel, exchange: &str, queue: &str) {
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish(exchange.into(), queue.into(), options, b"{}", lie());
    sent.await.unwrap();
}

/// The stamp of the next command.
async fn stamp(deliveries: &mut Consumer) -> u64 {
    let next = tokio::time::timeout(Duration::from_secs(10), deliveries.next());
    let delivery = next.await.expect("a command in time").unwrap().unwrap();
    let headers = delivery.properties.headers().clone().unwrap();
    let stamp = headers.inner().get(HEADER).unwrap().as_long_string();
    stamp.unwrap().to_string().parse().unwrap()
}

#[tokio::test]
async fn commands_carry_their_connection_and_its_end_is_reported() {
    let config = Config {
        listen: "127.0.0.1:0".to_owned(),
        ..Config::default()
    };
    let listening = Broker::bind(config).await.unwrap();
    let (broker, address) = (listening.broker(), listening.address().unwrap());
    let mut closed = broker.closed_connections().expect("the only listener");
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    tasks.spawn(listening.serve(stop.clone()));
    let url = format!("amqp://guest:guest@{address}/%2f");

    let reader = connect(&url).await;
    let channel = reader.create_channel().await.unwrap();
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let (kind, none) = (ExchangeKind::Topic, FieldTable::default());
    let declared = channel.exchange_declare("musterd".into(), kind, durable, none);
    declared.await.unwrap();
    let sender = connect(&format!("amqp://guest:guest@{address}/%2f")).await;
    let commands = sender.create_channel().await.unwrap();
    let mut origins = Vec::new();
    for word in ["register", "deregister", "heartbeat", "discover"] {
        let queue = format!("service.{word}");
        declare(&channel, &queue).await;
        let no_ack = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let none = FieldTable::default();
        let consumer = channel.basic_consume(queue.as_str().into(), "".into(), no_ack, none);
        let mut deliveries = consumer.await.unwrap();
        for exchange in ["", "musterd"] {
            send(&commands, exchange, &queue).await;
            origins.push(stamp(&mut deliveries).await);
        }
    }
    let origin = origins[0];
    assert!(
        origin != 1 && origins.iter().all(|other| *other == origin),
        "{origins:?}"
    );
    assert!(broker.is_connected(origin));
    let from = broker.address_of(origin);
    assert!(from.is_some_and(|from| from.ip().is_loopback()), "{from:?}");

    sender.close(200, "done".into()).await.unwrap();
    let notice = tokio::time::timeout(Duration::from_secs(10), closed.recv()).await;
    assert_eq!(notice.unwrap(), Some(origin));
    assert!(
        !broker.is_connected(origin),
        "reported before it was closed"
    );
    assert_eq!(broker.address_of(origin), None);
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}
