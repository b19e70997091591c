//! Whether the broker is there.

use std::pin::pin;

use futures_util::StreamExt;
use lapin::{Connection, Event};
use tokio::time::sleep;

use super::Shared;
use crate::transport::amqp::{AmqpError, session::Connected};

impl Shared {
    /// Asks again and again whether the broker is there; returns when it is not.
    pub(super) async fn ping(&self, connected: &Connected) -> AmqpError {
        tokio::select! {
            biased;
            error = ended(&connected.sending) => error,
            error = ended(&connected.consuming) => error,
            error = self.ping_by(&connected.sending) => error,
            error = self.ping_by(&connected.consuming) => error,
        }
    }

    async fn ping_by(&self, connection: &Connection) -> AmqpError {
        let opened = connection.create_channel();
        let within = self.config.answer_timeout;
        let channel = match AmqpError::within("opening a channel", within.get(), opened).await {
            Ok(channel) => channel,
            Err(error) => return error,
        };
        loop {
            sleep(self.config.ping.get()).await;
            // The cheapest question there is.
            let asked = channel.basic_qos(0, lapin::options::BasicQosOptions::default());
            match AmqpError::within("asking the broker", self.config.answer_timeout.get(), asked)
                .await
            {
                Ok(()) => self.hear(),
                // It is there and takes nothing: another connection would fare no better. That it
                // answers nothing is what counts.
                Err(AmqpError::Late { .. }) if connection.status().blocked() => (),
                Err(error) => return error,
            }
        }
    }
}

/// Returns when the connection has ended, with the reason.
pub(super) async fn ended(connection: &Connection) -> AmqpError {
    let mut events = pin!(connection.events_listener());
    while let Some(event) = events.next().await {
        if let Event::Error(error) = event {
            return AmqpError::at("the connection ended")(error);
        }
    }
    std::future::pending().await
}
