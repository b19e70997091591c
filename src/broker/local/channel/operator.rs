//! What an operator does as a user of a vhost: any method, single messages.

use super::{LocalChannel, LocalError, LocalPublish, NUMBER};
use crate::broker::{
    local::ReceivedMessage,
    wire::{Method, ShortStr, method::basic},
};

/// What becomes of messages that were looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AfterGet {
    /// They are gone.
    Ack,
    /// They are gone, or dead-lettered.
    Reject,
    /// They are back in the queue.
    Requeue,
}

impl LocalChannel {
    /// Carries out a method as a client would send it, and waits for the answer.
    ///
    /// # Errors
    /// The broker has closed the channel because of it.
    pub async fn carry_out(&mut self, method: impl Into<Method>) -> Result<Method, LocalError> {
        self.call(method).await
    }

    /// Takes at most so many messages, as long as their bodies stay below `bytes_max` bytes; then they are settled.
    ///
    /// # Errors
    /// There is no such queue, or the user may not read it.
    pub async fn get_some(
        &mut self,
        queue: &ShortStr,
        count: usize,
        bytes_max: usize,
        after: AfterGet,
    ) -> Result<Vec<(basic::GetOk, ReceivedMessage)>, LocalError> {
        let mut got = Vec::new();
        let mut bytes = 0;
        while got.len() < count && bytes < bytes_max {
            let get = basic::Get {
                queue: queue.clone(),
                ..basic::Get::default()
            };
            match (self.call(get).await?, self.content.take()) {
                (Method::BasicGetOk(head), Some(message)) => {
                    bytes += message.body.len();
                    got.push((head, message));
                }
                _ => break,
            }
        }
        let Some((last, _)) = got.last() else {
            return Ok(got);
        };
        let (delivery_tag, multiple) = (last.delivery_tag, true);
        if after == AfterGet::Ack {
            self.ack(delivery_tag, multiple).await?;
            return Ok(got);
        }
        let nack = basic::Nack {
            delivery_tag,
            multiple,
            requeue: after == AfterGet::Requeue,
        };
        self.turn(|session, context| session.on_local_method(NUMBER, nack.into(), context));
        self.receive();
        while self.settling {
            self.wait().await;
        }
        self.check_open()?;
        Ok(got)
    }

    /// Publishes one message like [`Self::publish_one`], unless publishers are blocked.
    ///
    /// # Errors
    /// A queue refused it, publishers are blocked, or the user may not publish it.
    pub async fn publish_unless_blocked(
        &mut self,
        message: LocalPublish,
    ) -> Result<bool, LocalError> {
        if self.client.is_blocked() {
            let text = "RESOURCE_ERROR - publishers are blocked: broker.limits.memory is reached";
            return Err(LocalError::Closed {
                code: 506,
                text: text.to_owned(),
            });
        }
        self.publish_one(message).await
    }
}
