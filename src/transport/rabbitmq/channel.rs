//! One channel of lapin behind the transport's interface.

use std::{sync::Arc, time::Duration};

use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{Fuse, FuturesOrdered},
};
use lapin::{
    Confirmation, Consumer, ExchangeKind,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions,
        BasicQosOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};

use super::{
    answers::AnswerOutbox,
    convert::{at, delivery, properties, text, within},
    kept::KeptChannel,
};
use crate::transport::amqp::{
    AmqpError,
    broker::{AmqpChannel, Consume, Delivery, Outgoing, QueueSpec, Unconfirmed, UpTo},
};

/// The most messages of one batch.
const BATCH: usize = 64;

type Publishing = BoxFuture<'static, lapin::Result<Confirmation>>;

/// A channel.
pub(super) struct RabbitChannel {
    /// Published in order while they are polled. Dropped before the channel.
    publishing: FuturesOrdered<Publishing>,
    /// The error that ended publishing; reported after the confirms before it.
    unconfirmed: Option<Unconfirmed>,
    /// Fused, because lapin's stream waits for ever after its end.
    consumer: Option<Fuse<Consumer>>,
    /// The error that ended the consumer; reported after the messages before it.
    ended: Option<AmqpError>,
    channel: Arc<KeptChannel>,
    confirms: bool,
    after: Duration,
    answers: AnswerOutbox,
}

impl std::fmt::Debug for RabbitChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RabbitChannel")
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

impl RabbitChannel {
    pub(super) fn new(
        channel: KeptChannel,
        confirms: bool,
        after: Duration,
        answers: AnswerOutbox,
    ) -> Self {
        Self {
            publishing: FuturesOrdered::new(),
            unconfirmed: None,
            consumer: None,
            ended: None,
            channel: Arc::new(channel),
            confirms,
            after,
            answers,
        }
    }
}

/// The meaning of a confirm.
fn outcome(confirmed: lapin::Result<Confirmation>) -> Result<(), Unconfirmed> {
    match confirmed {
        Ok(Confirmation::Ack(None) | Confirmation::NotRequested) => Ok(()),
        Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(_)) => Err(Unconfirmed::Refused),
        Err(error) => Err(at("publishing")(error).into()),
    }
}

impl AmqpChannel for RabbitChannel {
    fn is_open(&self) -> bool {
        self.channel.channel.status().connected()
    }

    fn declare_exchange(&mut self, name: &'static str) -> BoxFuture<'_, Result<(), AmqpError>> {
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        Box::pin(async move {
            let kind = ExchangeKind::Topic;
            let none = FieldTable::default();
            let declared = self
                .channel
                .channel
                .exchange_declare(name.into(), kind, options, none);
            within(name, self.after, declared).await
        })
    }

    fn declare_queue(&mut self, queue: QueueSpec) -> BoxFuture<'_, Result<String, AmqpError>> {
        let options = QueueDeclareOptions {
            durable: !queue.exclusive,
            exclusive: queue.exclusive,
            auto_delete: queue.exclusive,
            ..QueueDeclareOptions::default()
        };
        let mut arguments = FieldTable::default();
        let limits = [
            ("x-max-length", queue.messages_max),
            ("x-max-length-bytes", queue.bytes_max),
        ];
        for (key, limit) in limits {
            if let Some(limit) = limit {
                arguments.insert(key.into(), AMQPValue::LongInt(limit));
            }
        }
        Box::pin(async move {
            let name = queue.name.into();
            let declared = self.channel.channel.queue_declare(name, options, arguments);
            let declared = within(queue.what(), self.after, declared).await?;
            Ok(declared.name().to_string())
        })
    }

