//! Commands as a client sends them: a request over the broker, and the answer to it.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use uuid::Uuid;

use super::{
    AmqpError, Link,
    broker::{AmqpChannel, Consume, Outgoing, Purpose, REPLY_TO, Unconfirmed, short},
};

/// The daemon's own requests that are not answered yet, by their correlation ids. They cannot be
/// guessed, so a command with one is the daemon's.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnRequests(Arc<Mutex<HashSet<Box<[u8]>>>>);

impl OwnRequests {
    pub(super) fn begin(&self) -> OwnRequest {
        let id = Uuid::now_v7().to_string();
        self.0.lock().insert(id.as_bytes().into());
        OwnRequest {
            id,
            all: self.clone(),
        }
    }

    /// True for a request of the daemon that waits for its answer.
    pub(super) fn contains(&self, correlation_id: Option<&[u8]>) -> bool {
        correlation_id.is_some_and(|id| self.0.lock().contains(id))
    }
}

/// One of them, until this is dropped.
pub(super) struct OwnRequest {
    pub(super) id: String,
    all: OwnRequests,
}

impl Drop for OwnRequest {
    fn drop(&mut self) {
        self.all.0.lock().remove(self.id.as_bytes());
    }
}

/// Asks over the daemon's own connection, for the migration's canary.
#[derive(Debug)]
pub struct AmqpCaller {
    link: Link,
    own: OwnRequests,
}

impl AmqpCaller {
    pub(super) fn new(link: Link, own: OwnRequests) -> Self {
        Self { link, own }
    }

    /// Sends `body` to a command queue and waits for the answer; the caller sets the limit.
    ///
    /// # Errors
    /// There is no connection, or the broker refuses.
    pub async fn ask(&self, queue: &'static str, body: &[u8]) -> Result<Bytes, AmqpError> {
        let usage = self.link.usage().ok_or(AmqpError::NotConnected)?;
        let mut channel = usage.open(Purpose::Ask).await?;
        let request = self.own.begin();
        tokio::select! {
            () = usage.gone().cancelled() => Err(AmqpError::NotConnected),
            () = usage.leaving().cancelled() => Err(AmqpError::NotConnected),
            answer = over(&mut *channel, queue, body, &request.id) => answer,
        }
    }
}

async fn over(
    channel: &mut dyn AmqpChannel,
    queue: &'static str,
    body: &[u8],
    id: &str,
) -> Result<Bytes, AmqpError> {
    let replies = Consume {
        queue: REPLY_TO.to_owned(),
        prefetch: 0,
        no_ack: true,
    };
    channel.consume(replies).await?;
    let mut request = Outgoing::json("", short(queue), Bytes::copy_from_slice(body));
    request.properties.reply_to = Some(short(REPLY_TO));
    request.properties.correlation_id = Some(short(id));
    channel.publish(request);
    if let Err(Unconfirmed::Ended(error)) = channel.confirmed().await {
        return Err(error);
    }
    while let Some(answers) = channel.next().await? {
        for answer in answers {
            if answer.properties.correlation_id() == Some(id.as_bytes()) {
                // The answer counts, however the channel ends.
                let _closed = channel.close().await;
                return Ok(answer.body);
            }
        }
    }
    Err(AmqpError::NotConnected)
}

#[cfg(test)]
mod tests {
    use super::OwnRequests;

    #[test]
    fn a_request_is_the_daemons_while_it_waits_for_its_answer() {
        let own = OwnRequests::default();
        let (first, second) = (own.begin(), own.begin());
        assert_ne!(first.id, second.id);
        assert!(own.contains(Some(first.id.as_bytes())));
        assert!(!own.contains(Some(b"made up")) && !own.contains(None));
        let id = first.id.clone();
        drop(first);
        assert!(!own.contains(Some(id.as_bytes())));
        assert!(own.contains(Some(second.id.as_bytes())));
    }
}
