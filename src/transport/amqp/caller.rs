//! Commands as a client sends them: a request over the broker, and the answer to it.

use bytes::Bytes;

use super::{
    AmqpError, Link,
    broker::{BrokerChannel, Consume, Outgoing, Purpose, REPLY_TO, Unconfirmed, short},
};

/// Asks over the daemon's own connection.
#[derive(Debug)]
pub struct Caller {
    link: Link,
}

impl Caller {
    pub(super) fn new(link: Link) -> Self {
        Self { link }
    }

    /// Sends `body` to a command queue and waits for the answer; the caller sets the limit.
    ///
    /// # Errors
    /// There is no connection, or the broker refuses.
    pub async fn ask(&self, queue: &'static str, body: &[u8]) -> Result<Bytes, AmqpError> {
        let usage = self.link.usage().ok_or(AmqpError::NotConnected)?;
        let mut channel = usage.open(Purpose::Ask).await?;
        tokio::select! {
            () = usage.gone().cancelled() => Err(AmqpError::NotConnected),
            () = usage.leaving().cancelled() => Err(AmqpError::NotConnected),
            answer = over(&mut *channel, queue, body) => answer,
        }
    }
}

async fn over(
    channel: &mut dyn BrokerChannel,
    queue: &'static str,
    body: &[u8],
) -> Result<Bytes, AmqpError> {
    let replies = Consume {
        queue: REPLY_TO.to_owned(),
        prefetch: 0,
        no_ack: true,
    };
    channel.consume(replies).await?;
    let number = fastrand::u64(..).to_string();
    let mut request = Outgoing::json("", short(queue), Bytes::copy_from_slice(body));
    request.properties.reply_to = Some(short(REPLY_TO));
    request.properties.correlation_id = Some(short(&number));
    channel.publish(request);
    if let Err(Unconfirmed::Ended(error)) = channel.confirmed().await {
        return Err(error);
    }
    while let Some(answers) = channel.next().await? {
        for answer in answers {
            if answer.properties.correlation_id() == Some(number.as_bytes()) {
                // The answer counts, however the channel ends.
                let _closed = channel.close().await;
                return Ok(answer.body);
            }
        }
    }
    Err(AmqpError::NotConnected)
}
