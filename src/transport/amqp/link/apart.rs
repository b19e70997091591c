//! Connections besides the two, for what may end the one that it leaves by.

use std::time::Duration;

use lapin::Connection;

use super::Link;
use crate::transport::amqp::{AmqpError, answers::LostAnswers};

impl Link {
    /// A connection of one's own to the same broker.
    pub(in crate::transport::amqp) async fn connect_apart(
        &self,
        name: &str,
    ) -> Result<Connection, AmqpError> {
        let within = self.shared.config.connect_timeout;
        self.shared.target.connect(name, within.get()).await
    }

    /// How long to wait before such a connection is made once more.
    pub(in crate::transport::amqp) fn pause(&self, failures: u32) -> Duration {
        self.shared.wait(failures)
    }

    /// Whether the broker ends connections because of answers. The embedded one does not.
    pub(in crate::transport::amqp) fn minds_answers(&self) -> bool {
        !self.shared.target.is_embedded()
    }

    /// The answers that could not be sent.
    pub(in crate::transport::amqp) fn lost_answers(&self) -> &LostAnswers {
        &self.shared.lost_answers
    }
}
