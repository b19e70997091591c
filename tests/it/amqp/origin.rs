//! Who sent a message, and whether they are still there: what the program around the broker may ask.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties, ExchangeKind};
use musterd::broker::{Broker, Config};
use tokio_util::sync::CancellationToken;

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

#[tokio::test]
async fn commands_carry_their_connection_and_its_end_is_told() {
    let config = Config {
        listen: "127.0.0.1:0".to_owned(),
        ..Config::default()
    };
    let listening = Broker::bind(config).await.unwrap();
    let (broker, address) = (listening.broker(), listening.address().unwrap());
    let mut closed = broker.closed_connections().expect("the only listener");
    let stop = CancellationToken::new();
    let serving = tokio::spawn(listening.serve(stop.clone()));
    let login = broker.internal_login();
    let url = format!("amqp://{}:{}@{address}/%2f", login.user, login.password);

    let reader = connect(&url).await;
    let channel = reader.create_channel().await.unwrap();
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(
            "musterd".into(),
            ExchangeKind::Topic,
            durable,
            FieldTable::default(),
        )
        .await
        .unwrap();
    let queues = [
        "service.register",
        "service.deregister",
        "service.heartbeat",
        "service.discover",
    ];
    let sender = connect(&format!("amqp://guest:guest@{address}/%2f")).await;
    let commands = sender.create_channel().await.unwrap();
    let mut origins = Vec::new();
    for queue in queues {
        let options = QueueDeclareOptions::default();
        channel
            .queue_declare(queue.into(), options, FieldTable::default())
            .await
            .unwrap();
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        channel
            .queue_bind(queue.into(), "musterd".into(), queue.into(), options, none)
            .await
            .unwrap();
        let no_ack = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let mut deliveries = channel
            .basic_consume(queue.into(), "".into(), no_ack, FieldTable::default())
            .await
            .unwrap();
        for exchange in ["", "musterd"] {
            let options = BasicPublishOptions::default();
            commands
                .basic_publish(exchange.into(), queue.into(), options, b"{}", lie())
                .await
                .unwrap();
            let delivery = deliveries.next().await.unwrap().unwrap();
            let headers = delivery.properties.headers().clone().unwrap();
            let stamp = headers
                .inner()
                .get(HEADER)
                .unwrap()
                .as_long_string()
                .unwrap()
                .to_string();
            origins.push(stamp.parse().unwrap());
        }
    }
    let origin: u64 = origins[0];
    assert!(
        origin != 1 && origins.iter().all(|other| *other == origin),
        "{origins:?}"
    );
    assert!(broker.is_connected(origin));

    sender.close(200, "done".into()).await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(10), closed.recv()).await;
    assert_eq!(told.unwrap(), Some(origin));
    assert!(!broker.is_connected(origin), "told of before it had gone");
    stop.cancel();
    serving.await.unwrap();
}
