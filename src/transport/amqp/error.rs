//! What goes wrong between us and a broker.

use std::time::Duration;

/// Why something could not be done over AMQP.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AmqpError {
    /// The URL can't be used.
    #[error("transport.amqp_url: {0}")]
    Url(String),
    /// The certificates that shall be trusted can't be read.
    #[error("transport.amqp.ca_file: {0}")]
    Certificates(String),
    /// The broker could not be reached, or refused something.
    #[error("{what}: {source}")]
    Broker {
        /// What was tried.
        what: &'static str,
        /// What came of it.
        source: lapin::Error,
    },
    /// The broker did not answer in time.
    #[error("{what}: no answer within {after:?}")]
    Late {
        /// What was tried.
        what: &'static str,
        /// For how long.
        after: Duration,
    },
    /// The broker said that it takes nothing for now.
    #[error("the broker blocks publishers (connection.blocked): it is short of memory or disk")]
    Blocked,
    /// There is no connection.
    #[error("there is no connection to the broker")]
    NotConnected,
}

impl AmqpError {
    /// Says what was tried when the broker refused.
    pub(super) fn at(what: &'static str) -> impl FnOnce(lapin::Error) -> Self {
        move |source| Self::Broker { what, source }
    }

    /// Waits for `answer`, but not longer than `after`.
    pub(super) async fn within<T>(
        what: &'static str,
        after: Duration,
        answer: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, Self> {
        match tokio::time::timeout(after, answer).await {
            Ok(answer) => answer.map_err(Self::at(what)),
            Err(_) => Err(Self::Late { what, after }),
        }
    }
}