    fn bind<'a>(
        &'a mut self,
        queue: &'a str,
        exchange: &'static str,
        key: &'static str,
    ) -> BoxFuture<'a, Result<(), AmqpError>> {
        Box::pin(async move {
            let bound = self.channel.channel.queue_bind(
                queue.into(),
                exchange.into(),
                key.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            );
            within("queue.bind", self.after, bound).await
        })
    }

    fn publish(&mut self, message: Outgoing) {
        let channel = Arc::clone(&self.channel);
        let confirms = self.confirms;
        self.publishing.push_back(Box::pin(async move {
            let sent = channel.channel.basic_publish(
                message.exchange.into(),
                text(&message.key),
                BasicPublishOptions::default(),
                &message.body,
                properties(&message.properties),
            );
            let sent = sent.await?;
            match confirms {
                true => sent.await,
                false => Ok(Confirmation::NotRequested),
            }
        }));
    }

    fn confirmed(&mut self) -> BoxFuture<'_, Result<usize, Unconfirmed>> {
        Box::pin(async move {
            if let Some(error) = self.unconfirmed.take() {
                return Err(error);
            }
            let Some(first) = self.publishing.next().await else {
                return Ok(0);
            };
            outcome(first)?;
            let mut count = 1;
            while let Some(Some(next)) = self.publishing.next().now_or_never() {
                match outcome(next) {
                    Ok(()) => count += 1,
                    Err(error) => {
                        self.unconfirmed = Some(error);
                        break;
                    }
                }
            }
            Ok(count)
        })
    }

    /// Over a separate connection: see `answers`.
    fn answer(&mut self, answers: Vec<Outgoing>) -> BoxFuture<'_, Result<(), AmqpError>> {
        Box::pin(async move {
            for answer in answers {
                self.answers.put(answer).await;
            }
            Ok(())
        })
    }

    fn consume(&mut self, consume: Consume) -> BoxFuture<'_, Result<(), AmqpError>> {
        let options = BasicConsumeOptions {
            no_ack: consume.no_ack,
            ..BasicConsumeOptions::default()
        };
        Box::pin(async move {
            let channel = &self.channel.channel;
            if consume.prefetch > 0 {
                let qos = channel.basic_qos(consume.prefetch, BasicQosOptions::default());
                within("basic.qos", self.after, qos).await?;
            }
            let queue = consume.queue.as_str().into();
            let none = FieldTable::default();
            let consumer = channel.basic_consume(queue, "".into(), options, none);
            let consumer = within("basic.consume", self.after, consumer).await?;
            self.consumer = Some(consumer.fuse());
            Ok(())
        })
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Option<Vec<Delivery>>, AmqpError>> {
        Box::pin(async move {
            if let Some(error) = self.ended.take() {
                return Err(error);
            }
            let Some(consumer) = &mut self.consumer else {
                return Ok(None);
            };
            let Some(first) = consumer.next().await else {
                return Ok(None);
            };
            let mut batch = vec![delivery(first.map_err(at("consuming"))?)];
            while batch.len() < BATCH
                && let Some(Some(next)) = consumer.next().now_or_never()
            {
                match next {
                    Ok(next) => batch.push(delivery(next)),
                    Err(error) => {
                        self.ended = Some(at("consuming")(error));
                        break;
                    }
                }
            }
            Ok(Some(batch))
        })
    }

    fn ack(&mut self, tag: u64, up_to: UpTo) -> BoxFuture<'_, Result<(), AmqpError>> {
        let multiple = up_to == UpTo::All;
        Box::pin(async move {
            let acked = self
                .channel
                .channel
                .basic_ack(tag, BasicAckOptions { multiple });
            within("basic.ack", self.after, acked).await
        })
    }

    fn cancel(&mut self) -> BoxFuture<'_, Result<(), AmqpError>> {
        Box::pin(async move {
            let Some(consumer) = &self.consumer else {
                return Ok(());
            };
            let tag = consumer.get_ref().tag();
            let options = BasicCancelOptions::default();
            let cancelled = self.channel.channel.basic_cancel(tag, options);
            within("basic.cancel", self.after, cancelled).await
        })
    }

    fn close(&mut self) -> BoxFuture<'_, Result<(), AmqpError>> {
        Box::pin(async move {
            let closed = self.channel.channel.close(200, "OK".into());
            within("channel.close", self.after, closed).await
        })
    }
}
