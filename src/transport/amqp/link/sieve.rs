//! Takes messages out of queues that can't be read: RabbitMQ makes some larger than a frame when it names their
//! requester, and the client library ends the connection that such a one comes by. The broker would bring it
//! again over the next one, for ever.

use std::time::Duration;

use lapin::{
    Channel, Connection,
    message::BasicGetMessage,
    options::{BasicGetOptions, BasicPublishOptions, BasicQosOptions},
};
use tokio::time::sleep;

use super::{Shared, ping::ended};
use crate::transport::amqp::{AmqpError, names};

/// So many messages from the front of a queue are looked at, at least: no consumer takes more ahead.
const AHEAD_MIN: u16 = 1_024;
/// So many are taken out of a queue at once, at most.
const OUT_MAX: usize = 256;
/// So long after a connection has ended what it had taken is in its queue again.
const BACK_AFTER: Duration = Duration::from_millis(200);

/// A connection that may end with any message.
struct Probe {
    connection: Connection,
    channel: Channel,
}

impl Shared {
    /// Frees the queues that are consumed of what can't be read; what else is in them stays, in its order.
    pub(super) async fn sieve(&self) {
        for queue in names::consumed() {
            if let Err(error) = self.sieve_one(queue).await {
                tracing::debug!(queue.name = queue, %error, "\"{queue}\" was not sieved: {error}");
            }
        }
    }

    async fn sieve_one(&self, queue: &'static str) -> Result<(), AmqpError> {
        for _ in 0..OUT_MAX {
            let Some(before) = self.look(queue).await? else {
                break;
            };
            if self.take_out(queue, before).await? {
                let probe = self.probe().await?;
                self.dead_letters.bury_unread(&probe.channel, queue).await?;
                probe.leave(self.config.answer_timeout.get()).await?;
            }
        }
        Ok(())
    }

    /// How many messages are before the first that can't be read, if there is one. Those that are looked at go
    /// back to where they were: none is acknowledged.
    async fn look(&self, queue: &'static str) -> Result<Option<u16>, AmqpError> {
        let probe = self.probe().await?;
        for before in 0..self.config.prefetch.get().max(AHEAD_MIN) {
            match self.take(&probe, queue, Fate::Returns).await {
                Ok(Some(_)) => (),
                Ok(None) => break,
                Err(error) if error.is_too_large() => return Ok(Some(before)),
                Err(error) => return Err(error),
            }
        }
        probe.leave(self.config.answer_timeout.get()).await?;
        Ok(None)
    }

    /// Takes out the message that comes after so many; false when it was not one that can't be read.
    async fn take_out(&self, queue: &'static str, before: u16) -> Result<bool, AmqpError> {
        let probe = self.probe().await?;
        for _ in 0..before {
            self.take(&probe, queue, Fate::Returns).await?;
        }
        // It is forgotten as soon as the broker has sent it.
        match self.take(&probe, queue, Fate::Goes).await {
            Err(error) if error.is_too_large() => return Ok(true),
            Err(error) => return Err(error),
            Ok(None) => (),
            // Somebody else has taken some meanwhile.
            Ok(Some(other)) => put_back(&probe.channel, queue, other).await?,
        }
        probe.leave(self.config.answer_timeout.get()).await?;
        Ok(false)
    }

    async fn probe(&self) -> Result<Probe, AmqpError> {
        sleep(BACK_AFTER).await;
        let within = self.config.connect_timeout;
        let connection = self.target.connect("musterd sieve", within.get()).await?;
        let opened = connection.create_channel();
        let channel = AmqpError::within("opening a channel", within.get(), opened).await?;
        Ok(Probe {
            connection,
            channel,
        })
    }

    /// The next message of a queue, if it has one and it can be read.
    async fn take(
        &self,
        probe: &Probe,
        queue: &'static str,
        fate: Fate,
    ) -> Result<Option<BasicGetMessage>, AmqpError> {
        let asked = async {
            let options = BasicGetOptions {
                no_ack: matches!(fate, Fate::Goes),
            };
            let message = probe.channel.basic_get(queue.into(), options).await?;
            // Whoever answers this has survived it.
            let alive = probe.channel.basic_qos(0, BasicQosOptions::default());
            alive.await.map(|()| message)
        };
        tokio::select! {
            biased;
            error = ended(&probe.connection) => Err(error),
            message = AmqpError::within("basic.get", self.config.answer_timeout.get(), asked) => {
                self.hear();
                message
            }
        }
    }
}

/// What becomes of a message that is looked at.
#[derive(Clone, Copy)]
enum Fate {
    Returns,
    Goes,
}

impl Probe {
    async fn leave(&self, within: Duration) -> Result<(), AmqpError> {
        let closed = self.connection.close(200, "OK".into());
        AmqpError::within("closing the connection", within, closed).await
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
    sent.await.map(drop).map_err(AmqpError::at(queue))
}
