//! The broker in this process, called without a socket, a login or a frame size.
//!
//! Its connection is always there and is never lost; only the memory alarm blocks publishers.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::time::sleep;

use super::amqp::{
    AmqpError,
    broker::{
        AmqpChannel, AmqpConnection, BrokerClient, Consume, Delivery, Heard, Outgoing, Purpose,
        QueueSpec, Unconfirmed, UpTo, short,
    },
};
use crate::broker::{
    local::{LocalChannel, LocalClient, LocalError, LocalPublish, ReceivedMessage},
    wire::{
        ShortStr,
        method::queue,
        table::{TableBuilder, ValueRef},
    },
};

/// How many messages are taken at once.
const BATCH: usize = 64;
/// The type of the exchange.
const TOPIC: ShortStr = ShortStr::from_static("topic");

/// A client of the broker in this process. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Embedded {
    client: LocalClient,
    url: String,
    ping: Duration,
}

impl Embedded {
    /// A client of `client`'s vhost, shown as `url`. It reports that the broker answers once per `ping`.
    pub fn new(client: LocalClient, url: String, ping: Duration) -> Self {
        Self { client, url, ping }
    }
}

impl BrokerClient for Embedded {
    fn kind(&self) -> &'static str {
        "embedded"
    }

    fn url(&self) -> String {
        self.url.clone()
    }

    fn connect(&self) -> BoxFuture<'_, Result<Arc<dyn AmqpConnection>, AmqpError>> {
        let connection: Arc<dyn AmqpConnection> = Arc::new(self.clone());
        Box::pin(std::future::ready(Ok(connection)))
    }
}

impl AmqpConnection for Embedded {
    fn open(&self, purpose: Purpose) -> BoxFuture<'_, Result<Box<dyn AmqpChannel>, AmqpError>> {
        Box::pin(async move {
            let mut channel = match purpose {
                Purpose::Consume | Purpose::Replace => self.client.open_exempt(),
                Purpose::Send | Purpose::SendConfirmed | Purpose::Ask => self.client.open(),
            };
            if matches!(purpose, Purpose::SendConfirmed | Purpose::Replace) {
                let selected = channel.select_confirms().await;
                selected.map_err(at("confirm.select"))?;
            }
            let channel: Box<dyn AmqpChannel> = Box::new(EmbeddedChannel(channel));
            Ok(channel)
        })
    }

    fn is_blocked(&self) -> bool {
        self.client.is_blocked()
    }

    fn headers_max(&self) -> usize {
        usize::MAX
    }

    fn until_lost<'a>(&'a self, heard: Heard<'a>) -> BoxFuture<'a, AmqpError> {
        Box::pin(async move {
            loop {
                sleep(self.ping).await;
                heard();
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), AmqpError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A channel of it.
#[derive(Debug)]
struct EmbeddedChannel(LocalChannel);

impl AmqpChannel for EmbeddedChannel {
    fn is_open(&self) -> bool {
        self.0.is_open()
    }

    fn declare_exchange(&mut self, name: &'static str) -> BoxFuture<'_, Result<(), AmqpError>> {
        Box::pin(async move {
            let declared = self.0.declare_exchange(short(name), TOPIC).await;
            declared.map_err(at(name))
        })
    }

    fn declare_queue(&mut self, queue: QueueSpec) -> BoxFuture<'_, Result<String, AmqpError>> {
        Box::pin(async move {
            let mut arguments = TableBuilder::new();
            let limits = [
                ("x-max-length", queue.messages_max),
                ("x-max-length-bytes", queue.bytes_max),
            ];
            for (key, limit) in limits {
                if let Some(limit) = limit {
                    arguments.put(key, ValueRef::I32(limit));
                }
            }
            let declare = queue::Declare {
                queue: short(queue.name),
                durable: !queue.exclusive,
                exclusive: queue.exclusive,
                auto_delete: queue.exclusive,
                arguments: arguments.build(),
                ..queue::Declare::default()
            };
            let declared = self.0.declare_queue(declare).await;
            let declared = declared.map_err(at(queue.what()))?;
            Ok(declared.to_string())
        })
    }

    fn bind<'a>(
        &'a mut self,
        queue: &'a str,
        exchange: &'static str,
        key: &'static str,
    ) -> BoxFuture<'a, Result<(), AmqpError>> {
        Box::pin(async move {
            let bound = self.0.bind(short(queue), short(exchange), short(key)).await;
            bound.map_err(at("queue.bind"))
        })
    }

    fn publish(&mut self, message: Outgoing) {
        self.0.publish(LocalPublish {
            exchange: short(message.exchange),
            routing_key: message.key,
            properties: message.properties.build(),
            body: message.body,
        });
    }

    fn confirmed(&mut self) -> BoxFuture<'_, Result<usize, Unconfirmed>> {
        Box::pin(async move {
            self.0.confirmed().await.map_err(|error| match error {
                LocalError::Refused => Unconfirmed::Refused,
                error => Unconfirmed::Ended(at("publishing")(error)),
            })
        })
    }

    /// Over the same channel: this broker ends none because of a made-up address.
    fn answer(&mut self, answers: Vec<Outgoing>) -> BoxFuture<'_, Result<(), AmqpError>> {
        Box::pin(async move {
            for answer in answers {
                self.publish(answer);
            }
            loop {
                match self.0.confirmed().await {
                    Ok(0) | Err(LocalError::Refused) => return Ok(()),
                    Ok(_) => (),
                    Err(error) => return Err(at("answering")(error)),
                }
            }
        })
    }

    fn consume(&mut self, consume: Consume) -> BoxFuture<'_, Result<(), AmqpError>> {
        Box::pin(async move {
            let queue = short(&consume.queue);
            let consuming = self.0.consume(queue, consume.prefetch, consume.no_ack);
            consuming.await.map_err(at("basic.consume"))
        })
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Option<Vec<Delivery>>, AmqpError>> {
        Box::pin(async move {
            let next = self.0.next(BATCH).await.map_err(at("consuming"))?;
            Ok(next.map(|messages| messages.into_iter().map(delivery).collect()))
        })
    }

    fn ack(&mut self, tag: u64, up_to: UpTo) -> BoxFuture<'_, Result<(), AmqpError>> {
        Box::pin(async move {
            let acked = self.0.ack(tag, up_to == UpTo::All).await;
            acked.map_err(at("basic.ack"))
        })
    }

    fn cancel(&mut self) -> BoxFuture<'_, Result<(), AmqpError>> {
        Box::pin(async move { self.0.cancel().await.map_err(at("basic.cancel")) })
    }

    fn close(&mut self) -> BoxFuture<'_, Result<(), AmqpError>> {
        // It ends when it is dropped.
        Box::pin(std::future::ready(Ok(())))
    }
}

fn delivery(message: ReceivedMessage) -> Delivery {
    Delivery {
        tag: message.delivery_tag,
        key: message.routing_key,
        properties: message.properties,
        body: message.body,
    }
}

fn at(what: &'static str) -> impl FnOnce(LocalError) -> AmqpError {
    move |error| {
        let code = match &error {
            LocalError::Closed { code, .. } => Some(*code),
            LocalError::Refused => None,
        };
        AmqpError::Broker {
            what,
            code,
            text: error.to_string().into(),
        }
    }
}
