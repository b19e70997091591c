//! One connection that consists of two, because RabbitMQ reads nothing from a connection whose publishers it blocks,
//! not even acknowledgements.

use std::pin::pin;

use futures_util::{StreamExt, future::BoxFuture};
use lapin::{
    Connection, Event,
    options::{BasicQosOptions, ConfirmSelectOptions},
};
use tokio::time::sleep;

use super::{
    answers::AnswerOutbox,
    channel::RabbitChannel,
    convert::{at, within},
    kept::{KeptChannel, KeptChannels},
};
use crate::transport::{
    AmqpConfig,
    amqp::{
        AmqpError,
        broker::{AmqpChannel, AmqpConnection, Heard, Purpose},
    },
};

/// The two connections.
#[derive(Debug)]
pub(super) struct Pair {
    /// Publishers send over this one.
    pub(super) sending: Connection,
    /// Consumers use this one.
    pub(super) consuming: Connection,
    pub(super) config: AmqpConfig,
    pub(super) kept: KeptChannels,
    pub(super) answers: AnswerOutbox,
}

impl Pair {
    /// Checks over one of them that the broker answers; returns when it does not.
    async fn ping(&self, connection: &Connection, heard: Heard<'_>) -> AmqpError {
        let after = self.config.answer_timeout;
        let opened = connection.create_channel();
        let channel = match within("opening a channel", after.get(), opened).await {
            Ok(channel) => channel,
            Err(error) => return error,
        };
        loop {
            sleep(self.config.ping.get()).await;
            // The cheapest request.
            let asked = channel.basic_qos(0, BasicQosOptions::default());
            match within("asking the broker", after.get(), asked).await {
                Ok(()) => heard(),
                // The broker is up but blocks publishers; reconnecting would not help. That it does not answer
                // is what counts.
                Err(AmqpError::Late { .. }) if connection.status().blocked() => (),
                Err(error) => return error,
            }
        }
    }
}

impl AmqpConnection for Pair {
    fn open(&self, purpose: Purpose) -> BoxFuture<'_, Result<Box<dyn AmqpChannel>, AmqpError>> {
        Box::pin(async move {
            let connection = match purpose {
                Purpose::Consume => &self.consuming,
                Purpose::Send | Purpose::SendConfirmed | Purpose::Ask | Purpose::Replace => {
                    &self.sending
                }
            };
            let after = self.config.answer_timeout;
            let opened = connection.create_channel();
            let channel = within("opening a channel", after.get(), opened).await?;
            let confirms = matches!(purpose, Purpose::SendConfirmed | Purpose::Replace);
            if confirms {
                let selected = channel.confirm_select(ConfirmSelectOptions::default());
                within("confirm.select", after.get(), selected).await?;
            }
            let consumes = matches!(purpose, Purpose::Consume | Purpose::Ask);
            let channel = KeptChannel {
                channel,
                kept: consumes.then(|| self.kept.clone()),
            };
            let channel = RabbitChannel::new(channel, confirms, after.get(), self.answers.clone());
            let channel: Box<dyn AmqpChannel> = Box::new(channel);
            Ok(channel)
        })
    }

    fn is_blocked(&self) -> bool {
        self.sending.status().blocked() || self.consuming.status().blocked()
    }

    fn headers_max(&self) -> usize {
        let frame_max = self.consuming.configuration().frame_max();
        usize::try_from(frame_max).unwrap_or(usize::MAX)
    }

    fn until_lost<'a>(&'a self, heard: Heard<'a>) -> BoxFuture<'a, AmqpError> {
        Box::pin(async move {
            tokio::select! {
                biased;
                error = ended(&self.sending) => error,
                error = ended(&self.consuming) => error,
                error = self.ping(&self.sending, heard) => error,
                error = self.ping(&self.consuming, heard) => error,
            }
        })
    }

    /// Closes both, also when one of them has ended in another way.
    fn close(&self) -> BoxFuture<'_, Result<(), AmqpError>> {
        Box::pin(async move {
            let (sending, consuming) = tokio::join!(close(&self.sending), close(&self.consuming));
            sending.and(consuming).map_err(at("connection.close"))
        })
    }
}

/// lapin closes a dropped channel some time later. If the connection is closed at that moment, it ends without an
/// answer. The broker answers in order, so once a further channel is closed, all dropped ones are.
async fn close(connection: &Connection) -> lapin::Result<()> {
    if let Ok(last) = connection.create_channel().await {
        // The result does not matter: the connection is closed next.
        let _closed = last.close(200, "OK".into()).await;
    }
    connection.close(200, "OK".into()).await
}

/// Returns when the connection has ended, with the reason. lapin reports the end of a single channel in the same way.
pub(super) async fn ended(connection: &Connection) -> AmqpError {
    let mut events = pin!(connection.events_listener());
    while let Some(event) = events.next().await {
        if let Event::Error(error) = event
            && !connection.status().connected()
        {
            return at("the connection ended")(error);
        }
    }
    std::future::pending().await
}
