//! What goes wrong between us and a broker.

use std::time::Duration;

use lapin::ErrorKind;

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
    /// The broker has confirmed events and does not bring them to whoever is bound to them.
    #[error(
        "{events} were confirmed and do not come: our queue was unbound, or the exchange made anew"
    )]
    Unheard {
        /// How many.
        events: u64,
    },
    /// The broker said that it takes nothing for now.
    #[error("the broker blocks publishers (connection.blocked): it is short of memory or disk")]
    Blocked,
    /// The broker will have none of us.
    #[error(
        "{url} refuses: {told}; check the user, the password and the vhost of the URL, and what stands there"
    )]
    Refused {
        /// Which broker, without a password.
        url: String,
        /// In its words.
        told: String,
    },
    /// There is no connection.
    #[error("there is no connection to the broker")]
    NotConnected,
}

impl AmqpError {
    /// What the broker said, when it has said no and will say it again until somebody changes something:
    /// the login, the vhost, or what is declared.
    pub(super) fn refusal(&self) -> Option<&str> {
        let Self::Broker { source, .. } = self else {
            return None;
        };
        let ErrorKind::ProtocolError(error) = source.kind() else {
            return None;
        };
        let told = error.get_message().as_str();
        let lasts = match error.get_id() {
            403 | 406 => true,
            // Too many connections are not for ever.
            530 => !told.contains("limit"),
            _ => false,
        };
        lasts.then_some(told)
    }

    /// Whether something came that is larger than a frame may be: in the words of the client library, which ends
    /// the connection then.
    pub(super) fn is_too_large(&self) -> bool {
        let Self::Broker { source, .. } = self else {
            return false;
        };
        matches!(
            source.kind(),
            ErrorKind::ProtocolError(error)
                if error.get_id() == 501 && error.get_message().as_str().starts_with("frame too large")
        )
    }

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
