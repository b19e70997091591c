//! Commands as a client sends them: a request over the broker, and the answer to it.

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel,
    options::{BasicConsumeOptions, BasicPublishOptions},
    types::FieldTable,
};

use super::{AmqpError, Link};

/// The queue that is the channel itself.
const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// Asks over the daemon's own connection.
#[derive(Debug)]
pub struct Caller {
    link: Link,
}

impl Caller {
    pub(super) fn new(link: Link) -> Self {
        Self { link }
    }

    /// Sends `body` to a command queue and waits for the answer; whoever calls sets the limit.
    ///
    /// # Errors
    /// There is no connection, or the broker refuses.
    pub async fn ask(&self, queue: &'static str, body: &[u8]) -> Result<Bytes, AmqpError> {
        let session = self.link.session().ok_or(AmqpError::NotConnected)?;
        let channel = session.asking_channel().await?;
        tokio::select! {
            () = session.gone().cancelled() => Err(AmqpError::NotConnected),
            () = session.leaving().cancelled() => Err(AmqpError::NotConnected),
            answer = over(&channel, queue, body) => {
                // What was asked is answered; a channel that ends another way is of no further use.
                let _ = channel.close(200, "OK".into()).await;
                answer
            }
        }
    }
}

async fn over(channel: &Channel, queue: &'static str, body: &[u8]) -> Result<Bytes, AmqpError> {
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let none = FieldTable::default();
    let answers = channel.basic_consume(REPLY_TO.into(), "".into(), options, none);
    let mut answers = answers.await.map_err(AmqpError::at("basic.consume"))?;
    let number = fastrand::u64(..).to_string();
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_reply_to(REPLY_TO.into())
        .with_correlation_id(number.as_str().into());
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("".into(), queue.into(), options, body, properties);
    sent.await.map_err(AmqpError::at("basic.publish"))?;
    while let Some(answer) = answers.next().await {
        let answer = answer.map_err(AmqpError::at("an answer"))?;
        let correlation_id = answer.properties.correlation_id();
        if correlation_id
            .as_ref()
            .is_some_and(|id| id.as_str() == number)
        {
            return Ok(answer.data.into());
        }
    }
    Err(AmqpError::NotConnected)
}
