//! One message, and whether a queue has it.

use super::{LocalChannel, LocalError, LocalPublish};

impl LocalChannel {
    /// Publishes one message and waits until it counts: true when at least one queue has it.
    ///
    /// # Errors
    /// A queue refused it, there is no such exchange, or the channel is closed.
    pub async fn publish_one(&mut self, message: LocalPublish) -> Result<bool, LocalError> {
        if !self.confirms {
            self.select_confirms().await?;
        }
        self.mandatory = true;
        self.returned = false;
        self.publish(message);
        let counted = loop {
            match self.confirmed().await {
                Ok(0) => break Ok(()),
                Ok(_) => (),
                Err(error) => break Err(error),
            }
        };
        self.mandatory = false;
        counted?;
        Ok(!self.returned)
    }
}
