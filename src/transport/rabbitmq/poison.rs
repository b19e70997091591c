//! Removes messages that cannot be received from their queues.
//!
//! RabbitMQ makes some messages larger than a frame when it adds the address of the requester. lapin ends the
//! connection that receives such a message, and the broker would deliver it again over each new connection.

use std::time::Duration;

use lapin::{
    Channel, Connection,
    message::BasicGetMessage,
    options::{BasicGetOptions, BasicPublishOptions, BasicQosOptions},
};
use tokio::time::sleep;

use super::{
    RabbitMq,
    connection::ended,
    convert::{at, within},
};
use crate::transport::amqp::{
    AmqpError, DeadLetters,
    broker::{AmqpConnection, Heard},
    names,
};

/// The least number of messages at the head of a queue that are checked: no consumer prefetches more.
const AHEAD_MIN: u16 = 1_024;
/// The most messages that are removed from a queue in one run.
const OUT_MAX: usize = 256;
/// How long after the end of a connection its messages are requeued.
const BACK_AFTER: Duration = Duration::from_millis(200);

/// A connection that is expected to end.
struct Probe {
    connection: Connection,
    channel: Channel,
}

/// Whether the connection ended because a message was larger than a frame; recognised by lapin's error text.
pub(super) fn is_too_large(error: &AmqpError) -> bool {
    matches!(
        error,
        AmqpError::Broker { code: Some(501), text, .. } if text.starts_with("frame too large")
    )
}

impl RabbitMq {
    /// Removes such messages from all consumed queues; other messages keep their order.
    pub(super) async fn remove_poison(&self, dead: &DeadLetters, heard: Heard<'_>) {
        for queue in names::consumed() {
            if let Err(error) = self.remove_from(queue, dead, heard).await {
                tracing::debug!(queue.name = queue, %error, "\"{queue}\" was not checked: {error}");
            }
        }
    }

    async fn remove_from(
        &self,
        queue: &'static str,
        dead: &DeadLetters,
        heard: Heard<'_>,
    ) -> Result<(), AmqpError> {
        for _ in 0..OUT_MAX {
            let Some(before) = self.look(queue, heard).await? else {
                break;
            };
            if self.take_out(queue, before, heard).await? {
                let connection = self.pair().await?;
                dead.dead_letter_unread(&connection, queue).await?;
                connection.close().await?;
            }
        }
        Ok(())
    }

    /// How many messages are before the first that cannot be received, if there is one. Those that are looked at
    /// go back to where they were: none is acknowledged.
    async fn look(&self, queue: &'static str, heard: Heard<'_>) -> Result<Option<u16>, AmqpError> {
        let probe = self.probe().await?;
        for before in 0..self.config.prefetch.get().max(AHEAD_MIN) {
            match self.take(&probe, queue, Fate::Returns, heard).await {
                Ok(Some(_)) => (),
                Ok(None) => break,
                Err(error) if is_too_large(&error) => return Ok(Some(before)),
                Err(error) => return Err(error),
            }
        }
        probe.leave(self.config.answer_timeout.get()).await?;
        Ok(None)
    }

    /// Removes the message after so many others; false when it could be received.
    async fn take_out(
        &self,
        queue: &'static str,
        before: u16,
        heard: Heard<'_>,
    ) -> Result<bool, AmqpError> {
        let probe = self.probe().await?;
        for _ in 0..before {
            self.take(&probe, queue, Fate::Returns, heard).await?;
        }
        // Taken without acknowledgement: it is gone once the broker has sent it.
        match self.take(&probe, queue, Fate::Goes, heard).await {
            Err(error) if is_too_large(&error) => return Ok(true),
            Err(error) => return Err(error),
            Ok(None) => (),
            // Another consumer took some in the meantime.
            Ok(Some(other)) => put_back(&probe.channel, queue, other).await?,
        }
        probe.leave(self.config.answer_timeout.get()).await?;
        Ok(false)
    }

    async fn probe(&self) -> Result<Probe, AmqpError> {
        sleep(BACK_AFTER).await;
        let after = self.config.connect_timeout;
        let connection = self.target.connect("musterd repair", after.get()).await?;
        let opened = connection.create_channel();
        let channel = within("opening a channel", after.get(), opened).await?;
        Ok(Probe {
            connection,
            channel,
        })
    }

    /// The next message of a queue, if it has one and it can be received.
    async fn take(
        &self,
        probe: &Probe,
        queue: &'static str,
        fate: Fate,
        heard: Heard<'_>,
    ) -> Result<Option<BasicGetMessage>, AmqpError> {
        let asked = async {
            let options = BasicGetOptions {
                no_ack: matches!(fate, Fate::Goes),
            };
            let message = probe.channel.basic_get(queue.into(), options).await?;
            // An answer to this shows that the connection has survived the message.
            let alive = probe.channel.basic_qos(0, BasicQosOptions::default());
            alive.await.map(|()| message)
        };
        tokio::select! {
            biased;
            error = ended(&probe.connection) => Err(error),
            message = within("basic.get", self.config.answer_timeout.get(), asked) => {
                heard();
                message
            }
        }
    }
}

/// The treatment of a checked message.
#[derive(Clone, Copy)]
enum Fate {
    Returns,
    Goes,
}

impl Probe {
    async fn leave(&self, after: Duration) -> Result<(), AmqpError> {
        let closed = self.connection.close(200, "OK".into());
        within("closing the connection", after, closed).await
    }
}

async fn put_back(
    channel: &Channel,
    queue: &'static str,
    message: BasicGetMessage,
) -> Result<(), AmqpError> {
    let message = message.delivery;
    let sent = channel.basic_publish(
        "".into(),
        queue.into(),
        BasicPublishOptions::default(),
        &message.data,
        message.properties,
    );
    sent.await.map(drop).map_err(at(queue))
}
