//! Unmodified client libraries: pika, amqplib and lapin.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions,
    BasicQosOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind,
};

use super::target::target;
use crate::scripts::{ends_with_ok, in_tests};

pub(super) fn from_setup(path: &str) -> PathBuf {
    in_tests(&format!(".local/{path}"))
}

/// The path of a client's script.
pub(super) fn script(name: &str) -> PathBuf {
    in_tests("it/amqp/clients").join(name)
}

fn run(mut command: Command, name: &str) {
    ends_with_ok(command.arg(script(name)).arg(target().url("guest")));
}

#[test]
fn pika() {
    run(Command::new(from_setup("python/bin/python")), "journey.py");
}

#[test]
fn amqplib() {
    let mut command = Command::new("node");
    command.env("NODE_PATH", from_setup("node_modules"));
    run(command, "journey.js");
}

async fn connect() -> Connection {
    let properties = ConnectionProperties::default().with_connection_name("lapin's journey".into());
    Connection::connect(&target().url("guest"), properties)
        .await
        .unwrap()
}

fn unique(word: &str) -> String {
    format!("rs-{:08x}-{word}", fastrand::u32(..))
}

async fn exclusive(channel: &Channel, name: &str, arguments: FieldTable) {
    let options = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(name.into(), options, arguments)
        .await
        .unwrap();
}

async fn publish(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &[u8],
    properties: BasicProperties,
) -> Confirmation {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let confirm = channel
        .basic_publish(exchange.into(), key.into(), options, body, properties)
        .await
        .unwrap();
    confirm.await.unwrap()
}

async fn next(consumer: &mut lapin::Consumer) -> Delivery {
    let delivery = tokio::time::timeout(Duration::from_secs(10), consumer.next())
        .await
        .expect("a delivery in time");
    delivery.unwrap().unwrap()
}

#[tokio::test]
async fn lapin_publishes_with_confirms_and_consumes_with_acks() {
    let connection = connect().await;
    let (publisher, consumer) = (
        connection.create_channel().await.unwrap(),
        connection.create_channel().await.unwrap(),
    );
    let queue = unique("work");
    exclusive(&publisher, &queue, FieldTable::default()).await;
    publisher
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    consumer
        .basic_qos(10, BasicQosOptions::default())
        .await
        .unwrap();
    let mut deliveries = consumer
        .basic_consume(
            queue.as_str().into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    for number in 0..100_u8 {
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(number.to_string().into());
        let confirm = publish(&publisher, "", &queue, &[number], properties).await;
        assert!(
            confirm.is_ack() && confirm.take_message().is_none(),
            "message {number}"
        );
    }
    let (mut first, mut again) = (Vec::new(), Vec::new());
    while first.len() + again.len() < 101 {
        let delivery = next(&mut deliveries).await;
        let (number, seen) = (
            delivery.data[0],
            if delivery.redelivered {
                &mut again
            } else {
                &mut first
            },
        );
        seen.push(number);
        if number == 7 && !delivery.redelivered {
            delivery
                .nack(BasicNackOptions {
                    requeue: true,
                    ..BasicNackOptions::default()
                })
                .await
                .unwrap();
        } else {
            delivery.ack(BasicAckOptions::default()).await.unwrap();
        }
    }
    assert!(first.iter().copied().eq(0..100), "{first:?}");
    assert_eq!(again, [7]);
    connection.close(200, "done".into()).await.unwrap();
}

#[tokio::test]
async fn lapin_gets_unroutable_messages_returned() {
    let connection = connect().await;
    let channel = connection.create_channel().await.unwrap();
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    let confirm = publish(
        &channel,
        "amq.topic",
        &unique("nowhere"),
        b"x",
        BasicProperties::default(),
    )
    .await;
    let returned = confirm.take_message().expect("a returned message");
    assert_eq!(
        (returned.reply_code, returned.reply_text.as_str()),
        (312, "NO_ROUTE")
    );
    assert_eq!(returned.delivery.data, b"x");
    connection.close(200, "done".into()).await.unwrap();
}

#[tokio::test]
async fn lapin_routes_by_topic_and_dead_letters() {
    let connection = connect().await;
    let channel = connection.create_channel().await.unwrap();
    let (exchange, queue, dead) = (unique("topic"), unique("mortal"), unique("dead"));
    let options = ExchangeDeclareOptions {
        auto_delete: true,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(
            exchange.as_str().into(),
            ExchangeKind::Topic,
            options,
            FieldTable::default(),
        )
        .await
        .unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-dead-letter-exchange".into(),
        AMQPValue::LongString("".into()),
    );
    arguments.insert(
        "x-dead-letter-routing-key".into(),
        AMQPValue::LongString(dead.as_str().into()),
    );
    arguments.insert("x-message-ttl".into(), AMQPValue::ShortInt(50));
    exclusive(&channel, &dead, FieldTable::default()).await;
    exclusive(&channel, &queue, arguments).await;
    channel
        .queue_bind(
            queue.as_str().into(),
            exchange.as_str().into(),
            "a.#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    publish(
        &channel,
        &exchange,
        "a.b.c",
        b"body",
        BasicProperties::default(),
    )
    .await;
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let mut deliveries = channel
        .basic_consume(
            dead.as_str().into(),
            "".into(),
            options,
            FieldTable::default(),
        )
        .await
        .unwrap();
    let delivery = next(&mut deliveries).await;
    assert_eq!(delivery.data, b"body");
    let headers = delivery.properties.headers().clone().expect("headers");
    let reason = headers
        .inner()
        .get("x-first-death-reason")
        .and_then(|value| value.as_long_string().cloned());
    assert_eq!(reason.expect("a reason").as_bytes(), b"expired");
    connection.close(200, "done".into()).await.unwrap();
}

#[tokio::test]
async fn lapin_sees_the_reason_when_a_channel_is_closed() {
    let connection = connect().await;
    let channel = connection.create_channel().await.unwrap();
    let missing = unique("missing");
    let error = channel
        .basic_get(missing.as_str().into(), BasicGetOptions::default())
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("no queue '{missing}' in vhost '/'")),
        "{error}"
    );
    let other = connection.create_channel().await.unwrap();
    exclusive(&other, &missing, FieldTable::default()).await;
    other
        .queue_delete(missing.as_str().into(), QueueDeleteOptions::default())
        .await
        .unwrap();
    connection.close(200, "done".into()).await.unwrap();
}
