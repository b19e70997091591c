//! Errors between the transport and a broker.

use std::{sync::Arc, time::Duration};

/// The reply code of the embedded broker when a vhost has as many queues as its limit allows.
const RESOURCE_ERROR: u16 = 506;

/// Why something could not be done over the broker.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AmqpError {
    /// The URL cannot be used.
    #[error("transport.amqp_url: {0}")]
    Url(String),
    /// The certificates to trust cannot be read.
    #[error("transport.amqp.{0}")]
    Certificates(String),
    /// The broker could not be reached, or refused something.
    #[error("{what}: {text}")]
    Broker {
        /// The operation that failed.
        what: &'static str,
        /// The reply code, where the broker gave one.
        code: Option<u16>,
        /// The error of the broker or the client library.
        text: Arc<str>,
    },
    /// The broker did not answer in time.
    #[error("{what}: no answer within {after:?}")]
    Late {
        /// The operation that failed.
        what: &'static str,
        /// For how long.
        after: Duration,
    },
    /// The broker has confirmed events and does not deliver them to the daemon's own queue.
    #[error(
        "{events} events were confirmed but not delivered back: the daemon's queue was unbound, or the \
         exchange was deleted and declared again"
    )]
    Unheard {
        /// How many.
        events: u64,
    },
    /// The broker blocks publishers.
    #[error("the broker blocks publishers (connection.blocked): it is short of memory or disk")]
    Blocked,
    /// The broker refuses the daemon's login or what it declares.
    #[error(
        "{url} refuses: {reason}; check the user, the password and the vhost of the URL, and what is declared there"
    )]
    Refused {
        /// Which broker, without a password.
        url: String,
        /// In its words.
        reason: String,
    },
    /// There is no connection.
    #[error("there is no connection to the broker")]
    NotConnected,
}

impl AmqpError {
    /// The broker's text, when it refuses something and will refuse it again until the login, the vhost or what is
    /// declared there is changed.
    pub(crate) fn refusal(&self) -> Option<&str> {
        let Self::Broker {
            code: Some(code),
            text,
            ..
        } = self
        else {
            return None;
        };
        let lasts = match code {
            403 | 405 | 406 => true,
            // Too many connections are not for ever.
            530 => !text.contains("limit"),
            _ => false,
        };
        lasts.then_some(&**text)
    }

    /// Whether the broker refuses one declaration and would take another: for ever, or because of a limit.
    pub(crate) fn is_of_declaration(&self) -> bool {
        let limit = matches!(
            self,
            Self::Broker {
                code: Some(RESOURCE_ERROR),
                ..
            }
        );
        limit || self.refusal().is_some()
    }

    /// Waits for `answer`, but not longer than `after`.
    pub(crate) async fn within<T>(
        what: &'static str,
        after: Duration,
        answer: impl Future<Output = Result<T, Self>>,
    ) -> Result<T, Self> {
        match tokio::time::timeout(after, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(Self::Late { what, after }),
        }
    }
}
